/*
 * OpenSSH user certificates (PROTOCOL.certkeys, draft-miller-ssh-cert).
 *
 * Three steps, in this order, none of which may be left out:
 *
 *   cert_parse()    reads every byte; what is malformed is refused
 *   (the caller looks c->ca up among the CA keys it trusts: "signed by an unknown CA (SHA256:...)")
 *   cert_verify()   the CA really signed it, and it keeps every rule for user certificates
 *
 * and then what depends on the connection: cert_valid_at(), cert_source_ok(), cert_has_principal().
 * Rules that a well-formed certificate can break (a host certificate, no principal, an unknown
 * critical option, a scope that is not understood, ...) are found by cert_parse() but answered by
 * cert_verify() after the signature, so that their reasons may be told to the client: -EACCES from
 * cert_verify() or any later step means "a CA really signed this, and it is refused because";
 * another error must not be told to the client.
 *
 * The fields are read-only.
 */
#ifndef POSTERN_CREDS_CERT_H
#define POSTERN_CREDS_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/cidr.h"
#include "creds/key.h"

struct err;
struct scope;

#define CERT_BLOB_MAX       (48u * 1024)
#define CERT_NONCE_MAX      64
#define CERT_KEY_ID_MAX     256
#define CERT_PRINCIPALS_MAX 256 /* SSHKEY_CERT_MAX_PRINCIPALS */
#define CERT_PRINCIPAL_MAX  256
#define CERT_OPTIONS_MAX    64
#define CERT_OPTION_NAME    128
#define CERT_COMMAND_MAX    (8u * 1024)
#define CERT_RESERVED_MAX   256
#define CERT_FOREVER        UINT64_MAX

enum cert_kind { CERT_USER = 1, CERT_HOST = 2 };

enum cert_permit {
	CERT_PERMIT_PTY = 1u << 0,
	CERT_PERMIT_PORT_FORWARDING = 1u << 1,
	CERT_PERMIT_AGENT_FORWARDING = 1u << 2,
	CERT_PERMIT_X11_FORWARDING = 1u << 3,
	CERT_PERMIT_USER_RC = 1u << 4,
	CERT_NO_TOUCH_REQUIRED = 1u << 5,
};

struct cert {
	const char *type_name; /* "ssh-ed25519-cert-v01@openssh.com" */
	struct key *subject;
	struct key *ca;
	uint64_t serial;
	uint32_t kind;     /* enum cert_kind */
	char *key_id;      /* as it is: bytes without NUL */
	char *key_id_text; /* escaped, harmless in logs and on terminals */
	size_t nprincipals;
	char **principals; /* bytes without NUL, none empty */
	uint64_t valid_after,
	    valid_before;    /* seconds since 1970; valid_before may be CERT_FOREVER */
	char *force_command; /* NULL: none */
	bool has_source;
	struct cidr_list source; /* what source-address allows, if has_source */
	unsigned permit;         /* enum cert_permit */
	struct scope *scope; /* never NULL after cert_verify(): narrows nothing if there was none */
	char *scope_json;    /* as it came; NULL: none */
	uint8_t *blob;       /* the whole certificate */
	size_t blob_len;
	size_t signed_len;  /* blob[0..signed_len) is what was signed */
	const uint8_t *sig; /* within blob, SSH's form */
	size_t sig_len;
	char *refusal; /* the first rule that it breaks; NULL: none */
};

/* True if the blob's or the line's type name is that of any certificate
 * ("...-cert-v01@openssh.com"). */
bool cert_type_known(const char *name, size_t len);
bool cert_blob_is_cert(const void *data, size_t len);

/* The caller owns *ret. -EBADMSG: malformed; -ENOTSUP: a type that is not accepted (DSA, sk-,
 * unknown); -EKEYREJECTED: the subject or CA key is; -ENOMEM. */
int cert_parse(const void *data, size_t len, struct cert **ret, struct err *e);
/* A line of a -cert.pub file: "TYPE BASE64 COMMENT". */
int cert_parse_line(const char *line, size_t len, struct cert **ret, struct err *e);
void cert_free(struct cert *c); /* NULL is fine; keeps errno */

/* -EKEYREJECTED, -EBADMSG, -ENOTSUP: c->ca did not sign it; -EACCES: signed, but against a rule. */
int cert_verify(const struct cert *c, struct err *e);
/* valid_after <= now_s < valid_before, else -EACCES ("certificate expired at
 * 2026-11-23T15:38:48Z"). */
int cert_valid_at(const struct cert *c, int64_t now_s, struct err *e);
/* address: "192.0.2.1" or "2001:db8::1"; -EACCES if source-address does not list it or it is no
 * address. */
int cert_source_ok(const struct cert *c, const char *address, struct err *e);
/* Exactly this principal, compared as bytes: no list, no pattern. */
bool cert_has_principal(const struct cert *c, const char *name);

/* Seconds since 1970 as "2026-11-23T15:38:48Z", or "forever". Returns dst. */
char *cert_format_time(char dst[32], uint64_t t);

static inline void cert_cleanup(struct cert **c)
{
	cert_free(*c);
}
#define cleanup_cert __attribute__((cleanup(cert_cleanup)))

#endif
