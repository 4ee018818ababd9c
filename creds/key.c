#include "creds/key.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "creds/key_internal.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

static const struct key_kind kinds[KEY_TYPES] = {
    [KEY_ED25519] = {"ssh-ed25519", NULL, NULL, 0, 256, NULL},
    [KEY_ECDSA_256] = {"ecdsa-sha2-nistp256", "nistp256", "P-256", 65, 256, "SHA256"},
    [KEY_ECDSA_384] = {"ecdsa-sha2-nistp384", "nistp384", "P-384", 97, 384, "SHA384"},
    [KEY_ECDSA_521] = {"ecdsa-sha2-nistp521", "nistp521", "P-521", 133, 521, "SHA512"},
    [KEY_RSA] = {"ssh-rsa", NULL, NULL, 0, 0, NULL},
};

const struct key_kind *key_kind(enum key_type t)
{
	return &kinds[t];
}

int key_type_find(const char *name, size_t len, enum key_type *ret)
{
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		if (strlen(kinds[t].name) == len && memcmp(kinds[t].name, name, len) == 0) {
			*ret = (enum key_type)t;
			return 0;
		}
	}
	return -ENOTSUP;
}

static EVP_PKEY *pkey_from(const char *algorithm, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
	EVP_PKEY *out = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &out, EVP_PKEY_PUBLIC_KEY, params) != 1)
		out = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return out;
}

static int read_ed25519(struct reader *r, EVP_PKEY **ret, struct err *e)
{
	const uint8_t *p;
	size_t n;

	if (reader_string(r, 32, &p, &n) < 0 || n != 32)
		return err_set(e, -EBADMSG, "malformed ed25519 key");
	if (!ed25519_point_ok(p))
		return err_set(e, -EKEYREJECTED, "ed25519 key is not a point of its curve");
	*ret = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p, n);
	return *ret ? 0 : err_set(e, -ENOMEM, "cannot hold an ed25519 key");
}

static int read_ecdsa(struct reader *r, const struct key_kind *kind, EVP_PKEY **ret, struct err *e)
{
	OSSL_PARAM_BLD *bld;
	const uint8_t *curve, *point;
	size_t curve_len, n;

	if (reader_string(r, 32, &curve, &curve_len) < 0 || curve_len != strlen(kind->curve) ||
	    memcmp(curve, kind->curve, curve_len) != 0)
		return err_set(e, -EBADMSG, "%s key names another curve", kind->name);
	/* RFC 5656 section 3.1 allows compressed points; OpenSSH writes and reads uncompressed ones
	 * only */
	if (reader_string(r, 256, &point, &n) < 0 || n != kind->point_len || point[0] != 4)
		return err_set(e, -EBADMSG, "malformed %s key", kind->name);

	bld = OSSL_PARAM_BLD_new();
	if (!bld ||
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, kind->group, 0) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, n) != 1) {
		OSSL_PARAM_BLD_free(bld);
		return err_set(e, -ENOMEM, "cannot hold an ecdsa key");
	}
	*ret = pkey_from("EC", bld); /* refuses what is off the curve or at infinity */
	OSSL_PARAM_BLD_free(bld);
	if (!*ret)
		return err_set(e, -EKEYREJECTED, "%s key is not a point of its curve", kind->name);
	return 0;
}

static int read_rsa(struct reader *r, EVP_PKEY **ret, struct err *e)
{
	OSSL_PARAM_BLD *bld = NULL;
	const uint8_t *ebytes, *nbytes;
	size_t elen, nlen;
	BIGNUM *n = NULL, *exponent = NULL;
	int bits, result = 0;

	if (reader_mpint(r, 64, &ebytes, &elen) < 0 ||
	    reader_mpint(r, KEY_RSA_MAX_BITS / 8 + 1, &nbytes, &nlen) < 0)
		return err_set(e, -EBADMSG, "malformed or oversized RSA key");
	n = BN_bin2bn(nbytes, (int)nlen, NULL);
	exponent = BN_bin2bn(ebytes, (int)elen, NULL);
	bld = OSSL_PARAM_BLD_new();
	if (!n || !exponent || !bld) {
		result = err_set(e, -ENOMEM, "cannot hold an RSA key");
		goto out;
	}
	bits = BN_num_bits(n);
	if (bits < KEY_RSA_MIN_BITS) {
		result = err_set(e, -EKEYREJECTED, "RSA key of %d bits is shorter than %d", bits,
		    KEY_RSA_MIN_BITS);
		goto out;
	}
	/* libcrypto takes no exponent beyond 64 bits with a modulus beyond 3072 */
	if (bits > KEY_RSA_MAX_BITS || !BN_is_odd(n) || !BN_is_odd(exponent) ||
	    BN_is_one(exponent) || BN_num_bits(exponent) > 64) {
		result = err_set(e, -EKEYREJECTED, "RSA key has an impossible modulus or exponent");
		goto out;
	}
	if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, exponent) != 1 ||
	    !(*ret = pkey_from("RSA", bld)))
		result = err_set(e, -ENOMEM, "cannot hold an RSA key");
out:
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(exponent);
	return result;
}

int key_parse_blob(const void *data, size_t len, struct key **ret, struct err *e)
{
	struct reader r;
	const uint8_t *name;
	size_t name_len;
	enum key_type type;
	EVP_PKEY *pkey = NULL;
	struct key *k;
	int result;

	reader_init(&r, data, len);
	if (len > KEY_BLOB_MAX || reader_string(&r, 64, &name, &name_len) < 0)
		return err_set(e, -EBADMSG, "malformed key");
	if (key_type_find((const char *)name, name_len, &type) < 0) {
		char text[128];

		return err_set(e, -ENOTSUP, "keys of type \"%s\" are not accepted",
		    str_escape(text, sizeof text, name, name_len));
	}
	if (type == KEY_ED25519)
		result = read_ed25519(&r, &pkey, e);
	else if (type == KEY_RSA)
		result = read_rsa(&r, &pkey, e);
	else
		result = read_ecdsa(&r, &kinds[type], &pkey, e);
	if (result < 0)
		return result;
	if (reader_end(&r) < 0) {
		EVP_PKEY_free(pkey);
		return err_set(e, -EBADMSG, "%zu bytes behind the key", r.left);
	}
	k = malloc(sizeof *k + len);
	if (!k) {
		EVP_PKEY_free(pkey);
		return err_set(e, -ENOMEM, "cannot hold a key");
	}
	k->type = type;
	k->pkey = pkey;
	k->bits = kinds[type].bits != 0 ? kinds[type].bits : (unsigned)EVP_PKEY_get_bits(pkey);
	k->blob_len = len;
	memcpy(k->blob, data, len);
	*ret = k;
	return 0;
}

static size_t word(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] != ' ' && s[n] != '\t')
		n++;
	return n;
}

int key_line_decode(const char *line, size_t len, size_t max, const char **ret_name,
    size_t *ret_name_len, uint8_t **ret_blob, size_t *ret_blob_len, struct err *e)
{
	cleanup_free uint8_t *blob = NULL;
	struct reader r;
	const uint8_t *inner;
	size_t name_len, b64_len, blob_len, inner_len;
	const char *b64;

	if (len > 0 && line[len - 1] == '\n')
		len--;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			return err_set(e, -EBADMSG, "control character in a key's line");
	}
	name_len = word(line, len);
	if (name_len == 0 || name_len + 1 >= len)
		return err_set(e, -EBADMSG, "not a key's line: TYPE BASE64 [COMMENT]");
	b64 = line + name_len + 1;
	b64_len = word(b64, len - name_len - 1);
	if (b64_len == 0 || b64_len / 4 > max / 3 + 1)
		return err_set(e, -EBADMSG, "not a key's line: TYPE BASE64 [COMMENT]");
	blob = malloc(b64_len);
	if (!blob)
		return err_set(e, -ENOMEM, "cannot hold a key");
	if (b64_decode(blob, b64_len, b64, b64_len, &blob_len) < 0)
		return err_set(e, -EBADMSG, "a key's base64 is malformed");
	reader_init(&r, blob, blob_len);
	if (reader_string(&r, 128, &inner, &inner_len) < 0 || inner_len != name_len ||
	    memcmp(inner, line, name_len) != 0)
		return err_set(e, -EBADMSG, "a key's line names another type than the key");
	*ret_name = line;
	*ret_name_len = name_len;
	*ret_blob = steal_ptr(&blob);
	*ret_blob_len = blob_len;
	return 0;
}

int key_parse_line(const char *line, size_t len, struct key **ret, struct err *e)
{
	cleanup_free uint8_t *blob = NULL;
	const char *name;
	size_t name_len, blob_len;
	int r;

	r = key_line_decode(line, len, KEY_BLOB_MAX, &name, &name_len, &blob, &blob_len, e);
	return r < 0 ? r : key_parse_blob(blob, blob_len, ret, e);
}

void key_free(struct key *k)
{
	int saved = errno;

	if (k) {
		EVP_PKEY_free(k->pkey);
		free(k);
	}
	errno = saved;
}

struct key *key_dup(const struct key *k)
{
	struct key *out = malloc(sizeof *out + k->blob_len);

	if (!out || EVP_PKEY_up_ref(k->pkey) != 1) {
		free(out);
		return NULL;
	}
	memcpy(out, k, sizeof *out);
	memcpy(out->blob, k->blob, k->blob_len);
	return out;
}

enum key_type key_type(const struct key *k)
{
	return k->type;
}

const char *key_type_name(enum key_type t)
{
	return kinds[t].name;
}

unsigned key_bits(const struct key *k)
{
	return k->bits;
}

const uint8_t *key_blob(const struct key *k, size_t *ret_len)
{
	*ret_len = k->blob_len;
	return k->blob;
}

bool key_equal(const struct key *a, const struct key *b)
{
	return a->type == b->type && EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

char *key_fingerprint(const struct key *k, char dst[KEY_FINGERPRINT_LEN])
{
	uint8_t digest[DIGEST_LEN];
	char b64[B64_LEN(DIGEST_LEN) + 1];

	digest_sha256(k->blob, k->blob_len, digest);
	b64_encode(b64, digest, sizeof digest);
	memcpy(dst, "SHA256:", 7);
	memcpy(dst + 7, b64, 43); /* without the one "=" */
	dst[50] = '\0';
	return dst;
}

void key_format_line(const struct key *k, const char *comment, struct buf *out)
{
	char b64[B64_LEN(KEY_BLOB_MAX) + 1];

	b64_encode(b64, k->blob, k->blob_len);
	buf_printf(out, "%s %s", kinds[k->type].name, b64);
	if (comment && *comment != '\0')
		buf_printf(out, " %s", comment);
	buf_put(out, "\n", 1);
}

int key_ec_point(const struct key *k, const uint8_t **ret_x, const uint8_t **ret_y, size_t *ret_len)
{
	size_t point = kinds[k->type].point_len, n = (point - 1) / 2;

	if (point == 0)
		return -EINVAL;
	*ret_x = k->blob + k->blob_len - 2 * n; /* the point is the blob's end */
	*ret_y = k->blob + k->blob_len - n;
	*ret_len = n;
	return 0;
}
