#include "broker/witness/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/secret.h"
#include "tests/support/witness_rig.h"

#define ADD(w, ...) rig_add(w, &(struct rig_request){__VA_ARGS__})

static int load(const struct witness_rig *w, const char *origin, struct witness_log *l)
{
	struct err e = ERR_INIT;

	return witness_state_load(&w->state, &w->key.public, origin, l, &e);
}

/* The one file of logs/. */
static int take_one(const struct witness_log *l, void *arg)
{
	struct witness_log *out = arg;

	*out = *l;
	return 0;
}

static void what_was_cosigned_is_there_after_a_restart(void **state)
{
	struct witness_key key;
	struct witness_state s;
	struct witness_log l;
	struct witness_rig w;

	(void)state;
	witness_rig_open(&w);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), -ENOENT);
	assert_int_equal(ADD(&w, .size = 5), 200);
	assert_int_equal(ADD(&w, .old = 5, .size = 9), 200);
	assert_int_equal(witness_state_open(&s, w.path, true, (uid_t)-1, (gid_t)-1, NULL), 0);
	assert_int_equal(witness_key_load(s.dir, RIG_WITNESS, &key, NULL), 0);
	assert_memory_equal(&key.public, &w.key.public, sizeof key.public);
	assert_int_equal(witness_state_load(&s, &key.public, RIG_ORIGIN, &l, NULL), 0);
	assert_int_equal(l.point.size, 9);
	assert_int_equal(l.time_s, RIG_TIME);
	witness_key_done(&key);
	witness_state_close(&s);
	witness_rig_close(&w);
}

static void every_changed_byte_and_every_cut_is_noticed_or_harmless(void **state)
{
	struct witness_log l, again;
	struct witness_rig w;
	struct buf b;

	(void)state;
	witness_rig_open(&w);
	buf_init(&b, NOTE_MAX);
	assert_int_equal(ADD(&w, .size = 5), 200);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), 0);
	assert_int_equal(fd_read_file(w.state.logs, l.file, NOTE_MAX, &b, NULL), 0);
	for (size_t i = 0; i < b.len; i++) {
		int r;

		assert_int_equal(witness_state_save(&w.state, RIG_ORIGIN, b.data, i, NULL), 0);
		assert_int_equal(load(&w, RIG_ORIGIN, &again), -EUCLEAN);
		b.data[i] ^= 1;
		assert_int_equal(witness_state_save(&w.state, RIG_ORIGIN, b.data, b.len, NULL), 0);
		r = load(&w, RIG_ORIGIN, &again);
		if (r == 0) /* in the log's signature, which says nothing here */
			assert_memory_equal(&again.point, &l.point, sizeof l.point);
		else
			assert_int_equal(r, -EUCLEAN);
		b.data[i] ^= 1;
	}
	buf_done(&b);
	witness_rig_close(&w);
}

static void a_note_of_another_witness_or_of_another_log_is_not_believed(void **state)
{
	struct witness_rig w, other;
	struct witness_log l;
	struct buf b;

	(void)state;
	witness_rig_open(&w);
	witness_rig_open(&other);
	buf_init(&b, NOTE_MAX);
	assert_int_equal(ADD(&w, .size = 5), 200);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), 0);
	assert_int_equal(fd_read_file(w.state.logs, l.file, NOTE_MAX, &b, NULL), 0);
	assert_int_equal(witness_state_save(&other.state, RIG_ORIGIN, b.data, b.len, NULL), 0);
	assert_int_equal(load(&other, RIG_ORIGIN, &l), -EUCLEAN);
	assert_int_equal(
	    witness_state_save(&w.state, RIG_ORIGIN "/t/demo", b.data, b.len, NULL), 0);
	assert_int_equal(load(&w, RIG_ORIGIN "/t/demo", &l), -EUCLEAN);
	buf_done(&b);
	witness_rig_close(&other);
	witness_rig_close(&w);
}

static void a_file_that_is_too_large_or_none_is_damage(void **state)
{
	static char large[NOTE_MAX + 1];
	struct witness_log l;
	struct witness_rig w;

	(void)state;
	witness_rig_open(&w);
	assert_int_equal(ADD(&w, .size = 5), 200);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), 0);
	assert_int_equal(witness_state_save(&w.state, RIG_ORIGIN, large, sizeof large, NULL), 0);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), -EUCLEAN);
	assert_int_equal(witness_state_each(&w.state, &w.key.public, take_one, &l, NULL), 0);
	assert_true(l.bad);
	assert_int_equal(unlinkat(w.state.logs, l.file, 0), 0);
	assert_int_equal(mkdirat(w.state.logs, l.file, 0700), 0);
	assert_int_equal(ADD(&w, .size = 6), 500);
	assert_int_equal(unlinkat(w.state.logs, l.file, AT_REMOVEDIR), 0);
	witness_rig_close(&w);
}

static void a_log_that_is_forgotten_begins_anew_with_its_fork(void **state)
{
	struct witness_log l;
	struct witness_rig w;

	(void)state;
	witness_rig_open(&w);
	assert_int_equal(witness_state_forget(&w.state, RIG_ORIGIN, NULL), -ENOENT);
	assert_int_equal(ADD(&w, .size = 5), 200);
	assert_int_equal(ADD(&w, .old = 5, .size = 5, .branch = 1), 409);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), 0);
	assert_true(l.forked);
	assert_int_equal(witness_state_forget(&w.state, RIG_ORIGIN, NULL), 0);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), -ENOENT);
	assert_int_equal(ADD(&w, .size = 3), 200);
	assert_int_equal(load(&w, RIG_ORIGIN, &l), 0);
	assert_false(l.forked);
	witness_rig_close(&w);
}

static void a_witness_that_lost_its_memory_but_not_its_key_does_not_start(void **state)
{
	struct err e = ERR_INIT;
	struct witness_state s;
	struct witness_rig w;

	(void)state;
	witness_rig_open(&w);
	assert_int_equal(unlinkat(w.state.dir, "logs", AT_REMOVEDIR), 0);
	assert_int_equal(witness_state_open(&s, w.path, true, (uid_t)-1, (gid_t)-1, &e), -EUCLEAN);
	assert_int_equal(mkdirat(w.state.dir, "logs", 0700), 0);
	assert_int_equal(witness_state_open(&s, w.path, true, (uid_t)-1, (gid_t)-1, &e), 0);
	witness_state_close(&s);
	witness_rig_close(&w);
}

static void a_directory_of_somebody_else_is_left_alone(void **state)
{
	char path[] = "/tmp/postern-witness-XXXXXX";
	struct witness_state s;
	struct stat st;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(fd_write_file(dir, "theirs", "x", 1, 0600, NULL), 0);
	assert_int_equal(witness_state_open(&s, path, true, 65534, 65534, NULL), -ENOTEMPTY);
	assert_int_equal(fstat(dir, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(fstatat(dir, "logs", &st, 0), -1);
	assert_int_equal(unlinkat(dir, "theirs", 0), 0);
	(void)close(dir);
	assert_int_equal(rmdir(path), 0);
}

static void only_one_runs(void **state)
{
	struct witness_state s;
	struct witness_rig w;

	(void)state;
	witness_rig_open(&w);
	assert_int_equal(witness_state_lock(&w.state, NULL), 0);
	assert_int_equal(witness_state_open(&s, w.path, false, (uid_t)-1, (gid_t)-1, NULL), 0);
	assert_int_equal(witness_state_lock(&s, NULL), -EBUSY);
	witness_state_close(&s);
	witness_rig_close(&w);
	assert_int_equal(
	    witness_state_open(&s, "/nonexistent/x", false, (uid_t)-1, (gid_t)-1, NULL), -ENOENT);
}

static void a_key_keeps_its_name_and_every_changed_byte_is_refused(void **state)
{
	struct witness_key k;
	struct witness_rig w;
	struct stat st;
	struct buf b;

	(void)state;
	witness_rig_open(&w);
	buf_init(&b, 1024);
	assert_int_equal(fstatat(w.state.dir, WITNESS_KEY_FILE, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(witness_key_load(w.state.dir, "another.name", &k, NULL), -EINVAL);
	assert_int_equal(fd_read_file(w.state.dir, WITNESS_KEY_FILE, 1024, &b, NULL), 0);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 1;
		assert_int_equal(
		    fd_write_file(w.state.dir, WITNESS_KEY_FILE, b.data, b.len, 0600, NULL), 0);
		assert_true(witness_key_load(w.state.dir, NULL, &k, NULL) < 0);
		b.data[i] ^= 1;
		assert_int_equal(
		    fd_write_file(w.state.dir, WITNESS_KEY_FILE, b.data, i, 0600, NULL), 0);
		assert_true(witness_key_load(w.state.dir, NULL, &k, NULL) < 0);
	}
	buf_done(&b);
	witness_rig_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_cosigned_is_there_after_a_restart),
	    cmocka_unit_test(every_changed_byte_and_every_cut_is_noticed_or_harmless),
	    cmocka_unit_test(a_note_of_another_witness_or_of_another_log_is_not_believed),
	    cmocka_unit_test(a_file_that_is_too_large_or_none_is_damage),
	    cmocka_unit_test(a_log_that_is_forgotten_begins_anew_with_its_fork),
	    cmocka_unit_test(a_witness_that_lost_its_memory_but_not_its_key_does_not_start),
	    cmocka_unit_test(a_directory_of_somebody_else_is_left_alone),
	    cmocka_unit_test(only_one_runs),
	    cmocka_unit_test(a_key_keeps_its_name_and_every_changed_byte_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
