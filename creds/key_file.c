#include "creds/key_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "creds/key_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * PROTOCOL.key: the magic with its NUL, string cipher, string kdf, string kdf options, uint32
 * number of keys, string public key, string private section. The section: uint32 check twice, the
 * private fields, string comment, padding 1, 2, 3... to the cipher's block (8 for none).
 */

static const char magic[] = "openssh-key-v1"; /* with its NUL */
static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
static const char end[] = "-----END OPENSSH PRIVATE KEY-----\n";
#define LINE_LEN 70
#define BLOCK    8

static int read_section(
    struct reader *section, const struct key *pub, struct key_private **ret, struct err *e)
{
	cleanup_secret struct secret *fields = NULL;
	char comment[KEY_COMMENT_MAX + 1];
	uint32_t a, b;
	size_t len;
	const uint8_t *p;
	int r;

	if (section->left % BLOCK != 0 || reader_u32(section, &a) < 0 ||
	    reader_u32(section, &b) < 0 || a != b ||
	    key_private_fields_len(section->p, section->left, &len) < 0 ||
	    reader_bytes(section, len, &p) < 0)
		return err_set(e, -EBADMSG, "malformed private key");
	if (reader_cstring(section, comment, sizeof comment) < 0)
		return err_set(e, -EBADMSG, "malformed comment in a private key");
	if (section->left >= BLOCK)
		return err_set(e, -EBADMSG, "bytes behind the private key");
	for (uint8_t i = 1; section->left > 0; i++) {
		uint8_t pad;

		if (reader_u8(section, &pad) < 0 || pad != i)
			return err_set(e, -EBADMSG, "wrong padding in a private key");
	}
	fields = secret_new(len);
	if (!fields)
		return err_set(e, -ENOMEM, "cannot hold a private key");
	memcpy(secret_data(fields), p, len);
	r = key_private_from_fields(fields, len, pub, comment, ret, e);
	if (r == 0)
		(void)steal_ptr(&fields);
	return r;
}

static int read_file(struct reader *in, struct key_private **ret, struct err *e)
{
	cleanup_key struct key *pub = NULL;
	struct reader section;
	const uint8_t *p;
	size_t n, cipher_len;
	uint32_t count;
	int r;

	if (reader_bytes(in, sizeof magic, &p) < 0 || memcmp(p, magic, sizeof magic) != 0)
		return err_set(e, -EBADMSG, "malformed private key");
	if (reader_string(in, 64, &p, &cipher_len) < 0)
		return err_set(e, -EBADMSG, "malformed private key");
	if (cipher_len != 4 || memcmp(p, "none", 4) != 0)
		return err_set(e, -ENOKEY,
		    "the private key has a passphrase: keep it in ssh-agent, or take the "
		    "passphrase off "
		    "(ssh-keygen -p -N '' -f FILE)");
	if (reader_string(in, 64, &p, &n) < 0 || n != 4 || memcmp(p, "none", 4) != 0 ||
	    reader_string(in, 0, &p, &n) < 0 || reader_u32(in, &count) < 0 || count != 1 ||
	    reader_string(in, KEY_BLOB_MAX, &p, &n) < 0)
		return err_set(e, -EBADMSG, "malformed private key");
	r = key_parse_blob(p, n, &pub, e);
	if (r < 0)
		return r;
	if (reader_sub(in, KEY_FILE_MAX, &section) < 0 || reader_end(in) < 0)
		return err_set(e, -EBADMSG, "malformed private key");
	return read_section(&section, pub, ret, e);
}

/* The base64 between the two lines, without its line ends. */
static int strip_armour(const char *text, size_t len, char *dst, size_t *ret_len, struct err *e)
{
	const char *stop;
	size_t n = 0;

	if (len < sizeof begin - 1 || memcmp(text, begin, sizeof begin - 1) != 0) {
		if (len > 11 && memcmp(text, "-----BEGIN ", 11) == 0)
			return err_set(e, -EBADMSG,
			    "not a private key in OpenSSH's own format (ssh-keygen -p -f FILE "
			    "converts it)");
		return err_set(e, -EBADMSG, "not a private key");
	}
	stop = memmem(text, len, end, sizeof end - 1);
	if (!stop || stop + sizeof end - 1 != text + len)
		return err_set(e, -EBADMSG, "the private key does not end as it should");
	for (const char *p = text + sizeof begin - 1; p < stop; p++) {
		if (*p != '\n')
			dst[n++] = *p;
	}
	*ret_len = n;
	return 0;
}

int key_private_parse(const void *text, size_t len, struct key_private **ret, struct err *e)
{
	cleanup_secret struct secret *b64 = NULL, *raw = NULL;
	struct reader in;
	size_t b64_len = 0, n;
	int r;

	if (len == 0 || len > KEY_FILE_MAX)
		return err_set(e, -EBADMSG, "a private key has 1 to %u bytes", KEY_FILE_MAX);
	b64 = secret_new(len);
	raw = secret_new(len);
	if (!b64 || !raw)
		return err_set(e, -ENOMEM, "cannot hold a private key");
	r = strip_armour(text, len, (char *)secret_data(b64), &b64_len, e);
	if (r < 0)
		return r;
	if (b64_decode(
	        secret_data(raw), secret_len(raw), (const char *)secret_data(b64), b64_len, &n) < 0)
		return err_set(e, -EBADMSG, "the private key's base64 is malformed");
	reader_init(&in, secret_data(raw), n);
	return read_file(&in, ret, e);
}

int key_private_load_fd(int fd, const char *name, struct key_private **ret, struct err *e)
{
	cleanup_secret struct secret *text = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", name);
	if ((st.st_mode & 077) != 0)
		return err_set(e, -EACCES,
		    "%s: others than its owner can use this private key (mode %04o; chmod 600)",
		    name, (unsigned)st.st_mode & 07777u);
	if (st.st_size <= 0 || st.st_size > KEY_FILE_MAX)
		return err_set(e, -EBADMSG, "%s: not a private key", name);
	text = secret_new((size_t)st.st_size);
	if (!text)
		return err_set(e, -ENOMEM, "%s: cannot hold a private key", name);
	r = fd_read_full(fd, secret_data(text), secret_len(text));
	if (r < 0)
		return err_set(e, r, "%s: %s", name, strerror(-r));
	r = key_private_parse(secret_data(text), secret_len(text), ret, e);
	return r < 0 ? err_wrap(e, r, "%s", name) : 0;
}

int key_private_load(int dirfd, const char *path, struct key_private **ret, struct err *e)
{
	cleanup_close int fd = -1;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", path);
	return key_private_load_fd(fd, path, ret, e);
}

int key_private_format(
    const struct key_private *k, const char *comment, struct secret **ret, struct err *e)
{
	cleanup_secret struct secret *section = NULL, *raw = NULL, *b64 = NULL, *text = NULL;
	struct buf s, b;
	size_t fields_len, blob_len, n;
	const uint8_t *fields = key_private_fields(k, &fields_len);
	const uint8_t *blob = key_blob(key_private_public(k), &blob_len);
	uint32_t check;

	if (!comment)
		comment = key_private_comment(k);
	if (strlen(comment) > KEY_COMMENT_MAX || strchr(comment, '\n'))
		return err_set(
		    e, -EINVAL, "a key's comment is one line of at most %d bytes", KEY_COMMENT_MAX);
	section = secret_new(KEY_FILE_MAX);
	raw = secret_new(KEY_FILE_MAX);
	if (!section || !raw)
		return err_set(e, -ENOMEM, "cannot hold a private key");

	fd_random(&check, sizeof check);
	buf_over_secret(&s, section);
	buf_put_u32(&s, check);
	buf_put_u32(&s, check);
	buf_put(&s, fields, fields_len);
	buf_put_cstring(&s, comment);
	for (uint8_t i = 1; s.len % BLOCK != 0; i++)
		buf_put_u8(&s, i);

	buf_over_secret(&b, raw);
	buf_put(&b, magic, sizeof magic);
	buf_put_cstring(&b, "none");
	buf_put_cstring(&b, "none");
	buf_put_cstring(&b, "");
	buf_put_u32(&b, 1);
	buf_put_string(&b, blob, blob_len);
	buf_put_string(&b, s.data, s.len);
	if (buf_status(&s) < 0 || buf_status(&b) < 0)
		return err_set(e, -ENOBUFS, "cannot hold a private key");

	n = B64_LEN(b.len);
	b64 = secret_new(n + 1);
	text = secret_new(n + n / LINE_LEN + 1 + sizeof begin + sizeof end);
	if (!b64 || !text)
		return err_set(e, -ENOMEM, "cannot hold a private key");
	b64_encode((char *)secret_data(b64), b.data, b.len);
	buf_over_secret(&b, text);
	buf_put(&b, begin, sizeof begin - 1);
	for (size_t i = 0; i < n; i += LINE_LEN) {
		buf_put(&b, secret_data(b64) + i, n - i < LINE_LEN ? n - i : LINE_LEN);
		buf_put(&b, "\n", 1);
	}
	buf_put(&b, end, sizeof end - 1);
	if (buf_status(&b) < 0)
		return err_set(e, -ENOBUFS, "cannot hold a private key");
	secret_truncate(text, b.len);
	*ret = steal_ptr(&text);
	return 0;
}

/* Not fd_write_file(): that would replace a key that is there. */
int key_private_save(
    const struct key_private *k, const char *comment, int dirfd, const char *name, struct err *e)
{
	cleanup_secret struct secret *text = NULL;
	cleanup_close int fd = -1, dir = -1;
	char tmp[300];
	const char *slash = strrchr(name, '/');
	int r, n;

	r = key_private_format(k, comment, &text, e);
	if (r < 0)
		return r;
	n = snprintf(tmp, sizeof tmp, "%s.new", name);
	if (n < 0 || (size_t)n >= sizeof tmp)
		return err_set(e, -ENAMETOOLONG, "%.64s...: %s", name, strerror(ENAMETOOLONG));
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s: %m", tmp);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", tmp);
	r = fd_write_full(fd, secret_data(text), secret_len(text));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat2(dirfd, tmp, dirfd, name, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return err_set(e, r, "%s: %s", name, strerror(-r));
	}
	if (!slash) {
		dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} else {
		(void)snprintf(tmp, sizeof tmp, "%.*s", (int)(slash - name) + 1, name);
		dir = openat(dirfd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir < 0 || fsync(dir) < 0)
		return err_set(e, -errno, "%s: %m", name);
	return 0;
}
