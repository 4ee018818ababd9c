/* Which workspace a session opens: the role's, or what a scope makes of it, never more. And what a
 * template says no to is in no grant. */
#include "broker/core/authorize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/config.h"
#include "creds/cert.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

static const char shut[] = "forward: false\ncredentials: false\n";
static struct config *config;

static int setup(void **state)
{
	char text[1024];
	struct err e = ERR_INIT;
	size_t len;

	if (keygen_enter(state) < 0 || mkdir("tenants", 0755) < 0)
		return -1;
	keygen_make("ca", KEY_ED25519);
	keygen_make("agent", KEY_ED25519);
	cleanup_free char *ca = keygen_read("ca.pub", &len);
	ca[strcspn(ca, "\n")] = '\0';
	(void)snprintf(text, sizeof text,
	    "ca: [\"%s\"]\nroles:\n  agent: {allow: [exec, forward, credential], template: shut, "
	    "workspace: main, workspaces: [docs]}\n  any: {allow: [exec], workspace_mode: ro, "
	    "workspaces: any}\n  bare: {allow: [exec]}\n",
	    ca);
	cleanup_close int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fd_write_file(dir, "tenants/demo.yaml", text, strlen(text), 0644, &e), 0);
	assert_int_equal(mkdir("templates", 0755), 0);
	assert_int_equal(
	    fd_write_file(dir, "templates/shut.yaml", shut, strlen(shut), 0644, &e), 0);
	return config_load(dir, &config, &e);
}

static int teardown(void **state)
{
	config_free(config);
	return keygen_leave(state);
}

static int login(const char *role, const char *scope, struct authorize_answer *a)
{
	struct key_private *ca = keygen_private("ca");
	struct key *subject = keygen_public("agent.pub");
	struct authorize_query q = {
	    .config = config, .user = role, .user_len = strlen(role), .now_s = 1000};
	struct buf critical, extensions;
	struct cert_build b;
	size_t len;
	int r;

	buf_init(&critical, CERT_BLOB_MAX);
	buf_init(&extensions, CERT_BLOB_MAX);
	cert_build_option(&extensions, "permit-port-forwarding", NULL, 0);
	if (scope)
		cert_build_value(&extensions, SCOPE_NAME, scope);
	cert_build_init(&b, subject);
	b.principals = "\0\0\0\5agent\0\0\0\3any\0\0\0\4bare";
	b.principals_len = 9 + 7 + 8;
	b.critical = critical.data;
	b.critical_len = critical.len;
	b.extensions = extensions.data;
	b.extensions_len = extensions.len;
	cleanup_free uint8_t *blob = cert_build_blob(&b, ca, &len);
	q.key = blob;
	q.key_len = len;
	r = authorize(&q, a);
	buf_done(&critical);
	buf_done(&extensions);
	key_private_free(ca);
	key_free(subject);
	return r;
}

/* mode NULL: the certificate is refused. */
static void opens(const char *role, const char *scope, const char *name, const char *mode)
{
	struct authorize_answer a;
	int r = login(role, scope, &a);

	if (!mode) {
		assert_int_equal(r, -EACCES);
		assert_true(a.tell);
		assert_non_null(strstr(a.reason, name));
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(a.grant.workspace, name);
	assert_string_equal(plan_workspaces[a.grant.workspace_mode], mode);
	grant_done(&a.grant);
}

static void a_scope_may_name_what_the_role_lists(void **state)
{
	(void)state;
	opens("agent", NULL, "main", "rw");
	opens("agent", "{\"v\":1,\"workspace\":\"main\"}", "main", "rw");
	opens("agent", "{\"v\":1,\"workspace\":\"docs\"}", "docs", "rw");
	opens("agent", "{\"v\":1,\"workspace\":\"other\"}", "other", NULL);
	opens("bare", NULL, "", "none");
	opens("bare", "{\"v\":1,\"workspace\":\"main\"}", "main", NULL);
	opens("any", NULL, "", "none");
	opens("any", "{\"v\":1,\"workspace\":\"other\"}", "other", "ro");
}

static void a_scope_may_ask_for_less(void **state)
{
	(void)state;
	opens("agent", "{\"v\":1,\"workspace\":\"none\"}", "", "none");
	opens("agent", "{\"v\":1,\"workspace_mode\":\"ro\"}", "main", "ro");
	opens("agent", "{\"v\":1,\"workspace\":\"docs\",\"workspace_mode\":\"ro\"}", "docs", "ro");
	opens("bare", "{\"v\":1,\"workspace_mode\":\"ro\"}", "", "none");
}

static void a_scope_is_never_more_than_it_can_be(void **state)
{
	static const char *const bad[] = {"\"workspace\":\"\"", "\"workspace\":\"../x\"",
	    "\"workspace\":1", "\"workspace\":\"a\\u0000\"", "\"workspace_mode\":\"rw\"",
	    "\"workspace_mode\":true", "\"workspaces\":[]"};
	struct authorize_answer a;
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "{\"v\":1,%s}", bad[i]);
		assert_int_equal(login("agent", text, &a), -EACCES);
	}
}

static void grants_keep_and_compare_workspaces(void **state)
{
	struct authorize_answer rw, ro, none;
	const char *field = NULL;
	struct grant again;

	(void)state;
	assert_int_equal(login("agent", NULL, &rw), 0);
	assert_int_equal(login("agent", "{\"v\":1,\"workspace_mode\":\"ro\"}", &ro), 0);
	assert_int_equal(login("agent", "{\"v\":1,\"workspace\":\"none\"}", &none), 0);
	assert_true(grant_covers(&rw.grant, &ro.grant, &field));
	assert_true(grant_covers(&ro.grant, &none.grant, &field));
	assert_false(grant_covers(&ro.grant, &rw.grant, &field));
	assert_string_equal(field, "workspace");
	assert_false(grant_covers(&none.grant, &ro.grant, &field));
	json_auto_t *o = grant_json(&ro.grant);
	assert_int_equal(grant_parse(o, &again, NULL), 0);
	assert_string_equal(again.workspace, "main");
	assert_int_equal(again.workspace_mode, PLAN_WORKSPACE_RO);
	grant_done(&again);
	(void)json_object_set_new(o, "workspace_mode", json_string("xx"));
	assert_int_equal(grant_parse(o, &again, NULL), -EBADMSG);
	(void)json_object_del(o, "workspace_mode");
	assert_int_equal(grant_parse(o, &again, NULL), -EBADMSG);
	grant_done(&rw.grant);
	grant_done(&ro.grant);
	grant_done(&none.grant);
}

static void a_template_takes_from_what_a_role_allows(void **state)
{
	struct authorize_answer a;

	(void)state;
	assert_int_equal(login("agent", NULL, &a), 0);
	assert_int_equal(a.grant.actions, GRANT_EXEC);
	grant_done(&a.grant);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_scope_may_name_what_the_role_lists),
	    cmocka_unit_test(a_scope_may_ask_for_less),
	    cmocka_unit_test(a_scope_is_never_more_than_it_can_be),
	    cmocka_unit_test(grants_keep_and_compare_workspaces),
	    cmocka_unit_test(a_template_takes_from_what_a_role_allows),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
