/*
 * JWTs as JWS with ES256 (RFC 7515, 7518, 7519), and the public keys as a JWK set (RFC 7517). Only
 * signing: nothing here reads a token.
 *
 *   header  {"alg":"ES256","kid":RFC 7638 thumbprint,"typ":"JWT"}
 *   claims  iss, sub "tenant:T:role:R:session:S", aud (one), tenant, role, session, person, iat,
 * nbf, exp, jti (the lease)
 */
#ifndef POSTERN_CREDS_JWT_H
#define POSTERN_CREDS_JWT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct key;
struct key_private;

#define JWT_MAX     4096
#define JWT_KID_LEN 44 /* base64url of SHA-256, and the NUL */

struct jwt_claims {
	const char *issuer, *audience, *tenant, *role, *session, *person, *lease;
	int64_t issued_s, expires_s;
};

/* The RFC 7638 thumbprint of a P-256 key. -EINVAL for others. */
int jwt_kid(const struct key *k, char ret[JWT_KID_LEN]);
/* Appends the token in compact form. */
int jwt_sign(
    const struct key_private *k, const struct jwt_claims *c, struct buf *ret, struct err *e);
/* {"keys":[{...}]}, a new reference; NULL without memory or if a key is not P-256. */
json_t *jwt_jwks(const struct key *const *keys, size_t n);

#endif
