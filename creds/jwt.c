#include "creds/jwt.h"

#include <stdio.h>
#include <string.h>

#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define COORDINATE_LEN 32

static int coordinates(const struct key *k, char x[64], char y[64])
{
	const uint8_t *px, *py;
	size_t n;

	if (key_type(k) != KEY_ECDSA_256 || key_ec_point(k, &px, &py, &n) < 0 ||
	    n != COORDINATE_LEN)
		return -EINVAL;
	b64url_encode(x, px, n);
	b64url_encode(y, py, n);
	return 0;
}

int jwt_kid(const struct key *k, char ret[JWT_KID_LEN])
{
	char x[64], y[64], text[256], b64[B64_LEN(DIGEST_LEN) + 1];
	uint8_t digest[DIGEST_LEN];
	int n;

	if (coordinates(k, x, y) < 0)
		return -EINVAL;
	/* RFC 7638 section 3.2: the required members, sorted, without white space */
	n = snprintf(text, sizeof text,
	    "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
	digest_sha256(text, (size_t)n, digest);
	b64url_encode(b64, digest, sizeof digest);
	(void)str_copy(ret, JWT_KID_LEN, b64);
	return 0;
}

json_t *jwt_jwks(const struct key *const *keys, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		char x[64], y[64], kid[JWT_KID_LEN];
		json_t *jwk;

		if (coordinates(keys[i], x, y) < 0 || jwt_kid(keys[i], kid) < 0) {
			json_decref(list);
			return NULL;
		}
		jwk = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256",
		    "use", "sig", "alg", "ES256", "kid", kid, "x", x, "y", y);
		if (json_array_append_new(list, jwk) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return json_pack("{s:o}", "keys", list);
}

/* Takes o over. */
static int put_part(struct buf *b, json_t *o)
{
	char text[JWT_MAX], b64[B64_LEN(JWT_MAX) + 1];
	size_t n;

	if (!o)
		return -EINVAL;
	n = json_dumpb(o, text, sizeof text, JSON_COMPACT);
	json_decref(o);
	if (n == 0 || n > sizeof text)
		return -EMSGSIZE;
	b64url_encode(b64, text, n);
	buf_put(b, b64, strlen(b64));
	return 0;
}

static json_t *claims_json(const struct jwt_claims *c)
{
	char sub[256];
	json_t *o;

	(void)snprintf(
	    sub, sizeof sub, "tenant:%s:role:%s:session:%s", c->tenant, c->role, c->session);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "iss", c->issuer, "sub",
	    sub, "aud", c->audience, "tenant", c->tenant, "role", c->role, "session", c->session,
	    "iat", (json_int_t)c->issued_s, "nbf", (json_int_t)c->issued_s, "exp",
	    (json_int_t)c->expires_s, "jti", c->lease);
	if (o && c->person && *c->person != '\0' &&
	    json_object_set_new(o, "person", json_string(c->person)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

int jwt_sign(
    const struct key_private *k, const struct jwt_claims *c, struct buf *ret, struct err *e)
{
	char kid[JWT_KID_LEN], b64[B64_LEN(KEY_RAW_SIG_MAX) + 1];
	uint8_t sig[KEY_RAW_SIG_MAX];
	size_t n;
	struct buf b;
	int r;

	if (jwt_kid(key_private_public(k), kid) < 0)
		return err_set(e, -EINVAL, "ES256 needs a P-256 key");
	buf_init(&b, JWT_MAX);
	r = put_part(&b, json_pack("{s:s, s:s, s:s}", "alg", "ES256", "kid", kid, "typ", "JWT"));
	buf_put(&b, ".", 1);
	if (r == 0)
		r = put_part(&b, claims_json(c));
	if (r == 0)
		r = buf_status(&b);
	if (r < 0) {
		buf_done(&b);
		return err_set(e, r, "the claims are too long or no UTF-8");
	}
	r = key_private_sign_raw(k, b.data, b.len, sig, &n, e);
	if (r == 0) {
		b64url_encode(b64, sig, n);
		buf_put(&b, ".", 1);
		buf_put(&b, b64, strlen(b64));
		buf_put(ret, b.data, b.len);
		if ((r = buf_status(&b)) < 0 || (r = buf_status(ret)) < 0)
			err_set(e, r, "the token is too long");
	}
	buf_done(&b);
	return r;
}
