#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/supervisor/fdstore.h"

static int null_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void hands_out_each_descriptor_once_under_its_name(void **state)
{
	struct fdstore *s = fdstore_new();
	const char *name = NULL;
	int a = null_fd(), b = null_fd(), fd = -1;

	(void)state;
	assert_int_equal(fdstore_put(s, "conn:1", a), 0);
	assert_int_equal(fdstore_put(s, "init:1", b), 0);
	fdstore_rewind(s);
	assert_true(fdstore_next(s, &name, &fd));
	assert_string_equal(name, "conn:1");
	assert_int_equal(fd, a);
	assert_true(fdstore_next(s, &name, &fd));
	assert_string_equal(name, "init:1");
	assert_false(fdstore_next(s, &name, &fd));
	fdstore_rewind(s);
	assert_true(fdstore_next(s, &name, &fd)); /* a second core gets them, too */
	fdstore_free(s);
	assert_false(is_open(a));
	assert_false(is_open(b));
}

static void what_is_put_while_handing_out_is_not_handed_out(void **state)
{
	struct fdstore *s = fdstore_new();
	const char *name = NULL;
	int fd = -1;

	(void)state;
	assert_int_equal(fdstore_put(s, "a", null_fd()), 0);
	fdstore_rewind(s);
	assert_int_equal(fdstore_put(s, "b", null_fd()), 0);
	assert_true(fdstore_next(s, &name, &fd));
	assert_string_equal(name, "a");
	assert_false(fdstore_next(s, &name, &fd));
	fdstore_free(s);
}

static void a_second_descriptor_of_a_name_replaces_and_closes_the_first(void **state)
{
	struct fdstore *s = fdstore_new();
	int a = null_fd(), b = null_fd();

	(void)state;
	assert_int_equal(fdstore_put(s, "x", a), 0);
	assert_int_equal(fdstore_put(s, "x", b), 0);
	assert_int_equal(fdstore_count(s), 1);
	assert_false(is_open(a));
	assert_true(is_open(b));
	fdstore_free(s);
}

static void a_dropped_descriptor_is_closed(void **state)
{
	struct fdstore *s = fdstore_new();
	int a = null_fd();

	(void)state;
	assert_int_equal(fdstore_put(s, "x", a), 0);
	assert_int_equal(fdstore_drop(s, "x"), 0);
	assert_false(is_open(a));
	assert_int_equal(fdstore_drop(s, "x"), -ENOENT);
	assert_int_equal(fdstore_count(s), 0);
	fdstore_free(s);
}

static void clear_closes_all_and_counts_them(void **state)
{
	struct fdstore *s = fdstore_new();
	int a = null_fd(), b = null_fd();

	(void)state;
	assert_int_equal(fdstore_put(s, "a", a), 0);
	assert_int_equal(fdstore_put(s, "b", b), 0);
	assert_int_equal(fdstore_clear(s), 2);
	assert_false(is_open(a));
	assert_false(is_open(b));
	assert_int_equal(fdstore_clear(s), 0);
	fdstore_free(s);
}

static void a_name_has_one_to_64_bytes(void **state)
{
	struct fdstore *s = fdstore_new();
	char name[FDSTORE_NAME_MAX + 2];
	int fd = null_fd();

	(void)state;
	memset(name, 'n', sizeof name);
	name[FDSTORE_NAME_MAX + 1] = '\0';
	assert_int_equal(fdstore_put(s, name, fd), -EINVAL);
	assert_false(is_open(fd)); /* taken over in every case */
	assert_int_equal(fdstore_put(s, "", null_fd()), -EINVAL);
	name[FDSTORE_NAME_MAX] = '\0';
	assert_int_equal(fdstore_put(s, name, null_fd()), 0);
	fdstore_free(s);
}

/* The bound, without 8,192 descriptors: the store never looks at them. */
static void is_bounded(void **state)
{
	struct fdstore *s = fdstore_new();
	char name[16];
	int r = 0;

	(void)state;
	for (int i = 0; i < FDSTORE_MAX; i++) {
		(void)snprintf(name, sizeof name, "n%d", i);
		r = fdstore_put(s, name, 1000000 + i); /* no such descriptor */
		assert_int_equal(r, 0);
	}
	assert_int_equal(fdstore_put(s, "one more", 1000000 + FDSTORE_MAX), -ENOSPC);
	assert_int_equal(fdstore_put(s, "n7", 1000000), 0);
	assert_int_equal(fdstore_count(s), FDSTORE_MAX);
	fdstore_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hands_out_each_descriptor_once_under_its_name),
	    cmocka_unit_test(what_is_put_while_handing_out_is_not_handed_out),
	    cmocka_unit_test(a_second_descriptor_of_a_name_replaces_and_closes_the_first),
	    cmocka_unit_test(a_dropped_descriptor_is_closed),
	    cmocka_unit_test(clear_closes_all_and_counts_them),
	    cmocka_unit_test(a_name_has_one_to_64_bytes),
	    cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
