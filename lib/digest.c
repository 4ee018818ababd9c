/* The plain functions are deprecated in favour of EVP, whose every call can fail (it allocates and
 * looks up a provider). A digest that cannot fail is worth more here. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "lib/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "lib/util.h"

struct digest {
	SHA256_CTX ctx;
};

void digest_sha256_2(
    const void *a, size_t alen, const void *b, size_t blen, uint8_t ret[DIGEST_LEN])
{
	SHA256_CTX ctx;

	(void)SHA256_Init(&ctx);
	(void)SHA256_Update(&ctx, a, alen);
	(void)SHA256_Update(&ctx, b, blen);
	(void)SHA256_Final(ret, &ctx);
	OPENSSL_cleanse(&ctx, sizeof ctx);
}

void digest_sha256(const void *data, size_t len, uint8_t ret[DIGEST_LEN])
{
	digest_sha256_2(data, len, "", 0, ret);
}

struct digest *digest_new(void)
{
	struct digest *d = malloc(sizeof *d);

	if (d)
		(void)SHA256_Init(&d->ctx);
	return d;
}

void digest_update(struct digest *d, const void *data, size_t len)
{
	(void)SHA256_Update(&d->ctx, data, len);
}

void digest_final(struct digest *d, uint8_t ret[DIGEST_LEN])
{
	(void)SHA256_Final(ret, &d->ctx);
	(void)SHA256_Init(&d->ctx);
}

void digest_free(struct digest *d)
{
	int saved = errno;

	if (d)
		OPENSSL_cleanse(d, sizeof *d);
	free(d);
	errno = saved;
}
