#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/config.h"
#include "broker/core/grant.h"
#include "tests/support/config_dir.h"

/*
 * A template's file: what it does not say has a default that is enforced.
 */

static void the_default_is_the_host_with_limits(void **state)
{
	struct config *c = config_dir_accepted(*state);
	const struct template *t = config_template(c, NULL, "default");
	struct grant g = {.tenant = "demo", .role = "agent", .actions = GRANT_CREDENTIAL};
	struct plan p;

	template_plan(t, &g, NULL, &p);
	assert_int_equal(p.root, PLAN_ROOT_HOST);
	assert_string_equal(p.root_path, "");
	assert_int_equal(p.limits.memory_bytes, 512 << 20);
	assert_int_equal(p.limits.pids, 128);
	assert_int_equal(p.limits.cpu_percent, 100);
	assert_int_equal(p.disk_bytes, 256 << 20);
	assert_int_equal(p.disk_inodes, 65536);
	assert_int_equal(p.open_files, 1024);
	assert_true(p.credentials);
	assert_string_equal(p.tenant, "demo");
	assert_string_equal(p.role, "agent");
	config_free(c);
}

static void reads_everything(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;
	const struct template *t;

	config_dir_put(f, "templates/big.yaml",
	    "root: /srv/images/big\nlimits: {memory: 2G, pids: 500, cpu: 250, disk: 1G, inodes: "
	    "100, "
	    "open_files: 64}\nenv: {LANG: C.UTF-8, X_1: \"\"}\nshell: /bin/dash\n");
	c = config_dir_accepted(f);
	t = config_template(c, NULL, "big");
	assert_int_equal(t->root, PLAN_ROOT_DIRECTORY);
	assert_string_equal(t->root_path, "/srv/images/big");
	assert_int_equal(t->limits.group.memory_bytes, 2147483648);
	assert_int_equal(t->limits.group.cpu_percent, 250);
	assert_string_equal(t->shell, "/bin/dash");
	assert_int_equal(json_object_size(t->env), 2);
	config_free(c);
}

static void a_directory_has_a_shell_that_is_there(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_put(f, "templates/big.yaml", "root: /srv/big\n");
	c = config_dir_accepted(f);
	assert_string_equal(config_template(c, NULL, "big")->shell, "/bin/sh");
	config_free(c);
}

static void refuses_what_is_not_meant(void **state)
{
	static const struct {
		const char *text, *line, *word;
	} bad[] = {
	    {"root: srv\n", ":1", "absolute"},
	    {"root: /\n", ":1", "absolute"},
	    {"root: /srv/../etc\n", ":1", "absolute"},
	    {"root: /srv//x\n", ":1", "absolute"},
	    {"root: /srv/./x\n", ":1", "absolute"},
	    {"root: /srv/\n", ":1", "absolute"},
	    {"rot: host\n", ":1", "root"},
	    {"limits: {memory: 1M}\n", ":1", "memory"},
	    {"limits: {memory: lots}\n", ":1", "memory"},
	    {"limits: {pids: 3}\n", ":1", "pids"},
	    {"limits: {pid: 30}\n", ":1", "pids"},
	    {"limits: {cpu: 0}\n", ":1", "cpu"},
	    {"limits: {open_files: 1}\n", ":1", "open_files"},
	    {"env: {\"A-B\": x}\n", ":1", "letters"},
	    {"env: {1A: x}\n", ":1", "letters"},
	    {"shell: bash\n", ":1", "absolute"},
	};
	const struct config_dir *f = *state;
	char where[64];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		config_dir_put(f, "templates/t.yaml", bad[i].text);
		(void)snprintf(where, sizeof where, "templates/t.yaml%s", bad[i].line);
		config_dir_refused(f, where, bad[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        the_default_is_the_host_with_limits, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        reads_everything, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        a_directory_has_a_shell_that_is_there, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_what_is_not_meant, config_dir_setup, config_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
