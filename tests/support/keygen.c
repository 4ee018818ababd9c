#include "tests/support/keygen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "creds/cert.h"
#include "lib/buf.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

extern char **environ;

static char dir[64];

int keygen_enter(void **state)
{
	(void)state;
	(void)str_copy(dir, sizeof dir, "/tmp/postern-keygen-XXXXXX");
	return mkdtemp(dir) == NULL || chdir(dir) < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int keygen_leave(void **state)
{
	(void)state;
	if (chdir("/") < 0)
		return -1;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int keygen_run(struct buf *out, const char *program, ...)
{
	char *argv[64];
	posix_spawn_file_actions_t actions;
	int fds[2], n = 0, status;
	va_list ap;
	pid_t pid;

	memcpy(&argv[n++], &program, sizeof argv[0]);
	va_start(ap, program);
	do
		argv[n] = va_arg(ap, char *);
	while (argv[n++] != NULL && n < 64);
	va_end(ap);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	assert_int_equal(posix_spawnp(&pid, program, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	(void)close(fds[1]);
	for (;;) {
		char chunk[4096];
		ssize_t got = read(fds[0], chunk, sizeof chunk);

		if (got <= 0)
			break;
		if (out != NULL)
			buf_put(out, chunk, (size_t)got);
	}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

void keygen_make(const char *name, enum key_type type)
{
	static const char *const types[KEY_TYPES] = {"ed25519", "ecdsa", "ecdsa", "ecdsa", "rsa"};
	static const char *const bits[KEY_TYPES] = {"256", "256", "384", "521", "2048"};

	if (access(name, F_OK) == 0)
		return;
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-t", types[type], "-b", bits[type],
	                     "-N", "", "-C", "a comment", "-f", name, NULL),
	    0);
}

char *keygen_read(const char *path, size_t *ret_len)
{
	struct buf b;
	char *out;

	buf_init(&b, 1u << 20);
	assert_int_equal(fd_read_file(AT_FDCWD, path, 1u << 20, &b, NULL), 0);
	out = malloc(b.len + 1);
	assert_non_null(out);
	if (b.len > 0)
		memcpy(out, b.data, b.len);
	out[b.len] = '\0';
	*ret_len = b.len;
	buf_done(&b);
	return out;
}

struct key *keygen_public(const char *path)
{
	size_t len;
	char *line = keygen_read(path, &len);
	struct key *k = NULL;

	assert_int_equal(key_parse_line(line, len, &k, NULL), 0);
	free(line);
	return k;
}

struct key_private *keygen_private(const char *path)
{
	struct key_private *k = NULL;

	assert_int_equal(key_private_load(AT_FDCWD, path, &k, NULL), 0);
	return k;
}

uint8_t *keygen_blob(const char *path, size_t *ret_len)
{
	size_t len, n;
	char *line = keygen_read(path, &len), *b64 = strchr(line, ' ') + 1;
	uint8_t *out = malloc(len);

	assert_non_null(out);
	n = strcspn(b64, " \n");
	assert_int_equal(b64_decode(out, len, b64, n, ret_len), 0);
	/* as large as it is, so that a sanitizer sees a byte read too many */
	out = realloc(out, *ret_len);
	assert_non_null(out);
	free(line);
	return out;
}

void cert_build_init(struct cert_build *b, const struct key *subject)
{
	static const char *const types[KEY_TYPES] = {"ssh-ed25519-cert-v01@openssh.com",
	    "ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com",
	    "ecdsa-sha2-nistp521-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com"};

	*b = (struct cert_build){
	    .type = types[key_type(subject)],
	    .subject = subject,
	    .nonce_len = 32,
	    .serial = 7,
	    .kind = CERT_USER,
	    .key_id = "test",
	    .key_id_len = 4,
	    .principals = "\0\0\0\5agent",
	    .principals_len = 9,
	    .critical = "",
	    .extensions = "",
	    .reserved = "",
	    .before = CERT_FOREVER,
	};
}

uint8_t *cert_build_blob(const struct cert_build *b, const struct key_private *ca, size_t *ret_len)
{
	struct buf out, sig;
	uint8_t nonce[256], *copy;
	struct reader r;
	const uint8_t *key, *name, *ca_blob = b->ca_blob;
	size_t key_len, name_len, ca_len = b->ca_blob_len;

	assert_true(b->nonce_len <= sizeof nonce);
	memset(nonce, 0x5a, sizeof nonce);
	key = key_blob(b->subject, &key_len);
	reader_init(&r, key, key_len);
	assert_int_equal(reader_string(&r, 64, &name, &name_len), 0);
	if (ca_blob == NULL)
		ca_blob = key_blob(key_private_public(ca), &ca_len);
	buf_init(&out, 1u << 20);
	buf_init(&sig, KEY_SIG_MAX);
	buf_put_cstring(&out, b->type);
	buf_put_string(&out, nonce, b->nonce_len);
	buf_put(&out, r.p, r.left);
	buf_put_u64(&out, b->serial);
	buf_put_u32(&out, b->kind);
	buf_put_string(&out, b->key_id, b->key_id_len);
	buf_put_string(&out, b->principals, b->principals_len);
	buf_put_u64(&out, b->after);
	buf_put_u64(&out, b->before);
	buf_put_string(&out, b->critical, b->critical_len);
	buf_put_string(&out, b->extensions, b->extensions_len);
	buf_put_string(&out, b->reserved, b->reserved_len);
	buf_put_string(&out, ca_blob, ca_len);
	assert_int_equal(key_private_sign(ca, out.data, out.len, &sig, NULL), 0);
	buf_put_string(&out, sig.data, sig.len);
	buf_put(&out, b->tail, b->tail_len);
	assert_int_equal(buf_status(&out), 0);
	copy = malloc(out.len);
	assert_non_null(copy);
	memcpy(copy, out.data, out.len);
	*ret_len = out.len;
	buf_done(&out);
	buf_done(&sig);
	return copy;
}

void cert_build_option(struct buf *list, const char *name, const void *data, size_t len)
{
	buf_put_cstring(list, name);
	buf_put_string(list, data, len);
}

void cert_build_value(struct buf *list, const char *name, const char *value)
{
	struct buf inner;

	buf_init(&inner, 1u << 20);
	buf_put_cstring(&inner, value);
	cert_build_option(list, name, inner.data, inner.len);
	buf_done(&inner);
}
