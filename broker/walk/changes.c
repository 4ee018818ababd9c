#include "broker/walk/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/walk/gate.h"
#include "broker/walk/look.h"
#include "broker/walk/names.h"
#include "lib/clock.h"
#include "lib/util.h"

const char *const change_kinds[] = {"added", "changed", "deleted", "metadata", NULL};

const char *change_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "device";
	}
}

/* A directory that is being gone through. dirs[0 .. ntop) are those of the layers that count as
 * changes, as far as they are seen; those of the layers below that have it follow, and are read too
 * where they are hidden. */
struct frame {
	int dirs[1 + CHANGES_LAYERS];
	size_t ntop, ndirs;
	bool opaque;
	size_t path_len; /* of its path with the slash behind it */
	struct names names;
};

struct walk {
	struct changes *c;
	struct frame *stack[CHANGES_DEPTH + 1];
	size_t depth;
	char path[CHANGES_PATH];
};

static void frame_free(struct frame *f)
{
	for (size_t i = 0; f && i < f->ndirs; i++)
		util_close(&f->dirs[i]);
	if (f)
		names_done(&f->names);
	free(f);
}

static bool late(const struct changes *c)
{
	return c->deadline_ns && clock_mono_ns() > c->deadline_ns;
}

static int is_opaque(const struct changes *c, int fd)
{
	return c->opaque ? c->opaque(c->arg, fd) : 0;
}

/* ---- below ---- */

/* What was there: the uppermost layer's, -ENOENT if nothing. *ret_dir: whose. */
static int below(const struct frame *f, const char *name, struct stat *ret, int *ret_dir)
{
	for (size_t i = f->ntop; i < f->ndirs; i++) {
		int r = look_stat(f->dirs[i], name, ret);

		if (r == 0) {
			*ret_dir = f->dirs[i];
			return look_whiteout(ret) ? -ENOENT : 0;
		}
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

/* The directories of that name in the layers below, as far down as they are seen through. */
static int open_below(struct changes *c, const struct frame *f, const char *name, struct frame *to)
{
	for (size_t i = f->ntop; i < f->ndirs; i++) {
		struct stat st;
		int fd, r = look_stat(f->dirs[i], name, &st);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (!S_ISDIR(st.st_mode))
			return 0;
		if ((fd = look_dir(f->dirs[i], name)) < 0)
			return fd;
		to->dirs[to->ndirs++] = fd;
		if ((r = is_opaque(c, fd)) != 0)
			return r < 0 ? r : 0;
	}
	return 0;
}

/* The directories of that name in the layers that count, as far down as they are seen through; `at`
 * is the first that has it. */
static int open_top(
    struct changes *c, const struct frame *f, size_t at, const char *name, struct frame *to)
{
	for (size_t i = at; i < f->ntop && !to->opaque; i++) {
		struct stat st;
		int fd, r = look_stat(f->dirs[i], name, &st);

		if (r == -ENOENT && i > at)
			continue;
		if (r < 0)
			return r;
		if (!S_ISDIR(st.st_mode)) {
			to->opaque = true;
			break;
		}
		if ((fd = look_dir(f->dirs[i], name)) < 0)
			return fd;
		to->dirs[to->ndirs++] = fd;
		if ((r = is_opaque(c, fd)) < 0)
			return r;
		to->opaque = r > 0;
	}
	to->ntop = to->ndirs;
	return 0;
}

/* ---- a change ---- */

static int tell(struct walk *w, struct change *x)
{
	struct changes *c = w->c;
	uint64_t before = 0;

	for (size_t i = 0; i < ARRAY_LEN(c->count); i++)
		before += c->count[i];
	c->count[x->what]++;
	if (x->deep)
		c->deep++;
	if (c->max && before >= c->max) {
		c->left_out++;
		return 0;
	}
	return c->take(c->arg, x);
}

static void fill(struct change *x, const struct stat *st)
{
	x->mode = st->st_mode;
	x->uid = st->st_uid;
	x->gid = st->st_gid;
	x->size = (uint64_t)st->st_size;
	x->mtime_s = st->st_mtim.tv_sec;
	x->links = S_ISDIR(st->st_mode) ? 0 : st->st_nlink;
}

static bool full(const struct changes *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(c->count); i++)
		n += c->count[i];
	return c->max && n >= c->max;
}

/* It was there before as well. */
static enum change_kind compare(struct walk *w, struct change *x, const struct stat *st,
    int old_dir, const char *name, const struct stat *old)
{
	uint8_t digest[DIGEST_LEN];

	if ((st->st_mode & S_IFMT) != (old->st_mode & S_IFMT))
		return CHANGE_CHANGED;
	if (S_ISDIR(st->st_mode))
		return CHANGE_METADATA;
	if (!x->hashed || st->st_size != old->st_size)
		return CHANGE_CHANGED;
	return look_digest(w->c, old_dir, name, old, digest) &&
	               memcmp(digest, x->digest, DIGEST_LEN) == 0
	           ? CHANGE_METADATA
	           : CHANGE_CHANGED;
}

/* One that is in the layer. */
static int present(
    struct walk *w, struct frame *f, int dir, const char *name, const struct stat *st, bool deep)
{
	struct change x = {.path = w->path, .deep = deep, .dir = dir, .name = name};
	struct stat old = {0};
	int old_dir = -1, r = below(f, name, &old, &old_dir);

	if (r < 0 && r != -ENOENT) {
		w->c->incomplete = true;
		w->c->unreadable++;
	}
	fill(&x, st);
	/* a directory is copied up for what is changed in it */
	if (r == 0 && S_ISDIR(st->st_mode) && st->st_mode == old.st_mode &&
	    st->st_uid == old.st_uid && st->st_gid == old.st_gid && !deep)
		return 0;
	/* only to be counted: no byte of it is read */
	if (!full(w->c))
		look_into(w->c, dir, name, st, &x);
	x.what = r < 0 ? CHANGE_ADDED : compare(w, &x, st, old_dir, name, &old);
	return tell(w, &x);
}

static int absent(struct walk *w, struct frame *f, const char *name)
{
	struct change x = {.path = w->path, .what = CHANGE_DELETED, .dir = -1, .name = name};
	struct stat old;
	int old_dir;

	if (below(f, name, &old, &old_dir) < 0)
		return 0; /* a whiteout of nothing */
	fill(&x, &old);
	return tell(w, &x);
}

/* ---- directories ---- */

static int enter(struct walk *w, struct frame *f, size_t at, const char *name, size_t path_len)
{
	struct frame *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return -ENOMEM;
	if ((r = open_top(w->c, f, at, name, n)) == 0)
		r = open_below(w->c, f, name, n);
	if (r < 0) {
		frame_free(n);
		w->c->incomplete = true;
		w->c->unreadable++;
		return r == -ENOMEM ? r : 0;
	}
	w->path[path_len] = '/';
	n->path_len = path_len + 1;
	w->stack[w->depth++] = n;
	return 0;
}

static int one(struct walk *w, struct frame *f, const char *name)
{
	size_t len = strlen(name), path_len = f->path_len + len;
	struct stat st;
	size_t at = 0;
	bool deep;
	int r;

	memcpy(w->path + f->path_len, name, len + 1);
	while ((r = look_stat(f->dirs[at], name, &st)) == -ENOENT && at + 1 < f->ntop)
		at++;
	if (r == -ENOENT || (r == 0 && look_whiteout(&st)))
		return absent(w, f, name);
	if (r < 0) {
		w->c->unreadable++;
		w->c->incomplete = true;
		return 0;
	}
	deep = S_ISDIR(st.st_mode) && w->depth == CHANGES_DEPTH;
	if ((r = present(w, f, f->dirs[at], name, &st, deep)) != 0 || !S_ISDIR(st.st_mode))
		return r;
	if (deep) {
		w->c->incomplete = true;
		return 0;
	}
	return enter(w, f, at, name, path_len);
}

static int root_frame(struct walk *w)
{
	struct frame *f = calloc(1, sizeof *f);

	if (!f || w->c->nlower > CHANGES_LAYERS || w->c->nmore > w->c->nlower) {
		free(f);
		return f ? -E2BIG : -ENOMEM;
	}
	for (size_t i = 0; i <= w->c->nlower; i++) {
		int fd = look_dir(i == 0 ? w->c->top : w->c->lower[i - 1], ".");

		if (fd < 0) {
			frame_free(f);
			return fd;
		}
		f->dirs[f->ndirs++] = fd;
	}
	f->ntop = 1 + w->c->nmore;
	w->stack[w->depth++] = f;
	return 0;
}

static int run(struct walk *w)
{
	int r = root_frame(w);

	while (r == 0 && w->depth > 0) {
		struct frame *f = w->stack[w->depth - 1];
		const char *name = NULL;

		if (late(w->c))
			r = -ETIMEDOUT;
		else
			r = names_next(&f->names, f->dirs, f->opaque ? f->ndirs : f->ntop,
			    w->c->deadline_ns, &name);
		if (r == -ETIMEDOUT) {
			w->c->incomplete = true;
			return 0;
		}
		if (r < 0 && r != -ENOMEM) { /* it has been removed meanwhile */
			w->c->incomplete = true;
			w->c->unreadable++;
			r = 0;
		}
		if (r == 0 && name)
			r = one(w, f, name);
		else if (r == 0)
			frame_free(w->stack[--w->depth]);
	}
	return r;
}

int changes_walk(struct changes *c)
{
	struct walk *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	w->c = c;
	if (!c->hash_bytes)
		c->hash_bytes = UINT64_MAX;
	r = run(w);
	while (w->depth > 0)
		frame_free(w->stack[--w->depth]);
	free(w);
	return r;
}
