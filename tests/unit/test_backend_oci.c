/*
 * What the tier oci refuses, above a back end that builds nothing.
 */
#include "broker/spawn/backend_oci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "broker/spawn/backend.h"
#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/backend_null.h"

struct both {
	struct backend *ns, *oci;
};

static int setup(void **state)
{
	static struct both b;

	b.ns = backend_null_new();
	b.oci = backend_oci_new(b.ns);
	*state = &b;
	return b.oci ? 0 : -1;
}

static int teardown(void **state)
{
	struct both *b = *state;

	b->oci->ops->free(b->oci);
	b->ns->ops->free(b->ns);
	return 0;
}

static void refuses_each_thing_that_it_cannot_hold_by_its_name(void **state)
{
	static const struct plan asks[] = {{.nprograms = 1}, {.watch = true}, {.nmounts = 1},
	    {.nrules = 1}, {.root_user = true}, {.seccomp = PLAN_SECCOMP_STRICT},
	    {.workspace_mode = PLAN_WORKSPACE_RW}, {.workspace_mode = PLAN_WORKSPACE_RO}};
	static const char *const names[] = {"a list of programs", "a watch of programs", "mounts",
	    "Landlock rules", "an agent that is root", "another seccomp profile", "a workspace",
	    "a workspace"};
	struct both *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		struct backend_failure f = {NULL};
		struct err e = ERR_INIT;
		struct sandbox *s = NULL;
		json_t *enforced = NULL;

		assert_int_equal(
		    b->oci->ops->start(b->oci, "a", &asks[i], -1, &s, &enforced, &f, &e), -ENOTSUP);
		assert_string_equal(f.step, "tier");
		assert_non_null(strstr(err_text(&e), names[i]));
		assert_null(s);
		assert_null(enforced);
		f.step = NULL;
		assert_int_equal(b->oci->ops->prepare(b->oci, &asks[i], &f, &e), -ENOTSUP);
		assert_string_equal(f.step, "tier");
	}
	assert_int_equal(backend_null_count(b->ns), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        refuses_each_thing_that_it_cannot_hold_by_its_name, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
