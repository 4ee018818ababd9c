#include "broker/image/layer.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/image/blob.h"
#include "broker/image/layout.h"
#include "broker/image/name.h"
#include "broker/image/place.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define ID_MAX   65535
#define WHITEOUT ".wh."
#define HIDDEN   ".wh..wh."
#define OPAQUE   ".wh..wh..opq"
#define TELL     512 /* entries between two words of progress */

struct pass {
	const struct layer_work *w;
	json_t *seen; /* names of this layer: their type */
	char name[TAR_NAME_MAX + 1];
	char *base; /* in name */
	uint64_t entries, bytes;
};

static int check(struct pass *p, const struct tar_entry *x, struct err *e)
{
	const struct image_limits *l = &p->w->u->limits;
	unsigned depth;

	if (name_clean(x->name, p->name, &p->base, &depth) < 0)
		return err_set(e, -EINVAL, "a name that leads out of the tree, or is too long");
	if (depth > l->depth)
		return err_set(e, -EINVAL, "more than %u directories deep", l->depth);
	if (x->type == TAR_OTHER)
		return err_set(e, -EINVAL, "neither file, directory, link nor device");
	if (x->uid < 0 || x->uid > ID_MAX || x->gid < 0 || x->gid > ID_MAX)
		return err_set(e, -EINVAL, "its owner is beyond 0..%d", ID_MAX);
	if (x->capability)
		return err_set(e, -EINVAL, "has file capabilities");
	if (!*p->name && x->type != TAR_DIR)
		return err_set(e, -EINVAL, "the tree itself is no directory");
	if (p->w->counts->entries + ++p->entries > l->entries)
		return err_set(e, -EFBIG, "more than %llu entries", (unsigned long long)l->entries);
	if (x->type == TAR_FILE) {
		uint64_t left = l->bytes - p->w->counts->bytes - p->bytes;

		if ((uint64_t)x->size > left)
			return err_set(
			    e, -EFBIG, "more than %llu bytes", (unsigned long long)l->bytes);
		p->bytes += (uint64_t)x->size;
	}
	return 0;
}

/* Twice the same: the last of two files or two directories. */
static int once(struct pass *p, enum tar_type type, struct err *e)
{
	const json_t *before = json_object_get(p->seen, p->name);
	enum tar_type was = (enum tar_type)json_integer_value(before);

	if (before && (was != type || (type != TAR_FILE && type != TAR_DIR)))
		return err_set(e, -EINVAL, "it is there twice");
	if (json_object_set_new_nocheck(p->seen, p->name, json_integer(type)) < 0)
		return err_set(e, -ENOMEM, "no memory");
	return 0;
}

/* ---- the first time: what it hides ---- */

static bool is_whiteout(const struct pass *p)
{
	return strncmp(p->base, WHITEOUT, sizeof WHITEOUT - 1) == 0;
}

static int hide(struct pass *p, const struct tar_entry *x, struct err *e)
{
	char *name = p->base + sizeof WHITEOUT - 1;

	(void)x;
	if (!is_whiteout(p))
		return once(p, x->type, e);
	if (strcmp(p->base, OPAQUE) == 0) {
		p->base[p->base > p->name ? -1 : 0] = '\0';
		return place_empty(p->w->place, p->name, e);
	}
	if (strncmp(p->base, HIDDEN, sizeof HIDDEN - 1) == 0)
		return 0; /* another union file system's own */
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, -EINVAL, "a whiteout of nothing");
	memmove(p->base, name, strlen(name) + 1);
	return place_remove(p->w->place, p->name, e);
}

/* ---- the second time: what it brings ---- */

static int write_at(int fd, const void *data, size_t len, uint64_t at)
{
	const uint8_t *b = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, b, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		b += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_file(struct pass *p, struct tar *t, const struct tar_entry *x, struct err *e)
{
	uint64_t size = (uint64_t)x->size, at;
	cleanup_close int fd = -1;
	const void *data;
	size_t len;
	int r;

	if ((r = place_file(p->w->place, p->name, &fd, e)) < 0)
		return r;
	while ((r = tar_data(t, &data, &len, &at, e)) > 0) {
		if (at > size || len > size - at)
			return err_set(e, -EBADMSG, "longer than it says");
		if ((r = write_at(fd, data, len, at)) < 0)
			return err_set(e, r, "%s", strerror(-r));
	}
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)size) < 0)
		return err_set(e, -errno, "%m");
	return place_file_done(p->w->place, fd, x, e);
}

static int bring(struct pass *p, struct tar *t, const struct tar_entry *x, struct err *e)
{
	struct image_counts *c = p->w->counts;
	char target[TAR_NAME_MAX + 1];
	struct place *place = p->w->place;
	int there, r;

	if (is_whiteout(p))
		return 0;
	if (x->type == TAR_DEVICE) {
		c->devices++;
		return 0;
	}
	c->xattrs += x->xattrs;
	c->setids += (x->type == TAR_FILE || x->type == TAR_DIR) && (x->mode & 06000) != 0;
	if (x->type == TAR_HARDLINK &&
	    (name_clean(x->target, target, NULL, NULL) < 0 || strcmp(target, p->name) == 0))
		return err_set(e, -EINVAL, "a hard link out of the tree, or to itself");
	there = place_look(place, p->name);
	if (there < 0)
		return err_set(
		    e, there == -ENOMEM ? there : -EINVAL, "leads through what is no directory");
	if (there && !(there == S_IFDIR && x->type == TAR_DIR)) {
		/* another layer's, or a file of this one that comes again; a directory of this one
		 * was made for what lies in it */
		if (there == S_IFDIR && json_object_get(p->seen, p->name))
			return err_set(e, -EINVAL, "it is there twice");
		if ((r = place_remove(place, p->name, e)) < 0)
			return r;
	}
	switch (x->type) {
	case TAR_DIR:
		return place_dir(place, p->name, x, e);
	case TAR_FILE:
		return write_file(p, t, x, e);
	case TAR_SYMLINK:
		return place_symlink(place, p->name, x->target, e);
	default:
		return place_link(place, p->name, target, e);
	}
}

/* Every directory above a name is one of this layer's from then on. */
static int mark_above(struct pass *p, struct err *e)
{
	for (char *s = strchr(p->name, '/'); s; s = strchr(s + 1, '/')) {
		bool failed;

		*s = '\0';
		failed = !json_object_get(p->seen, p->name) &&
		         json_object_set_new_nocheck(p->seen, p->name, json_integer(TAR_DIR)) < 0;
		*s = '/';
		if (failed)
			return err_set(e, -ENOMEM, "no memory");
	}
	return 0;
}

/* ---- both ---- */

static int each(struct pass *p, struct tar *t, bool second, struct err *e)
{
	char shown[160];
	struct tar_entry x;
	int r;

	while ((r = tar_next(t, &x, e)) > 0) {
		if ((r = check(p, &x, e)) == 0)
			r = second ? mark_above(p, e) : hide(p, &x, e);
		if (r == 0 && second && (r = bring(p, t, &x, e)) == 0 && !is_whiteout(p))
			r = once(p, x.type, e);
		if (r < 0) {
			(void)str_escape(shown, sizeof shown, x.name, strlen(x.name));
			return err_wrap(e, r, "%s", shown);
		}
		if (second && p->w->u->progress && p->entries % TELL == 0) {
			struct image_counts now = *p->w->counts;

			now.entries += p->entries;
			now.bytes += p->bytes;
			p->w->u->progress(p->w->u->arg, &now);
		}
	}
	return r;
}

static int pass(
    const struct layer_work *w, const struct layout_layer *l, bool second, struct err *e)
{
	const char *stored = *l->stored ? l->stored : NULL;
	char hex[DIGEST_HEX_LEN + 1];
	struct pass *p = calloc(1, sizeof *p);
	uint8_t plain[DIGEST_LEN];
	struct blob *b = NULL;
	struct tar *t = NULL;
	int r;

	if (!p || !(p->seen = json_object())) {
		free(p);
		return err_set(e, -ENOMEM, "no memory");
	}
	p->w = w;
	if ((r = blob_open(w->fd, l->name, stored, true, &w->u->limits, &b, e)) == 0 &&
	    (r = tar_open(blob_read, b, &t, e)) == 0 && (r = each(p, t, second, e)) == 0)
		r = blob_finish(b, plain, e);
	if (r == 0) {
		hex_encode(hex, plain, sizeof plain);
		if (strcmp(hex, l->plain) != 0)
			r = err_set(e, -EBADMSG, "what it comes to has the SHA-256 %s", hex);
	}
	if (r == 0 && second) {
		w->counts->entries += p->entries;
		w->counts->bytes += p->bytes;
		w->counts->layers++;
	}
	tar_free(t);
	blob_free(b);
	json_decref(p->seen);
	free(p);
	return r;
}

int layer_apply(const struct layer_work *w, const struct layout_layer *l, struct err *e)
{
	int r = pass(w, l, false, e);

	return r < 0 ? r : pass(w, l, true, e);
}
