#include "broker/image/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/image/blob.h"
#include "broker/image/confined.h"
#include "broker/workspace/remove.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define TEMPORARY   ".tmp-"
#define TMP_NAME    32
#define CHUNK       (256u * 1024)
#define REMOVE_STEP 4096

int shelf_open(const char *path, struct err *e)
{
	cleanup_close int fd = fd_open_dir(AT_FDCWD, path, 0700);

	if (fd < 0)
		return err_set(e, fd, "%s: %s", path, strerror(-fd));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = -errno;

		if (r == -EWOULDBLOCK)
			return err_set(e, r, "%s: another one is at work there", path);
		return err_set(e, r, "%s: cannot be locked: %s", path, strerror(-r));
	}
	return steal_fd(&fd);
}

int shelf_digest(int fd, char ret[DIGEST_HEX_LEN + 1], void (*done)(void *arg, uint64_t bytes),
    void *arg, struct err *e)
{
	cleanup_free uint8_t *chunk = malloc(CHUNK);
	struct digest *d = digest_new();
	uint8_t sum[DIGEST_LEN];
	off_t at = 0;
	ssize_t n = -1;

	errno = ENOMEM;
	while (chunk && d && (n = pread(fd, chunk, CHUNK, at)) > 0) {
		digest_update(d, chunk, (size_t)n);
		at += n;
		if (done)
			done(arg, (uint64_t)at);
	}
	if (n < 0) {
		digest_free(d);
		return err_set(e, -errno, "cannot be read: %m");
	}
	digest_final(d, sum);
	digest_free(d);
	hex_encode(ret, sum, sizeof sum);
	return 0;
}

bool shelf_has(int shelf, const char *hex)
{
	struct stat st;

	return fstatat(shelf, hex, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void name_tmp(char dst[TMP_NAME])
{
	uint64_t any;

	fd_random(&any, sizeof any);
	(void)snprintf(dst, TMP_NAME, TEMPORARY "%016llx", (unsigned long long)any);
}

static int take_apart(int shelf, const char *tmp)
{
	cleanup_close int fd = openat(shelf, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	while ((r = remove_step(fd, REMOVE_STEP)) > 0)
		;
	if (r == 0 && unlinkat(shelf, tmp, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int fill(int shelf, int fd, int dir, const char *hex, const struct image_unpack *u,
    struct image_counts *ret, struct err *e)
{
	char now[DIGEST_HEX_LEN + 1];
	int r;

	if ((r = confined_unpack(fd, dir, u, ret, e)) < 0 ||
	    (r = shelf_digest(fd, now, NULL, NULL, e)) < 0)
		return r;
	if (strcmp(now, hex) != 0)
		return err_set(e, -ESTALE, "it was changed meanwhile");
	if (syncfs(dir) < 0 || renameat(dir, IMAGE_ROOT, shelf, hex) < 0 || fsync(shelf) < 0)
		return err_set(e, -errno, "%m");
	return 0;
}

int shelf_add(int shelf, int fd, const char *hex, const struct image_unpack *u,
    struct image_counts *ret, struct err *e)
{
	char tmp[TMP_NAME];
	int r;

	name_tmp(tmp);
	cleanup_close int dir = fd_open_dir(shelf, tmp, 0700);
	if (dir < 0)
		return err_set(e, dir, "%s: %s", tmp, strerror(-dir));
	r = fill(shelf, fd, dir, hex, u, ret, e);
	(void)take_apart(shelf, tmp);
	return r;
}

/* Out of the way in one step: half a tree is never one. */
static int discard(int shelf, const char *name)
{
	char tmp[TMP_NAME];

	if (strncmp(name, TEMPORARY, sizeof TEMPORARY - 1) == 0)
		return take_apart(shelf, name);
	name_tmp(tmp);
	if (renameat(shelf, name, shelf, tmp) < 0)
		return -errno;
	return take_apart(shelf, tmp);
}

int shelf_prune(
    int shelf, bool (*keep)(void *arg, const char *hex), void *arg, unsigned *ret, struct err *e)
{
	int fd = openat(shelf, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	if (!d) {
		util_close(&fd);
		return err_set(e, -errno, "%m");
	}
	for (struct dirent *x; r == 0 && (x = readdir(d));) {
		bool tmp = strncmp(x->d_name, TEMPORARY, sizeof TEMPORARY - 1) == 0;
		bool tree = blob_digest_valid(x->d_name);

		if (!tmp && (!tree || !keep || keep(arg, x->d_name)))
			continue;
		if ((r = discard(shelf, x->d_name)) < 0)
			(void)err_set(e, r, "%s: %s", x->d_name, strerror(-r));
		n += tree;
	}
	(void)closedir(d);
	if (r == 0)
		*ret = n;
	return r;
}
