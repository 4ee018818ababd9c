/*
 * Which back end a plan gets, with back ends that build nothing.
 */
#include "broker/spawn/backend_tiers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "lib/err.h"
#include "tests/support/backend_null.h"

struct two {
	struct backend *tiers, *ns, *vm;
};

static int setup(void **state)
{
	static struct two t;

	t = (struct two){backend_tiers_new(), backend_null_new(), backend_null_new()};
	assert_non_null(t.tiers);
	backend_tiers_have(t.tiers, PLAN_TIER_NAMESPACES, t.ns);
	backend_tiers_lack(t.tiers, PLAN_TIER_OCI, "no runtime");
	backend_tiers_have(t.tiers, PLAN_TIER_MICROVM, t.vm);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	struct two *t = *state;

	t->tiers->ops->free(t->tiers);
	return 0;
}

static int start(struct two *t, const struct plan *p, struct sandbox **s, json_t **enforced,
    struct backend_failure *f, struct err *e)
{
	return t->tiers->ops->start(t->tiers, "a", p, -1, s, enforced, f, e);
}

static void end(struct two *t, struct sandbox *s)
{
	t->tiers->ops->kill(s);
	assert_int_equal(t->tiers->ops->reap(s, NULL), 0);
}

static void starts_in_the_tier_of_the_plan_alone(void **state)
{
	struct two *t = *state;
	const struct backend_ops *ops = t->tiers->ops;

	for (int vm = 0; vm < 2; vm++) {
		struct plan p = {.tier = vm ? PLAN_TIER_MICROVM : PLAN_TIER_NAMESPACES};
		struct backend_failure f = {NULL};
		struct err e = ERR_INIT;
		json_t *enforced = NULL;
		struct sandbox *s;
		int pty[2];

		assert_int_equal(start(t, &p, &s, &enforced, &f, &e), 0);
		assert_int_equal(backend_null_count(t->ns), !vm);
		assert_int_equal(backend_null_count(t->vm), vm);
		assert_string_equal(json_string_value(json_object_get(enforced, "tier")),
		    vm ? "microvm" : "namespaces");
		json_decref(enforced);
		assert_int_equal(ops->pid(s), 1);
		assert_int_equal(ops->cred_listener(s), -1);
		assert_int_equal(ops->freeze(s, 1, &e), 0);
		assert_int_equal(ops->open_pty(s, &pty[0], &pty[1], &e), 0);
		(void)close(pty[0]);
		(void)close(pty[1]);
		end(t, s);
		assert_int_equal(backend_null_count(t->ns) + backend_null_count(t->vm), 0);
	}
}

static void refuses_a_tier_that_the_host_lacks_with_its_reason(void **state)
{
	struct two *t = *state;
	struct plan p = {.tier = PLAN_TIER_OCI};
	struct backend_failure f = {NULL};
	struct err e = ERR_INIT;
	json_t *enforced = NULL;
	struct sandbox *s = NULL;

	assert_int_equal(start(t, &p, &s, &enforced, &f, &e), -ENOTSUP);
	assert_string_equal(f.step, "tier");
	assert_string_equal(err_text(&e), "this host lacks the tier oci: no runtime");
	assert_null(s);
	assert_null(enforced);
	assert_int_equal(t->tiers->ops->prepare(t->tiers, &p, &f, &e), -ENOTSUP);
	assert_string_equal(f.step, "tier");
	assert_int_equal(backend_null_count(t->ns) + backend_null_count(t->vm), 0);
	p.tier = (enum plan_tier)99;
	assert_int_equal(start(t, &p, &s, &enforced, &f, &e), -EINVAL);
}

static void says_which_tiers_there_are_and_why_not(void **state)
{
	struct two *t = *state;
	json_t *o = t->tiers->ops->probe(t->tiers), *tiers = json_object_get(o, "tiers");
	const json_t *oci = json_object_get(tiers, "oci"), *vm = json_object_get(tiers, "microvm");

	assert_string_equal(json_string_value(json_object_get(o, "backend")), "null");
	assert_int_equal(json_object_size(tiers), 3);
	assert_true(
	    json_is_true(json_object_get(json_object_get(tiers, "namespaces"), "available")));
	assert_true(json_is_false(json_object_get(oci, "available")));
	assert_string_equal(json_string_value(json_object_get(oci, "lacks")), "no runtime");
	assert_true(json_is_true(json_object_get(vm, "available")));
	assert_string_equal(json_string_value(json_object_get(vm, "backend")), "null");
	json_decref(o);
}

static void leaves_nothing_of_a_start_that_fails(void **state)
{
	struct two *t = *state;
	struct plan p = {.tier = PLAN_TIER_MICROVM};
	struct backend_failure f = {NULL};
	struct err e = ERR_INIT;
	json_t *enforced = NULL;
	struct sandbox *s = NULL;

	backend_null_fail(t->vm, "qemu");
	assert_int_equal(start(t, &p, &s, &enforced, &f, &e), -EIO);
	assert_string_equal(f.step, "qemu");
	assert_null(s);
	assert_int_equal(backend_null_count(t->vm), 0);
}

static void asks_again_while_something_is_left(void **state)
{
	struct two *t = *state;
	struct plan p = {.tier = PLAN_TIER_MICROVM};
	struct backend_failure f = {NULL};
	struct backend_usage u = {0};
	struct err e = ERR_INIT;
	json_t *enforced = NULL;
	struct sandbox *s;
	struct pollfd ended = {.events = POLLIN};

	assert_int_equal(start(t, &p, &s, &enforced, &f, &e), 0);
	json_decref(enforced);
	backend_null_hold(t->vm, 1);
	ended.fd = t->tiers->ops->pidfd(s);
	t->tiers->ops->kill(s);
	assert_int_equal(poll(&ended, 1, 0), 1);
	t->tiers->ops->stat(s, &u);
	assert_int_equal(u.oom_kills, 3);
	assert_int_equal(t->tiers->ops->reap(s, &u), -EAGAIN);
	assert_int_equal(t->tiers->ops->reap(s, &u), 0);
	assert_int_equal(t->tiers->ops->idle(t->tiers), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(starts_in_the_tier_of_the_plan_alone, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_a_tier_that_the_host_lacks_with_its_reason, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        says_which_tiers_there_are_and_why_not, setup, teardown),
	    cmocka_unit_test_setup_teardown(leaves_nothing_of_a_start_that_fails, setup, teardown),
	    cmocka_unit_test_setup_teardown(asks_again_while_something_is_left, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
