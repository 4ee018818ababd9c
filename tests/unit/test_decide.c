#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/decide.h"
#include "broker/core/grant.h"

/*
 * The first decider: what the grant says, and no more.
 */

static struct decision last;
static int calls;

static void on_decision(const struct decision *d, void *arg)
{
	(void)arg;
	last = *d;
	calls++;
}

static enum verdict ask(const struct grant *g, const char *action, const char *object)
{
	struct decider *d = decide_grant_new();
	struct decide_request q = {.subject = g, .action = action, .object = object};

	calls = 0;
	d->decide(d, &q, on_decision, NULL);
	assert_int_equal(calls, 1);
	d->free(d);
	return last.verdict;
}

static int setup(void **state)
{
	struct grant *g = calloc(1, sizeof *g);

	(void)snprintf(g->tenant, sizeof g->tenant, "demo");
	(void)snprintf(g->role, sizeof g->role, "agent");
	g->credentials = json_pack("[s]", "jwt:https://a");
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	grant_done(*state);
	free(*state);
	return 0;
}

static void nothing_is_allowed_unless_it_is_said(void **state)
{
	struct grant *g = *state;

	for (unsigned b = 0; b < GRANT_ACTIONS; b++) {
		const char *name = grant_action_name(1u << b);

		g->actions = ~(1u << b);
		assert_int_equal(ask(g, name, "jwt:https://a"), VERDICT_DENY);
		assert_non_null(strstr(last.reason, name));
		assert_string_equal(last.rule, "tenants/demo.yaml roles.agent.allow");
		g->actions = 1u << b;
		assert_int_equal(ask(g, name, "jwt:https://a"), VERDICT_ALLOW);
	}
}

static void an_unknown_action_is_denied(void **state)
{
	struct grant *g = *state;

	g->actions = ~0u;
	assert_int_equal(ask(g, "fly", ""), VERDICT_DENY);
	assert_string_equal(last.rule, "default");
	assert_int_equal(ask(g, "", ""), VERDICT_DENY);
}

static void a_credential_has_to_be_listed(void **state)
{
	struct grant *g = *state;

	g->actions = GRANT_CREDENTIAL;
	assert_int_equal(ask(g, "credential", "jwt:https://a"), VERDICT_ALLOW);
	assert_int_equal(ask(g, "credential", "jwt:https://a/"), VERDICT_DENY);
	assert_int_equal(ask(g, "credential", "jwt:"), VERDICT_DENY);
	assert_int_equal(ask(g, "credential", "jwt:\x1b[2J"), VERDICT_DENY);
	assert_null(strchr(last.reason, '\x1b'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(nothing_is_allowed_unless_it_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_unknown_action_is_denied, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_credential_has_to_be_listed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
