/* Lists of programs that were looked up already: found again by plan and files, made when not. */
#include "broker/spawn/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/skeleton.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define KEPT_MAX 64

struct stamp {
	dev_t dev;
	ino_t ino;
	struct timespec changed;
};

struct programs_kept {
	struct programs_kept *next;
	const struct skeleton *skeleton; /* one for each root, role and state of its libraries */
	unsigned n;
	char program[PLAN_PROGRAMS_MAX][PLAN_INSIDE_MAX];
	struct stamp stamp[PLAN_PROGRAMS_MAX];
	unsigned nmounts;
	char mount[PLAN_MOUNTS_MAX][PLAN_INSIDE_MAX];
	bool credentials;
	struct programs *list;
};

static void take_stamp(int root, const char *path, struct stamp *ret)
{
	struct open_how how = {
	    .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	cleanup_close int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
	struct stat st;

	memset(ret, 0, sizeof *ret);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->changed = st.st_ctim;
}

/* ---- places ---- */

static int add_place(struct programs *g, const char *from, const char *at, bool execute)
{
	struct programs_place *p = &g->place[g->nplaces];

	if (g->nplaces == PROGRAMS_PLACES || !str_copy(p->from, sizeof p->from, from) ||
	    (size_t)snprintf(p->at, sizeof p->at, "/mnt%s", at) >= sizeof p->at)
		return -E2BIG;
	p->execute = execute;
	g->nplaces++;
	return 0;
}

static int add_file(struct programs *g, const char *path, bool execute)
{
	if (g->nfiles == PROGRAMS_FILES_MAX)
		return -E2BIG;
	(void)str_copy(g->file[g->nfiles].path, PROGRAMS_PATH_LEN, path);
	g->file[g->nfiles++].execute = execute;
	return 0;
}

/* Whether a file of the list lies below this directory of the root, or may do so by a link. */
static bool is_used(const struct programs *g, const char *top)
{
	static const char *const system[] = {
	    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};
	size_t n = strlen(top);

	for (size_t i = 0; i < ARRAY_LEN(system); i++)
		if (strcmp(top, system[i]) == 0)
			return true;
	for (unsigned i = 0; i < g->nfiles; i++)
		if (strncmp(g->file[i].path + 1, top, n) == 0 && g->file[i].path[1 + n] == '/')
			return true;
	return false;
}

/* Of a root of its own: each directory with a program in it becomes a mount, cloned from the
 * template's and never from what the session wrote. */
static int add_tops(struct programs *g, int root, const struct plan *p, struct err *e)
{
	static const char *const tops[] = {
	    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "srv", "nix"};
	char from[64], at[64];
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
		if (fstatat(root, tops[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
		    !is_used(g, tops[i]))
			continue;
		(void)snprintf(from, sizeof from, "/low2/%s", tops[i]);
		(void)snprintf(at, sizeof at, "/%s", tops[i]);
		for (unsigned k = 0; k < p->nmounts; k++)
			if (strncmp(p->mounts[k].target, at, strlen(at)) == 0 &&
			    p->mounts[k].target[strlen(at)] == '/')
				return err_set(e, -ENOTSUP,
				    "programs: the mount %s would be covered: move it out of %s",
				    p->mounts[k].target, at);
		if (add_place(g, from, at, true) < 0)
			return err_set(e, -E2BIG, "programs: too many places");
	}
	return 0;
}

/* What may be read but never run, and what of ours is there. */
static int furnish(
    struct programs *g, int root, const struct skeleton *s, const struct plan *p, struct err *e)
{
	static const char *const data[] = {"/usr/share", "/usr/local/share"};
	static const char *const readable[] = {"/etc", "/home", "/root", "/tmp", "/var", "/run",
	    "/proc", "/dev", "/srv", "/opt", "/usr/share", "/usr/local/share", "/usr/lib/locale",
	    "/usr/lib/ssl", "/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/aarch64-linux-gnu/gconv"};
	char from[64];
	struct stat st;
	int r = 0;

	if (s->lower[0])
		r = add_tops(g, root, p, e);
	else if (add_place(g, "", "/usr", true) < 0)
		r = -E2BIG;
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(data); i++) {
		if (fstatat(root, data[i] + 1, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		(void)snprintf(from, sizeof from, "/mnt%s", data[i]);
		r = add_place(g, from, data[i], false);
	}
	if (r == 0)
		r = add_place(g, "/low/run/postern", "/run/postern", true);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(readable); i++) {
		bool runs = false;

		for (unsigned k = 0; k < g->nplaces; k++)
			runs |= g->place[k].execute && strcmp(g->place[k].at + 4, readable[i]) == 0;
		if (!runs)
			r = add_file(g, readable[i], false);
	}
	for (unsigned i = 0; r == 0 && i < p->nmounts; i++)
		r = add_file(g, p->mounts[i].target, false);
	if (r == 0)
		r = add_file(g, SKELETON_INIT, true);
	if (r == 0 && p->credentials)
		r = add_file(g, SKELETON_BIN "/postern-cred", true);
	return r < 0 ? err_set(e, r, "programs: too many files") : 0;
}

/* ---- the cache ---- */

static bool same(const struct programs_kept *k, const struct skeleton *s, const struct plan *p)
{
	if (k->skeleton != s || k->n != p->nprograms || k->nmounts != p->nmounts ||
	    k->credentials != p->credentials)
		return false;
	for (unsigned i = 0; i < k->n; i++)
		if (strcmp(k->program[i], p->programs[i]) != 0)
			return false;
	for (unsigned i = 0; i < k->nmounts; i++)
		if (strcmp(k->mount[i], p->mounts[i].target) != 0)
			return false;
	return true;
}

static bool is_current(const struct programs_kept *k, int root)
{
	for (unsigned i = 0; i < k->n; i++) {
		struct stamp now;

		take_stamp(root, k->program[i], &now);
		if (memcmp(&now, &k->stamp[i], sizeof now) != 0)
			return false;
	}
	return true;
}

static void forget(struct programs_kept **at)
{
	struct programs_kept *k = *at;

	*at = k->next;
	free(k->list);
	free(k);
}

static int look_up(struct programs_kept **kept, int root, const struct skeleton *s,
    const struct plan *p, uint32_t id, struct err *e)
{
	struct programs_kept *k = calloc(1, sizeof *k);
	int r;

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	k->skeleton = s;
	k->n = p->nprograms;
	memcpy(k->program, p->programs, sizeof k->program);
	k->nmounts = p->nmounts;
	for (unsigned i = 0; i < p->nmounts; i++)
		memcpy(k->mount[i], p->mounts[i].target, sizeof k->mount[i]);
	k->credentials = p->credentials;
	for (unsigned i = 0; i < k->n; i++) /* before it is read: what changes then is seen */
		take_stamp(root, k->program[i], &k->stamp[i]);
	if ((r = programs_find(root, p, id, &k->list, e)) < 0 ||
	    (r = furnish(k->list, root, s, p, e)) < 0) {
		free(k->list);
		free(k);
		return r;
	}
	k->next = *kept;
	*kept = k;
	return 0;
}

int programs_get(struct programs_kept **kept, const struct host *h, const struct skeleton *s,
    const struct plan *p, uint32_t id, const struct programs **ret, struct err *e)
{
	unsigned n = 0;
	int r;

	*ret = NULL;
	if (!p->nprograms)
		return 0;
	cleanup_close int root = openat(s->lower[0] ? AT_FDCWD : h->root_fd,
	    s->lower[0] ? s->lower : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(e, -errno, "programs: the root: %m");
	for (struct programs_kept **at = kept; *at;) {
		if (same(*at, s, p) && is_current(*at, root)) {
			*ret = (*at)->list;
			return 0;
		}
		if (same(*at, s, p) || ++n >= KEPT_MAX)
			forget(at);
		else
			at = &(*at)->next;
	}
	if ((r = look_up(kept, root, s, p, id, e)) < 0)
		return r;
	*ret = (*kept)->list;
	return 0;
}

void programs_drop(struct programs_kept *kept)
{
	while (kept)
		forget(&kept);
}
