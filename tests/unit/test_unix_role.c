/* A role's Unix account: what a tenant's file may say, and whom the sshd route lets in by it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/authorize.h"
#include "broker/core/config.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

#define ROLE "    template: default\n    allow: [exec]\n"

static void put(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int set_up(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	keygen_make("demo", KEY_ED25519);
	keygen_make("other", KEY_ED25519);
	keygen_make("agent", KEY_ED25519);
	(void)mkdir("tenants", 0755);
	(void)mkdir("templates", 0755);
	put("postern.yaml", "listen: \"127.0.0.1:2222\"\n");
	put("templates/default.yaml", "root: host\n");
	return 0;
}

/* Writes a tenant with these lines below `roles:` */
static void tenant(const char *name, const char *roles)
{
	char path[64], text[4096];
	size_t len;
	cleanup_free char *ca = NULL;

	(void)snprintf(path, sizeof path, "%s.pub", name);
	ca = keygen_read(path, &len);
	ca[strcspn(ca, "\n")] = '\0';
	(void)snprintf(text, sizeof text, "ca: [\"%s\"]\nroles:\n%s", ca, roles);
	(void)snprintf(path, sizeof path, "tenants/%s.yaml", name);
	put(path, text);
}

static struct config *load(struct err *e)
{
	struct config *c = NULL;
	cleanup_close int fd = open(".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);

	if (config_load(fd, &c, e) < 0)
		return NULL;
	return c;
}

static void rejected(const char *why)
{
	struct err e = ERR_INIT;

	assert_null(load(&e));
	if (!strstr(e.text, why))
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

/* Authorizes a certificate of that CA for the principal "agent" (and "builder"). */
static int login(const struct config *c, const char *ca, const char *user, bool unix_user,
    struct authorize_answer *a)
{
	cleanup_free uint8_t *blob = NULL;
	size_t len;
	struct authorize_query q = {.config = c,
	    .user = user,
	    .user_len = strlen(user),
	    .unix_user = unix_user,
	    .peer = "192.0.2.7",
	    .now_s = time(NULL)};
	int r;

	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-s", ca, "-I", "alice", "-n",
	                     "agent,builder", "-V", "-1m:+5m", "agent.pub", NULL),
	    0);
	blob = keygen_blob("agent-cert.pub", &len);
	q.key = blob;
	q.key_len = len;
	r = authorize(&q, a);
	if (r == 0)
		grant_done(&a->grant);
	return r;
}

static void the_account_that_a_role_names_is_that_role(void **state)
{
	struct authorize_answer a;
	struct err e = ERR_INIT;

	(void)state;
	tenant("demo", "  agent:\n" ROLE "    unix: demo-agent\n  builder:\n" ROLE);
	tenant("other", "  agent:\n" ROLE "    unix: other-agent\n");
	cleanup_config struct config *c = load(&e);
	if (!c)
		fail_msg("%s", e.text);
	assert_int_equal(login(c, "demo", "demo-agent", true, &a), 0);
	assert_string_equal(a.tenant->name, "demo");
	/* the role's own name is no account once it names another */
	assert_int_equal(login(c, "demo", "agent", true, &a), -EACCES);
	/* but one that names none stands for itself */
	assert_int_equal(login(c, "demo", "builder", true, &a), 0);
	/* by the gateway nothing has changed */
	assert_int_equal(login(c, "demo", "agent", false, &a), 0);
	assert_int_equal(login(c, "demo", "demo-agent", false, &a), -EACCES);
}

static void another_tenants_account_is_refused(void **state)
{
	struct authorize_answer a;

	(void)state;
	tenant("demo", "  agent:\n" ROLE "    unix: demo-agent\n");
	tenant("other", "  agent:\n" ROLE "    unix: other-agent\n");
	cleanup_config struct config *c = load(NULL);
	assert_non_null(c);
	assert_int_equal(login(c, "other", "demo-agent", true, &a), -EACCES);
	assert_non_null(strstr(a.reason, "no role for the Unix account"));
	assert_int_equal(login(c, "demo", "x\x1b[2J", true, &a), -EACCES);
	assert_null(strchr(a.reason, 0x1b));
}

static void the_certificate_must_name_the_role(void **state)
{
	struct authorize_answer a;

	(void)state;
	tenant("demo", "  deployer:\n" ROLE "    unix: demo-deploy\n");
	tenant("other", "  agent:\n" ROLE);
	cleanup_config struct config *c = load(NULL);
	assert_non_null(c);
	assert_int_equal(login(c, "demo", "demo-deploy", true, &a), -EACCES);
	assert_non_null(strstr(a.reason, "deployer"));
}

static void an_account_stands_for_one_role(void **state)
{
	(void)state;
	tenant("demo", "  agent:\n" ROLE "    unix: same\n  builder:\n" ROLE "    unix: same\n");
	tenant("other", "  agent:\n" ROLE);
	rejected("already stands for role agent");
	tenant("demo", "  agent:\n" ROLE "    unix: same\n");
	tenant("other", "  agent:\n" ROLE "    unix: same\n");
	rejected("the Unix account same");
	/* nor by the name of another tenant's role, in whichever order they are read */
	tenant("other", "  same:\n" ROLE);
	rejected("the Unix account same");
	tenant("demo", "  same:\n" ROLE);
	tenant("other", "  agent:\n" ROLE "    unix: same\n");
	rejected("the Unix account same");
}

/* What was loaded has another digest when another key may sign. */
static void a_ca_file_is_in_the_digest(void **state)
{
	uint8_t before[DIGEST_LEN];
	cleanup_free char *demo = NULL, *other = NULL;
	struct err e = ERR_INIT;
	struct config *c;
	size_t len;

	(void)state;
	demo = keygen_read("demo.pub", &len);
	other = keygen_read("other.pub", &len);
	put("tenants/demo.yaml", "ca_files: [ca.pub]\nroles: {agent: {allow: [exec]}}\n");
	(void)unlink("tenants/other.yaml");
	put("ca.pub", demo);
	if (!(c = load(&e)))
		fail_msg("%s", e.text);
	memcpy(before, c->digest, sizeof before);
	config_free(c);
	put("ca.pub", other);
	assert_non_null(c = load(&e));
	assert_memory_not_equal(before, c->digest, sizeof before);
	config_free(c);
}

static void odd_accounts_are_rejected(void **state)
{
	static const char *const bad[] = {"root", "\"\"", "Agent", "a+b", "../x", "1st", "a b",
	    "abcdefghijklmnopqrstuvwxyzabcdefg", "[a]"};

	(void)state;
	tenant("other", "  agent:\n" ROLE);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[256];

		(void)snprintf(text, sizeof text, "  agent:\n" ROLE "    unix: %s\n", bad[i]);
		tenant("demo", text);
		rejected("unix");
	}
	tenant("demo", "  agent:\n" ROLE "    unix: _abcdefghijklmnopqrstuvwxyz-0123\n");
	cleanup_config struct config *c = load(NULL);
	assert_non_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_account_that_a_role_names_is_that_role),
	    cmocka_unit_test(another_tenants_account_is_refused),
	    cmocka_unit_test(the_certificate_must_name_the_role),
	    cmocka_unit_test(an_account_stands_for_one_role),
	    cmocka_unit_test(odd_accounts_are_rejected),
	    cmocka_unit_test(a_ca_file_is_in_the_digest),
	};

	return cmocka_run_group_tests(tests, set_up, keygen_leave);
}
