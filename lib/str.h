/*
 * Text: names, numbers, durations, escaping, base64 and hex. Strict in what it reads.
 * Depends on libc and lib/err alone.
 */
#ifndef POSTERN_LIB_STR_H
#define POSTERN_LIB_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define NAME_MAX_LEN 31 /* [a-z][a-z0-9-]{0,30} */

/* Tenant, role, template, workspace and session names; compared as bytes, reserved words refused
 * (ca, root, host, none, postern). */
bool name_valid(const char *s, size_t len);
/* 0, or -EINVAL with "WHAT name "...": must be ..." (the name escaped). */
int name_check(const char *what, const char *s, size_t len, struct err *e);

/* Decimal without sign, spaces or leading zeros, within [min, max]; else -EINVAL / -ERANGE. */
int str_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/* "90s", "5m", "8h", "30d" or a plain number of seconds. Result in seconds, >= 1. */
int str_to_seconds(const char *s, int64_t *ret);
/* "512M", "1G", "64K" or a plain number of bytes (powers of 1024). */
int str_to_bytes(const char *s, uint64_t *ret);

/* Copies src, with everything outside printable ASCII, and the backslash and double quote, as \xNN,
 * so that it is harmless in a log line or on a terminal. Always terminates; a cut ends in "...".
 * Returns dst. size >= 8. */
char *str_escape(char *dst, size_t size, const void *src, size_t len);

/* strlcpy: returns false if it did not fit (dst then holds the cut text). */
bool str_copy(char *dst, size_t size, const char *src);

#define B64_LEN(n) ((((size_t)(n) + 2) / 3) * 4)
/* Standard alphabet with padding (RFC 4648 section 4); dst needs B64_LEN(len) + 1 bytes. */
void b64_encode(char *dst, const void *src, size_t len);
/* Canonical form only (padding exact, no white space, unused bits zero). -EBADMSG; -ENOBUFS if it
 * is more than size bytes (len/4*3 are always enough). With dst NULL it only checks and counts. */
int b64_decode(void *dst, size_t size, const char *src, size_t len, size_t *ret_len);
/* base64url without padding (RFC 4648 section 5, as JWS wants it); dst needs B64_LEN(len) + 1. */
void b64url_encode(char *dst, const void *src, size_t len);
void hex_encode(char *dst, const void *src, size_t len); /* dst needs 2 * len + 1 */

#endif
