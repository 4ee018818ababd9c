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
	    {"limits: {memmory: 1G}\n", ":1", "did you mean \"memory\""},
	    {"limits: {swap: -1}\n", ":1", "swap"},
	    {"limits: {cpu_weight: 10001}\n", ":1", "cpu_weight"},
	    {"limits: {io: {reads: 1M}}\n", ":1", "did you mean \"read\""},
	    {"limits: {io: {read: 1K}}\n", ":1", "limits.io.read"},
	    {"limits: {wall: 31d}\n", ":1", "limits.wall"},
	    {"base: relative\n", ":1", "base"},
	    {"base: {image: a.tar}\n", ":1", "docker-archive"},
	    {"base: {imag: /a.tar}\n", ":1", "did you mean \"image\""},
	    {"base: host\nroot: /srv/x\n", ":2", "true or false"},
	    {"mounts: [{source: /a, target: b}]\n", ":1", "absolute"},
	    {"mounts: [{source: /a, target: /proc/x}]\n", ":1", "own"},
	    {"mounts: [{source: /a, target: /b}, {source: /c, target: /b}]\n", ":1", "twice"},
	    {"landlock: [{path: /a, access: all}]\n", ":1", "access"},
	    {"programs: []\n", ":1", "empty"},
	    {"programs: [ls]\n", ":1", "absolute"},
	    {"entry: [ls]\n", ":1", "entry"},
	    {"seccomp: off\n", ":1", "default or strict"},
	    {"tier: vm\n", ":1", "microvm"},
	    {"tier: oci\n", ":1", "runtime"},
	    {"runtime: /usr/bin/crun\n", ":1", "tier: oci"},
	    {"emulate: true\n", ":1", "tier: microvm"},
	    {"warm: 65\n", ":1", "warm"},
	    {"watch: yes\n", ":1", "true or false"},
	    {"forward: [a]\n", ":1", "true or false"},
	};
	const struct config_dir *f = *state;
	char where[64];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		config_dir_put(f, "templates/t.yaml", bad[i].text);
		(void)snprintf(where, sizeof where, "templates/t.yaml%s", bad[i].line);
		config_dir_refused(f, where, bad[i].word);
	}
}

static void every_key_reaches_the_plan(void **state)
{
	const struct config_dir *f = *state;
	struct grant g = {.tenant = "demo", .role = "agent", .actions = GRANT_CREDENTIAL};
	const struct plan_limits tenant = {.memory_bytes = 5};
	struct config *c;
	struct plan p;

	(void)snprintf(g.workspace, sizeof g.workspace, "main");
	g.workspace_mode = PLAN_WORKSPACE_RO;
	config_dir_put(f, "images.lock",
	    "0000000000000000000000000000000000000000000000000000000000000001  /srv/b.tar\n"
	    "0000000000000000000000000000000000000000000000000000000000000002  /srv/a.tar\n");
	config_dir_put(f, "templates/all.yaml",
	    "base: {image: /srv/a.tar}\nroot: true\nlimits: {swap: 1M, cpu_weight: 7, io: {read: "
	    "1M,"
	    " write: 2M, read_ops: 10, write_ops: 20}}\nmounts: [{source: /srv/m, target: /m}]\n"
	    "seccomp: strict\nlandlock: [{path: /etc, access: none}]\nprograms: [/bin/ls]\n"
	    "watch: true\ncredentials: false\ntier: microvm\nemulate: true\nwarm: 3\n");
	c = config_dir_accepted(f);
	template_plan(config_template(c, "demo", "all"), &g, &tenant, &p);
	assert_int_equal(p.root, PLAN_ROOT_IMAGE);
	assert_int_equal(p.image[PLAN_IMAGE_HEX_LEN - 1], '2');
	assert_true(p.root_user && p.watch && p.emulate && !p.credentials);
	assert_int_equal(p.limits.swap_bytes, 1 << 20);
	assert_int_equal(p.limits.cpu_weight, 7);
	assert_int_equal(p.limits.io_read_bps, 1 << 20);
	assert_int_equal(p.limits.io_write_bps, 2 << 20);
	assert_int_equal(p.limits.io_read_iops, 10);
	assert_int_equal(p.limits.io_write_iops, 20);
	assert_int_equal(p.tenant_limits.memory_bytes, 5);
	assert_string_equal(p.mounts[0].source, "/srv/m");
	assert_string_equal(p.rules[0].path, "/etc");
	assert_string_equal(p.programs[0], "/bin/ls");
	assert_int_equal(p.seccomp, PLAN_SECCOMP_STRICT);
	assert_int_equal(p.tier, PLAN_TIER_MICROVM);
	assert_int_equal(p.warm, 3);
	assert_string_equal(p.workspace, "main");
	assert_int_equal(p.workspace_mode, PLAN_WORKSPACE_RO);
	config_free(c);
	/* and the template stays where its image is not built */
	config_dir_put(f, "images.lock", "");
	c = config_dir_accepted(f);
	assert_string_equal(config_template(c, NULL, "all")->image, "");
	config_free(c);
	config_dir_put(f, "images.lock", "00  /srv/a.tar\n");
	config_dir_refused(f, "images.lock:1", "SHA-256");
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
	        every_key_reaches_the_plan, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_what_is_not_meant, config_dir_setup, config_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
