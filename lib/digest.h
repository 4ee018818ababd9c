/*
 * SHA-256, the only digest of records, programs and blobs. The one file outside creds that uses
 * libcrypto.
 */
#ifndef POSTERN_LIB_DIGEST_H
#define POSTERN_LIB_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN     32
#define DIGEST_HEX_LEN 64

struct digest; /* a running SHA-256 */

void digest_sha256(const void *data, size_t len, uint8_t ret[DIGEST_LEN]);
/* Hash of a then b, without copying them together. */
void digest_sha256_2(
    const void *a, size_t alen, const void *b, size_t blen, uint8_t ret[DIGEST_LEN]);
struct digest *digest_new(void); /* NULL without memory */
void digest_update(struct digest *d, const void *data, size_t len);
void digest_final(struct digest *d, uint8_t ret[DIGEST_LEN]); /* d may be used again afterwards */
void digest_free(struct digest *d);

#endif
