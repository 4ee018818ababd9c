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

#include "broker/spawn/elf.h"
#include "broker/spawn/ldcache.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * The confined child's part of programs.h: everything here reads files that may be an image's, and
 * runs with nothing but the root's files, to be read.
 */

#define LINKS_MAX 16

/* Where a loader looks when nothing else says: glibc's and musl's. */
static const char *const default_dirs[] = {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib",
    "/usr/lib", "/usr/local/lib"};

struct found {
	char path[PROGRAMS_PATH_LEN];
	char runpath[ELF_RUNPATH_LEN]; /* of the program that needs it */
	dev_t dev;
	ino_t ino;
	bool execute;
};

struct search {
	int root, out;
	const struct plan *p;
	char *cache; /* ld.so.cache, NULL: none */
	size_t cache_len;
	struct elf elf;
	unsigned n;
	struct found file[PROGRAMS_FILES_MAX];
};

static void say(struct search *s, char kind, const char *text)
{
	char line[PROGRAMS_PATH_LEN + 4];
	int n = snprintf(line, sizeof line, "%c %.*s\n", kind, PROGRAMS_PATH_LEN - 1, text);

	if (n > 0 && fd_write_full(s->out, line, (size_t)n) < 0)
		_exit(3);
}

static int complain(struct search *s, const char *path, int error)
{
	char text[PROGRAMS_PATH_LEN];

	(void)snprintf(text, sizeof text, "%s: %s", path,
	    error == -ENOEXEC   ? "neither a program nor a script"
	    : error == -EBADMSG ? "a damaged program"
	    : error == -E2BIG   ? "needs too many files"
	                        : strerror(-error));
	say(s, 'e', text);
	return error;
}

/* Links lead to where they do inside: never out of the root. */
static int open_inside(struct search *s, const char *path, uint64_t flags)
{
	struct open_how how = {
	    .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, s->root, path, &how, sizeof how);

	return fd < 0 ? -errno : fd;
}

static int read_at(void *arg, uint64_t at, void *dst, size_t n)
{
	uint8_t *to = dst;

	while (n > 0) {
		ssize_t got = pread(*(int *)arg, to, n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		to += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* ---- interpreters ---- */

/* The name that a path comes to when the links at its end are followed. */
static void last_name(struct search *s, const char *path, char *dst, size_t size)
{
	char at[PROGRAMS_PATH_LEN], to[PROGRAMS_PATH_LEN], next[2 * PROGRAMS_PATH_LEN];
	const char *slash;

	(void)str_copy(at, sizeof at, path);
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		cleanup_close int fd = open_inside(s, at, O_PATH | O_NOFOLLOW);
		ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", to, sizeof to - 1);

		if (n <= 0)
			break;
		to[n] = '\0';
		slash = strrchr(at, '/');
		if (*to == '/')
			(void)snprintf(next, sizeof next, "%s", to);
		else
			(void)snprintf(next, sizeof next, "%.*s/%s", (int)(slash - at), at, to);
		if (!str_copy(at, sizeof at, next))
			break;
	}
	slash = strrchr(at, '/');
	(void)str_copy(dst, size, slash ? slash + 1 : at);
}

/* What an interpreter reads of its own, beside libraries. Names with a version have directories
 * with one. */
static void say_modules(struct search *s, const char *name)
{
	static const struct {
		const char *prefix, *dir;
	} fixed[] = {{"python", "/usr/lib/python3"}, {"python", "/usr/local/lib/python3"},
	    {"perl", "/usr/lib/x86_64-linux-gnu/perl-base"},
	    {"perl", "/usr/lib/x86_64-linux-gnu/perl"}, {"perl", "/usr/lib/x86_64-linux-gnu/perl5"},
	    {"perl", "/usr/lib/aarch64-linux-gnu/perl-base"},
	    {"perl", "/usr/lib/aarch64-linux-gnu/perl"},
	    {"perl", "/usr/lib/aarch64-linux-gnu/perl5"}, {"ruby", "/usr/lib/ruby"},
	    {"node", "/usr/lib/node_modules"}};
	char dir[PROGRAMS_PATH_LEN];

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (strncmp(name, fixed[i].prefix, strlen(fixed[i].prefix)) == 0)
			say(s, 'r', fixed[i].dir);
	if (strncmp(name, "python3.", 8) != 0 || strlen(name) > 32)
		return;
	(void)snprintf(dir, sizeof dir, "/usr/lib/%s", name);
	say(s, 'r', dir);
	(void)snprintf(dir, sizeof dir, "/usr/local/lib/%s", name);
	say(s, 'r', dir);
}

/* ---- files ---- */

static bool known(const struct search *s, const struct stat *st, bool execute)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->file[i].dev == st->st_dev && s->file[i].ino == st->st_ino &&
		    (s->file[i].execute || !execute))
			return true;
	return false;
}

/* One more file for the list, if it is there. -ENOENT and others of a program. */
static int add(struct search *s, const char *path, bool execute, const char *runpath)
{
	struct found *f = &s->file[s->n];
	struct stat st;

	cleanup_close int fd = open_inside(s, path, O_PATH);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	if (known(s, &st, execute))
		return 0;
	if (s->n == PROGRAMS_FILES_MAX || !str_copy(f->path, sizeof f->path, path))
		return -E2BIG;
	(void)str_copy(f->runpath, sizeof f->runpath, runpath);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->execute = execute;
	s->n++;
	say(s, execute ? 'x' : 'r', path);
	return 0;
}

/* ---- libraries ---- */

/* One directory of a runpath, with $ORIGIN. False if it is too long or no directory of the root. */
static bool expand(const char *dir, size_t len, const char *of, char *dst, size_t size)
{
	static const char *const names[] = {"$ORIGIN", "${ORIGIN}"};
	const char *slash = strrchr(of, '/');
	int n;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t k = strlen(names[i]);

		if (len < k || strncmp(dir, names[i], k) != 0)
			continue;
		n = snprintf(dst, size, "%.*s%.*s", (int)(slash - of), of, (int)(len - k), dir + k);
		return n > 0 && (size_t)n < size;
	}
	if (len == 0 || *dir != '/')
		return false;
	n = snprintf(dst, size, "%.*s", (int)len, dir);
	return n > 0 && (size_t)n < size;
}

/* Too many files is all that ends the search: what is not there the loader will miss as well. */
static int try_path(struct search *s, const char *path, const struct found *of)
{
	int r = strstr(path, "/../") || strstr(path, "/./") ? -EACCES
	                                                    : add(s, path, false, of->runpath);

	return r == -E2BIG ? r : 0;
}

static int try_dir(struct search *s, const char *dir, const char *name, const struct found *of)
{
	char path[PROGRAMS_PATH_LEN];
	int n = snprintf(path, sizeof path, "%s/%s", dir, name);

	return n > 0 && (size_t)n < sizeof path ? try_path(s, path, of) : 0;
}

static int try_runpath(
    struct search *s, const char *runpath, const char *of, const char *name, const struct found *f)
{
	char dir[PROGRAMS_PATH_LEN];
	int r;

	for (const char *p = runpath; *p; p += strcspn(p, ":"), p += *p == ':')
		if (expand(p, strcspn(p, ":"), of, dir, sizeof dir) &&
		    (r = try_dir(s, dir, name, f)) < 0)
			return r;
	return 0;
}

struct match {
	struct search *s;
	const struct found *of;
	int r;
};

static void on_cached(void *arg, const char *path)
{
	struct match *m = arg;

	if (m->r == 0 && *path == '/')
		m->r = try_path(m->s, path, m->of);
}

/* Every file of that name where the loader might look: which of them it takes is its affair. */
static int add_library(
    struct search *s, const struct found *of, const char *runpath, const char *name)
{
	struct match m = {s, of, 0};
	int r;

	if (strchr(name, '/'))
		return *name == '/' ? try_path(s, name, of) : 0;
	if ((r = try_runpath(s, runpath, of->path, name, of)) < 0 ||
	    (r = try_runpath(s, of->runpath, of->path, name, of)) < 0)
		return r;
	if (s->cache)
		ldcache_find(s->cache, s->cache_len, name, on_cached, &m);
	if (m.r < 0)
		return m.r;
	for (size_t i = 0; i < ARRAY_LEN(default_dirs); i++)
		if ((r = try_dir(s, default_dirs[i], name, of)) < 0)
			return r;
	return 0;
}

/* ---- the list ---- */

/* Looks into one file, and adds what it needs. */
static int look(struct search *s, unsigned i)
{
	struct found of = s->file[i];
	struct elf_source src = {read_at, NULL, 0};
	char name[PROGRAMS_PATH_LEN];
	struct stat st;
	int r;

	cleanup_close int fd = open_inside(s, of.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	src.arg = &fd;
	src.size = (uint64_t)st.st_size;
	r = elf_read(&src, &s->elf);
	if (r < 0) /* a library that is none (a linker's script) needs nothing */
		return of.execute ? r : 0;
	last_name(s, of.path, name, sizeof name);
	if (of.execute && programs_interprets(name)) {
		say(s, 'i', of.path);
		say_modules(s, name);
	}
	if (s->elf.kind != ELF_STATIC && (r = add(s, s->elf.interpreter, true, s->elf.runpath)) < 0)
		return complain(s, s->elf.interpreter, r);
	if (of.execute) /* its runpath may stand for that of its libraries as well (DT_RPATH) */
		(void)str_copy(of.runpath, sizeof of.runpath, s->elf.runpath);
	for (unsigned k = 0; k < s->elf.nneeded; k++)
		if ((r = add_library(s, &of, s->elf.runpath, s->elf.needed[k])) < 0)
			return r;
	return 0;
}

/* One that cannot be read is one that the loader will not read either. */
static void read_cache(struct search *s)
{
	cleanup_close int fd = open_inside(s, "/etc/ld.so.cache", O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    st.st_size > LDCACHE_MAX)
		return;
	s->cache = malloc((size_t)st.st_size);
	s->cache_len = (size_t)st.st_size;
	if (s->cache && read_at(&fd, 0, s->cache, s->cache_len) < 0) {
		free(s->cache);
		s->cache = NULL;
	}
}

static int search(struct search *s)
{
	int r;

	read_cache(s);
	for (unsigned i = 0; i < s->p->nprograms; i++)
		if ((r = add(s, s->p->programs[i], true, "")) < 0)
			return complain(s, s->p->programs[i], r);
	for (unsigned i = 0; i < s->n; i++)
		if ((r = look(s, i)) < 0)
			return complain(s, s->file[i].path, r);
	return fd_write_full(s->out, ".\n", 2);
}

int programs_search(int root, const struct plan *p, int out)
{
	struct search *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return 1;
	s->root = root;
	s->out = out;
	s->p = p;
	r = search(s);
	free(s->cache);
	free(s);
	return r < 0 ? 1 : 0;
}
