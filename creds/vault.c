#include "creds/vault.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/secret.h"
#include "lib/util.h"

#define KEY_LEN   32
#define NONCE_LEN 12
#define AAD_LEN   (VAULT_HEADER + 8 + VAULT_FRAME_HEAD)

struct vault {
	int fd; /* borrowed */
	struct secret *key;
	uint8_t header[VAULT_HEADER];
	uint64_t frame;
	bool done;
};

/* ---- the header ---- */

int vault_header_parse(const void *data, size_t len, struct vault_header *ret, struct err *e)
{
	const uint8_t *magic, *salt;
	struct vault_header h;
	struct reader in;

	reader_init(&in, data, len);
	if (reader_bytes(&in, VAULT_MAGIC_LEN, &magic) < 0 ||
	    memcmp(magic, VAULT_MAGIC, VAULT_MAGIC_LEN) != 0 || reader_u32(&in, &h.version) < 0)
		return err_set(e, -EBADMSG, "not a file of keys");
	if (h.version != VAULT_VERSION)
		return err_set(e, -EPROTO, "made by a newer Postern");
	if (reader_u8(&in, &h.log2_n) < 0 || reader_u32(&in, &h.r) < 0 ||
	    reader_u32(&in, &h.p) < 0 || reader_bytes(&in, VAULT_SALT, &salt) < 0 ||
	    reader_end(&in) < 0)
		return err_set(e, -EBADMSG, "its head is cut off");
	if (h.log2_n < VAULT_LOG2_N_MIN || h.log2_n > VAULT_LOG2_N_MAX || h.r != VAULT_R_MAX ||
	    h.p == 0 || h.p > VAULT_P_MAX)
		return err_set(e, -ERANGE, "it asks for another amount of work than is fit");
	memcpy(h.salt, salt, VAULT_SALT);
	*ret = h;
	return 0;
}

static int header_pack(const struct vault_header *h, uint8_t ret[VAULT_HEADER])
{
	cleanup_buf struct buf b;

	buf_init(&b, VAULT_HEADER);
	buf_put(&b, VAULT_MAGIC, VAULT_MAGIC_LEN);
	buf_put_u32(&b, h->version);
	buf_put_u8(&b, h->log2_n);
	buf_put_u32(&b, h->r);
	buf_put_u32(&b, h->p);
	buf_put(&b, h->salt, VAULT_SALT);
	if (buf_status(&b) < 0)
		return -ENOMEM;
	memcpy(ret, b.data, VAULT_HEADER);
	return 0;
}

/* ---- the beginning and the end ---- */

static int begin(
    int fd, const struct vault_header *h, struct secret *pass, struct vault **ret, struct err *e)
{
	uint64_t n = UINT64_C(1) << h->log2_n;
	struct vault *v;

	if (secret_len(pass) < VAULT_PASS_MIN || secret_len(pass) > VAULT_PASS_MAX)
		return err_set(
		    e, -EINVAL, "a passphrase has %d to %d bytes", VAULT_PASS_MIN, VAULT_PASS_MAX);
	if (!(v = calloc(1, sizeof *v)) || !(v->key = secret_new(KEY_LEN))) {
		free(v);
		return err_set(e, -ENOMEM, "no memory");
	}
	v->fd = fd;
	if (header_pack(h, v->header) < 0 ||
	    EVP_PBE_scrypt((const char *)secret_data(pass), secret_len(pass), h->salt, VAULT_SALT,
	        n, h->r, h->p, UINT64_C(512) << 20, secret_data(v->key), KEY_LEN) != 1) {
		vault_free(v);
		return err_set(e, -ENOMEM, "the passphrase cannot be made a key");
	}
	*ret = v;
	return 0;
}

int vault_create(int fd, struct secret *passphrase, struct vault **ret, struct err *e)
{
	struct vault_header h = {
	    .version = VAULT_VERSION, .r = VAULT_R, .p = VAULT_P, .log2_n = VAULT_LOG2_N};
	struct vault *v;
	int r;

	fd_random(h.salt, sizeof h.salt);
	if ((r = begin(fd, &h, passphrase, &v, e)) < 0)
		return r;
	if ((r = fd_write_full(fd, v->header, VAULT_HEADER)) < 0) {
		vault_free(v);
		return err_set(e, r, "cannot write: %s", strerror(-r));
	}
	*ret = v;
	return 0;
}

int vault_open(int fd, struct secret *passphrase, struct vault **ret, struct err *e)
{
	uint8_t data[VAULT_HEADER];
	struct vault_header h;
	int r;

	if ((r = fd_read_full(fd, data, sizeof data)) < 0)
		return err_set(e, -EBADMSG, "not a file of keys");
	if ((r = vault_header_parse(data, sizeof data, &h, e)) < 0)
		return r;
	return begin(fd, &h, passphrase, ret, e);
}

void vault_free(struct vault *v)
{
	int saved = errno;

	if (v)
		secret_free(v->key);
	free(v);
	errno = saved;
}

/* ---- frames ---- */

static void put_be(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static EVP_CIPHER_CTX *start(
    const struct vault *v, const uint8_t head[VAULT_FRAME_HEAD], bool encrypt)
{
	uint8_t nonce[NONCE_LEN] = {0}, aad[AAD_LEN];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	put_be(nonce + NONCE_LEN - 8, v->frame, 8);
	memcpy(aad, v->header, VAULT_HEADER);
	put_be(aad + VAULT_HEADER, v->frame, 8);
	memcpy(aad + VAULT_HEADER + 8, head, VAULT_FRAME_HEAD);
	if (c &&
	    EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, secret_data(v->key), nonce, encrypt) ==
	        1 &&
	    EVP_CipherUpdate(c, NULL, &n, aad, AAD_LEN) == 1)
		return c;
	EVP_CIPHER_CTX_free(c);
	return NULL;
}

static int encrypt(const struct vault *v, const uint8_t head[VAULT_FRAME_HEAD], const void *data,
    size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *c = start(v, head, true);
	int n = 0, m = 0, r = -EIO;

	if (c && EVP_CipherUpdate(c, out, &n, data, (int)len) == 1 &&
	    EVP_CipherFinal_ex(c, out + n, &m) == 1 &&
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, VAULT_TAG, out + len) == 1)
		r = 0;
	EVP_CIPHER_CTX_free(c);
	return r;
}

int vault_put(struct vault *v, const void *data, size_t len, bool last, struct err *e)
{
	uint8_t head[VAULT_FRAME_HEAD];
	cleanup_free uint8_t *out = NULL;
	int r;

	if (v->done || len == 0 || len > VAULT_FRAME_MAX)
		return err_set(e, -EINVAL, "a frame has at most %d bytes", VAULT_FRAME_MAX);
	put_be(head, len + VAULT_TAG, 4);
	head[4] = last;
	if (!(out = malloc(len + VAULT_TAG)))
		return err_set(e, -ENOMEM, "no memory");
	if ((r = encrypt(v, head, data, len, out)) < 0)
		return err_set(e, r, "it cannot be encrypted");
	if ((r = fd_write_full(v->fd, head, sizeof head)) < 0 ||
	    (r = fd_write_full(v->fd, out, len + VAULT_TAG)) < 0)
		return err_set(e, r, "cannot write: %s", strerror(-r));
	v->frame++;
	v->done = last;
	return 0;
}

static int decrypt(const struct vault *v, const uint8_t head[VAULT_FRAME_HEAD], uint8_t *data,
    size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *c = start(v, head, false);
	int n = 0, m = 0, r = -EKEYREJECTED;

	if (c && EVP_CipherUpdate(c, out, &n, data, (int)len) == 1 &&
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, VAULT_TAG, data + len) == 1 &&
	    EVP_CipherFinal_ex(c, out + n, &m) == 1)
		r = 0;
	EVP_CIPHER_CTX_free(c);
	return r;
}

int vault_get(struct vault *v, struct secret **ret, bool *ret_last, struct err *e)
{
	cleanup_secret struct secret *out = NULL;
	cleanup_free uint8_t *data = NULL;
	uint8_t head[VAULT_FRAME_HEAD];
	uint32_t len;
	struct reader in;

	if (v->done)
		return err_set(e, -ENODATA, "nothing is behind the last frame");
	if (fd_read_full(v->fd, head, sizeof head) < 0)
		return err_set(e, -EBADMSG, "it breaks off");
	reader_init(&in, head, sizeof head);
	if (reader_u32(&in, &len) < 0 || len <= VAULT_TAG || len > VAULT_FRAME_MAX + VAULT_TAG ||
	    head[4] > 1)
		return err_set(e, -EBADMSG, "it was changed");
	if (!(data = malloc(len)) || !(out = secret_new(len - VAULT_TAG)))
		return err_set(e, -ENOMEM, "no memory");
	if (fd_read_full(v->fd, data, len) < 0)
		return err_set(e, -EBADMSG, "it breaks off");
	if (decrypt(v, head, data, len - VAULT_TAG, secret_data(out)) < 0)
		return err_set(e, -EKEYREJECTED, "another passphrase, or the file was changed");
	v->frame++;
	v->done = head[4] == 1;
	*ret_last = v->done;
	*ret = out;
	out = NULL;
	return 0;
}
