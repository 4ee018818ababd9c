/* Names in an image's tar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <cmocka.h>

#include "broker/image/name.h"
#include "broker/image/tar.h"

static void clean_is(const char *name, const char *want, const char *want_base, unsigned want_depth)
{
	char got[TAR_NAME_MAX + 1], *base;
	unsigned depth;

	assert_int_equal(name_clean(name, got, &base, &depth), 0);
	assert_string_equal(got, want);
	assert_string_equal(base, want_base);
	assert_int_equal(depth, want_depth);
}

static void takes_dots_and_slashes_away(void **state)
{
	(void)state;
	clean_is("./", "", "", 0);
	clean_is("", "", "", 0);
	clean_is("./a//b/./c/", "a/b/c", "c", 3);
	clean_is("...", "...", "...", 1);
	clean_is("a/..b", "a/..b", "..b", 2);
}

static void refuses_what_leads_out(void **state)
{
	static const char *const bad[] = {"/", "/a", "..", "../a", "a/..", "a/../b", "./.."};
	char got[TAR_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(name_clean(bad[i], got, NULL, NULL), -EINVAL);
}

static void holds_names_to_their_lengths(void **state)
{
	char name[TAR_NAME_MAX + 2], got[TAR_NAME_MAX + 1];

	(void)state;
	memset(name, 'a', sizeof name);
	name[NAME_MAX] = '\0';
	assert_int_equal(name_clean(name, got, NULL, NULL), 0);
	name[NAME_MAX] = 'a';
	name[NAME_MAX + 1] = '\0';
	assert_int_equal(name_clean(name, got, NULL, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof name; i++)
		name[i] = i % 2 ? '/' : 'a';
	name[TAR_NAME_MAX] = '\0';
	assert_int_equal(name_clean(name, got, NULL, NULL), 0);
	name[TAR_NAME_MAX] = '/';
	name[TAR_NAME_MAX + 1] = '\0';
	assert_int_equal(name_clean(name, got, NULL, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_dots_and_slashes_away),
	    cmocka_unit_test(refuses_what_leads_out),
	    cmocka_unit_test(holds_names_to_their_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
