/*
 * Addresses and lists of networks (RFC 4632, RFC 4291), as in a certificate's source-address.
 *
 * A v4-mapped v6 address is the v4 address. A network with bits set behind its prefix is refused,
 * as OpenSSH does. v4 networks match v4 addresses only, v6 ones v6 only. Depends on libc and lib
 * alone.
 */
#ifndef POSTERN_CREDS_CIDR_H
#define POSTERN_CREDS_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CIDR_LIST_MAX 64

struct address {
	uint8_t len; /* 4 or 16; 0: none */
	uint8_t bytes[16];
};

struct cidr {
	struct address net;
	uint8_t bits;
};

struct cidr_list {
	size_t n;
	struct cidr item[CIDR_LIST_MAX];
};

/* "192.0.2.1" or "2001:db8::1": no port, brackets, zone or white space. 0 or -EINVAL. */
int address_parse(const char *text, struct address *ret);
/* "ADDRESS" or "ADDRESS/BITS". 0 or -EINVAL. */
int cidr_parse(const char *text, size_t len, struct cidr *ret, struct err *e);
/* Comma-separated, at least one, no empty element, no negation. */
int cidr_list_parse(const char *text, size_t len, struct cidr_list *ret, struct err *e);
bool cidr_match(const struct cidr *c, const struct address *a);
bool cidr_list_match(const struct cidr_list *l, const struct address *a);

#endif
