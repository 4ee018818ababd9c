/* Signatures of public keys, in SSH's encoding. */
#include "creds/key.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <string.h>

#include "creds/key_internal.h"
#include "lib/err.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

int key_sig_digest(const struct key *k, const char *alg, size_t len, const char **ret)
{
	const struct key_kind *kind = key_kind(k->type);

	if (k->type == KEY_RSA) {
		/* never "ssh-rsa": that is SHA-1 (RFC 8332 section 3) */
		if (len == 12 && memcmp(alg, "rsa-sha2-512", len) == 0)
			*ret = "SHA512";
		else if (len == 12 && memcmp(alg, "rsa-sha2-256", len) == 0)
			*ret = "SHA256";
		else
			return -ENOTSUP;
		return 0;
	}
	if (len != strlen(kind->name) || memcmp(alg, kind->name, len) != 0)
		return -ENOTSUP;
	*ret = kind->digest;
	return 0;
}

/* The signature field of ECDSA is two mpints in a string (RFC 5656 section 3.1.2); libcrypto wants
 * DER. */
static int ecdsa_to_der(const uint8_t *p, size_t len, uint8_t **ret, int *ret_len)
{
	struct reader in;
	const uint8_t *rb, *sb;
	size_t rl, sl;
	BIGNUM *r, *s;
	ECDSA_SIG *sig;

	reader_init(&in, p, len);
	if (reader_mpint(&in, 67, &rb, &rl) < 0 || reader_mpint(&in, 67, &sb, &sl) < 0 ||
	    reader_end(&in) < 0)
		return -EBADMSG;
	r = BN_bin2bn(rb, (int)rl, NULL);
	s = BN_bin2bn(sb, (int)sl, NULL);
	sig = ECDSA_SIG_new();
	if (!r || !s || !sig || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		ECDSA_SIG_free(sig);
		return -ENOMEM;
	}
	*ret = NULL;
	*ret_len = i2d_ECDSA_SIG(sig, ret);
	ECDSA_SIG_free(sig);
	return *ret_len <= 0 ? -ENOMEM : 0;
}

static bool evp_verify(const struct key *k, const char *digest, const uint8_t *sig, size_t sig_len,
    const void *data, size_t len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx &&
	          EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, k->pkey, NULL) == 1 &&
	          EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

int key_verify(const struct key *k, const void *sig, size_t sig_len, const void *data, size_t len,
    struct err *e)
{
	struct reader r;
	const uint8_t *alg, *value;
	size_t alg_len, value_len;
	const char *digest;
	bool ok;

	reader_init(&r, sig, sig_len);
	if (reader_string(&r, 64, &alg, &alg_len) < 0 ||
	    reader_string(&r, KEY_SIG_MAX, &value, &value_len) < 0 || reader_end(&r) < 0)
		return err_set(e, -EBADMSG, "malformed signature");
	if (key_sig_digest(k, (const char *)alg, alg_len, &digest) < 0) {
		char text[128];

		return err_set(e, -ENOTSUP,
		    "signature algorithm \"%s\" is not accepted for an %s key",
		    str_escape(text, sizeof text, alg, alg_len), key_kind(k->type)->name);
	}
	if (k->type == KEY_ED25519) {
		if (value_len != 64)
			return err_set(e, -EBADMSG, "malformed ed25519 signature");
		ok = evp_verify(k, NULL, value, value_len, data, len);
	} else if (k->type == KEY_RSA) {
		if (value_len != (size_t)EVP_PKEY_get_size(k->pkey))
			return err_set(e, -EBADMSG, "RSA signature is not as long as the modulus");
		ok = evp_verify(k, digest, value, value_len, data, len);
	} else {
		uint8_t *der;
		int der_len, result;

		result = ecdsa_to_der(value, value_len, &der, &der_len);
		if (result < 0)
			return err_set(e, result, "malformed ecdsa signature");
		ok = evp_verify(k, digest, der, (size_t)der_len, data, len);
		OPENSSL_free(der);
	}
	return ok ? 0 : err_set(e, -EKEYREJECTED, "the signature is wrong");
}
