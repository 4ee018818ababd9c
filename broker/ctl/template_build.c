#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/config.h"
#include "broker/core/image_lock.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/state_dir.h"
#include "broker/ctl/template.h"
#include "broker/image/shelf.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

/*
 * postern template build: the images that templates name become trees below STATE/images, and
 * CONFIGDIR/images.lock says which (broker/core/image_lock.h).
 */

#define TELL_TTY_NS  (NSEC_PER_SEC / 4)
#define TELL_LINE_NS (10 * NSEC_PER_SEC)

struct build {
	struct ctl *c;
	const struct config *config;
	int config_fd, shelf;
	json_t *list;
	/* progress */
	const char *name;
	int64_t next;
	bool tty, told;
};

/* ---- progress ---- */

static bool due(struct build *b)
{
	int64_t now = clock_mono_ns();

	if (b->c->json || now < b->next)
		return false;
	b->next = now + (b->tty ? TELL_TTY_NS : TELL_LINE_NS);
	b->told = true;
	return true;
}

static void on_digest(void *arg, uint64_t bytes)
{
	struct build *b = arg;

	if (due(b))
		(void)fprintf(stderr, "%s%s: read %llu MiB%s", b->tty ? "\r\033[K" : "", b->name,
		    (unsigned long long)(bytes >> 20), b->tty ? "" : "\n");
}

static void on_unpack(void *arg, const struct image_counts *n)
{
	struct build *b = arg;

	if (due(b))
		(void)fprintf(stderr, "%s%s: layer %llu, %llu entries, %llu MiB%s",
		    b->tty ? "\r\033[K" : "", b->name, (unsigned long long)n->layers + 1,
		    (unsigned long long)n->entries, (unsigned long long)(n->bytes >> 20),
		    b->tty ? "" : "\n");
}

static void progress_start(struct build *b, const char *name)
{
	b->name = name;
	b->tty = isatty(STDERR_FILENO) == 1;
	b->next = clock_mono_ns() + (b->tty ? TELL_TTY_NS : TELL_LINE_NS);
	b->told = false;
}

static void progress_end(struct build *b)
{
	if (b->told && b->tty)
		(void)fputs("\r\033[K", stderr);
}

/* ---- the lock ---- */

/* Whether a line is to stay: not of this file, and of one that a template names. */
static bool line_stays(const struct build *b, const char *line, size_t len, const char *file)
{
	const char *path = line + PLAN_IMAGE_HEX_LEN + 2;
	size_t n = len - PLAN_IMAGE_HEX_LEN - 2;

	if (file)
		return strlen(file) != n || memcmp(path, file, n) != 0;
	for (size_t i = 0; i < b->config->ntemplates; i++) {
		const struct template *t = &b->config->template[i];

		if (t->root == PLAN_ROOT_IMAGE && strlen(t->image_path) == n &&
		    memcmp(path, t->image_path, n) == 0)
			return true;
	}
	return false;
}

/* The lock with a line for file, if there is one; else without the lines that nobody needs. What it
 * says now goes to ret. */
static int write_lock(
    const struct build *b, const char *file, const char *hex, struct buf *ret, struct err *e)
{
	cleanup_buf struct buf old;
	const char *at, *end;
	int r;

	buf_init(&old, IMAGE_LOCK_SIZE_MAX);
	r = fd_read_file(b->config_fd, IMAGE_LOCK_FILE, IMAGE_LOCK_SIZE_MAX, &old, e);
	if (r == -ENOENT)
		buf_reset(&old);
	else if (r < 0 || (r = image_lock_check((const char *)old.data, old.len, e)) < 0)
		return r;
	for (at = (const char *)old.data, end = at + old.len; at < end;) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t n = nl ? (size_t)(nl - at) : (size_t)(end - at);

		if (line_stays(b, at, n, file))
			buf_printf(ret, "%.*s\n", (int)n, at);
		at += n + 1;
	}
	if (file)
		buf_printf(ret, "%s  %s\n", hex, file);
	if ((r = buf_status(ret)) < 0)
		return err_set(e, r, IMAGE_LOCK_FILE ": %s", strerror(-r));
	if (ret->len == old.len && (old.len == 0 || memcmp(ret->data, old.data, old.len) == 0))
		return 0;
	*e = (struct err)ERR_INIT;
	return fd_write_file(b->config_fd, IMAGE_LOCK_FILE, ret->data, ret->len, 0644, e);
}

/* ---- one image ---- */

static void report(struct build *b, const struct template *t, const char *hex, bool built,
    const struct image_counts *n)
{
	if (b->c->json) {
		(void)json_array_append_new(
		    b->list, json_pack("{s:s, s:s*, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}",
		                 "template", t->name, "tenant", *t->tenant ? t->tenant : NULL,
		                 "file", t->image_path, "image", hex, "built", (int)built, "bytes",
		                 (json_int_t)n->bytes, "entries", (json_int_t)n->entries, "layers",
		                 (json_int_t)n->layers, "devices", (json_int_t)n->devices, "setids",
		                 (json_int_t)n->setids, "xattrs", (json_int_t)n->xattrs));
		return;
	}
	if (!built) {
		(void)printf("%s: %.12s is there already\n", t->name, hex);
		return;
	}
	(void)printf("%s: %.12s, %llu layers, %llu entries, %llu bytes\n", t->name, hex,
	    (unsigned long long)n->layers, (unsigned long long)n->entries,
	    (unsigned long long)n->bytes);
	if (n->devices || n->setids || n->xattrs)
		(void)printf("%s: left out: %llu devices, setuid or setgid of %llu, attributes of "
		             "%llu\n",
		    t->name, (unsigned long long)n->devices, (unsigned long long)n->setids,
		    (unsigned long long)n->xattrs);
}

static int add(struct build *b, const struct template *t, struct err *e)
{
	const struct image_unpack u = {.limits = IMAGE_LIMITS, .progress = on_unpack, .arg = b};
	cleanup_close int fd = open(t->image_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char hex[DIGEST_HEX_LEN + 1];
	struct image_counts n = {0};
	cleanup_buf struct buf lock;
	struct stat st;
	bool built;
	int r;

	buf_init(&lock, IMAGE_LOCK_SIZE_MAX);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%m");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "no regular file");
	if ((r = shelf_digest(fd, hex, on_digest, b, e)) < 0)
		return r;
	built = !shelf_has(b->shelf, hex);
	if (built && (r = shelf_add(b->shelf, fd, hex, &u, &n, e)) < 0)
		return r;
	if ((r = write_lock(b, t->image_path, hex, &lock, e)) < 0)
		return r;
	progress_end(b);
	report(b, t, hex, built, &n);
	return 0;
}

static int build_one(struct build *b, const struct template *t)
{
	struct err e = ERR_INIT;

	progress_start(b, t->name);
	if (add(b, t, &e) == 0)
		return EXIT_OK;
	progress_end(b);
	return ctl_fail(EXIT_FAILED, "%s: %s: %s", t->name, t->image_path, err_text(&e));
}

/* ---- what nobody needs ---- */

static bool in_lock(void *arg, const char *hex)
{
	const struct buf *lock = arg;
	const char *at = (const char *)lock->data, *end = at + lock->len, *nl;

	for (; at < end; at = nl + 1) {
		if (!(nl = memchr(at, '\n', (size_t)(end - at))))
			return false;
		if (strncmp(at, hex, PLAN_IMAGE_HEX_LEN) == 0)
			return true;
	}
	return false;
}

/* A session may still use a tree, so nothing runs meanwhile. */
static int prune(struct build *b)
{
	struct state_dir state = STATE_DIR_INIT;
	struct err e = ERR_INIT;
	cleanup_buf struct buf lock;
	unsigned n = 0;
	int r;

	buf_init(&lock, IMAGE_LOCK_SIZE_MAX);
	if ((r = state_dir_open(b->c, 0, &state)) != EXIT_OK)
		return r;
	if (write_lock(b, NULL, NULL, &lock, &e) < 0 ||
	    shelf_prune(b->shelf, in_lock, &lock, &n, &e) < 0)
		r = ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	else if (!b->c->json)
		(void)printf("%u removed\n", n);
	state_dir_done(&state);
	return r;
}

static int build_all(struct build *b, const char *tenant)
{
	int r = EXIT_OK;

	for (size_t i = 0; i < b->config->ntemplates; i++) {
		const struct template *t = &b->config->template[i];
		int one;

		if (t->root != PLAN_ROOT_IMAGE ||
		    (tenant && config_template(b->config, tenant, t->name) != t))
			continue;
		if ((one = build_one(b, t)) != EXIT_OK)
			r = one;
	}
	return r;
}

int ctl_template_build(struct ctl *c)
{
	const char *tenant = ctl_opt(c, "tenant"), *name = c->nwords ? c->word[0] : NULL;
	cleanup_config struct config *config = NULL;
	json_auto_t *list = json_array();
	cleanup_close int fd = -1;
	const struct template *t;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	unsigned left;
	int r = template_load(c, &config, &fd);

	if (r != EXIT_OK)
		return r;
	if (tenant && !config_tenant(config, tenant))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such tenant");
	cleanup_close int shelf =
	    shelf_open(ctl_path(c, "images", "/var/lib/postern/images", path), &e);
	if (shelf < 0 || shelf_prune(shelf, NULL, NULL, &left, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	struct build b = {.c = c, .config = config, .config_fd = fd, .shelf = shelf, .list = list};
	if (!name)
		r = build_all(&b, tenant);
	else if (!(t = config_template(config, tenant, name)))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such template");
	else if (t->root != PLAN_ROOT_IMAGE)
		return ctl_fail(EXIT_FAILED, "%s: its base is no image", name);
	else
		r = build_one(&b, t);
	if (r == EXIT_OK && ctl_opt(c, "prune"))
		r = prune(&b);
	if (c->json)
		(void)ctl_json(list);
	return r;
}
