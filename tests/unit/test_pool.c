#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "broker/spawn/plan.h"
#include "broker/spawn/pool.h"
#include "broker/spawn/tight.h"
#include "lib/clock.h"
#include "lib/util.h"

struct sandbox {
	int alive;
};

static struct sandbox made[512];
static size_t n, dropped;
static bool is_tight, no_room;
static int claim_result, make_result;

static int make(void *arg, const struct plan *p, const char *name, struct sandbox **ret)
{
	(void)arg;
	(void)p;
	(void)name;
	if (make_result < 0)
		return make_result;
	made[n].alive = 1;
	*ret = &made[n++];
	return 0;
}

static bool good(void *arg, const struct plan *p, struct sandbox *s)
{
	(void)arg;
	(void)p;
	return s->alive;
}

static int claim(void *arg, struct sandbox *s, int fd)
{
	(void)arg;
	(void)s;
	(void)fd;
	return claim_result;
}

static int drop(void *arg, struct sandbox *s)
{
	(void)arg;
	(void)s;
	dropped++;
	return 0;
}

static bool room(void *arg)
{
	(void)arg;
	return !no_room;
}

static bool tight(void *arg)
{
	(void)arg;
	return is_tight;
}

static struct pool *fresh(void)
{
	const struct pool_ops ops = {make, good, claim, drop, room, tight, NULL};

	n = dropped = 0;
	is_tight = no_room = false;
	claim_result = make_result = 0;
	return pool_new(&ops);
}

static struct plan plan_of(const char *tenant, uint32_t warm)
{
	struct plan p = {.warm = warm};

	memcpy(p.tenant, tenant, strlen(tenant));
	return p;
}

static void fill(struct pool *p, int64_t now)
{
	while (pool_step(p, now) == 1)
		;
}

static void fills_to_what_is_wanted_and_hands_each_out_once(void **state)
{
	struct plan a = plan_of("a", 2);
	struct pool *p = fresh();
	struct sandbox *x, *y;

	(void)state;
	assert_int_equal(pool_step(p, 1), 0);
	pool_want(p, &a, 1);
	fill(p, 1);
	assert_int_equal(pool_counts(p).ready, 2);
	x = pool_take(p, &a, 9, 2);
	y = pool_take(p, &a, 9, 2);
	assert_non_null(x);
	assert_non_null(y);
	assert_ptr_not_equal(x, y);
	assert_null(pool_take(p, &a, 9, 2));
	assert_int_equal(pool_counts(p).missed, 1);
	pool_free(p);
	assert_int_equal(dropped, 0);
}

static void gives_nothing_to_another_plan(void **state)
{
	struct plan a = plan_of("a", 1), b = a, c = plan_of("c", 1);
	struct pool *p = fresh();

	(void)state;
	b.credentials = true;
	pool_want(p, &a, 1);
	fill(p, 1);
	assert_null(pool_take(p, &b, 9, 2));
	assert_null(pool_take(p, &c, 9, 2));
	assert_int_equal(pool_counts(p).ready, 1);
	pool_free(p);
	assert_int_equal(dropped, 1);
}

static void a_narrowed_session_replaces_a_shelf_only_when_nobody_else_asks(void **state)
{
	struct plan a = plan_of("a", 1), b = a;
	struct pool *p = fresh();
	int64_t later = 2 + POOL_STALE_S * NSEC_PER_SEC;

	(void)state;
	b.credentials = true;
	pool_want(p, &a, 1);
	fill(p, 1);
	assert_null(pool_take(p, &b, 9, 2));
	assert_int_equal(dropped, 0);
	assert_null(pool_take(p, &b, 9, later));
	assert_int_equal(dropped, 1);
	fill(p, later);
	assert_non_null(pool_take(p, &b, 9, later));
	pool_free(p);
}

static void the_dead_and_the_unclaimable_are_dropped(void **state)
{
	struct plan a = plan_of("a", 2);
	struct pool *p = fresh();

	(void)state;
	pool_want(p, &a, 1);
	fill(p, 1);
	made[1].alive = 0;
	assert_ptr_equal(pool_take(p, &a, 9, 2), &made[0]);
	assert_int_equal(dropped, 1);
	fill(p, 2);
	claim_result = -EPIPE;
	assert_null(pool_take(p, &a, 9, 2));
	assert_int_equal(dropped, 3);
	pool_free(p);
}

static void short_memory_empties_it_and_few_ids_stop_it(void **state)
{
	struct plan a = plan_of("a", 3);
	struct pool *p = fresh();
	int64_t now = 1;

	(void)state;
	pool_want(p, &a, now);
	fill(p, now);
	is_tight = true;
	fill(p, now += 2 * NSEC_PER_SEC);
	assert_int_equal(pool_counts(p).ready, 0);
	assert_int_equal(dropped, 3);
	is_tight = false;
	no_room = true;
	fill(p, now += 2 * NSEC_PER_SEC);
	assert_int_equal(pool_counts(p).ready, 0);
	no_room = false;
	make_result = -EIO;
	fill(p, now);
	make_result = 0;
	fill(p, now); /* not at once again */
	assert_int_equal(pool_counts(p).ready, 0);
	fill(p, now += 2 * NSEC_PER_SEC);
	assert_int_equal(pool_counts(p).ready, 3);
	pool_free(p);
}

static void a_plan_with_more_than_init_is_not_pooled(void **state)
{
	struct plan a = plan_of("a", 1), b = a, c = a, d = plan_of("a", 0);

	(void)state;
	b.watch = true;
	c.workspace_mode = PLAN_WORKSPACE_RW;
	assert_true(pool_takes(&a));
	assert_false(pool_takes(&b));
	assert_false(pool_takes(&c));
	assert_false(pool_takes(&d));
}

static void what_nobody_prepares_again_is_taken_down(void **state)
{
	struct plan a = plan_of("a", 2), b = plan_of("b", 1);
	struct pool *p = fresh();
	int64_t later = 2 * NSEC_PER_SEC;

	(void)state;
	pool_want(p, &a, 1);
	pool_want(p, &b, 1);
	fill(p, 1);
	assert_int_equal(pool_counts(p).ready, 3);
	pool_forget(p, NSEC_PER_SEC);
	pool_want(p, &b, NSEC_PER_SEC);
	fill(p, NSEC_PER_SEC + 1);
	assert_int_equal(pool_counts(p).ready, 3); /* the core may still be at it */
	fill(p, later);
	assert_int_equal(pool_counts(p).shelves, 1);
	assert_int_equal(dropped, 2);
	assert_null(pool_take(p, &a, 9, later)); /* a session's plan is learnt again */
	fill(p, later);
	assert_int_equal(pool_counts(p).ready, 3);
	pool_free(p);
}

static void memory_is_short_by_what_is_left_or_by_waiting(void **state)
{
	(void)state;
	assert_false(tight_by("MemTotal: 1600 kB\nMemAvailable: 100 kB\n", ""));
	assert_true(tight_by("MemTotal: 1600 kB\nMemAvailable: 99 kB\n", ""));
	assert_false(tight_by("", ""));
	assert_false(tight_by("", "some avg10=19.99 avg60=0.00\n"));
	assert_true(tight_by("", "some avg10=20.00 avg60=0.00\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fills_to_what_is_wanted_and_hands_each_out_once),
	    cmocka_unit_test(gives_nothing_to_another_plan),
	    cmocka_unit_test(a_narrowed_session_replaces_a_shelf_only_when_nobody_else_asks),
	    cmocka_unit_test(the_dead_and_the_unclaimable_are_dropped),
	    cmocka_unit_test(short_memory_empties_it_and_few_ids_stop_it),
	    cmocka_unit_test(a_plan_with_more_than_init_is_not_pooled),
	    cmocka_unit_test(what_nobody_prepares_again_is_taken_down),
	    cmocka_unit_test(memory_is_short_by_what_is_left_or_by_waiting),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
