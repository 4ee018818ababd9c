#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/audit/chain.h"
#include "broker/audit/record_store.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

/*
 * A full disk under the store: said clearly, nothing that was acknowledged is lost, and it goes on
 * when there is room. The disk is a small tmpfs in a mount namespace of the test's own.
 */

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	*state = f;
	f->fd = -1;
	log_open("test", LOG_EMERG);
	f->loop = loop_new();
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/store-full-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	if (geteuid() != 0)
		return 0;
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("tmpfs", f->dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=512k"), 0);
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	loop_free(f->loop);
	if (f->fd >= 0) {
		(void)close(f->fd);
		(void)umount2(f->dir, MNT_DETACH);
	}
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

struct done {
	int r;
	uint64_t seq;
};

static void on_done(int r, uint64_t seq, void *arg)
{
	*(struct done *)arg = (struct done){r, seq};
}

static int append(struct record_log *l, struct done *d, const char *text)
{
	d->r = 1;
	if (record_append(
	        l, "test", "demo", NULL, json_pack("{s:s}", "text", text), true, on_done, d) < 0)
		return -1;
	(void)l->ops->flush(l);
	return d->r;
}

static void a_full_disk_loses_nothing(void **state)
{
	struct fix *f = *state;
	struct store_config c = {0};
	struct store *s = NULL;
	struct record_log *l = NULL;
	struct err e = ERR_INIT;
	struct done d = {0};
	struct verify v;
	uint64_t good = 0;
	char *text;

	if (f->fd < 0)
		skip();
	text = calloc(1, 8193);
	memset(text, 't', 8192);
	if (store_open(f->fd, &c, &s, &e) < 0 || record_store_new(s, f->loop, 60, &l, &e) < 0)
		fail_msg("%s", err_text(&e));
	while (append(l, &d, text) == 0)
		assert_in_range(good = d.seq, 1, 1000);
	assert_int_equal(d.r, -ENOSPC);
	assert_true(good > 3);
	/* it says the same the next time, and loses nothing */
	assert_int_equal(append(l, &d, text), -ENOSPC);
	assert_int_equal(l->ops->size(l), good);
	/* room again: on it goes, in the same process, and the loss is on record */
	assert_int_equal(
	    mount(NULL, f->dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=4m"), 0);
	assert_int_equal(append(l, &d, text), 0);
	assert_int_equal(d.seq, good + 1);
	(void)l->ops->flush(l);
	assert_int_equal(verify_store(s, &v, NULL), 0);
	assert_int_equal(v.seq, good + 2);
	l->ops->free(l);
	store_close(s);
	free(text);
}

/* Ends and denials have room that was kept back, and the rest has not. */
static void a_full_disk_keeps_room_for_ends_and_denials(void **state)
{
	struct fix *f = *state;
	struct store_config c = {0};
	struct store *s = NULL;
	struct record_log *l = NULL;
	struct store_usage u;
	struct err e = ERR_INIT;
	struct done d = {0};
	struct verify v;
	char *text;

	if (f->fd < 0)
		skip();
	assert_int_equal(
	    mount(NULL, f->dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=8m"), 0);
	text = calloc(1, 8193);
	memset(text, 't', 8192);
	if (store_open(f->fd, &c, &s, &e) < 0 || record_store_new(s, f->loop, 60, &l, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(store_usage(s, &u), 0);
	assert_in_range(u.reserve, 512 << 10, 1 << 20);
	while (append(l, &d, text) == 0)
		;
	assert_int_equal(d.r, -ENOSPC);
	assert_int_equal(store_usage(s, &u), 0);
	assert_true(u.reserve_taken);
	for (int i = 0; i < 200; i++) {
		d.r = 1;
		assert_int_equal(record_append(l, i % 2 ? "session.end" : "auth.refused", "demo",
		                     NULL, json_pack("{s:i}", "i", i), true, on_done, &d),
		    0);
		(void)l->ops->flush(l);
		assert_int_equal(d.r, 0);
	}
	assert_int_equal(append(l, &d, "small"), -ENOSPC);
	assert_int_equal(verify_store(s, &v, NULL), 0);
	/* room again: the reserve is kept back again */
	assert_int_equal(
	    mount(NULL, f->dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=32m"), 0);
	assert_int_equal(append(l, &d, text), 0);
	assert_int_equal(store_usage(s, &u), 0);
	assert_false(u.reserve_taken);
	assert_in_range(u.reserve, 512 << 10, 16 << 20);
	l->ops->free(l);
	assert_int_equal(verify_store(s, &v, NULL), 0);
	store_close(s);
	free(text);
}

/* What the operator reads names the disk. */
static void the_reason_names_the_disk(void **state)
{
	struct fix *f = *state;
	struct store_config c = {0};
	struct store *s = NULL;
	struct err e = ERR_INIT;
	char *value;
	int r = 0;

	if (f->fd < 0)
		skip();
	value = calloc(1, 60000);
	memset(value, 'v', 60000);
	assert_int_equal(store_open(f->fd, &c, &s, &e), 0);
	for (int i = 0; i < 50 && r == 0; i++) {
		char key[16];

		(void)snprintf(key, sizeof key, "k%03d", i);
		assert_int_equal(store_begin(s, NULL), 0);
		r = store_put(s, STORE_SESSIONS, key, strlen(key), value, 60000, &e);
		if (r == 0)
			r = store_commit(s, &e);
		else
			store_abort(s);
	}
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err_text(&e), "disk"));
	store_close(s);
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_full_disk_keeps_room_for_ends_and_denials, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_reason_names_the_disk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
