#include "broker/image/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/image/name.h"
#include "broker/image/tar.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

#define RATIO_FROM (UINT64_C(64) << 20)

struct blob {
	struct tar *outer, *inflate;
	struct digest *stored, *plain;
	char hex[DIGEST_HEX_LEN + 1]; /* "": not known */
	uint64_t in, out;
	struct image_limits limits;
};

bool blob_digest_valid(const char *hex)
{
	return strlen(hex) == DIGEST_HEX_LEN && strspn(hex, "0123456789abcdef") == DIGEST_HEX_LEN;
}

/* As the file lies there. */
static ssize_t read_stored(void *arg, const void **ret, struct err *e)
{
	struct blob *b = arg;
	uint64_t at;
	size_t len;
	int r;

	do {
		if ((r = tar_data(b->outer, ret, &len, &at, e)) <= 0)
			return r;
		if (at != b->in)
			return err_set(e, -EBADMSG, "a file with holes");
	} while (len == 0);
	b->in += len;
	digest_update(b->stored, *ret, len);
	return (ssize_t)len;
}

ssize_t blob_read(void *blob, const void **ret, struct err *e)
{
	struct blob *b = blob;
	uint64_t at;
	ssize_t n;
	size_t len = 0;
	int r;

	if (!b->inflate)
		n = read_stored(b, ret, e);
	else {
		do {
			if ((r = tar_data(b->inflate, ret, &len, &at, e)) <= 0)
				return r;
			if (at != b->out)
				return err_set(e, -EBADMSG, "a stream with holes");
		} while (len == 0);
		n = (ssize_t)len;
	}
	if (n <= 0)
		return n;
	b->out += (uint64_t)n;
	if (b->out > b->limits.bytes)
		return err_set(
		    e, -EFBIG, "more than %llu bytes", (unsigned long long)b->limits.bytes);
	if (b->out > RATIO_FROM && b->out / b->limits.ratio > b->in)
		return err_set(
		    e, -EFBIG, "it grows to more than %u times what it is", b->limits.ratio);
	digest_update(b->plain, *ret, (size_t)n);
	return n;
}

static int find(struct tar *t, const char *name, struct err *e)
{
	char found[TAR_NAME_MAX + 1];
	struct tar_entry x;
	int r;

	while ((r = tar_next(t, &x, e)) > 0) {
		if (name_clean(x.name, found, NULL, NULL) < 0 || strcmp(found, name) != 0)
			continue;
		if (x.type != TAR_FILE)
			return err_set(e, -EBADMSG, "it is no file");
		return 0;
	}
	return r < 0 ? r : err_set(e, -ENOENT, "it is not there");
}

int blob_open(int fd, const char *name, const char *hex, bool inflate,
    const struct image_limits *limits, struct blob **ret, struct err *e)
{
	struct blob *b = calloc(1, sizeof *b);
	int r;

	if (!b || !(b->stored = digest_new()) || !(b->plain = digest_new())) {
		blob_free(b);
		return err_set(e, -ENOMEM, "no memory");
	}
	b->limits = *limits;
	if (hex)
		(void)str_copy(b->hex, sizeof b->hex, hex);
	if ((r = tar_open_file(fd, &b->outer, e)) < 0 || (r = find(b->outer, name, e)) < 0 ||
	    (inflate && (r = tar_open_inflate(read_stored, b, &b->inflate, e)) < 0)) {
		blob_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void blob_free(struct blob *b)
{
	if (!b)
		return;
	tar_free(b->inflate);
	tar_free(b->outer);
	digest_free(b->stored);
	digest_free(b->plain);
	free(b);
}

int blob_finish(struct blob *b, uint8_t *plain, struct err *e)
{
	uint8_t have[DIGEST_LEN];
	char hex[DIGEST_HEX_LEN + 1];
	const void *rest;
	ssize_t n;

	do
		n = blob_read(b, &rest, e);
	while (n > 0);
	while (n == 0 && b->inflate) /* what the decompression did not want */
		if ((n = read_stored(b, &rest, e)) == 0)
			break;
		else if (n > 0)
			n = 0;
	if (n < 0)
		return (int)n;
	digest_final(b->stored, have);
	hex_encode(hex, have, sizeof have);
	if (*b->hex && strcmp(hex, b->hex) != 0)
		return err_set(e, -EBADMSG, "its SHA-256 is %s", hex);
	digest_final(b->plain, have);
	if (plain)
		memcpy(plain, have, sizeof have);
	return 0;
}

int blob_load(int fd, const char *name, const char *hex, struct buf *b, struct err *e)
{
	const struct image_limits limits = {.bytes = b->max, .ratio = 1};
	struct blob *blob;
	const void *piece;
	ssize_t n;
	int r;

	if ((r = blob_open(fd, name, hex, false, &limits, &blob, e)) < 0)
		return r;
	while ((n = blob_read(blob, &piece, e)) > 0)
		buf_put(b, piece, (size_t)n);
	r = n < 0 ? (int)n : blob_finish(blob, NULL, e);
	blob_free(blob);
	if (r == 0 && (r = buf_status(b)) < 0)
		return err_set(e, r, "%s", strerror(-r));
	return r;
}
