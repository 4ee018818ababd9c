/*
 * The one type for secrets: memory of its own pages, locked where the limits allow, kept out of
 * core dumps and of children, erased on every path, compared in constant time. A secret never
 * enters argv, the environment, a log, or an error text.
 *
 * Depends on libc alone.
 */
#ifndef POSTERN_LIB_SECRET_H
#define POSTERN_LIB_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret;

#define SECRET_MAX 65536
/* len zero bytes, 1 <= len <= SECRET_MAX. NULL with errno. The caller owns it. */
struct secret *secret_new(size_t len);
void secret_free(struct secret *s); /* erases; NULL is fine; keeps errno */
uint8_t *secret_data(struct secret *s);
size_t secret_len(const struct secret *s);
/* Shortens (len <= secret_len); what is cut is erased. */
void secret_truncate(struct secret *s, size_t len);
/* Constant time in the length. */
bool secret_equal(const void *a, const void *b, size_t len);
/* memset that the compiler may not drop. */
void secret_wipe(void *p, size_t len);

static inline void secret_cleanup(struct secret **s)
{
	secret_free(*s);
}
#define cleanup_secret __attribute__((cleanup(secret_cleanup)))

#endif
