#include "broker/spawn/skeleton.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/install.h"
#include "broker/spawn/skeleton_etc.h"
#include "broker/spawn/tree.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define SKELETONS_MAX 4096

/* What a skeleton was made from: if any of these is another file now, so must the skeleton be. */
static const char *const sources[] = {
    "etc/ld.so.cache", "etc/alternatives", "etc/ssl/certs/ca-certificates.crt", "."};

struct stamp {
	dev_t dev;
	ino_t ino;
	struct timespec when;
};

struct entry {
	struct entry *next;
	char role[NAME_MAX_LEN + 1];
	char root[PLAN_PATH_MAX]; /* key_of() */
	bool root_user;
	struct stamp stamps[ARRAY_LEN(sources)];
	struct skeleton s;
};

struct skeletons {
	struct host *h;
	struct entry *list;
	unsigned made;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path) < 0 ? -1 : 0;
}

/* Everything but what an operator made there for the tier microvm. */
static void remove_all(void)
{
	DIR *d = opendir("/skel");
	struct dirent *t;
	char path[PATH_MAX];

	while (d && (t = readdir(d))) {
		if (strcmp(t->d_name, ".") == 0 || strcmp(t->d_name, "..") == 0 ||
		    strcmp(t->d_name, "microvm") == 0)
			continue;
		(void)snprintf(path, sizeof path, "/skel/%s", t->d_name);
		(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
	if (d)
		(void)closedir(d);
}

struct skeletons *skeletons_new(struct host *h, struct err *e)
{
	struct skeletons *s = calloc(1, sizeof *s);

	if (!s) {
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	s->h = h;
	remove_all();
	return s;
}

void skeletons_free(struct skeletons *s)
{
	if (!s)
		return;
	remove_all();
	for (struct entry *t = s->list, *next; t; t = next) {
		next = t->next;
		free(t);
	}
	free(s);
}

static void take_stamps(int root, struct stamp *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct stat st = {0};

		/* what is not there counts as nothing; the root itself may change its contents */
		(void)fstatat(root, sources[i], &st, 0);
		memset(&ret[i], 0, sizeof ret[i]);
		ret[i].dev = st.st_dev;
		ret[i].ino = st.st_ino;
		ret[i].when = i == ARRAY_LEN(sources) - 1 ? (struct timespec){0} : st.st_mtim;
	}
}

/* ---- building ---- */

static const struct dir {
	const char *name;
	mode_t mode;
	bool agent;
} dirs[] = {
    {"etc", 0755, false},
    {"home", 0755, false},
    {"home/agent", 0755, true},
    {"root", 0700, false},
    {"tmp", 01777, false},
    {"var", 0755, false},
    {"var/tmp", 01777, false},
    {"run", 0755, false},
    {"run/postern", 0755, false},
    {"run/postern/bin", 0755, false},
    {"proc", 0555, false},
    {"dev", 0755, false},
};

static const char *const top_links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};

static int make_dirs(int at)
{
	int r;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if ((r = tree_dir(at, dirs[i].name, dirs[i].mode, dirs[i].agent ? AGENT_ID : 0)) <
		    0)
			return r;
	return 0;
}

/* The host's own /usr: it must be a merged one, as Debian's is since 12. */
static int link_usr(int host_root, int at, struct err *e)
{
	struct stat st;
	int r;

	if ((r = tree_dir(at, "usr", 0755, 0)) < 0)
		return err_set(e, r, "usr: %s", strerror(-r));
	for (size_t i = 0; i < ARRAY_LEN(top_links); i++) {
		if (fstatat(host_root, top_links[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISLNK(st.st_mode))
			return err_set(e, -ENOTSUP,
			    "/%s is no link into /usr: name a directory as the template's root",
			    top_links[i]);
		if ((r = tree_copy_link(host_root, top_links[i], at, top_links[i])) < 0)
			return err_set(e, r, "%s: %s", top_links[i], strerror(-r));
	}
	return 0;
}

static void writable_add(struct skeleton *s, const char *name)
{
	if (s->writables < SKELETON_WRITABLE_MAX &&
	    (size_t)snprintf(s->writable[s->writables], sizeof s->writable[0], "/%s", name) <
	        sizeof s->writable[0])
		s->writables++;
}

/* Of a directory named by a template: whatever is no part of the system. */
static void writable_of_root(struct skeleton *s, int root)
{
	static const char *const system[] = {"bin", "boot", "dev", "etc", "home", "lib", "lib32",
	    "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp", "usr", "var"};
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *t; d && (t = readdir(d));) {
		bool skip = t->d_type != DT_DIR || t->d_name[0] == '.';

		for (size_t i = 0; i < ARRAY_LEN(system); i++)
			skip |= strcmp(t->d_name, system[i]) == 0;
		if (!skip)
			writable_add(s, t->d_name);
	}
	if (d)
		(void)closedir(d);
	else if (fd >= 0)
		(void)close(fd);
}

static int prepare_installs(struct host *h, struct entry *t, int at, struct err *e)
{
	struct stat st;
	int r = install_skeleton(h->root_fd, at);

	if (r < 0)
		return err_set(e, r, "skeleton: %s", strerror(-r));
	if (fstatat(h->root_fd, INSTALL_DPKG "/status", &st, 0) < 0)
		return 0;
	return host_bind(h, "/" INSTALL_DPKG, t->s.dpkg, sizeof t->s.dpkg, e);
}

static int install(struct host *h, int at, struct err *e)
{
	int r;

	if ((r = tree_copy_file(h->libexec_fd, "postern-init", at, SKELETON_INIT + 1, 0755)) < 0)
		return err_set(e, r, "postern-init: %s", strerror(-r));
	r = tree_copy_file(
	    h->libexec_fd, "postern-cred", at, SKELETON_BIN "/postern-cred" + 1, 0755);
	return r < 0 && r != -ENOENT ? err_set(e, r, "postern-cred: %s", strerror(-r)) : 0;
}

static int fill(
    struct host *h, const struct plan *p, struct entry *t, int root, int at, struct err *e)
{
	int r;

	if ((r = make_dirs(at)) < 0)
		return err_set(e, r, "skeleton: %s", strerror(-r));
	if (p->root == PLAN_ROOT_HOST && (r = link_usr(h->root_fd, at, e)) < 0)
		return r;
	if (p->root_user && p->root == PLAN_ROOT_HOST && (r = prepare_installs(h, t, at, e)) < 0)
		return r;
	if ((r = skeleton_etc(root, p, at, e)) < 0 || (r = install(h, at, e)) < 0)
		return r;
	writable_add(&t->s, "home");
	writable_add(&t->s, "tmp");
	writable_add(&t->s, "var");
	writable_add(&t->s, "run");
	writable_add(&t->s, "dev");
	if (p->root != PLAN_ROOT_HOST)
		writable_of_root(&t->s, root);
	return 0;
}

static int build(
    struct skeletons *s, const struct plan *p, struct entry *t, int root, struct err *e)
{
	cleanup_close int at = -1;
	int r;

	(void)snprintf(t->s.path, sizeof t->s.path, "/skel/%u", s->made++);
	if (mkdir(t->s.path, 0755) < 0)
		return err_set(e, -errno, "skeleton: %m");
	if ((at = open(t->s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "skeleton: %m");
	r = 0;
	if (p->root == PLAN_ROOT_DIRECTORY)
		r = host_bind(s->h, p->root_path, t->s.lower, sizeof t->s.lower, e);
	if (p->root == PLAN_ROOT_IMAGE)
		r = host_bind_image(s->h, root, t->s.lower, sizeof t->s.lower, e);
	if (r < 0)
		return r;
	return fill(s->h, p, t, root, at, e);
}

/* What a build that failed has left. Its number is free again if nothing is. */
static void discard(struct skeletons *s, const struct skeleton *k)
{
	int r = host_unbind(s->h, k->dpkg);

	if (host_unbind(s->h, k->lower) < 0 || r < 0)
		return;
	if (nftw(k->path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 || errno == ENOENT)
		s->made--;
}

/* Of roots: empty for the host's, a path, or an image's digits, which no path is. */
static const char *key_of(const struct plan *p)
{
	return p->root == PLAN_ROOT_IMAGE ? p->image : p->root_path;
}

static int open_root(struct host *h, const struct plan *p, struct err *e)
{
	const char *path = p->root == PLAN_ROOT_HOST ? "." : p->root_path + 1;
	int fd;

	if (p->root == PLAN_ROOT_IMAGE) {
		if ((fd = host_image(h, p->image)) < 0)
			return err_set(e, fd, "the image %.12s: %s", p->image, strerror(-fd));
		return fd;
	}
	if ((fd = openat(h->root_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "the template's root %s: %m", p->root_path);
	return fd;
}

int skeleton_get(
    struct skeletons *s, const struct plan *p, const struct skeleton **ret, struct err *e)
{
	struct stamp now[ARRAY_LEN(sources)];
	struct entry *t;
	int r;

	/* a template's directory is looked at each time: it may have gone or been replaced */
	cleanup_close int root = open_root(s->h, p, e);
	if (root < 0)
		return e->code;
	take_stamps(root, now);
	for (t = s->list; t; t = t->next)
		if (strcmp(t->role, p->role) == 0 && t->root_user == p->root_user &&
		    strcmp(t->root, key_of(p)) == 0 && memcmp(t->stamps, now, sizeof now) == 0) {
			*ret = &t->s;
			return 0;
		}
	if (s->made >= SKELETONS_MAX)
		return err_set(e, -ENOSPC, "more than %d skeletons", SKELETONS_MAX);
	t = calloc(1, sizeof *t);
	if (!t)
		return err_set(e, -ENOMEM, "no memory");
	memcpy(t->role, p->role, sizeof t->role);
	(void)str_copy(t->root, sizeof t->root, key_of(p));
	t->root_user = p->root_user;
	memcpy(t->stamps, now, sizeof now);
	if ((r = build(s, p, t, root, e)) < 0) {
		discard(s, &t->s);
		free(t);
		return r;
	}
	t->next = s->list;
	s->list = t;
	*ret = &t->s;
	return 0;
}
