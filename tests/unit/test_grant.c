#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include "broker/core/grant.h"
#include "lib/err.h"

/*
 * The grant: one canonical form, which reads back to the same grant and nothing else.
 */

static int setup(void **state)
{
	struct grant *g = calloc(1, sizeof *g);

	g->revision = 1;
	(void)snprintf(g->tenant, sizeof g->tenant, "demo");
	(void)snprintf(g->role, sizeof g->role, "agent");
	(void)snprintf(g->template_name, sizeof g->template_name, "default");
	(void)snprintf(g->person, sizeof g->person, "alice");
	g->actions = GRANT_EXEC | GRANT_CREDENTIAL;
	g->credentials = json_pack("[s]", "jwt:https://a");
	g->egress = json_array();
	g->env = json_pack("[s, s]", "LANG", "LC_*");
	g->channels = 64;
	g->expires_s = 1800000000;
	g->lifetime_s = 3600;
	g->cert_serial = UINT64_MAX;
	memset(g->policy_digest, 0xab, DIGEST_LEN);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	grant_done(*state);
	free(*state);
	return 0;
}

static void reads_back_what_it_wrote(void **state)
{
	struct grant *g = *state, back, copy;
	json_t *o;
	uint8_t a[DIGEST_LEN], b[DIGEST_LEN];
	struct err e = ERR_INIT;

	g->force_command = strdup("backup");
	o = grant_json(g);
	if (grant_parse(o, &back, &e) < 0)
		fail_msg("%s", err_text(&e));
	grant_digest(g, a);
	grant_digest(&back, b);
	assert_memory_equal(a, b, DIGEST_LEN);
	assert_true(back.cert_serial == UINT64_MAX);
	assert_string_equal(back.force_command, "backup");
	assert_int_equal(grant_copy(&back, &copy), 0);
	grant_digest(&copy, b);
	assert_memory_equal(a, b, DIGEST_LEN);
	grant_done(&copy);
	grant_done(&back);
	json_decref(o);
}

static void refuses_what_it_would_not_write(void **state)
{
	static const char *const keys[] = {
	    "revision", "tenant", "actions", "credentials", "policy", "serial", "expires_s", "env"};
	struct grant back;
	json_t *o;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		o = grant_json(*state);
		(void)json_object_del(o, keys[i]);
		assert_int_equal(grant_parse(o, &back, NULL), -EBADMSG);
		json_decref(o);
	}
	o = grant_json(*state);
	(void)json_object_set_new(o, "extra", json_true());
	assert_int_equal(grant_parse(o, &back, NULL), -EBADMSG);
	(void)json_object_del(o, "extra");
	(void)json_object_set_new(o, "actions", json_pack("[s]", "fly"));
	assert_int_equal(grant_parse(o, &back, NULL), -EBADMSG);
	json_decref(o);
	o = grant_json(*state);
	(void)json_object_set_new(o, "policy", json_string("zz"));
	assert_int_equal(grant_parse(o, &back, NULL), -EBADMSG);
	json_decref(o);
}

static void every_field_is_in_the_digest(void **state)
{
	struct grant *g = *state;
	uint8_t a[DIGEST_LEN], b[DIGEST_LEN];

	grant_digest(g, a);
	g->actions |= GRANT_PTY;
	grant_digest(g, b);
	assert_memory_not_equal(a, b, DIGEST_LEN);
	grant_digest(g, a);
	g->expires_s++;
	grant_digest(g, b);
	assert_memory_not_equal(a, b, DIGEST_LEN);
	grant_digest(g, a);
	g->revision++;
	grant_digest(g, b);
	assert_memory_not_equal(a, b, DIGEST_LEN);
}

static void a_wider_grant_covers_a_narrower(void **state)
{
	struct grant *g = *state, n;
	const char *field = NULL;

	assert_int_equal(grant_copy(g, &n), 0);
	assert_true(grant_covers(g, &n, &field));
	n.actions = GRANT_EXEC;
	(void)json_array_clear(n.credentials);
	assert_true(grant_covers(g, &n, &field));
	assert_false(grant_covers(&n, g, &field));
	assert_string_equal(field, "actions");
	n.actions = g->actions;
	assert_false(grant_covers(&n, g, &field));
	assert_string_equal(field, "credentials");
	(void)snprintf(n.person, sizeof n.person, "bob");
	assert_false(grant_covers(g, &n, &field));
	assert_string_equal(field, "person");
	(void)snprintf(n.tenant, sizeof n.tenant, "other");
	assert_false(grant_covers(g, &n, &field));
	assert_string_equal(field, "tenant");
	grant_done(&n);
}

static void env_names_match_whole_or_by_their_beginning(void **state)
{
	const struct grant *g = *state;

	assert_true(grant_env_allows(g, "LANG", 4));
	assert_false(grant_env_allows(g, "LANGUAGE", 8));
	assert_false(grant_env_allows(g, "LAN", 3));
	assert_true(grant_env_allows(g, "LC_ALL", 6));
	assert_true(grant_env_allows(g, "LC_", 3));
	assert_false(grant_env_allows(g, "LC", 2));
}

static void a_worker_sees_only_its_view(void **state)
{
	json_t *o = grant_worker_view(*state, 1800000000 - 10);

	assert_int_equal(json_object_size(o), 6);
	assert_int_equal(json_integer_value(json_object_get(o, "expires_in_s")), 10);
	assert_true(json_is_false(json_object_get(o, "pty")));
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(reads_back_what_it_wrote, setup, teardown),
	    cmocka_unit_test_setup_teardown(refuses_what_it_would_not_write, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_field_is_in_the_digest, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_wider_grant_covers_a_narrower, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        env_names_match_whole_or_by_their_beginning, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_worker_sees_only_its_view, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
