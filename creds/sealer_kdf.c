/* Keys of the seals from their seeds, by HKDF. */
#include "creds/sealer_internal.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdint.h>
#include <string.h>

/* OSSL_PARAM takes what it only reads without const. */
static void *unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

int sealer_derive(const uint8_t seed[SEED_LEN], const char *info, uint8_t ret[SEED_LEN])
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, unconst("SHA256"), 0),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, unconst(seed), SEED_LEN),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, unconst(info), strlen(info)),
	    OSSL_PARAM_construct_end(),
	};
	int r = ctx && EVP_KDF_derive(ctx, ret, SEED_LEN, params) == 1 ? 0 : -EIO;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return r;
}
