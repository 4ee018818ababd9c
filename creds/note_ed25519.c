/* Ed25519 as notes use it: raw keys and signatures. */
#include "creds/note_internal.h"

#include <errno.h>
#include <openssl/evp.h>

#include "creds/key_internal.h"

int note_public(const uint8_t seed[NOTE_KEY_LEN], uint8_t ret[NOTE_KEY_LEN])
{
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, NOTE_KEY_LEN);
	size_t len = NOTE_KEY_LEN;
	int r = 0;

	if (k == NULL || EVP_PKEY_get_raw_public_key(k, ret, &len) != 1 || len != NOTE_KEY_LEN)
		r = -EIO;
	EVP_PKEY_free(k);
	return r;
}

int note_ed25519_sign(
    const uint8_t seed[NOTE_KEY_LEN], const void *data, size_t len, uint8_t ret[NOTE_SIGNATURE_LEN])
{
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, NOTE_KEY_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = NOTE_SIGNATURE_LEN;
	int r = 0;

	if (k == NULL || ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, k) != 1 ||
	    EVP_DigestSign(ctx, ret, &n, data, len) != 1 || n != NOTE_SIGNATURE_LEN)
		r = -EIO;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
	return r;
}

int note_ed25519_verify(const uint8_t key[NOTE_KEY_LEN], const uint8_t sig[NOTE_SIGNATURE_LEN],
    const void *data, size_t len)
{
	EVP_PKEY *k;
	EVP_MD_CTX *ctx;
	int r = 0;

	if (!ed25519_point_ok(key))
		return -EBADMSG;
	k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, NOTE_KEY_LEN);
	ctx = EVP_MD_CTX_new();
	if (k == NULL || ctx == NULL || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k) != 1)
		r = -ENOMEM;
	else if (EVP_DigestVerify(ctx, sig, NOTE_SIGNATURE_LEN, data, len) != 1)
		r = -EBADMSG;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
	return r;
}

bool note_point_ok(const uint8_t key[NOTE_KEY_LEN])
{
	return ed25519_point_ok(key);
}
