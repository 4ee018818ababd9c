#include "broker/workspace/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/workspace/remove.h"
#include "broker/workspace/store_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/util.h"

#define INDEX     "index.json"
#define STEP_MOST 128 /* entries removed in one idle turn */

void work_step(struct work_store *s)
{
	if (s->c.step)
		s->c.step(s->c.arg);
}

/* ---- directories ---- */

/* Made if it is not there; mended if it has other owners than it shall have. */
static int make_dir(int at, const char *name, uint32_t uid, mode_t mode, int *ret)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != uid || st.st_gid != uid)
		if (fchown(fd, uid, uid) < 0 || fchmod(fd, mode) < 0)
			return -errno;
	if (ret)
		*ret = steal_fd(&fd);
	return 0;
}

static void number_name(char dst[16], uint32_t id)
{
	(void)snprintf(dst, 16, "%u", id);
}

int work_open_tree(const struct work_tenant *t, uint32_t id)
{
	char path[24];

	(void)snprintf(path, sizeof path, "%u/d", id);
	return openat(t->layers, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int fill(struct work_tenant *t, uint32_t id, const struct stat *like)
{
	uint32_t agent = t->x.ids + WORK_AGENT;
	cleanup_close int dir = -1, tree = -1;
	char name[16];
	int r;

	number_name(name, id);
	if ((r = make_dir(t->layers, name, t->x.ids, 0700, &dir)) < 0 ||
	    (r = make_dir(dir, "w", t->x.ids, 0700, NULL)) < 0 ||
	    (r = make_dir(dir, "d", agent, 0755, &tree)) < 0)
		return r;
	if (like && (fchown(tree, like->st_uid, like->st_gid) < 0 ||
	                fchmod(tree, like->st_mode & 01777) < 0))
		return -errno;
	return 0;
}

int work_make_tree(
    struct work_store *s, struct work_tenant *t, uint32_t like, uint32_t *ret_id, struct err *e)
{
	uint32_t id = t->newest + 1;
	struct stat st;
	int r;

	if (id >= WORK_ID_MAX)
		return err_set(e, -EDQUOT, "the tenant's layers have no numbers left");
	if (like) {
		cleanup_close int fd = work_open_tree(t, like);

		if (fd < 0 || fstat(fd, &st) < 0)
			return err_set(e, -errno, "layer %u: %m", like);
	}
	work_step(s);
	if ((r = fill(t, id, like ? &st : NULL)) < 0)
		return err_set(e, r, "layer %u: %s", id, strerror(-r));
	t->newest = id;
	*ret_id = id;
	return 0;
}

/* ---- changes ---- */

static void drop_tree(struct work_store *s, struct work_tenant *t, const char *name)
{
	int r;

	work_step(s);
	if ((r = remove_later(t->layers, name, t->trash)) < 0 && r != -ENOENT)
		log_warn("workspaces of %s: layer %s stays: %s", t->name, name, strerror(-r));
	t->rubbish = true;
}

/* Everything in layers/ that the index does not name. */
void work_sweep(struct work_store *s, struct work_tenant *t)
{
	int fd = openat(t->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *o;

	if (!d) {
		util_close(&fd);
		return;
	}
	while ((o = readdir(d))) {
		uint64_t id;

		if (strcmp(o->d_name, ".") == 0 || strcmp(o->d_name, "..") == 0)
			continue;
		if (str_to_u64(o->d_name, 0, WORK_ID_MAX, &id) == 0) {
			if (id > t->newest)
				t->newest = (uint32_t)id;
			if (index_knows(&t->x, (uint32_t)id) || id == t->staged)
				continue;
		}
		drop_tree(s, t, o->d_name);
	}
	(void)closedir(d);
}

static int write_index(
    struct work_store *s, struct work_tenant *t, const struct work_index *x, struct err *e)
{
	json_auto_t *o = index_json(x);
	cleanup_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int r;

	if (!text)
		return err_set(e, -ENOMEM, "no memory");
	work_step(s);
	r = fd_write_file(t->dir, INDEX, text, strlen(text), 0600, e);
	work_step(s);
	return r;
}

int work_commit(struct work_store *s, struct work_tenant *t, struct work_index *next, struct err *e)
{
	struct work_index old = t->x;
	char name[16];
	int r;

	index_collect(next);
	if ((r = write_index(s, t, next, e)) < 0) {
		index_done(next);
		return r;
	}
	t->x = *next;
	for (unsigned i = 0; i < old.nlayers; i++)
		if (!index_knows(&t->x, old.layer[i].id)) {
			number_name(name, old.layer[i].id);
			drop_tree(s, t, name);
		}
	for (unsigned i = 0; i < old.nspaces; i++)
		if (!index_knows(&t->x, old.space[i].top)) {
			number_name(name, old.space[i].top);
			drop_tree(s, t, name);
		}
	index_done(&old);
	return 0;
}

static bool is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *o;
	int n = 0;

	if (!d) {
		util_close(&copy);
		return false;
	}
	while (n < 3 && (o = readdir(d)))
		n++;
	(void)closedir(d);
	return n < 3; /* . and .. */
}

int work_freeze(struct work_store *s, struct work_tenant *t, struct work_index *x, const char *name,
    uint32_t *ret_layer, struct err *e)
{
	struct work_space *w = index_space(x, name);
	cleanup_close int tree = work_open_tree(t, w->top);
	uint32_t top;
	int r;

	if (tree < 0)
		return err_set(e, -errno, "layer %u: %m", w->top);
	if (!is_empty(tree)) {
		if ((r = index_add_layer(x, w->top, w->base, e)) < 0 ||
		    (r = work_make_tree(s, t, w->top, &top, e)) < 0)
			return r;
		w->base = w->top;
		w->top = top;
	}
	*ret_layer = w->base;
	return 0;
}

/* ---- tenants ---- */

static void tenant_free(struct work_tenant *t)
{
	util_close(&t->dir);
	util_close(&t->layers);
	util_close(&t->trash);
	index_done(&t->x);
	free(t);
}

static int read_index(struct work_tenant *t, struct err *e)
{
	cleanup_buf struct buf b = {0};
	json_auto_t *o = NULL;
	int r;

	buf_init(&b, WORK_INDEX_BYTES);
	if ((r = fd_read_file(t->dir, INDEX, WORK_INDEX_BYTES, &b, e)) < 0 ||
	    (r = msg_json_parse(b.data, b.len, &o, e)) < 0)
		return r;
	return index_parse(o, &t->x, e);
}

/* What has to be there for the index to be true; then what is there and is not in it goes. */
static int mend(struct work_store *s, struct work_tenant *t, struct err *e)
{
	int r;

	if ((r = make_dir(t->dir, "layers", t->x.ids, 0700, &t->layers)) < 0 ||
	    (r = make_dir(t->dir, "trash", 0, 0700, &t->trash)) < 0 || (r = fill(t, 0, NULL)) < 0)
		return err_set(e, r, "directories: %s", strerror(-r));
	(void)unlinkat(t->dir, INDEX ".tmp", 0);
	t->newest = index_newest(&t->x);
	t->rubbish = true;
	for (unsigned i = 0; i < t->x.nspaces; i++)
		if ((r = fill(t, t->x.space[i].top, NULL)) < 0)
			return err_set(e, r, "%s: %s", t->x.space[i].name, strerror(-r));
	work_sweep(s, t);
	return 0;
}

static struct work_tenant *tenant_new(struct work_store *s, const char *name)
{
	struct work_tenant *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->dir = t->layers = t->trash = -1;
	(void)str_copy(t->name, sizeof t->name, name);
	t->next = s->tenants;
	s->tenants = t;
	return t;
}

static struct work_tenant *tenant_find(const struct work_store *s, const char *name)
{
	for (struct work_tenant *t = s->tenants; t; t = t->next)
		if (strcmp(t->name, name) == 0)
			return t;
	return NULL;
}

static void tenant_drop(struct work_store *s, struct work_tenant *t)
{
	for (struct work_tenant **at = &s->tenants; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	tenant_free(t);
}

static int tenant_make(
    struct work_store *s, const char *name, struct work_tenant **ret, struct err *e)
{
	struct work_tenant *t = tenant_new(s, name);
	int r;

	if (!t)
		return err_set(e, -ENOMEM, "no memory");
	work_step(s);
	if ((r = make_dir(s->c.dir, name, 0, 0700, &t->dir)) < 0)
		(void)err_set(e, r, "the directory of %s: %s", name, strerror(-r));
	else if ((r = s->c.allot(s->c.arg, &t->x.ids, e)) == 0 &&
	         (r = write_index(s, t, &t->x, e)) == 0 && (r = mend(s, t, e)) == 0 &&
	         fsync(s->c.dir) < 0)
		r = err_set(e, -errno, "fsync: %m");
	if (r < 0) {
		tenant_drop(s, t);
		return r;
	}
	*ret = t;
	return 0;
}

int work_tenant_get(
    struct work_store *s, const char *name, bool create, struct work_tenant **ret, struct err *e)
{
	struct work_tenant *t = tenant_find(s, name);

	if (!t && create)
		return tenant_make(s, name, ret, e);
	if (!t)
		return err_set(e, -ENOENT, "tenant %s has no workspaces", name);
	if (t->damaged)
		return err_set(e, -EBADMSG,
		    "the index of tenant %s's workspaces is damaged (workspaces/%s/%s): nothing of "
		    "it is touched",
		    name, name, INDEX);
	*ret = t;
	return 0;
}

int work_find(struct work_store *s, const char *tenant, const char *name, struct work_tenant **ret,
    struct work_space **ret_space, struct err *e)
{
	int r = work_tenant_get(s, tenant, false, ret, e);

	if (r < 0)
		return r;
	*ret_space = index_space(&(*ret)->x, name);
	return *ret_space ? 0 : err_set(e, -ENOENT, "tenant %s has no workspace %s", tenant, name);
}

/* Whose files they are is seen without an index, too: nobody else gets those ids. */
static void hold_owner(struct work_store *s, const char *name)
{
	char path[NAME_MAX_LEN + sizeof "/layers"];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/layers", name);
	if (fstatat(s->c.dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid > 0)
		s->c.hold(s->c.arg, st.st_uid);
}

static int load(struct work_store *s, const char *name, struct err *e)
{
	struct work_tenant *t = tenant_new(s, name);
	struct err why = ERR_INIT;
	int r;

	if (!t)
		return err_set(e, -ENOMEM, "no memory");
	t->dir = openat(s->c.dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (t->dir < 0)
		r = err_set(&why, -errno, "cannot be opened: %m");
	else
		r = read_index(t, &why);
	/* never finished: the index is there before any layer; begun again when it is needed */
	if (r == -ENOENT && t->dir >= 0 && faccessat(t->dir, "layers", F_OK, 0) < 0 &&
	    errno == ENOENT) {
		tenant_drop(s, t);
		return 0;
	}
	if (r == 0) {
		s->c.hold(s->c.arg, t->x.ids);
		r = mend(s, t, &why);
	}
	if (r < 0) {
		log_error("workspaces of %s: %s", name, err_text(&why));
		t->damaged = true;
		hold_owner(s, name);
	}
	return 0;
}

int work_open(const struct work_config *c, struct work_store **ret, struct err *e)
{
	struct work_store *s = calloc(1, sizeof *s);
	int fd, r = 0;
	DIR *d;

	if (!s) {
		(void)close(c->dir);
		return err_set(e, -ENOMEM, "no memory");
	}
	s->c = *c;
	fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = err_set(e, -errno, "workspaces: %m");
		util_close(&fd);
	}
	for (struct dirent *t; d && r == 0 && (t = readdir(d));)
		if (name_valid(t->d_name, strlen(t->d_name)))
			r = load(s, t->d_name, e);
	if (d)
		(void)closedir(d);
	if (r < 0) {
		work_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void work_close(struct work_store *s)
{
	if (!s)
		return;
	while (s->tenants)
		tenant_drop(s, s->tenants);
	for (struct work_hold *h = s->holds, *next; h; h = next) {
		next = h->next;
		free(h);
	}
	util_close(&s->c.dir);
	free(s);
}

int work_idle(struct work_store *s)
{
	for (struct work_tenant *t = s->tenants; t; t = t->next) {
		int r;

		if (!t->rubbish || t->damaged)
			continue;
		r = remove_step(t->trash, STEP_MOST);
		if (r < 0)
			log_warn("workspaces of %s: the trash stays: %s", t->name, strerror(-r));
		t->rubbish = r > 0;
		return 1;
	}
	return 0;
}
