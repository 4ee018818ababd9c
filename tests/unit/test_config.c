#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include "broker/core/config.h"
#include "creds/key.h"
#include "tests/support/config_dir.h"

/*
 * The configuration as a whole: all or nothing, and every error with file and line.
 */

static void an_empty_directory_has_defaults(void **state)
{
	struct config *c = config_dir_accepted(*state);

	assert_int_equal(c->host.ids_base, HOST_IDS_BASE);
	assert_int_equal(c->host.sessions, HOST_SESSIONS);
	assert_int_equal(c->host.clock_tolerance_s, 60);
	assert_int_equal(c->ntenants, 0);
	assert_non_null(config_template(c, NULL, "default"));
	config_free(c);
}

static void reads_the_host_file(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_put(f, "postern.yaml",
	    "listen: 127.0.0.1:2222\nids: {base: 2013265920, count: 655360}\n"
	    "limits: {sessions: 9, sessions_per_tenant: 3}\nclock: {tolerance: 5m}\n"
	    "store: {map_size: 1G}\ngateway: {anything: here}\n");
	c = config_dir_accepted(f);
	assert_string_equal(c->host.listen, "127.0.0.1:2222");
	assert_int_equal(c->host.ids_base, 2013265920);
	assert_int_equal(c->host.sessions, 9);
	assert_int_equal(c->host.sessions_per_tenant, 3);
	assert_int_equal(c->host.clock_tolerance_s, 300);
	assert_int_equal(c->host.map_size, 1 << 30);
	config_free(c);
}

static void reads_when_logs_are_sealed(void **state)
{
	static const char *const bad[] = {"checkpoint: 2h", "epoch: 5m", "epoch: 31d", "origin: ''",
	    "origin: \"a b\"", "origin: a+b", "origin: [a]", "seals: 1"};
	const struct config_dir *f = *state;
	struct config *c;
	char text[300];

	config_dir_put(f, "postern.yaml", "listen: 127.0.0.1:22\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->host.checkpoint_s, 10);
	assert_int_equal(c->host.epoch_s, 86400);
	assert_string_equal(c->host.origin, "");
	config_free(c);
	config_dir_put(f, "postern.yaml",
	    "log: {checkpoint: 30s, epoch: 7d, origin: log.example.com/gate-1}\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->host.checkpoint_s, 30);
	assert_int_equal(c->host.epoch_s, 7 * 86400);
	assert_string_equal(c->host.origin, "log.example.com/gate-1");
	config_free(c);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "log:\n  %s\n", bad[i]);
		config_dir_put(f, "postern.yaml", text);
		config_dir_refused(f, "postern.yaml:2", "");
	}
	(void)snprintf(text, sizeof text, "log:\n  origin: %0*d\n", HOST_ORIGIN_MAX + 1, 0);
	config_dir_put(f, "postern.yaml", text);
	config_dir_refused(f, "postern.yaml:2", "origin");
}

static void refuses_what_the_host_file_must_not_say(void **state)
{
	const struct config_dir *f = *state;

	config_dir_put(f, "postern.yaml", "\nlimit: {sessions: 9}\n");
	config_dir_refused(f, "postern.yaml:2", "limits");
	config_dir_put(f, "postern.yaml", "limits:\n  sessions: 0\n");
	config_dir_refused(f, "postern.yaml:2", "sessions");
	config_dir_put(f, "postern.yaml", "ids: {base: 1000, count: 65536}\n");
	config_dir_refused(f, "postern.yaml:1", "base");
	config_dir_put(f, "postern.yaml", "ids: {base: 2013265921, count: 655360}\n");
	config_dir_refused(f, "postern.yaml:1", "multiples");
	config_dir_put(f, "postern.yaml", "ids: {base: 4294705152, count: 655360}\n");
	config_dir_refused(f, "postern.yaml:1", "beyond");
	config_dir_put(
	    f, "postern.yaml", "ids: {base: 2013265920, count: 655360}\nlimits: {sessions: 10}\n");
	config_dir_refused(f, "postern.yaml:2", "enough for 9");
	config_dir_put(f, "postern.yaml", "listen: nowhere\n");
	config_dir_refused(f, "postern.yaml:1", "ADDRESS:PORT");
	config_dir_put(f, "postern.yaml", "clock: {tolerance: 2d}\n");
	config_dir_refused(f, "postern.yaml:1", "a day");
	config_dir_put(f, "postern.yaml", "store: {map_size: 1K}\n");
	config_dir_refused(f, "postern.yaml:1", "map_size");
	config_dir_put(f, "postern.yaml", "listen: [\n");
	config_dir_refused(f, "postern.yaml:", "");
}

static void a_ca_belongs_to_one_tenant(void **state)
{
	const struct config_dir *f = *state;
	char other[300];

	config_dir_tenant(f, "demo", f->ca[0], "");
	config_dir_tenant(f, "other", f->ca[1], "");
	config_free(config_dir_accepted(f));
	/* compared parsed: another comment is no other key */
	(void)snprintf(other, sizeof other, "%s and more", f->ca[0]);
	config_dir_tenant(f, "other", other, "");
	config_dir_refused(f, "tenants/other.yaml:1", "tenant demo");
}

static void a_template_has_to_be_there(void **state)
{
	const struct config_dir *f = *state;
	char text[600];

	(void)snprintf(text, sizeof text,
	    "ca: [\"%s\"]\nroles:\n  agent:\n    allow: [exec]\n    template: big\n", f->ca[0]);
	config_dir_put(f, "tenants/demo.yaml", text);
	config_dir_refused(f, "tenants/demo.yaml:", "no template big");
	config_dir_put(f, "templates/big.yaml", "root: /srv/big\n");
	config_free(config_dir_accepted(f));
}

static void refuses_names_that_are_none(void **state)
{
	const struct config_dir *f = *state;

	config_dir_tenant(f, "Demo", f->ca[0], "");
	config_dir_refused(f, "tenants", "Demo");
	(void)unlinkat(f->fd, "tenants/Demo.yaml", 0);
	config_dir_tenant(f, "root", f->ca[0], "");
	config_dir_refused(f, "tenants", "root");
	(void)unlinkat(f->fd, "tenants/root.yaml", 0);
	config_dir_put(f, "tenants/demo.yml", "");
	config_dir_refused(f, "demo.yml", ".yaml");
	(void)unlinkat(f->fd, "tenants/demo.yml", 0);
	config_dir_put(f, "tenants/.demo.yaml.swp", "x");
	config_dir_put(f, "tenants/README", "x");
	config_free(config_dir_accepted(f));
}

static void a_bad_file_changes_nothing_and_the_digest_tells_changes(void **state)
{
	const struct config_dir *f = *state;
	struct config *a, *b;

	config_dir_tenant(f, "demo", f->ca[0], "");
	a = config_dir_accepted(f);
	config_dir_tenant(f, "demo", f->ca[0], "limits: {sessions: 7}\n");
	b = config_dir_accepted(f);
	assert_memory_not_equal(a->digest, b->digest, DIGEST_LEN);
	assert_memory_not_equal(a->tenant[0].digest, b->tenant[0].digest, DIGEST_LEN);
	assert_int_equal(b->tenant[0].sessions, 7);
	config_free(a);
	config_free(b);
}

static void finds_a_tenant_by_its_ca(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;
	struct key *k;

	config_dir_tenant(f, "demo", f->ca[0], "");
	c = config_dir_accepted(f);
	assert_int_equal(key_parse_line(f->ca[0], strlen(f->ca[0]), &k, NULL), 0);
	assert_string_equal(config_tenant_by_ca(c, k)->name, "demo");
	key_free(k);
	assert_int_equal(key_parse_line(f->ca[1], strlen(f->ca[1]), &k, NULL), 0);
	assert_null(config_tenant_by_ca(c, k));
	key_free(k);
	config_free(c);
}

static void says_what_was_understood(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;
	json_t *o;

	config_dir_tenant(f, "demo", f->ca[0], "");
	c = config_dir_accepted(f);
	o = config_summary(c);
	assert_int_equal(json_array_size(json_object_get(o, "tenants")), 1);
	assert_int_equal(json_array_size(json_object_get(o, "templates")), 1);
	json_decref(o);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        reads_when_logs_are_sealed, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        an_empty_directory_has_defaults, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        reads_the_host_file, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_what_the_host_file_must_not_say, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        a_ca_belongs_to_one_tenant, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        a_template_has_to_be_there, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_names_that_are_none, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(a_bad_file_changes_nothing_and_the_digest_tells_changes,
	        config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        finds_a_tenant_by_its_ca, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        says_what_was_understood, config_dir_setup, config_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
