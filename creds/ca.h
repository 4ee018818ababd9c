/*
 * Issuing user certificates. What ca_issue() writes, ssh-keygen -L prints, sshd accepts, and
 * cert_parse() reads: it keeps the same limits and is checked by it before it is handed out.
 */
#ifndef POSTERN_CREDS_CA_H
#define POSTERN_CREDS_CA_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct key;
struct key_private;

struct ca_request {
	const struct key *subject;
	uint64_t serial; /* 0: a random one */
	const char *key_id;
	const char *const *principals;
	size_t nprincipals; /* >= 1 */
	uint64_t valid_after, valid_before;
	const char *source_address; /* NULL: anywhere; else a list for cidr_list_parse() */
	const char *force_command;  /* NULL: none */
	unsigned permit;            /* enum cert_permit */
	const char *scope;          /* NULL: none; else JSON for scope_parse() */
};

/* Appends the certificate's blob. -EINVAL with what is wrong in the request. */
int ca_issue(
    const struct key_private *ca, const struct ca_request *q, struct buf *ret_blob, struct err *e);
/* Appends the line of a -cert.pub file. 0, or -EBADMSG if the blob does not begin as one. */
int ca_format_line(const void *blob, size_t len, const char *comment, struct buf *out);

#endif
