/* What a certificate asks for is kept, or the certificate is refused: nothing is dropped or cut. */
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
	(void)snprintf(text, sizeof text, "ca: [\"%s\"]\nroles: {agent: {allow: [exec]}}\n", ca);
	cleanup_close int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fd_write_file(dir, "tenants/demo.yaml", text, strlen(text), 0644, &e), 0);
	return config_load(dir, &config, &e);
}

static int teardown(void **state)
{
	config_free(config);
	return keygen_leave(state);
}

/* Authorizes a certificate with this key id, force-command and scope (each may be NULL). */
static int login(
    const char *key_id, const char *command, const char *scope, struct authorize_answer *a)
{
	struct key_private *ca = keygen_private("ca");
	struct key *subject = keygen_public("agent.pub");
	struct authorize_query q = {
	    .config = config, .user = "agent", .user_len = 5, .now_s = 1000};
	struct buf critical, extensions;
	struct cert_build b;
	size_t len;
	int r;

	buf_init(&critical, CERT_BLOB_MAX);
	buf_init(&extensions, CERT_BLOB_MAX);
	if (command)
		cert_build_value(&critical, "force-command", command);
	if (scope)
		cert_build_value(&extensions, SCOPE_NAME, scope);
	cert_build_init(&b, subject);
	b.critical = critical.data;
	b.critical_len = critical.len;
	b.extensions = extensions.data;
	b.extensions_len = extensions.len;
	if (key_id) {
		b.key_id = key_id;
		b.key_id_len = strlen(key_id);
	}
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

static void refused(const char *key_id, const char *command, const char *scope, const char *why)
{
	struct authorize_answer a;

	assert_int_equal(login(key_id, command, scope, &a), -EACCES);
	assert_true(a.tell);
	if (!strstr(a.reason, why))
		fail_msg("\"%s\" does not say \"%s\"", a.reason, why);
}

/* A grant that cannot be written as JSON would hold without being on record. */
static void a_command_that_cannot_be_recorded_is_refused(void **state)
{
	struct authorize_answer a;

	(void)state;
	refused(NULL, "echo \xff", NULL, "not UTF-8");
	assert_int_equal(login(NULL, "echo j\xc3\xb6rg", NULL, &a), 0);
	json_auto_t *o = grant_json(&a.grant);
	assert_string_equal(
	    json_string_value(json_object_get(o, "force_command")), "echo j\xc3\xb6rg");
	grant_done(&a.grant);
}

static void a_limit_that_is_not_kept_is_refused(void **state)
{
	(void)state;
	refused(NULL, NULL, "{\"v\":1,\"idle_s\":60}", "idle_s");
}

/* The person goes into records and tokens: a cut name could be somebody else's. */
static void a_name_that_does_not_fit_is_refused(void **state)
{
	char id[GRANT_PERSON_MAX + 1], scope[600];
	struct authorize_answer a;

	(void)state;
	memset(id, 'a', GRANT_PERSON_MAX);
	id[GRANT_PERSON_MAX] = '\0';
	assert_int_equal(login(id, NULL, NULL, &a), 0);
	assert_string_equal(a.grant.person, id);
	grant_done(&a.grant);
	id[0] = '\x01'; /* four bytes, once escaped */
	refused(id, NULL, NULL, "the person's name is longer");
	id[0] = 'a';
	(void)snprintf(scope, sizeof scope, "{\"v\":1,\"person\":\"%s\"}", id);
	assert_int_equal(login(NULL, NULL, scope, &a), 0);
	grant_done(&a.grant);
	id[0] = '\xc3';
	id[1] = '\xb6';
	(void)snprintf(scope, sizeof scope, "{\"v\":1,\"person\":\"%s\"}", id);
	refused(NULL, NULL, scope, "the person's name is longer");
	(void)snprintf(scope, sizeof scope, "{\"v\":1,\"task\":\"%s\"}", id);
	refused(NULL, NULL, scope, "the task's name is longer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_command_that_cannot_be_recorded_is_refused),
	    cmocka_unit_test(a_limit_that_is_not_kept_is_refused),
	    cmocka_unit_test(a_name_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
