#include "lib/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

static void sets_code_and_text(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, -EINVAL, "line %d", 7), -EINVAL);
	assert_int_equal(e.code, -EINVAL);
	assert_string_equal(err_text(&e), "line 7");
}

static void returns_the_code_without_an_object(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EPERM, "x"), -EPERM);
	assert_int_equal(err_wrap(NULL, -EPERM, "x"), -EPERM);
	assert_non_null(err_text(NULL));
}

static void wraps_in_front_and_keeps_the_code(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -ENOENT, "no such key");
	assert_int_equal(err_wrap(&e, -EIO, "tenant %s", "demo"), -ENOENT);
	assert_string_equal(e.text, "tenant demo: no such key");
}

static void wraps_an_empty_error_with_its_own_code(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_wrap(&e, -ENOENT, "file"), -ENOENT);
	assert_string_equal(e.text, "file: No such file or directory");
}

static void cuts_long_texts_and_terminates(void **state)
{
	char longer[2 * ERR_TEXT_MAX];
	struct err e = ERR_INIT;

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	err_set(&e, -EINVAL, "%s", longer);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_wrap(&e, -EINVAL, "y");
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	assert_memory_equal(e.text, "y: xxx", 6);
	err_wrap(&e, -EINVAL, "%s", longer);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

static void may_print_its_own_text_into_itself(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EINVAL, "inner");
	err_set(&e, -EIO, "outer (%s)", e.text);
	assert_string_equal(e.text, "outer (inner)");
}

static void prints_errno_and_keeps_it(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	errno = ENOENT;
	err_set(&e, -ENOENT, "open: %m");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(e.text, "open: No such file or directory");
}

static void names_a_code_without_text(void **state)
{
	struct err e = {-EPERM, ""};

	(void)state;
	assert_string_equal(err_text(&e), "Operation not permitted");
	e.code = -99999;
	assert_string_equal(err_text(&e), "unknown error");
	e.code = 0;
	assert_string_equal(err_text(&e), "no error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sets_code_and_text),
	    cmocka_unit_test(returns_the_code_without_an_object),
	    cmocka_unit_test(wraps_in_front_and_keeps_the_code),
	    cmocka_unit_test(wraps_an_empty_error_with_its_own_code),
	    cmocka_unit_test(cuts_long_texts_and_terminates),
	    cmocka_unit_test(may_print_its_own_text_into_itself),
	    cmocka_unit_test(prints_errno_and_keeps_it),
	    cmocka_unit_test(names_a_code_without_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
