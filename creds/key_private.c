/* Private keys: OpenSSH's file format (PROTOCOL.key) into libcrypto, and out again. */
#include "creds/key_file.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "creds/key_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/reader.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

#define FIELDS_MAX (5 * (KEY_RSA_MAX_BITS / 8 + 8) + 256)

struct key_private {
	struct key *pub;
	struct secret *fields;
	size_t fields_len;
	EVP_PKEY *pkey;
	char comment[KEY_COMMENT_MAX + 1];
};

int key_secure_heap(void)
{
	if (CRYPTO_secure_malloc_initialized() == 1)
		return 0;
	/* 1: locked; 2: good, but not locked (RLIMIT_MEMLOCK) */
	return CRYPTO_secure_malloc_init((size_t)512 * 1024, 64) == 0 ? -ENOMEM : 0;
}

void buf_over_secret(struct buf *b, struct secret *s)
{
	*b = (struct buf){secret_data(s), 0, secret_len(s), secret_len(s), 0};
}

/* ---- the fields of each type, read into libcrypto ---- */

#define NUMBERS_MAX 8

struct numbers {
	BIGNUM *bn[NUMBERS_MAX];
	size_t n;
	OSSL_PARAM_BLD *bld;
	bool failed;
};

static void numbers_done(struct numbers *s)
{
	for (size_t i = 0; i < s->n; i++)
		BN_clear_free(s->bn[i]);
	OSSL_PARAM_BLD_free(s->bld);
}

static BIGNUM *numbers_add(struct numbers *s, const char *name, BIGNUM *bn)
{
	if (!bn || OSSL_PARAM_BLD_push_BN(s->bld, name, bn) != 1)
		s->failed = true;
	if (bn)
		s->bn[s->n++] = bn;
	return bn;
}

static BIGNUM *numbers_read(struct numbers *s, struct reader *r, const char *name)
{
	const uint8_t *p;
	size_t len;

	if (reader_mpint(r, KEY_RSA_MAX_BITS / 8 + 1, &p, &len) < 0) {
		s->failed = true;
		return NULL;
	}
	return numbers_add(s, name, BN_bin2bn(p, (int)len, BN_secure_new()));
}

static EVP_PKEY *numbers_pkey(struct numbers *s, const char *algorithm)
{
	OSSL_PARAM *params = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *out = NULL;

	if (s->failed)
		return NULL;
	params = OSSL_PARAM_BLD_to_param(s->bld);
	ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &out, EVP_PKEY_KEYPAIR, params) != 1)
		out = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params); /* clears what push_BN kept in secure memory */
	return out;
}

/* d mod (p - 1), which the file does not hold */
static BIGNUM *crt_exponent(const BIGNUM *d, const BIGNUM *p)
{
	BN_CTX *ctx = BN_CTX_secure_new();
	BIGNUM *less = BN_secure_new(), *out = BN_secure_new();

	if (!ctx || !less || !out || !BN_copy(less, p) || BN_sub_word(less, 1) != 1 ||
	    BN_mod(out, d, less, ctx) != 1) {
		BN_clear_free(out);
		out = NULL;
	}
	BN_clear_free(less);
	BN_CTX_free(ctx);
	return out;
}

static EVP_PKEY *rsa_pkey(struct reader *r)
{
	struct numbers s = {.bld = OSSL_PARAM_BLD_new()};
	EVP_PKEY *out = NULL;
	BIGNUM *d, *p, *q;

	if (!s.bld)
		return NULL;
	(void)numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_N);
	(void)numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_E);
	d = numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_D);
	(void)numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
	p = numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_FACTOR1);
	q = numbers_read(&s, r, OSSL_PKEY_PARAM_RSA_FACTOR2);
	if (!s.failed && !BN_is_one(p) && !BN_is_one(q) && !BN_is_zero(p) && !BN_is_zero(q)) {
		numbers_add(&s, OSSL_PKEY_PARAM_RSA_EXPONENT1, crt_exponent(d, p));
		numbers_add(&s, OSSL_PKEY_PARAM_RSA_EXPONENT2, crt_exponent(d, q));
		out = numbers_pkey(&s, "RSA");
	}
	numbers_done(&s);
	return out;
}

static EVP_PKEY *ecdsa_pkey(struct reader *r, const struct key_kind *kind)
{
	struct numbers s = {.bld = OSSL_PARAM_BLD_new()};
	EVP_PKEY *out = NULL;
	const uint8_t *curve, *point;
	size_t curve_len, point_len;

	if (!s.bld)
		return NULL;
	if (reader_string(r, 32, &curve, &curve_len) == 0 && curve_len == strlen(kind->curve) &&
	    memcmp(curve, kind->curve, curve_len) == 0 &&
	    reader_string(r, 256, &point, &point_len) == 0 &&
	    OSSL_PARAM_BLD_push_utf8_string(s.bld, OSSL_PKEY_PARAM_GROUP_NAME, kind->group, 0) ==
	        1 &&
	    OSSL_PARAM_BLD_push_octet_string(s.bld, OSSL_PKEY_PARAM_PUB_KEY, point, point_len) ==
	        1) {
		(void)numbers_read(&s, r, OSSL_PKEY_PARAM_PRIV_KEY);
		out = numbers_pkey(&s, "EC");
	}
	numbers_done(&s);
	return out;
}

static EVP_PKEY *ed25519_pkey(struct reader *r)
{
	const uint8_t *pub, *both;
	size_t pub_len, both_len;

	if (reader_string(r, 32, &pub, &pub_len) < 0 ||
	    reader_string(r, 64, &both, &both_len) < 0 || pub_len != 32 || both_len != 64 ||
	    memcmp(pub, both + 32, 32) != 0)
		return NULL;
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, both, 32);
}

int key_private_fields_len(const uint8_t *data, size_t len, size_t *ret)
{
	static const unsigned count[KEY_TYPES] = {2, 3, 3, 3, 6};
	struct reader r;
	const uint8_t *p;
	size_t n;
	enum key_type type;

	reader_init(&r, data, len);
	if (reader_string(&r, 64, &p, &n) < 0 || key_type_find((const char *)p, n, &type) < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < count[type]; i++) {
		if (reader_string(&r, KEY_BLOB_MAX, &p, &n) < 0)
			return -EBADMSG;
	}
	*ret = len - r.left;
	return 0;
}

/* The private part must be the public one's: a signature tells. */
static int check_pair(const struct key_private *k, struct err *e)
{
	static const char data[] = "postern: these two belong together";
	struct buf sig;
	int r;

	buf_init(&sig, KEY_SIG_MAX);
	r = EVP_PKEY_eq(k->pkey, k->pub->pkey) == 1 ? 0 : -EKEYREJECTED;
	if (r == 0)
		r = key_private_sign(k, data, sizeof data, &sig, NULL);
	if (r == 0)
		r = key_verify(k->pub, sig.data, sig.len, data, sizeof data, NULL);
	buf_done(&sig);
	if (r < 0)
		return err_set(
		    e, -EKEYREJECTED, "the private key does not belong to the public one");
	return 0;
}

int key_private_from_fields(struct secret *fields, size_t len, const struct key *pub,
    const char *comment, struct key_private **ret, struct err *e)
{
	const struct key_kind *kind = key_kind(pub->type);
	struct key_private *k;
	struct reader r;
	const uint8_t *name;
	size_t name_len;
	int result;

	reader_init(&r, secret_data(fields), len);
	if (reader_string(&r, 64, &name, &name_len) < 0 || name_len != strlen(kind->name) ||
	    memcmp(name, kind->name, name_len) != 0)
		return err_set(e, -EBADMSG, "private and public key are of different types");
	k = calloc(1, sizeof *k);
	if (!k)
		return err_set(e, -ENOMEM, "cannot hold a private key");
	k->pub = key_dup(pub);
	(void)str_copy(k->comment, sizeof k->comment, comment ? comment : "");
	if (pub->type == KEY_ED25519)
		k->pkey = ed25519_pkey(&r);
	else if (pub->type == KEY_RSA)
		k->pkey = rsa_pkey(&r);
	else
		k->pkey = ecdsa_pkey(&r, kind);
	if (!k->pub || !k->pkey || reader_end(&r) < 0)
		result = err_set(e, -EBADMSG, "malformed private key");
	else
		result = check_pair(k, e);
	if (result < 0) {
		key_private_free(k);
		return result;
	}
	k->fields = fields;
	k->fields_len = len;
	*ret = k;
	return 0;
}

void key_private_free(struct key_private *k)
{
	int saved = errno;

	if (k) {
		key_free(k->pub);
		secret_free(k->fields);
		EVP_PKEY_free(k->pkey);
		free(k);
	}
	errno = saved;
}

const struct key *key_private_public(const struct key_private *k)
{
	return k->pub;
}

const char *key_private_comment(const struct key_private *k)
{
	return k->comment;
}

const uint8_t *key_private_fields(const struct key_private *k, size_t *ret_len)
{
	*ret_len = k->fields_len;
	return secret_data(k->fields);
}

/* ---- new keys ---- */

static int put_number(struct buf *b, EVP_PKEY *pkey, const char *name)
{
	uint8_t bytes[KEY_RSA_MAX_BITS / 8];
	BIGNUM *bn = NULL;
	int n;

	if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1)
		return -EIO;
	n = BN_num_bytes(bn);
	if (n > (int)sizeof bytes || BN_bn2bin(bn, bytes) != n) {
		BN_clear_free(bn);
		return -EIO;
	}
	BN_clear_free(bn);
	buf_put_mpint(b, bytes, (size_t)n);
	secret_wipe(bytes, sizeof bytes);
	return 0;
}

static int put_rsa(struct buf *pub, struct buf *priv, EVP_PKEY *pkey)
{
	static const char *const names[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E,
	    OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, OSSL_PKEY_PARAM_RSA_FACTOR1,
	    OSSL_PKEY_PARAM_RSA_FACTOR2};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(names) && r == 0; i++)
		r = put_number(priv, pkey, names[i]);
	if (r < 0 || (r = put_number(pub, pkey, OSSL_PKEY_PARAM_RSA_E)) < 0)
		return r;
	return put_number(pub, pkey, OSSL_PKEY_PARAM_RSA_N);
}

static int put_ecdsa(struct buf *pub, struct buf *priv, EVP_PKEY *pkey, const struct key_kind *kind)
{
	uint8_t point[160];
	size_t n;

	if (EVP_PKEY_get_octet_string_param(
	        pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n) != 1 ||
	    n != kind->point_len || point[0] != 4)
		return -EIO;
	buf_put_cstring(pub, kind->curve);
	buf_put_string(pub, point, n);
	buf_put_cstring(priv, kind->curve);
	buf_put_string(priv, point, n);
	return put_number(priv, pkey, OSSL_PKEY_PARAM_PRIV_KEY);
}

static int put_ed25519(struct buf *pub, struct buf *priv, EVP_PKEY *pkey)
{
	uint8_t both[64];
	size_t a = 32, b = 32;

	if (EVP_PKEY_get_raw_private_key(pkey, both, &a) != 1 ||
	    EVP_PKEY_get_raw_public_key(pkey, both + 32, &b) != 1 || a != 32 || b != 32)
		return -EIO;
	buf_put_string(pub, both + 32, 32);
	buf_put_string(priv, both + 32, 32);
	buf_put_string(priv, both, 64);
	secret_wipe(both, sizeof both);
	return 0;
}

static EVP_PKEY *generate(enum key_type type, unsigned bits)
{
	if (type == KEY_ED25519)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (type == KEY_RSA)
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", key_kind(type)->group);
}

int key_private_generate(enum key_type type, unsigned bits, struct key_private **ret, struct err *e)
{
	cleanup_secret struct secret *fields = NULL;
	cleanup_key struct key *pub = NULL;
	struct buf priv, pub_blob;
	EVP_PKEY *pkey;
	int r;

	if (bits == 0)
		bits = 3072;
	if (type == KEY_RSA && (bits < KEY_RSA_MIN_BITS || bits > KEY_RSA_MAX_BITS))
		return err_set(
		    e, -EINVAL, "an RSA key has %d to %d bits", KEY_RSA_MIN_BITS, KEY_RSA_MAX_BITS);
	fields = secret_new(FIELDS_MAX);
	pkey = generate(type, bits);
	if (!fields || !pkey) {
		EVP_PKEY_free(pkey);
		return err_set(e, -ENOMEM, "cannot make a key");
	}
	buf_over_secret(&priv, fields);
	buf_init(&pub_blob, KEY_BLOB_MAX);
	buf_put_cstring(&priv, key_kind(type)->name);
	buf_put_cstring(&pub_blob, key_kind(type)->name);
	if (type == KEY_ED25519)
		r = put_ed25519(&pub_blob, &priv, pkey);
	else if (type == KEY_RSA)
		r = put_rsa(&pub_blob, &priv, pkey);
	else
		r = put_ecdsa(&pub_blob, &priv, pkey, key_kind(type));
	EVP_PKEY_free(pkey);
	if (r == 0 && (r = buf_status(&priv)) == 0)
		r = buf_status(&pub_blob);
	if (r < 0)
		err_set(e, r, "cannot make a key");
	else
		r = key_parse_blob(pub_blob.data, pub_blob.len, &pub, e);
	buf_done(&pub_blob);
	if (r == 0)
		r = key_private_from_fields(fields, priv.len, pub, NULL, ret, e);
	if (r == 0)
		(void)steal_ptr(&fields);
	return r;
}

/* ---- signing ---- */

static int evp_sign(const struct key_private *k, const char *digest, const void *data, size_t len,
    uint8_t *sig, size_t *sig_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, k->pkey, NULL) == 1 &&
	          EVP_DigestSign(ctx, sig, sig_len, data, len) == 1;

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

int key_private_sign_raw(const struct key_private *k, const void *data, size_t len,
    uint8_t ret[KEY_RAW_SIG_MAX], size_t *ret_len, struct err *e)
{
	const struct key_kind *kind = key_kind(k->pub->type);
	size_t n = (kind->point_len - 1) / 2, der_len = 256;
	uint8_t der[256];
	const uint8_t *p = der;
	ECDSA_SIG *sig;
	int r = 0;

	if (kind->point_len == 0)
		return err_set(e, -EINVAL, "not an ecdsa key");
	if (evp_sign(k, kind->digest, data, len, der, &der_len) < 0 ||
	    !(sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len)))
		return err_set(e, -EIO, "cannot sign");
	if (BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, (int)n) < 0 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + n, (int)n) < 0)
		r = err_set(e, -EIO, "cannot sign");
	else
		*ret_len = 2 * n;
	ECDSA_SIG_free(sig);
	return r;
}

int key_private_sign(
    const struct key_private *k, const void *data, size_t len, struct buf *out, struct err *e)
{
	uint8_t sig[KEY_RSA_MAX_BITS / 8];
	size_t n = sizeof sig;
	int r;

	if (k->pub->type == KEY_ED25519 || k->pub->type == KEY_RSA) {
		bool rsa = k->pub->type == KEY_RSA;

		if (evp_sign(k, rsa ? "SHA512" : NULL, data, len, sig, &n) < 0)
			return err_set(e, -EIO, "cannot sign");
		buf_put_cstring(out, rsa ? "rsa-sha2-512" : key_kind(KEY_ED25519)->name);
		buf_put_string(out, sig, n);
	} else {
		struct buf pair;

		r = key_private_sign_raw(k, data, len, sig, &n, e);
		if (r < 0)
			return r;
		buf_init(&pair, 160);
		buf_put_mpint(&pair, sig, n / 2);
		buf_put_mpint(&pair, sig + n / 2, n / 2);
		r = buf_status(&pair);
		buf_put_cstring(out, key_kind(k->pub->type)->name);
		buf_put_string(out, pair.data, pair.len);
		buf_done(&pair);
		if (r < 0)
			return err_set(e, r, "cannot sign");
	}
	r = buf_status(out);
	return r < 0 ? err_set(e, r, "cannot hold a signature") : 0;
}
