#include "gateway/ssh/config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/ssh/args.h"
#include "lib/err.h"

static char dir[] = "/tmp/postern-gwconfig-XXXXXX";
static int dirfd_ = -1;

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlinkat(dirfd_, GATEWAY_CONFIG_FILE, 0);
	(void)close(dirfd_);
	return rmdir(dir);
}

static int load(const char *text, struct gateway_config *c, struct err *e)
{
	int fd =
	    openat(dirfd_, GATEWAY_CONFIG_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	return gateway_config_load(dirfd_, c, e);
}

static void no_file_means_the_defaults(void **state)
{
	struct gateway_config c, d;
	struct err e = ERR_INIT;

	(void)state;
	memset(&c, 0, sizeof c);
	memset(&d, 0, sizeof d);
	gateway_config_default(&d);
	assert_int_equal(gateway_config_load(dirfd_, &c, &e), 0);
	assert_memory_equal(&c, &d, sizeof c);
	assert_int_equal(load("instance: main\n", &c, &e), 0);
	assert_memory_equal(&c, &d, sizeof c);
}

static void every_key_is_understood(void **state)
{
	struct gateway_config c;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(load("ids:\n  base: 1\nunknown: {a: b}\ngateway:\n"
	                      "  listen: \"0.0.0.0:22\"\n  login_grace: 1m\n  max_tries: 3\n"
	                      "  spare_workers: 7\n  max_connections: 9\n  max_per_source: 8\n"
	                      "  keepalive_interval: 2m\n  keepalive_count: 5\n"
	                      "  broker_timeout: 4s\n  rekey_bytes: 64M\n  algorithms: compat\n",
	                     &c, &e),
	    0);
	assert_int_equal(c.login_grace_s, 60);
	assert_int_equal(c.max_tries, 3);
	assert_int_equal(c.spare_workers, 7);
	assert_int_equal(c.max_connections, 9);
	assert_int_equal(c.max_per_source, 8);
	assert_int_equal(c.keepalive_interval_s, 120);
	assert_int_equal(c.keepalive_count, 5);
	assert_int_equal(c.broker_timeout_s, 4);
	assert_int_equal(c.rekey_bytes, 64u << 20);
	assert_int_equal(c.algorithms, GATEWAY_COMPAT);
}

static void rejects(const char *text, const char *where)
{
	struct gateway_config c = {.max_tries = 77};
	struct err e = ERR_INIT;

	assert_true(load(text, &c, &e) < 0);
	if (!strstr(err_text(&e), where))
		fail_msg("\"%s\" does not name %s", err_text(&e), where);
	assert_int_equal(c.max_tries, 77); /* untouched */
}

static void rejects_what_it_does_not_know(void **state)
{
	(void)state;
	rejects("gateway:\n  login_grace: 10s\n  logingrace: 5s\n", "postern.yaml:3");
	rejects("gateway: 5\n", "postern.yaml:1");
	rejects("gateway:\n  algorithms: weak\n", "postern.yaml:2");
}

static void rejects_values_out_of_range(void **state)
{
	(void)state;
	rejects("gateway:\n  max_tries: 0\n", "postern.yaml:2");
	/* more than the core has room for: it would drop the listener */
	rejects("gateway:\n  max_connections: 3073\n", "postern.yaml:2");
	rejects("gateway:\n  max_tries: 65\n", "postern.yaml:2");
	rejects("gateway:\n  max_connections: 65537\n", "postern.yaml:2");
	rejects("gateway:\n  max_per_source: -1\n", "postern.yaml:2");
	rejects("gateway:\n  login_grace: 2h\n", "postern.yaml:2");
	rejects("gateway:\n  login_grace: soon\n", "postern.yaml:2");
	rejects("gateway:\n  rekey_bytes: 1K\n", "postern.yaml:2");
	rejects("gateway:\n  broker_timeout: 61s\n", "postern.yaml:2");
}

static void arguments_are_strict(void **state)
{
	char *good[] = {(char *)(uintptr_t) "uid=5", (char *)(uintptr_t) "gid=6",
	    (char *)(uintptr_t) "config=4", (char *)(uintptr_t) "slot=9"};
	char *bad[][2] = {
	    {(char *)(uintptr_t) "uid=5", (char *)(uintptr_t) "uid=5"},
	    {(char *)(uintptr_t) "uid=", (char *)(uintptr_t) "gid=1"},
	    {(char *)(uintptr_t) "uid=-1", (char *)(uintptr_t) "gid=1"},
	    {(char *)(uintptr_t) "uid=4294967295", (char *)(uintptr_t) "gid=1"},
	    {(char *)(uintptr_t) "user=1", (char *)(uintptr_t) "gid=1"},
	    {(char *)(uintptr_t) "slot=65536", (char *)(uintptr_t) "gid=1"},
	    {(char *)(uintptr_t) "uid", (char *)(uintptr_t) "gid=1"},
	};
	struct gateway_args a;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(gateway_args_parse(&a, 4, good, &e), 0);
	assert_int_equal(a.uid, 5);
	assert_int_equal(a.gid, 6);
	assert_int_equal(a.config, 4);
	assert_int_equal(a.hostkeys, -1);
	assert_int_equal(a.slot, 9);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(gateway_args_parse(&a, 2, bad[i], &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_file_means_the_defaults),
	    cmocka_unit_test(every_key_is_understood),
	    cmocka_unit_test(rejects_what_it_does_not_know),
	    cmocka_unit_test(rejects_values_out_of_range),
	    cmocka_unit_test(arguments_are_strict),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
