#include "creds/key_internal.h"

#include <openssl/bn.h>
#include <string.h>

/*
 * RFC 8032 section 5.1.3, without the square root: libcrypto does not look at an ed25519 key before
 * a signature is verified, so a key that is no point, or one for which anybody can sign, would pass
 * as good. The curve is -x^2 + y^2 = 1 + d x^2 y^2 over p = 2^255 - 19.
 */

static const char prime_hex[] = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
static const char d_hex[] = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";

/* y of the points whose order divides 8, little endian */
static const uint8_t small_order[][32] = {
    {0},
    {1},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
        0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc,
        0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
        0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03,
        0x7a},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x7f},
};

bool ed25519_point_ok(const uint8_t p[32])
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *prime = NULL, *d = NULL, *y, *yy, *u, *v;
	uint8_t bytes[32];
	bool ok = false;

	memcpy(bytes, p, sizeof bytes);
	bytes[31] &= 0x7f; /* the sign of x */
	for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++) {
		if (memcmp(bytes, small_order[i], sizeof bytes) == 0)
			goto out;
	}
	if (!ctx)
		goto out;
	BN_CTX_start(ctx);
	y = BN_CTX_get(ctx);
	yy = BN_CTX_get(ctx);
	u = BN_CTX_get(ctx);
	v = BN_CTX_get(ctx);
	if (v && BN_hex2bn(&prime, prime_hex) > 0 && BN_hex2bn(&d, d_hex) > 0 &&
	    BN_lebin2bn(bytes, sizeof bytes, y) && BN_cmp(y, prime) < 0 &&
	    BN_mod_sqr(yy, y, prime, ctx) == 1 && BN_mod_mul(v, d, yy, prime, ctx) == 1 &&
	    BN_add_word(v, 1) == 1 && BN_copy(u, yy) && BN_sub_word(u, 1) == 1 &&
	    BN_mod_mul(u, u, v, prime, ctx) == 1)
		ok = BN_kronecker(u, prime, ctx) == 1; /* x^2 = u / v has a solution */
	BN_CTX_end(ctx);
out:
	BN_free(prime);
	BN_free(d);
	BN_CTX_free(ctx);
	return ok;
}
