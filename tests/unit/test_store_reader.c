/* A reader of a stopped store leaves nothing behind. */
#include "broker/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

static void reading_makes_no_lock_file(void **state)
{
	struct store_config config = {.map_size = UINT64_C(1) << 24};
	struct err e = ERR_INIT;
	struct store *s;
	struct buf b;

	(void)state;
	assert_int_equal(mkdir("core", 0700), 0);
	cleanup_close int dir = open("core", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	config.read_only = true;
	assert_int_equal(store_open(dir, &config, &s, &e), -ENOENT);
	config.read_only = false;
	assert_int_equal(store_open(dir, &config, &s, &e), 0);
	assert_int_equal(store_begin(s, &e), 0);
	assert_int_equal(store_put(s, STORE_SESSIONS, "a", 1, "b", 1, &e), 0);
	assert_int_equal(store_commit(s, &e), 0);
	store_close(s);
	/* as after a backup was put back, before the core runs again */
	assert_int_equal(unlinkat(dir, "lock.mdb", 0), 0);
	config.read_only = true;
	assert_int_equal(store_open(dir, &config, &s, &e), 0);
	buf_init(&b, 16);
	assert_int_equal(store_get(s, STORE_SESSIONS, "a", 1, &b), 0);
	assert_string_equal(buf_cstr(&b), "b");
	buf_done(&b);
	assert_int_equal(store_begin(s, &e), -EROFS);
	store_close(s);
	assert_int_equal(faccessat(dir, "lock.mdb", F_OK, 0), -1);
	/* one that is there is used */
	config.read_only = false;
	assert_int_equal(store_open(dir, &config, &s, &e), 0);
	store_close(s);
	config.read_only = true;
	assert_int_equal(store_open(dir, &config, &s, &e), 0);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reading_makes_no_lock_file),
	};

	return cmocka_run_group_tests(tests, keygen_enter, keygen_leave);
}
