#include "creds/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/str.h"
#include "lib/util.h"

static struct key_private *k;

static int setup(void **state)
{
	(void)state;
	return key_private_generate(KEY_ECDSA_256, 0, &k, NULL);
}

static int teardown(void **state)
{
	(void)state;
	key_private_free(k);
	return 0;
}

static const struct jwt_claims claims = {
    .issuer = "https://postern.example",
    .audience = "https://api.example",
    .tenant = "demo",
    .role = "agent",
    .session = "0b5c",
    .person = "J\xc3\xb6rg",
    .lease = "l-1",
    .issued_s = 1000,
    .expires_s = 1600,
};

/* base64url without padding, by the standard decoder. */
static size_t from_b64url(const char *text, size_t len, uint8_t *dst, size_t size)
{
	char padded[JWT_MAX + 8];
	size_t n;

	assert_true(len < JWT_MAX);
	for (size_t i = 0; i < len; i++)
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	while (len % 4 != 0)
		padded[len++] = '=';
	assert_int_equal(b64_decode(dst, size, padded, len, &n), 0);
	return n;
}

static json_t *part(const char *text, size_t len)
{
	uint8_t raw[JWT_MAX];
	size_t n = from_b64url(text, len, raw, sizeof raw);
	json_t *o = json_loadb((char *)raw, n, JSON_REJECT_DUPLICATES, NULL);

	assert_true(json_is_object(o));
	return o;
}

static const char *str(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void says_what_it_was_told_and_no_more(void **state)
{
	char kid[JWT_KID_LEN];
	struct buf token;
	const char *text, *dot, *dot2;
	json_t *header, *body;

	(void)state;
	buf_init(&token, JWT_MAX);
	assert_int_equal(jwt_sign(k, &claims, &token, NULL), 0);
	text = buf_cstr(&token);
	dot = strchr(text, '.');
	dot2 = strchr(dot + 1, '.');
	assert_null(strchr(dot2 + 1, '.'));
	assert_null(strchr(text, '='));

	header = part(text, (size_t)(dot - text));
	assert_int_equal(json_object_size(header), 3);
	assert_string_equal(str(header, "alg"), "ES256");
	assert_string_equal(str(header, "typ"), "JWT");
	assert_int_equal(jwt_kid(key_private_public(k), kid), 0);
	assert_string_equal(str(header, "kid"), kid);

	body = part(dot + 1, (size_t)(dot2 - dot - 1));
	assert_int_equal(json_object_size(body), 11);
	assert_string_equal(str(body, "iss"), claims.issuer);
	assert_string_equal(str(body, "sub"), "tenant:demo:role:agent:session:0b5c");
	assert_string_equal(str(body, "aud"), claims.audience);
	assert_string_equal(str(body, "tenant"), "demo");
	assert_string_equal(str(body, "role"), "agent");
	assert_string_equal(str(body, "session"), "0b5c");
	assert_string_equal(str(body, "person"), "J\xc3\xb6rg");
	assert_string_equal(str(body, "jti"), "l-1");
	assert_int_equal(json_integer_value(json_object_get(body, "iat")), 1000);
	assert_int_equal(json_integer_value(json_object_get(body, "nbf")), 1000);
	assert_int_equal(json_integer_value(json_object_get(body, "exp")), 1600);
	json_decref(header);
	json_decref(body);
	buf_done(&token);
}

/* RFC 7518 section 3.4: r and s at their full 32 bytes, over everything before the second dot. */
static void its_signature_is_raw_and_good(void **state)
{
	(void)state;
	for (int i = 0; i < 64; i++) {
		uint8_t sig[128];
		struct buf token, ssh, pair;
		const char *text, *dot2;

		buf_init(&token, JWT_MAX);
		buf_init(&ssh, 512);
		buf_init(&pair, 256);
		assert_int_equal(jwt_sign(k, &claims, &token, NULL), 0);
		text = buf_cstr(&token);
		dot2 = strrchr(text, '.');
		assert_int_equal(from_b64url(dot2 + 1, strlen(dot2 + 1), sig, sizeof sig), 64);
		buf_put_mpint(&pair, sig, 32);
		buf_put_mpint(&pair, sig + 32, 32);
		buf_put_cstring(&ssh, "ecdsa-sha2-nistp256");
		buf_put_string(&ssh, pair.data, pair.len);
		assert_int_equal(key_verify(key_private_public(k), ssh.data, ssh.len, text,
		                     (size_t)(dot2 - text), NULL),
		    0);
		buf_done(&token);
		buf_done(&ssh);
		buf_done(&pair);
	}
}

/* The key of RFC 7515 appendix A.3. */
static const char rfc_key[] =
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBH/Nzidw9sRdQYPL7m/"
    "bS3tYBzM1e+nvE7rPbjx70VRFx/FEzRu9m36HLN/tue659LNpXW6pCyStikYjKIWI5a0=";

static void names_keys_by_their_thumbprint(void **state)
{
	struct key *rfc = NULL;
	char kid[JWT_KID_LEN];

	(void)state;
	assert_int_equal(key_parse_line(rfc_key, strlen(rfc_key), &rfc, NULL), 0);
	assert_int_equal(jwt_kid(rfc, kid), 0);
	assert_string_equal(kid, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
	key_free(rfc);
}

static void tells_the_public_keys_only(void **state)
{
	struct key *rfc = NULL;
	const struct key *both[2];
	json_t *set, *jwk;

	(void)state;
	assert_int_equal(key_parse_line(rfc_key, strlen(rfc_key), &rfc, NULL), 0);
	both[0] = rfc;
	both[1] = key_private_public(k);
	set = jwt_jwks(both, 2);
	assert_int_equal(json_object_size(set), 1);
	assert_int_equal(json_array_size(json_object_get(set, "keys")), 2);
	jwk = json_array_get(json_object_get(set, "keys"), 0);
	assert_int_equal(json_object_size(jwk), 7);
	assert_string_equal(str(jwk, "kty"), "EC");
	assert_string_equal(str(jwk, "crv"), "P-256");
	assert_string_equal(str(jwk, "alg"), "ES256");
	assert_string_equal(str(jwk, "use"), "sig");
	assert_string_equal(str(jwk, "x"), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
	assert_string_equal(str(jwk, "y"), "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
	assert_null(json_object_get(jwk, "d"));
	json_decref(set);
	key_free(rfc);
}

static void other_keys_are_refused(void **state)
{
	static const enum key_type types[] = {KEY_ED25519, KEY_ECDSA_384, KEY_ECDSA_521};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct key_private *other = NULL;
		const struct key *pub;
		char kid[JWT_KID_LEN];
		struct buf token;

		assert_int_equal(key_private_generate(types[i], 0, &other, NULL), 0);
		pub = key_private_public(other);
		buf_init(&token, JWT_MAX);
		assert_int_equal(jwt_sign(other, &claims, &token, NULL), -EINVAL);
		assert_int_equal(token.len, 0);
		assert_int_equal(jwt_kid(pub, kid), -EINVAL);
		assert_null(jwt_jwks(&pub, 1));
		buf_done(&token);
		key_private_free(other);
	}
}

static void text_that_is_no_utf8_is_refused(void **state)
{
	struct jwt_claims c = claims;
	struct buf token;

	(void)state;
	buf_init(&token, JWT_MAX);
	c.person = "\xff";
	assert_int_equal(jwt_sign(k, &c, &token, NULL), -EINVAL);
	c = claims;
	c.audience = "\xc3(";
	assert_int_equal(jwt_sign(k, &c, &token, NULL), -EINVAL);
	assert_int_equal(token.len, 0);
	buf_done(&token);
}

static void a_quote_stays_within_its_claim(void **state)
{
	struct jwt_claims c = claims;
	struct buf token;
	const char *text, *dot;
	json_t *body;

	(void)state;
	c.audience = "x\",\"role\":\"admin";
	buf_init(&token, JWT_MAX);
	assert_int_equal(jwt_sign(k, &c, &token, NULL), 0);
	text = buf_cstr(&token);
	dot = strchr(text, '.') + 1;
	body = part(dot, strcspn(dot, "."));
	assert_string_equal(str(body, "role"), "agent");
	assert_string_equal(str(body, "aud"), c.audience);
	json_decref(body);
	buf_done(&token);
}

static void what_does_not_fit_is_refused(void **state)
{
	char big[JWT_MAX];
	struct jwt_claims c = claims;
	struct buf token;

	(void)state;
	memset(big, 'x', sizeof big);
	big[sizeof big - 1] = '\0';
	c.audience = big;
	buf_init(&token, JWT_MAX);
	assert_true(jwt_sign(k, &c, &token, NULL) < 0);
	big[3000] = '\0'; /* fits as JSON, not as base64 */
	assert_true(jwt_sign(k, &c, &token, NULL) < 0);
	assert_int_equal(token.len, 0);
	buf_done(&token);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(says_what_it_was_told_and_no_more),
	    cmocka_unit_test(its_signature_is_raw_and_good),
	    cmocka_unit_test(names_keys_by_their_thumbprint),
	    cmocka_unit_test(tells_the_public_keys_only),
	    cmocka_unit_test(other_keys_are_refused),
	    cmocka_unit_test(text_that_is_no_utf8_is_refused),
	    cmocka_unit_test(a_quote_stays_within_its_claim),
	    cmocka_unit_test(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
