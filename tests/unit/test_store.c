#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <signal.h>
#include <sys/wait.h>
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"

/*
 * The store: what is committed is there, what is not is not, and a full map loses nothing.
 */

struct fix {
	char dir[64];
	int fd;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/store-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static struct store *open_store(const struct fix *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct store *s = NULL;
	struct err e = ERR_INIT;

	if (store_open(f->fd, &c, &s, &e) < 0)
		fail_msg("%s", err_text(&e));
	return s;
}

static void put(struct store *s, const char *key, const char *value)
{
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(
	    store_put(s, STORE_SESSIONS, key, strlen(key), value, strlen(value), NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
}

static void expect(struct store *s, const char *key, const char *value)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	if (!value) {
		assert_int_equal(store_get(s, STORE_SESSIONS, key, strlen(key), &b), -ENOENT);
		return;
	}
	assert_int_equal(store_get(s, STORE_SESSIONS, key, strlen(key), &b), 0);
	assert_int_equal(b.len, strlen(value));
	assert_memory_equal(b.data, value, b.len);
}

static void keeps_what_was_committed(void **state)
{
	struct store *s = open_store(*state, 0);

	put(s, "a", "1");
	put(s, "a", "2");
	store_close(s);
	s = open_store(*state, 0);
	expect(s, "a", "2");
	expect(s, "b", NULL);
	store_close(s);
}

static void forgets_what_was_aborted(void **state)
{
	struct store *s = open_store(*state, 0);

	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_put(s, STORE_SESSIONS, "a", 1, "1", 1, NULL), 0);
	store_abort(s);
	expect(s, "a", NULL);
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_begin(s, NULL), -EBUSY);
	store_abort(s);
	store_close(s);
}

/* liblmdb 0.9.24 opens the data file without O_CLOEXEC: a child would hold the log, writable. */
static void no_descriptor_survives_exec(void **state)
{
	struct store *s = open_store(*state, 0);
	char path[64], target[256];
	const struct fix *f = *state;

	assert_true(fcntl(store_fd(s), F_GETFD) & FD_CLOEXEC);
	for (int fd = 3; fd < 256; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof target - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, f->dir, strlen(f->dir)) == 0)
			assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	store_close(s);
}

static void refuses_a_newer_schema(void **state)
{
	static const uint8_t newer[4] = {0, 0, 0, STORE_SCHEMA + 1};
	struct store *s = open_store(*state, 0);
	struct store_config c = {0};
	struct err e = ERR_INIT;
	const struct fix *f = *state;

	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_put(s, STORE_META, "schema", 6, newer, 4, NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
	store_close(s);
	s = NULL;
	assert_int_equal(store_open(f->fd, &c, &s, &e), -EPROTO);
	assert_non_null(strstr(err_text(&e), "newer"));
	assert_null(s);
}

static void refuses_a_damaged_file(void **state)
{
	const struct fix *f = *state;
	struct store_config c = {0};
	struct store *s = NULL;
	struct err e = ERR_INIT;
	char rubbish[8192];
	int fd = openat(f->fd, "data.mdb", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(rubbish, 'x', sizeof rubbish);
	assert_int_equal(write(fd, rubbish, sizeof rubbish), sizeof rubbish);
	(void)close(fd);
	assert_int_equal(store_open(f->fd, &c, &s, &e), -EUCLEAN);
	assert_non_null(strstr(err_text(&e), "damaged"));
}

static void opens_for_reading_only(void **state)
{
	const struct fix *f = *state;
	struct store_config ro = {.read_only = true};
	struct store *s = NULL;

	assert_int_equal(store_open(f->fd, &ro, &s, NULL), -ENOENT);
	s = open_store(f, 0);
	put(s, "a", "1");
	store_close(s);
	s = NULL;
	assert_int_equal(store_open(f->fd, &ro, &s, NULL), 0);
	expect(s, "a", "1");
	assert_int_equal(store_begin(s, NULL), -EROFS);
	store_close(s);
}

static int collect(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	(void)value;
	(void)len;
	(void)strncat(arg, key, klen);
	return strlen(arg) == 4 ? 77 : 0;
}

static void walks_in_order_from_a_key(void **state)
{
	struct store *s = open_store(*state, 0);
	char seen[32] = "";

	for (const char *k = "badcfe"; *k; k++) {
		char key[2] = {*k, '\0'};

		put(s, key, "x");
	}
	assert_int_equal(store_walk(s, STORE_SESSIONS, "b", 1, 2, collect, seen), 0);
	assert_string_equal(seen, "bc");
	seen[0] = '\0';
	assert_int_equal(store_walk(s, STORE_SESSIONS, "", 0, 100, collect, seen), 77);
	assert_string_equal(seen, "abcd");
	seen[0] = '\0';
	assert_int_equal(store_walk(s, STORE_SESSIONS, "x", 1, 100, collect, seen), 0);
	assert_string_equal(seen, "");
	store_close(s);
}

static void queued_changes_ride_with_the_next_commit(void **state)
{
	struct store *s = open_store(*state, 0);

	put(s, "gone", "1");
	assert_int_equal(store_later(s, STORE_SESSIONS, "a", "1", 1), 0);
	assert_int_equal(store_later(s, STORE_SESSIONS, "a", "22", 2), 0);
	assert_int_equal(store_later(s, STORE_SESSIONS, "gone", NULL, 0), 0);
	assert_true(store_waiting(s));
	expect(s, "a", NULL);
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
	assert_false(store_waiting(s));
	expect(s, "a", "22");
	expect(s, "gone", NULL);
	store_close(s);
}

static void limits_keys_and_values(void **state)
{
	struct store *s = open_store(*state, 0);
	char key[STORE_KEY_MAX + 2];
	char *value = calloc(1, STORE_VALUE_MAX + 1);

	memset(key, 'k', sizeof key);
	key[STORE_KEY_MAX] = '\0';
	assert_int_equal(store_later(s, STORE_SESSIONS, key, "v", 1), 0);
	key[STORE_KEY_MAX] = 'k';
	key[STORE_KEY_MAX + 1] = '\0';
	assert_int_equal(store_later(s, STORE_SESSIONS, key, "v", 1), -EINVAL);
	assert_int_equal(store_later(s, STORE_SESSIONS, "", "v", 1), -EINVAL);
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_put(s, STORE_SESSIONS, "v", 1, value, STORE_VALUE_MAX, NULL), 0);
	assert_int_equal(
	    store_put(s, STORE_SESSIONS, "v", 1, value, STORE_VALUE_MAX + 1, NULL), -EINVAL);
	store_abort(s);
	free(value);
	store_close(s);
}

static void a_full_map_is_said_and_loses_nothing(void **state)
{
	struct store *s = open_store(*state, STORE_MAP_MIN);
	struct err e = ERR_INIT;
	char *value = calloc(1, 60000);
	int n = 0, r;

	memset(value, 'v', 60000);
	put(s, "first", "1");
	do {
		char key[16];

		(void)snprintf(key, sizeof key, "k%04d", n++);
		assert_int_equal(store_begin(s, NULL), 0);
		r = store_put(s, STORE_SESSIONS, key, strlen(key), value, 60000, &e);
		if (r == 0)
			r = store_commit(s, &e);
		else
			store_abort(s);
	} while (r == 0);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err_text(&e), "map_size"));
	assert_in_range(n, 5, 20);
	expect(s, "first", "1");
	store_close(s);
	/* a larger map, and on it goes */
	s = open_store(*state, 4 * STORE_MAP_MIN);
	expect(s, "first", "1");
	put(s, "more", "2");
	expect(s, "more", "2");
	free(value);
	store_close(s);
}

/* Killed between two commits, a thousand times over: what was acknowledged is there. */
static void a_kill_loses_nothing_acknowledged(void **state)
{
	for (int round = 0; round < 10; round++) {
		int pipefd[2], status, last = -1, v;
		struct store *s;
		pid_t pid;

		assert_int_equal(pipe(pipefd), 0);
		pid = fork();
		if (pid == 0) {
			s = open_store(*state, 0);
			for (int i = 0;; i++) {
				char text[16];

				(void)snprintf(text, sizeof text, "%d", i);
				put(s, "counter", text);
				if (write(pipefd[1], &i, sizeof i) != sizeof i)
					_exit(1);
			}
		}
		(void)close(pipefd[1]);
		for (int i = 0; i < 20 + round; i++)
			if (read(pipefd[0], &v, sizeof v) == sizeof v)
				last = v;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(pipefd[0], &v, sizeof v) == sizeof v)
			last = v;
		(void)close(pipefd[0]);
		s = open_store(*state, 0);
		{
			cleanup_buf struct buf b;

			buf_init(&b, 64);
			assert_int_equal(store_get(s, STORE_SESSIONS, "counter", 7, &b), 0);
			assert_true(strtol(buf_cstr(&b), NULL, 10) >= last);
		}
		store_close(s);
	}
}

static void tells_its_use(void **state)
{
	struct store *s = open_store(*state, STORE_MAP_MIN);
	struct store_usage u;

	put(s, "a", "1");
	assert_int_equal(store_usage(s, &u), 0);
	assert_int_equal(u.map_size, STORE_MAP_MIN);
	assert_in_range(u.map_used, 4096, STORE_MAP_MIN);
	assert_true(u.disk_free <= u.disk_size);
	assert_int_equal(store_reader_check(s), 0);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(keeps_what_was_committed, setup, teardown),
	    cmocka_unit_test_setup_teardown(forgets_what_was_aborted, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_descriptor_survives_exec, setup, teardown),
	    cmocka_unit_test_setup_teardown(refuses_a_newer_schema, setup, teardown),
	    cmocka_unit_test_setup_teardown(refuses_a_damaged_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(opens_for_reading_only, setup, teardown),
	    cmocka_unit_test_setup_teardown(walks_in_order_from_a_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        queued_changes_ride_with_the_next_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(limits_keys_and_values, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_map_is_said_and_loses_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_kill_loses_nothing_acknowledged, setup, teardown),
	    cmocka_unit_test_setup_teardown(tells_its_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
