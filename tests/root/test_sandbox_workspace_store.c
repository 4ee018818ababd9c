/*
 * The store of workspaces: what it refuses, and that a kill at any step leaves the old state or the
 * new one, and nothing else once it is opened again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/workspace/remove.h"
#include "broker/workspace/store.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "tests/support/sandbox_rig.h"

#define IDS 2700000000u

static char dir[4200];
static int steps_left; /* 0: none is counted */
static uint32_t held, given;

static int allot(void *arg, uint32_t *ret, struct err *e)
{
	(void)arg;
	(void)e;
	*ret = IDS + 65536u * given++;
	return 0;
}

static void hold(void *arg, uint32_t ids)
{
	(void)arg;
	held = ids;
}

static void step(void *arg)
{
	(void)arg;
	if (steps_left > 0 && --steps_left == 0)
		(void)kill(getpid(), SIGKILL);
}

static struct work_store *store_open(void)
{
	struct work_config c = {.allot = allot, .hold = hold, .step = step};
	struct work_store *s = NULL;
	struct err e = ERR_INIT;

	c.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(c.dir >= 0);
	if (work_open(&c, &s, &e) < 0)
		fail_msg("%s", err_text(&e));
	return s;
}

/* Puts a file into the present top, as a session would. */
static void put(struct work_store *s, const char *name, const char *file)
{
	struct work_view v;
	struct err e = ERR_INIT;
	char path[64];
	int fd;

	assert_int_equal(work_acquire(s, "t", name, true, "session", &v, &e), 0);
	(void)snprintf(path, sizeof path, "%u/d/%s", v.top, file);
	fd = openat(v.layers, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	work_view_done(&v);
	assert_true(work_release(s, "session"));
}

/* Whether the chain of a workspace has the file. */
static bool has(struct work_store *s, const char *name, const char *file)
{
	struct err e = ERR_INIT;
	struct work_view v;
	bool found = false;
	char path[64];

	if (work_acquire(s, "t", name, false, "reader", &v, &e) < 0)
		return false;
	for (unsigned i = 0; i < v.nlower; i++) {
		(void)snprintf(path, sizeof path, "%u/d/%s", v.lower[i], file);
		found |= faccessat(v.layers, path, F_OK, 0) == 0;
	}
	work_view_done(&v);
	(void)work_release(s, "reader");
	return found;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level > 0 ? remove(path) : 0;
}

static int fresh(void **state)
{
	(void)state;
	given = held = 0;
	steps_left = 0;
	(void)snprintf(dir, sizeof dir, "%s/store-%d", rig_build_dir(), (int)getpid());
	(void)nftw(dir, forget, 16, FTW_DEPTH | FTW_PHYS);
	return mkdir(dir, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

static int gone(void **state)
{
	(void)state;
	(void)nftw(dir, forget, 16, FTW_DEPTH | FTW_PHYS);
	return rmdir(dir);
}

static unsigned entries(const char *below)
{
	char path[4300];
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof path, "%s/%s", dir, below);
	d = opendir(path);
	for (struct dirent *t; d && (t = readdir(d));)
		n += t->d_name[0] != '.';
	if (d)
		(void)closedir(d);
	return n;
}

static void drain(struct work_store *s)
{
	while (work_idle(s) > 0)
		;
}

static void refuses_what_makes_no_sense(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(work_snapshot(s, "t", "a", "s", &e), -ENOENT);
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	assert_int_equal(work_create(s, "t", "a", &e), -EEXIST);
	assert_int_equal(work_snapshot(s, "t", "a", "s", &e), 0);
	assert_int_equal(work_snapshot(s, "t", "a", "s", &e), -EEXIST);
	assert_int_equal(work_rollback(s, "t", "a", "none", &e), -ENOENT);
	assert_int_equal(work_fork(s, "t", "a", "none", "b", &e), -ENOENT);
	assert_int_equal(work_fork(s, "t", "a", NULL, "a", &e), -EEXIST);
	assert_int_equal(work_delete(s, "t", "b", NULL, &e), -ENOENT);
	assert_int_equal(work_delete(s, "other", "a", NULL, &e), -ENOENT);
	work_close(s);
}

static void counts_are_limited(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	char name[32];
	int r = 0, i;

	(void)state;
	for (i = 0; r == 0 && i < WORK_SPACES_MAX + 1; i++) {
		(void)snprintf(name, sizeof name, "w%d", i);
		r = work_create(s, "t", name, &e);
	}
	assert_int_equal(r, -EDQUOT);
	assert_int_equal(i, WORK_SPACES_MAX + 1);
	assert_int_equal(work_create(s, "u", "a", &e), 0); /* another tenant has its own */
	work_close(s);
}

static void a_chain_is_limited(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	int r = 0, i;

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	for (i = 0; r == 0 && i < WORK_CHAIN_MAX + 1; i++) {
		put(s, "a", "f");
		r = work_snapshot(s, "t", "a", "s", &e);
		if (r == 0)
			r = work_delete(s, "t", "a", "s", &e);
	}
	assert_int_equal(r, -EMLINK);
	assert_int_equal(i, WORK_CHAIN_MAX + 1);
	assert_non_null(strstr(err_text(&e), "export"));
	work_close(s);
}

static void ids_are_remembered(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	struct stat st;
	char path[4300];

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	work_close(s);
	s = store_open();
	assert_int_equal(held, IDS);
	assert_int_equal(given, 1);
	(void)snprintf(path, sizeof path, "%s/t/layers", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, IDS);
	work_close(s);
}

static void a_damaged_index_is_left_alone(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	char path[4300];

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	put(s, "a", "f");
	work_close(s);
	(void)snprintf(path, sizeof path, "%s/t/index.json", dir);
	assert_int_equal(truncate(path, 0), 0);
	s = store_open();
	assert_int_equal(work_create(s, "t", "b", &e), -EBADMSG);
	assert_int_equal(entries("t/layers"), 2);
	work_close(s);
}

static void an_index_that_has_gone_takes_no_layer_with_it(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	char path[4300];

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	put(s, "a", "f");
	work_close(s);
	(void)snprintf(path, sizeof path, "%s/t/index.json", dir);
	assert_int_equal(unlink(path), 0);
	s = store_open();
	assert_int_equal(held, IDS);
	assert_int_equal(work_create(s, "t", "b", &e), -EBADMSG);
	assert_int_equal(entries("t/layers"), 2);
	work_close(s);
}

/* A host without descriptors to spare at the start, and with them a moment later. */
static void a_tenant_that_could_not_be_opened_is_not_begun_again(void **state)
{
	struct work_store *s = store_open();
	struct rlimit few, was;
	struct err e = ERR_INIT;
	int next;

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	put(s, "a", "f");
	work_close(s);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	next = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)close(next);
	few = (struct rlimit){(rlim_t)next + 2, was.rlim_max}; /* the store, and reading it */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	s = store_open();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(work_create(s, "t", "b", &e), -EBADMSG);
	assert_int_equal(entries("t/layers"), 2);
	work_close(s);
}

static void a_forest_is_removed_in_steps(void **state)
{
	struct work_store *s = store_open();
	struct err e = ERR_INIT;
	char path[4400];
	unsigned turns = 0;
	int fd, at;

	(void)state;
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	(void)snprintf(path, sizeof path, "%s/t/layers/1/d", dir);
	at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(at >= 0);
	/* a link out of it, many files, and directories deeper than any path may be long */
	assert_int_equal(symlinkat(dir, at, "out"), 0);
	for (int i = 0; i < 600; i++) {
		(void)snprintf(path, sizeof path, "f%d", i);
		fd = openat(at, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0);
		assert_true(fd >= 0);
		(void)close(fd);
	}
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(at, "deep", 0), 0);
		fd = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(fd >= 0);
		(void)close(at);
		at = fd;
	}
	(void)close(at);
	assert_int_equal(work_delete(s, "t", "a", NULL, &e), 0);
	assert_int_equal(entries("t/layers"), 1); /* at once; 0 stays */
	while (work_idle(s) > 0)
		turns++;
	assert_true(turns > 10);
	assert_int_equal(entries("t/trash"), 0);
	assert_int_equal(entries("t"), 3);
	work_close(s);
}

/* ---- kills ---- */

static int op_create(struct work_store *s)
{
	return work_create(s, "t", "b", NULL);
}

static int op_snapshot(struct work_store *s)
{
	return work_snapshot(s, "t", "a", "two", NULL);
}

static int op_fork(struct work_store *s)
{
	return work_fork(s, "t", "a", NULL, "b", NULL);
}

static int op_rollback(struct work_store *s)
{
	return work_rollback(s, "t", "a", "one", NULL);
}

static int op_delete(struct work_store *s)
{
	return work_delete(s, "t", "a", NULL, NULL);
}

/* What a person sees of the tenant. */
static char *seen(struct work_store *s)
{
	json_auto_t *list = work_list(s, NULL);
	static char text[4096];
	json_t *w;
	size_t i, n = 0;

	json_array_foreach(list, i, w)
	{
		const char *name = json_string_value(json_object_get(w, "name"));

		n += (size_t)snprintf(text + n, sizeof text - n, "%s:%zu:%d%d ", name,
		    json_array_size(json_object_get(w, "snapshots")), has(s, name, "old"),
		    has(s, name, "new"));
	}
	text[n] = '\0';
	return strdup(text);
}

static void prepare(void)
{
	struct work_store *s;
	struct err e = ERR_INIT;

	assert_int_equal(fresh(NULL), 0);
	s = store_open();
	assert_int_equal(work_create(s, "t", "a", &e), 0);
	put(s, "a", "old");
	assert_int_equal(work_snapshot(s, "t", "a", "one", &e), 0);
	put(s, "a", "new");
	drain(s);
	work_close(s);
}

/* Layers and tops that somebody can reach, and the empty one. */
static unsigned reachable(struct work_store *s)
{
	json_auto_t *list = work_list(s, NULL);
	unsigned char used[64] = {1};
	unsigned n = 0;
	json_t *w;
	size_t i;

	json_array_foreach(list, i, w)
	{
		json_t *snapshots = json_object_get(w, "snapshots"), *v;
		const char *name = json_string_value(json_object_get(w, "name"));
		struct err e = ERR_INIT;
		struct work_view view;
		size_t k;

		assert_int_equal(work_acquire(s, "t", name, false, "r", &view, &e), 0);
		for (unsigned l = 0; l < view.nlower; l++)
			used[view.lower[l]] = 1;
		work_view_done(&view);
		(void)work_release(s, "r");
		json_array_foreach(snapshots, k, v)
		{
			/* as a fork would see it: its layer is in use as well */
			unsigned changed;

			if (work_look(s, "t", name, json_string_value(json_object_get(v, "name")),
			        &view, &changed, &e) == 0) {
				for (unsigned l = 0; l < view.nlower; l++)
					used[view.lower[l]] = 1;
				work_view_done(&view);
			}
		}
	}
	for (i = 0; i < sizeof used; i++)
		n += used[i];
	return n;
}

static void a_kill_leaves_the_old_or_the_new(void **state)
{
	int (*const ops[])(struct work_store *) = {
	    op_create, op_snapshot, op_fork, op_rollback, op_delete};

	(void)state;
	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		struct work_store *s;
		char *before, *after;
		unsigned kills = 0;

		prepare();
		s = store_open();
		before = seen(s);
		assert_int_equal(ops[i](s), 0);
		after = seen(s);
		work_close(s);
		for (int at = 1;; at++) {
			int status;
			char *now;
			pid_t pid;

			prepare();
			pid = fork();
			if (pid == 0) {
				s = store_open();
				steps_left = at;
				_exit(ops[i](s) == 0 ? 0 : 1);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			s = store_open();
			now = seen(s);
			if (strcmp(now, before) != 0 && strcmp(now, after) != 0)
				fail_msg("op %zu, step %d: %s, neither %s nor %s", i, at, now,
				    before, after);
			drain(s);
			assert_int_equal(entries("t/trash"), 0);
			assert_int_equal(entries("t/layers"), reachable(s));
			/* and it goes on */
			assert_int_equal(work_create(s, "t", "z", NULL), 0);
			work_close(s);
			free(now);
			if (!WIFSIGNALED(status)) {
				assert_int_equal(WEXITSTATUS(status), 0);
				break;
			}
			kills++;
		}
		assert_true(kills >= 3);
		free(before);
		free(after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(refuses_what_makes_no_sense, fresh, gone),
	    cmocka_unit_test_setup_teardown(counts_are_limited, fresh, gone),
	    cmocka_unit_test_setup_teardown(a_chain_is_limited, fresh, gone),
	    cmocka_unit_test_setup_teardown(ids_are_remembered, fresh, gone),
	    cmocka_unit_test_setup_teardown(a_damaged_index_is_left_alone, fresh, gone),
	    cmocka_unit_test_setup_teardown(
	        an_index_that_has_gone_takes_no_layer_with_it, fresh, gone),
	    cmocka_unit_test_setup_teardown(
	        a_tenant_that_could_not_be_opened_is_not_begun_again, fresh, gone),
	    cmocka_unit_test_setup_teardown(a_forest_is_removed_in_steps, fresh, gone),
	    cmocka_unit_test_setup_teardown(a_kill_leaves_the_old_or_the_new, fresh, gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
