#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/ctl/backup.h"
#include "broker/ctl/backup_seal.h"
#include "broker/ctl/ctl.h"
#include "creds/vault.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/* The host's keys: read and written by descriptors, and never looked into. */

#define KEY_FILE_MAX   (48u * 1024)
#define KEY_FILES_MAX  1024
#define KEY_PATH_MAX   128
#define FRAME_OVERHEAD (4 + KEY_PATH_MAX + 4)

#define SIGNER 1
static const char *const roots[] = {"hostkeys", [SIGNER] = "keys", "ca"};

/* ---- files ---- */

static int walk(int dir, const char *prefix, off_t max, int depth, backup_file_fn fn, void *arg);

static int visit(
    int dir, const char *name, const char *path, off_t max, int depth, backup_file_fn fn, void *arg)
{
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ELOOP ? EXIT_OK : ctl_fail(EXIT_FAILED, "%s: %m", path);
	if (S_ISDIR(st.st_mode))
		return depth > 0 ? walk(fd, path, max, depth - 1, fn, arg) : EXIT_OK;
	if (!S_ISREG(st.st_mode))
		return EXIT_OK;
	if (st.st_size > max)
		return ctl_fail(EXIT_FAILED, "%s is larger than such a file can be", path);
	return fn(path, fd, st.st_mode & 07777, st.st_size, arg);
}

static int walk(int dir, const char *prefix, off_t max, int depth, backup_file_fn fn, void *arg)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), code = EXIT_OK;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!d) {
		util_close(&copy);
		return ctl_fail(EXIT_FAILED, "%s: %m", prefix);
	}
	while (code == EXIT_OK && (entry = readdir(d))) {
		char path[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof path, "%s/%s", prefix, entry->d_name) >= (int)sizeof path)
			code = ctl_fail(EXIT_FAILED, "%s: a path that is too long", prefix);
		else
			code = visit(dir, entry->d_name, path, max, depth, fn, arg);
	}
	(void)closedir(d);
	return code;
}

int backup_walk(int dir, const char *prefix, off_t max, backup_file_fn fn, void *arg)
{
	return walk(dir, prefix, max, BACKUP_WALK_DEPTH, fn, arg);
}

int backup_own(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	if (S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
	    (st.st_mode & 077) == 0)
		return 0;
	errno = EEXIST;
	return -1;
}

int backup_digest(int fd, uint64_t at, uint64_t len, uint8_t ret[DIGEST_LEN])
{
	struct digest *d = digest_new();
	cleanup_free uint8_t *chunk = malloc(65536);
	int r = d && chunk ? 0 : -ENOMEM;

	while (r == 0 && len > 0) {
		ssize_t n = pread(fd, chunk, len < 65536 ? (size_t)len : 65536, (off_t)at);

		if (n <= 0) {
			r = n < 0 ? -errno : -ENODATA;
			break;
		}
		digest_update(d, chunk, (size_t)n);
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	if (r == 0)
		digest_final(d, ret);
	digest_free(d);
	return r;
}

/* ---- the passphrase ---- */

int backup_passphrase(const char *path, struct secret **ret)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_secret struct secret *s = secret_new(VAULT_PASS_MAX + 2);
	const uint8_t *lf;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return ctl_fail(EXIT_USAGE, "%s: %m", path);
	if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
		return ctl_fail(EXIT_USAGE, "%s: others than its owner can read it (mode %04o)",
		    path, (unsigned)st.st_mode & 07777u);
	if (!s || (n = read(fd, secret_data(s), secret_len(s))) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", path);
	lf = memchr(secret_data(s), '\n', (size_t)n);
	if (lf)
		n = lf - secret_data(s);
	if (n < VAULT_PASS_MIN || n > VAULT_PASS_MAX)
		return ctl_fail(EXIT_USAGE, "%s: its first line has to have %d to %d bytes", path,
		    VAULT_PASS_MIN, VAULT_PASS_MAX);
	secret_truncate(s, (size_t)n);
	*ret = s;
	s = NULL;
	return EXIT_OK;
}

/* ---- writing ---- */

struct keys_out {
	struct vault *v;
	unsigned n;
};

static int on_key(const char *path, int fd, mode_t mode, off_t size, void *arg)
{
	struct keys_out *k = arg;
	cleanup_secret struct secret *frame = secret_new(FRAME_OVERHEAD + (size_t)size);
	struct err e = ERR_INIT;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, FRAME_OVERHEAD);

	if (strlen(path) >= KEY_PATH_MAX || ++k->n > KEY_FILES_MAX)
		return ctl_fail(EXIT_FAILED, "%s: too many keys, or too long a name", path);
	if (!frame)
		return ctl_fail(EXIT_FAILED, "no memory");
	buf_put_cstring(&b, path);
	buf_put_u32(&b, mode);
	if (buf_status(&b) < 0)
		return ctl_fail(EXIT_FAILED, "no memory");
	memcpy(secret_data(frame), b.data, b.len);
	if ((size > 0 && (r = fd_read_full(fd, secret_data(frame) + b.len, (size_t)size)) < 0))
		return ctl_fail(EXIT_FAILED, "%s cannot be read: %s", path, strerror(-r));
	if (vault_put(k->v, secret_data(frame), b.len + (size_t)size, false, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	return EXIT_OK;
}

static int write_keys(int state, struct keys_out *k)
{
	static const uint8_t end[4];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		cleanup_close int dir =
		    openat(state, roots[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int code;

		if (dir < 0 && errno == ENOENT)
			continue;
		if (dir < 0)
			return ctl_fail(EXIT_FAILED, "%s: %m", roots[i]);
		if ((code = backup_walk(dir, roots[i], KEY_FILE_MAX, on_key, k)) != EXIT_OK)
			return code;
	}
	/* an empty name: the end */
	return vault_put(k->v, end, sizeof end, true, &e) < 0
	           ? ctl_fail(EXIT_FAILED, "%s", err_text(&e))
	           : EXIT_OK;
}

int backup_keys_write(int state, const char *file, struct secret *passphrase, unsigned *ret_n)
{
	cleanup_vault struct vault *v = NULL;
	struct keys_out k = {NULL, 0};
	struct err e = ERR_INIT;
	char tmp[PATH_MAX];
	cleanup_close int fd = -1;
	int code;

	if (snprintf(tmp, sizeof tmp, "%s.partial", file) >= (int)sizeof tmp)
		return ctl_fail(EXIT_USAGE, "the path is too long");
	fd = open(tmp, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || backup_own(fd) < 0 || ftruncate(fd, 0) < 0)
		return ctl_fail(EXIT_FAILED, "cannot write %s: %m", tmp);
	if (vault_create(fd, passphrase, &v, &e) < 0) {
		code = ctl_fail(EXIT_FAILED, "%s: %s", file, err_text(&e));
	} else {
		k.v = v;
		code = write_keys(state, &k);
	}
	if (code == EXIT_OK && (fsync(fd) < 0 || rename(tmp, file) < 0))
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", file);
	if (code != EXIT_OK)
		(void)unlink(tmp);
	*ret_n = k.n;
	return code;
}

/* ---- restoring ---- */

/* roots[i]/NAME or roots[i]/DIR/NAME, without anything that leads elsewhere. */
static bool path_fits(const char *path, size_t *ret_root)
{
	size_t n = strlen(path);

	if (n == 0 || strstr(path, "/.") || strstr(path, "//") || path[n - 1] == '/')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		size_t len = strlen(roots[i]);

		if (strncmp(path, roots[i], len) == 0 && path[len] == '/') {
			*ret_root = i;
			return true;
		}
	}
	return false;
}

struct keys_in {
	struct state_dir *s;
	char staged[ARRAY_LEN(roots)][64]; /* "": nothing yet */
	int dir[ARRAY_LEN(roots)];
};

static int stage(struct keys_in *k, size_t root, const char *stamp)
{
	if (k->dir[root] >= 0)
		return 0;
	(void)snprintf(k->staged[root], sizeof k->staged[root], "%s.before-%s", roots[root], stamp);
	k->dir[root] = fd_open_dir(k->s->fd, k->staged[root], 0700);
	return k->dir[root] < 0 ? k->dir[root] : 0;
}

/* In its staged directory, at most one directory deeper. */
static int put_key(struct keys_in *k, size_t root, const char *path, mode_t mode, const void *data,
    size_t len, struct err *e)
{
	const char *rest = path + strlen(roots[root]) + 1, *slash = strchr(rest, '/');
	uid_t uid = state_dir_owner(k->s, roots[root], 0);
	cleanup_close int sub = -1, fd = -1;
	char name[KEY_PATH_MAX];
	int dir = k->dir[root];

	if (slash) {
		(void)snprintf(name, sizeof name, "%.*s", (int)(slash - rest), rest);
		if (strchr(slash + 1, '/') || (sub = fd_open_dir(dir, name, 0700)) < 0 ||
		    fchown(sub, uid, uid) < 0)
			return err_set(e, -EINVAL, "%s cannot be made", path);
		dir = sub;
		rest = slash + 1;
	}
	fd = openat(dir, rest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, data, len) < 0 || fchmod(fd, mode & 0755) < 0 ||
	    fchown(fd, uid, uid) < 0 || fsync(fd) < 0 || fsync(dir) < 0)
		return err_set(e, -errno, "%s: %m", path);
	return 0;
}

/* dry: only whether all of it can be opened. */
static int read_keys(struct keys_in *k, const char *file, struct secret *passphrase,
    const char *stamp, bool dry, unsigned *ret_n)
{
	cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);
	cleanup_vault struct vault *v = NULL;
	struct err e = ERR_INIT;
	bool last = false;
	unsigned n = 0;

	if (fd < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", file);
	if (vault_open(fd, passphrase, &v, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", file, err_text(&e));
	while (!last) {
		cleanup_secret struct secret *frame = NULL;
		char path[KEY_PATH_MAX];
		struct reader in;
		uint32_t mode;
		size_t root;

		if (vault_get(v, &frame, &last, &e) < 0)
			return ctl_fail(EXIT_FAILED, "%s: %s", file, err_text(&e));
		reader_init(&in, secret_data(frame), secret_len(frame));
		if (reader_cstring(&in, path, sizeof path) < 0)
			return ctl_fail(EXIT_FAILED, "%s: not a file of keys", file);
		if (last)
			break;
		if (!path_fits(path, &root) || reader_u32(&in, &mode) < 0 || ++n > KEY_FILES_MAX)
			return ctl_fail(EXIT_FAILED, "%s: not a file of keys", file);
		if (!dry && (stage(k, root, stamp) < 0 ||
		                put_key(k, root, path, mode, in.p, in.left, &e) < 0))
			return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	}
	*ret_n = n;
	return EXIT_OK;
}

/* Before the signer's directory changes hands: what it sealed since the backup it still knows. */
static int keep_seal(struct keys_in *k)
{
	cleanup_close int now =
	    openat(k->s->fd, roots[SIGNER], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct err e = ERR_INIT;
	bool kept;

	if (now < 0 || k->dir[SIGNER] < 0)
		return EXIT_OK;
	if (backup_keep_seal(now, k->dir[SIGNER], &kept, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	if (kept)
		(void)puts("the signer's memory of what it sealed stays: it is newer than the "
		           "backup's");
	return EXIT_OK;
}

/* The staged directories get the names, and what was there theirs. */
static int swap(struct keys_in *k)
{
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		struct stat st;
		bool there = fstatat(k->s->fd, roots[i], &st, AT_SYMLINK_NOFOLLOW) == 0;

		if (k->dir[i] < 0)
			continue;
		if (there && (fchown(k->dir[i], st.st_uid, st.st_gid) < 0 ||
		                 fchmod(k->dir[i], st.st_mode & 07777) < 0))
			return ctl_fail(EXIT_FAILED, "%s: %m", roots[i]);
		if (renameat2(k->s->fd, k->staged[i], k->s->fd, roots[i],
		        there ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0 ||
		    fsync(k->s->fd) < 0)
			return ctl_fail(EXIT_FAILED, "%s: %m", roots[i]);
	}
	return EXIT_OK;
}

int backup_keys_restore(struct state_dir *s, const char *file, struct secret *passphrase,
    const char *stamp, unsigned *ret_n)
{
	struct keys_in k = {.s = s, .dir = {-1, -1, -1}};
	int code = read_keys(&k, file, passphrase, stamp, !stamp, ret_n);

	if (code == EXIT_OK && stamp && (code = keep_seal(&k)) == EXIT_OK)
		code = swap(&k);
	for (size_t i = 0; i < ARRAY_LEN(roots); i++)
		util_close(&k.dir[i]);
	return code;
}
