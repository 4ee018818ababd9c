#include "lib/signame.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void names_are_those_of_rfc_4254(void **state)
{
	(void)state;
	assert_string_equal(signame(SIGTERM), "TERM");
	assert_string_equal(signame(SIGUSR2), "USR2");
	assert_null(signame(SIGSYS));
	assert_null(signame(0));
	assert_null(signame(-1));
}

static void numbers_are_known_by_the_bare_name_alone(void **state)
{
	(void)state;
	assert_int_equal(signame_number("INT"), SIGINT);
	assert_int_equal(signame_number("SIGINT"), 0);
	assert_int_equal(signame_number("int"), 0);
	assert_int_equal(signame_number("STOP"), 0);
	assert_int_equal(signame_number(""), 0);
}

static void every_name_leads_back(void **state)
{
	int known = 0;

	(void)state;
	for (int s = 1; s < NSIG; s++)
		if (signame(s)) {
			assert_int_equal(signame_number(signame(s)), s);
			known++;
		}
	assert_int_equal(known, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_those_of_rfc_4254),
	    cmocka_unit_test(numbers_are_known_by_the_bare_name_alone),
	    cmocka_unit_test(every_name_leads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
