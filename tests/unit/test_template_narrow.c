#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/config.h"
#include "broker/core/grant.h"
#include "lib/err.h"
#include "lib/yaml.h"
#include "tests/support/config_dir.h"

/*
 * Templates extend each other, and a tenant's own may only narrow what the host's says.
 */

static const char host[] =
    "limits: {memory: 256M, swap: 64M, cpu_weight: 50, io: {read: 1M}, wall: 1h}\n"
    "env: {SET: host}\nshell: /bin/sh\nprograms: [/bin/ls, /bin/cat]\n"
    "mounts: [{source: /srv/a, target: /a}, {source: /srv/b, target: /b}]\n"
    "landlock: [{path: /etc, access: read}, {path: /opt, access: exec}]\n"
    "warm: 2\n";

static void own(const struct config_dir *f, const char *text)
{
	(void)mkdirat(f->fd, "tenants/demo", 0700);
	(void)mkdirat(f->fd, "tenants/demo/templates", 0700);
	config_dir_put(f, "tenants/demo/templates/own.yaml", text);
}

static int teardown(void **state)
{
	const struct config_dir *f = *state;

	(void)unlinkat(f->fd, "tenants/demo/templates/own.yaml", 0);
	(void)unlinkat(f->fd, "tenants/demo/templates/work.yaml", 0);
	(void)unlinkat(f->fd, "tenants/demo/templates", AT_REMOVEDIR);
	(void)unlinkat(f->fd, "tenants/demo", AT_REMOVEDIR);
	return config_dir_teardown(state);
}

static void a_child_inherits_what_it_does_not_say(void **state)
{
	const struct config_dir *f = *state;
	const struct template *t;
	struct config *c;

	config_dir_put(f, "templates/work.yaml", host);
	config_dir_put(f, "templates/abc.yaml",
	    "extends: work\nroot: true\nenv: {MORE: x}\nlimits:\n  memory: 1G\n");
	c = config_dir_accepted(f);
	t = config_template(c, NULL, "abc");
	assert_string_equal(t->extends, "work");
	assert_true(t->root_user);
	assert_int_equal(t->limits.group.memory_bytes, 1 << 30);
	assert_int_equal(t->limits.group.swap_bytes, 64 << 20);
	assert_int_equal(t->limits.wall_s, 3600);
	assert_int_equal(t->nprograms, 2);
	assert_int_equal(t->nmounts, 2);
	assert_int_equal(json_object_size(t->env), 2);
	assert_string_equal(t->where[TEMPLATE_LIMITS + LIMIT_MEMORY], "templates/abc.yaml:5");
	assert_string_equal(t->where[TEMPLATE_LIMITS + LIMIT_WALL], "templates/work.yaml:1");
	assert_string_equal(t->where[TEMPLATE_TIER], "default");
	/* and the parent is as it was */
	assert_int_equal(json_object_size(config_template(c, NULL, "work")->env), 1);
	config_free(c);
}

static void refuses_parents_that_are_none_and_circles(void **state)
{
	const struct config_dir *f = *state;
	char path[32], text[32];

	config_dir_put(f, "templates/aa.yaml", "\nextends: bb\n");
	config_dir_refused(f, "templates/aa.yaml:2", "no template bb");
	config_dir_put(f, "templates/bb.yaml", "extends: aa\n");
	config_dir_refused(f, "templates/aa.yaml:2", "extending itself");
	config_dir_put(f, "templates/bb.yaml", "extends: bb\n");
	config_dir_refused(f, "templates/", "extending itself");
	config_dir_put(f, "templates/bb.yaml", "extends: Bad\n");
	config_dir_refused(f, "templates/bb.yaml:1", "extends");
	config_dir_put(f, "templates/aa.yaml", "");
	config_dir_put(f, "templates/bb.yaml", "");
	config_dir_put(f, "templates/t0.yaml", "");
	for (int i = 1; i <= TEMPLATE_DEPTH_MAX + 1; i++) {
		(void)snprintf(path, sizeof path, "templates/t%d.yaml", i);
		(void)snprintf(text, sizeof text, "extends: t%d\n", i - 1);
		config_dir_put(f, path, text);
		if (i == TEMPLATE_DEPTH_MAX)
			config_free(config_dir_accepted(f));
	}
	config_dir_refused(f, path, "one behind the other");
}

static void a_tenants_template_is_its_own_alone(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_tenant(f, "demo", f->ca[0], "");
	config_dir_tenant(f, "other", f->ca[1], "");
	config_dir_put(f, "templates/work.yaml", host);
	own(f, "extends: work\nlimits: {memory: 128M}\n");
	config_dir_put(f, "tenants/demo/templates/work.yaml", "extends: work\nwatch: true\n");
	c = config_dir_accepted(f);
	assert_non_null(config_template(c, "demo", "own"));
	assert_null(config_template(c, "other", "own"));
	assert_null(config_template(c, NULL, "own"));
	assert_true(config_template(c, "demo", "work")->watch);
	assert_false(config_template(c, "other", "work")->watch);
	config_free(c);
}

static void narrows(void **state)
{
	static const char *const good[] = {"", "limits: {memory: 256M}", "limits: {swap: 0}",
	    "limits: {cpu_weight: 1}", "limits: {io: {read: 64K, write: 64K}}",
	    "limits: {wall: 1h}", "env: {MORE: x, SET: host}", "entry: [/bin/ls]",
	    "programs: [/bin/ls]", "mounts: []", "mounts: [{source: /srv/b, target: /b}]",
	    "seccomp: strict", "landlock: [{path: /etc, access: none}, {path: /opt, access: exec}]",
	    "landlock: [{path: /etc, access: read}, {path: /etc/ssl, access: none}, {path: /opt, "
	    "access: read}, {path: /srv, access: read}]",
	    "watch: true", "forward: false", "credentials: false", "root: false", "tier: microvm",
	    "warm: 1"};
	static const struct {
		const char *text, *key, *hosts;
	} bad[] = {
	    {"limits: {memory: 257M}", "limits.memory", "256M"},
	    {"limits: {swap: 65M}", "limits.swap", "64M"},
	    {"limits: {cpu_weight: 51}", "limits.cpu_weight", "50"},
	    {"limits: {io: {read: 2M}}", "limits.io.read", "1M"},
	    {"limits: {wall: 2h}", "limits.wall", "3600s"},
	    {"limits: {pids: 129}", "limits.pids", "128"},
	    {"base: host", "base", "only the host"},
	    {"base: /srv/x", "base", "only the host"},
	    {"root: /srv/x", "base", "only the host"},
	    {"root: true", "root", "false"},
	    {"env: {SET: mine}", "env", "SET"},
	    {"shell: /bin/bash", "shell", "/bin/sh"},
	    {"programs: [/bin/ls, /bin/sh]", "programs", "/bin/cat"},
	    {"mounts: [{source: /srv/c, target: /a}]", "mounts", "/srv/c"},
	    {"mounts: [{source: /srv/a, target: /b}]", "mounts", "/srv/a"},
	    {"landlock: []", "landlock", "/etc"},
	    {"landlock: [{path: /etc, access: exec}, {path: /opt, access: exec}]", "landlock",
	        "/etc"},
	    {"landlock: [{path: /etc, access: read}, {path: /opt, access: exec}, {path: /etc/x, "
	     "access: write}]",
	        "landlock", "/etc/x"},
	    {"landlock: [{path: /etc, access: read}, {path: /opt, access: exec}, {path: /usr, "
	     "access: write}]",
	        "landlock", "/usr"},
	    {"tier: oci\nruntime: /usr/bin/crun", "runtime", "only the host"},
	    {"tier: microvm\nemulate: true", "emulate", "only the host"},
	    {"warm: 3", "warm", "2"},
	};
	const struct config_dir *f = *state;
	char text[400];

	config_dir_tenant(f, "demo", f->ca[0], "");
	config_dir_put(f, "templates/work.yaml", host);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		(void)snprintf(text, sizeof text, "extends: work\n%s\n", good[i]);
		own(f, text);
		config_free(config_dir_accepted(f));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "extends: work\n%s\n", bad[i].text);
		own(f, text);
		config_dir_refused(f, bad[i].key, bad[i].hosts);
		config_dir_refused(f, "tenants/demo/templates/own.yaml:", "host");
	}
}

static void what_the_host_has_on_stays_on(void **state)
{
	static const char *const bad[] = {"watch: false", "forward: true", "credentials: true",
	    "seccomp: default", "tier: namespaces"};
	const struct config_dir *f = *state;
	char text[200];

	config_dir_tenant(f, "demo", f->ca[0], "");
	config_dir_put(f, "templates/work.yaml",
	    "watch: true\nforward: false\ncredentials: false\nseccomp: strict\ntier: microvm\n");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "extends: work\n%s\n", bad[i]);
		own(f, text);
		config_dir_refused(f, "own.yaml:2", "the host's template work");
	}
}

int main(void)
{
#define RULE(f) cmocka_unit_test_setup_teardown(f, config_dir_setup, teardown)
	const struct CMUnitTest tests[] = {
	    RULE(a_child_inherits_what_it_does_not_say),
	    RULE(refuses_parents_that_are_none_and_circles),
	    RULE(a_tenants_template_is_its_own_alone),
	    RULE(narrows),
	    RULE(what_the_host_has_on_stays_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
