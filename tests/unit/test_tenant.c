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
#include "tests/support/config_dir.h"

/*
 * A tenant's file: its CA keys and roles, strictly.
 */

static void reads_everything(void **state)
{
	const struct config_dir *f = *state;
	char text[2048];
	const struct role *role;
	struct config *c;

	(void)snprintf(text, sizeof text,
	    "ca:\n  - \"%s\"\nca_files: [more.pub]\nperson: key-id\nlimits: {sessions: 5}\n"
	    "issuer: https://id.example.com\nroles:\n  agent:\n    template: default\n"
	    "    allow: [exec, shell, pty, sftp, credential, forward]\n"
	    "    credentials: [\"jwt:https://api.example.com\"]\n    env: [LANG, \"LC_*\"]\n"
	    "    channels: 10\n    lifetime: 2h\n  small:\n    allow: []\n",
	    f->ca[0]);
	config_dir_put(f, "tenants/demo.yaml", text);
	(void)snprintf(text, sizeof text, "# ours\n\n%s\n", f->ca[1]);
	config_dir_put(f, "more.pub", text);
	c = config_dir_accepted(f);
	assert_int_equal(c->tenant[0].ncas, 2);
	assert_int_equal(c->tenant[0].sessions, 5);
	assert_string_equal(c->tenant[0].issuer, "https://id.example.com");
	role = tenant_role(&c->tenant[0], "agent");
	assert_non_null(role);
	assert_int_equal(role->actions, 0x3f);
	assert_int_equal(role->channels, 10);
	assert_int_equal(role->lifetime_s, 7200);
	assert_int_equal(json_array_size(role->env), 2);
	assert_int_equal(tenant_role(&c->tenant[0], "small")->actions, 0);
	assert_int_equal(tenant_role(&c->tenant[0], "small")->lifetime_s, ROLE_LIFETIME_S);
	assert_null(tenant_role(&c->tenant[0], "agen"));
	config_free(c);
}

static void has_an_issuer_of_its_own(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_tenant(f, "demo", f->ca[0], "");
	c = config_dir_accepted(f);
	assert_string_equal(c->tenant[0].issuer, "https://postern.invalid/demo");
	assert_int_equal(c->tenant[0].sessions, HOST_PER_TENANT);
	config_free(c);
}

static void refuses_bad_ca_keys(void **state)
{
	const struct config_dir *f = *state;
	char text[4096];

	config_dir_put(f, "tenants/demo.yaml", "roles:\n  agent: {allow: [exec]}\n");
	config_dir_refused(f, "tenants/demo.yaml", "CA key");
	config_dir_put(f, "tenants/demo.yaml", "");
	config_dir_refused(f, "tenants/demo.yaml", "empty");
	config_dir_tenant(f, "demo", "ssh-ed25519 AAAA x", "");
	config_dir_refused(f, "tenants/demo.yaml:1", "CA key");
	config_dir_tenant(f, "demo", f->cert, "");
	config_dir_refused(f, "tenants/demo.yaml:1", "certificate cannot be a CA");
	(void)snprintf(text, sizeof text,
	    "ca:\n  - \"%s\"\n  - \"%s\"\nroles:\n  agent: {allow: [exec]}\n", f->ca[0], f->ca[0]);
	config_dir_put(f, "tenants/demo.yaml", text);
	config_dir_refused(f, "tenants/demo.yaml:3", "twice");
	config_dir_put(f, "tenants/demo.yaml", "ca: [7]\nroles:\n  agent: {allow: [exec]}\n");
	config_dir_refused(f, "tenants/demo.yaml:1", "strings");
}

static void reads_ca_files_only_where_the_core_can(void **state)
{
	const struct config_dir *f = *state;

	config_dir_tenant(f, "demo", f->ca[0], "ca_files:\n  - gone.pub\n");
	config_dir_refused(f, "tenants/demo.yaml:5", "gone.pub");
	config_dir_tenant(f, "demo", f->ca[0], "ca_files:\n  - ../x.pub\n");
	config_dir_refused(f, "tenants/demo.yaml:5", "../x.pub");
	config_dir_tenant(f, "demo", f->ca[0], "ca_files:\n  - /root/x.pub\n");
	config_dir_refused(f, "tenants/demo.yaml:5", "/etc");
	config_dir_put(f, "empty.pub", "# nothing\n");
	config_dir_tenant(f, "demo", f->ca[0], "ca_files: [empty.pub]\n");
	config_dir_refused(f, "tenants/demo.yaml:4", "no key");
	config_dir_put(f, "empty.pub", "rubbish\n");
	config_dir_refused(f, "tenants/demo.yaml:4", "line 1");
}

static void refuses_bad_roles(void **state)
{
	static const struct {
		const char *role, *line, *word;
	} bad[] = {
	    {"roles: {}\n", ":2", "needs a role"},
	    {"roles:\n  Agent: {allow: [exec]}\n", ":3", "Agent"},
	    {"roles:\n  root: {allow: [exec]}\n", ":3", "root"},
	    {"roles:\n  agent: {}\n", "", "allow is missing"},
	    {"roles:\n  agent: {alow: [exec]}\n", ":3", "allow"},
	    {"roles:\n  agent: {allow: [fly]}\n", ":3", "forward"},
	    {"roles:\n  agent: {allow: [exec], channels: 0}\n", ":3", "channels"},
	    {"roles:\n  agent: {allow: [exec], channels: 1025}\n", ":3", "channels"},
	    {"roles:\n  agent: {allow: [exec], lifetime: 31d}\n", ":3", "30d"},
	    {"roles:\n  agent: {allow: [exec], lifetime: soon}\n", ":3", "lifetime"},
	    {"roles:\n  agent: {allow: [exec], env: [\"*\"]}\n", ":3", "env"},
	    {"roles:\n  agent: {allow: [exec], env: [\"A B\"]}\n", ":3", "env"},
	    {"roles:\n  agent: {allow: [exec], credentials: [\"jwt:\"]}\n", ":3", "jwt:AUDIENCE"},
	    {"roles:\n  agent: {allow: [exec], credentials: [\"aws:x\"]}\n", ":3", "jwt:AUDIENCE"},
	    {"roles:\n  agent: {allow: [exec], template: ../x}\n", ":3", "template"},
	    {"roles:\n  agent: {allow: [exec]}\nperson: nobody\n", ":4", "person"},
	    {"roles:\n  agent: {allow: [exec]}\nissuer: http://x\n", ":4", "https"},
	    {"roles:\n  agent: {allow: [exec]}\nlimits: {sessions: 0}\n", ":4", "sessions"},
	    {"roles:\n  agent: {allow: [exec]}\nroles:\n  a: {allow: [exec]}\n", ":4", "roles"},
	};
	const struct config_dir *f = *state;
	char text[1024], where[64];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		(void)snprintf(text, sizeof text, "ca: [\"%s\"]\n%s", f->ca[0], bad[i].role);
		config_dir_put(f, "tenants/demo.yaml", text);
		(void)snprintf(where, sizeof where, "tenants/demo.yaml%s", bad[i].line);
		config_dir_refused(f, where, bad[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        reads_everything, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        has_an_issuer_of_its_own, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_bad_ca_keys, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        reads_ca_files_only_where_the_core_can, config_dir_setup, config_dir_teardown),
	    cmocka_unit_test_setup_teardown(
	        refuses_bad_roles, config_dir_setup, config_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
