#include "broker/witness/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/witness/key.h"
#include "broker/witness/request.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define HEX_LEN  (2 * DIGEST_LEN)
#define NAME_LEN (HEX_LEN + 8) /* and ".other", NUL */

static void file_of(const char *origin, char dst[HEX_LEN + 1])
{
	uint8_t digest[DIGEST_LEN];

	digest_sha256(origin, strlen(origin), digest);
	hex_encode(dst, digest, DIGEST_LEN);
}

static bool there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- opening ---- */

/* A directory that is named by mistake is neither filled nor given away. */
static bool ours_alone(int dir)
{
	static const char *const known[] = {
	    ".", "..", "logs", "forks", "lock", WITNESS_KEY_FILE ".tmp", "lost+found"};
	struct dirent **list = NULL;
	int n = scandirat(dir, ".", &list, NULL, NULL);
	bool alone = n >= 0;

	for (int i = 0; i < n; i++) {
		bool found = false;

		for (size_t k = 0; k < ARRAY_LEN(known); k++)
			found = found || strcmp(list[i]->d_name, known[k]) == 0;
		alone = alone && found;
		free(list[i]);
	}
	free(list);
	return alone;
}

/* Gives what root made to the one who will run. */
static int give(int dir, const char *name, uid_t uid, gid_t gid, struct err *e)
{
	if (geteuid() != 0 || uid == (uid_t)-1)
		return 0;
	if (fchownat(dir, name, uid, gid, *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH) < 0 &&
	    errno != ENOENT)
		return err_set(e, -errno, "cannot change the owner of %s: %m", name);
	return 0;
}

static int open_sub(struct witness_state *s, const char *name, bool create, int *ret, struct err *e)
{
	int fd;

	if (create && mkdirat(s->dir, name, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "cannot make %s: %m", name);
	fd = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "cannot open %s: %m", name);
	*ret = fd;
	return 0;
}

static int open_all(struct witness_state *s, const char *path, bool create, struct err *e)
{
	bool fresh;
	int r;

	s->dir = create ? fd_open_dir(AT_FDCWD, path, 0700)
	                : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0) {
		r = create ? s->dir : -errno;
		s->dir = -1;
		errno = -r;
		return err_set(e, r, "cannot open %s: %m", path);
	}
	fresh = create && !there(s->dir, WITNESS_KEY_FILE);
	if (fresh && !ours_alone(s->dir))
		return err_set(e, -ENOTEMPTY, "%s holds something else", path);
	if (!fresh && !there(s->dir, "logs"))
		return err_set(e, create ? -EUCLEAN : -ENOENT, "%s/logs is not there: %s", path,
		    create ? "what the witness had seen is lost" : "no witness was here");
	if ((r = open_sub(s, "logs", fresh, &s->logs, e)) < 0 ||
	    (r = open_sub(s, "forks", create, &s->forks, e)) < 0)
		return r;
	s->lock =
	    openat(s->dir, "lock", O_RDWR | (create ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return err_set(e, -errno, "cannot open %s/lock: %m", path);
	return fresh && fsync(s->dir) < 0 ? err_set(e, -errno, "cannot sync %s: %m", path) : 0;
}

int witness_state_open(
    struct witness_state *s, const char *path, bool create, uid_t uid, gid_t gid, struct err *e)
{
	static const char *const names[] = {"", "logs", "forks", "lock", WITNESS_KEY_FILE};
	int r;

	*s = (struct witness_state){-1, -1, -1, -1};
	r = open_all(s, path, create, e);
	for (size_t i = 0; create && r == 0 && i < ARRAY_LEN(names); i++)
		r = give(s->dir, names[i], uid, gid, e);
	if (r < 0)
		witness_state_close(s);
	return r;
}

int witness_state_lock(struct witness_state *s, struct err *e)
{
	if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, -EBUSY, "a witness runs there");
	return err_set(e, -errno, "cannot take the lock: %m");
}

void witness_state_close(struct witness_state *s)
{
	util_close(&s->lock);
	util_close(&s->forks);
	util_close(&s->logs);
	util_close(&s->dir);
}

/* ---- one log ---- */

static bool forked(const struct witness_state *s, const char *file)
{
	char name[NAME_LEN];

	(void)snprintf(name, sizeof name, "%s.other", file);
	return there(s->forks, name);
}

/* What a file holds, if the witness signed it. */
static int believe(
    const struct note *n, const struct note_key *own, struct witness_log *l, struct err *e)
{
	char file[HEX_LEN + 1];
	int r = note_verify(n, own, &l->time_s, e);

	if (r == 0)
		return err_set(e, -EUCLEAN, "this witness did not sign it");
	if (r < 0 || (r = witness_point_parse(n->text, n->text_len, &l->point, e)) < 0)
		return r;
	file_of(l->point.origin, file);
	if (strcmp(file, l->file) != 0)
		return err_set(e, -EUCLEAN, "it is of another log");
	return 0;
}

static int damaged(const char *file, struct err *e)
{
	if (e)
		e->code = -EUCLEAN;
	return err_wrap(e, -EUCLEAN, "logs/%s", file);
}

static int load_file(const struct witness_state *s, const struct note_key *own, const char *file,
    struct witness_log *ret, struct err *e)
{
	struct witness_log l = {.forked = forked(s, file)};
	cleanup_buf struct buf b;
	struct note n;
	int r;

	buf_init(&b, NOTE_MAX);
	(void)str_copy(l.file, sizeof l.file, file);
	r = fd_read_file(s->logs, file, NOTE_MAX, &b, e);
	if (r == -EFBIG || r == -EINVAL) /* EINVAL: not even a file */
		return damaged(file, e);
	if (r < 0)
		return r;
	r = note_parse(b.data, b.len, &n, e);
	if (r < 0)
		return r == -ENOMEM ? r : damaged(file, e);
	r = believe(&n, own, &l, e);
	note_done(&n);
	if (r < 0)
		return r == -ENOMEM ? r : damaged(file, e);
	*ret = l;
	return 0;
}

int witness_state_load(const struct witness_state *s, const struct note_key *own,
    const char *origin, struct witness_log *ret, struct err *e)
{
	char file[HEX_LEN + 1];

	file_of(origin, file);
	return load_file(s, own, file, ret, e);
}

int witness_state_save(
    const struct witness_state *s, const char *origin, const void *note, size_t len, struct err *e)
{
	char file[HEX_LEN + 1];

	file_of(origin, file);
	return fd_write_file(s->logs, file, note, len, 0600, e);
}

int witness_state_fork(
    const struct witness_state *s, const char *origin, const void *other, size_t len, struct err *e)
{
	char file[HEX_LEN + 1], name[NAME_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, NOTE_MAX);
	file_of(origin, file);
	if (forked(s, file))
		return 1;
	(void)snprintf(name, sizeof name, "%s.kept", file);
	if ((r = fd_read_file(s->logs, file, NOTE_MAX, &b, e)) < 0 ||
	    (r = fd_write_file(s->forks, name, b.data, b.len, 0600, e)) < 0)
		return r;
	(void)snprintf(name, sizeof name, "%s.other", file);
	return fd_write_file(s->forks, name, other, len, 0600, e);
}

/* ---- all of them ---- */

static bool is_hex(const char *name)
{
	return strlen(name) == HEX_LEN && strspn(name, "0123456789abcdef") == HEX_LEN;
}

static int names(int dir, struct dirent ***ret, struct err *e)
{
	int n = scandirat(dir, ".", ret, NULL, alphasort);

	return n < 0 ? err_set(e, -errno, "cannot list logs: %m") : n;
}

int witness_state_each(const struct witness_state *s, const struct note_key *own, witness_log_fn fn,
    void *arg, struct err *e)
{
	struct dirent **list = NULL;
	int n = names(s->logs, &list, e), r = n < 0 ? n : 0;

	for (int i = 0; i < n; i++) {
		struct witness_log l = {.bad = true};

		/* a .tmp is what a crash left of a file that was never in force */
		if (r == 0 && is_hex(list[i]->d_name)) {
			(void)str_copy(l.file, sizeof l.file, list[i]->d_name);
			l.forked = forked(s, l.file);
			r = load_file(s, own, list[i]->d_name, &l, e);
			if (r == 0 || r == -EUCLEAN)
				r = fn(&l, arg);
		}
		free(list[i]);
	}
	free(list);
	return r;
}

int witness_state_forget(const struct witness_state *s, const char *origin, struct err *e)
{
	static const char *const endings[] = {"kept", "other"};
	char file[HEX_LEN + 1], name[NAME_LEN];

	file_of(origin, file);
	if (unlinkat(s->logs, file, 0) < 0)
		return err_set(e, -errno, "%s",
		    errno == ENOENT ? "no such log was ever cosigned" : strerror(errno));
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		(void)snprintf(name, sizeof name, "%s.%s", file, endings[i]);
		if (unlinkat(s->forks, name, 0) < 0 && errno != ENOENT)
			return err_set(e, -errno, "cannot remove forks/%s: %m", name);
	}
	return fsync(s->logs) < 0 ? err_set(e, -errno, "cannot sync logs: %m") : 0;
}
