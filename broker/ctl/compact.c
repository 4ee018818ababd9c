#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/ctl/audit_origin.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/state_dir.h"
#include "broker/ctl/table.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

/*
 * audit compact: LMDB's file never shrinks, but a copy has no free pages. The copy is on the disk
 * before it takes the file's place, so that there is always one whole store; all of it in a child
 * that has become the store's owner.
 */

#define NEW_FILE "data.mdb.compact"

struct job {
	int dir;
	const char *path;
};

static int compact(void *arg)
{
	const struct store_config config = {.read_only = true};
	const struct job *j = arg;
	struct store *s = NULL;
	cleanup_close int out = -1;
	struct err e = ERR_INIT;
	struct stat st;
	int r = audit_become_owner(j->dir, &e);

	if (r == 0 && (r = store_open(j->dir, &config, &s, &e)) == 0) {
		if (fstatat(j->dir, STORE_DATA_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (out = openat(j->dir, NEW_FILE,
		         O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
			r = err_set(&e, -errno, "%s: %m", NEW_FILE);
		else
			r = store_copy(s, out, &e);
	}
	store_close(s);
	if (r == 0 &&
	    (fchmod(out, st.st_mode & 07777) < 0 || fsync(out) < 0 ||
	        renameat(j->dir, NEW_FILE, j->dir, STORE_DATA_FILE) < 0 || fsync(j->dir) < 0))
		r = err_set(&e, -errno, "%s: %m", NEW_FILE);
	if (r == 0)
		return EXIT_OK;
	(void)unlinkat(j->dir, NEW_FILE, 0);
	return ctl_fail(EXIT_FAILED, "%s: %s", j->path, err_text(&e));
}

static int size_of(int dir, json_int_t *ret)
{
	struct stat st;

	if (fstatat(dir, STORE_DATA_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return ctl_fail(EXIT_MISSING, "there is no store: %m");
	*ret = (json_int_t)st.st_size;
	return EXIT_OK;
}

int ctl_audit_compact(struct ctl *c)
{
	struct state_dir s = STATE_DIR_INIT;
	json_int_t before = 0, after = 0;
	cleanup_close int dir = -1;
	char a[24], b[24];
	struct job j;
	int code = state_dir_open(c, 0, &s);

	if (code != EXIT_OK)
		return code;
	dir = openat(s.fd, "core", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	j = (struct job){dir, s.path};
	if (dir < 0)
		code = ctl_fail(EXIT_MISSING, "there is no store in %s: %m", s.path);
	else if ((code = size_of(dir, &before)) == EXIT_OK &&
	         (code = audit_in_child(compact, &j)) == EXIT_OK)
		code = size_of(dir, &after);
	if (code == EXIT_OK && c->json) {
		json_auto_t *o = json_pack("{s:I, s:I}", "before", before, "after", after);

		code = ctl_json(o);
	} else if (code == EXIT_OK) {
		(void)printf("%s before, %s now\n", size_text(a, sizeof a, before),
		    size_text(b, sizeof b, after));
	}
	state_dir_done(&s);
	return code;
}
