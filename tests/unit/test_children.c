/* The parts of the supervisor that need no daemon: pauses, statuses, arguments, addresses, id
 * ranges, launching. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/supervisor/idrange.h"
#include "broker/supervisor/launch.h"
#include "broker/supervisor/supervisor.h"
#include "lib/err.h"
#include "lib/util.h"

static void pauses_grow_up_to_a_second(void **state)
{
	(void)state;
	assert_int_equal(child_pause_ms(0), 0);
	assert_int_equal(child_pause_ms(1), 50);
	assert_int_equal(child_pause_ms(2), 100);
	assert_int_equal(child_pause_ms(5), 800);
	assert_int_equal(child_pause_ms(6), 1000);
	assert_int_equal(child_pause_ms(1000000), 1000);
}

static void a_status_is_told_as_text(void **state)
{
	char text[64];

	(void)state;
	assert_string_equal(child_status_text(text, sizeof text, 3 << 8), "status 3");
	assert_string_equal(child_status_text(text, sizeof text, 9), "signal 9 (Killed)");
}

static int args(struct settings *s, const char *a, const char *b, struct err *e)
{
	char name[] = "postern-supervisor", one[512] = "", two[512] = "";
	char *argv[] = {name, one, two, NULL};
	int argc = 1;

	if (a) {
		(void)snprintf(one, sizeof one, "%s", a);
		argc++;
	}
	if (b) {
		(void)snprintf(two, sizeof two, "%s", b);
		argc++;
	}
	return settings_args(s, argc, argv, e);
}

static void directories_follow_from_the_state_directory(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(args(&s, NULL, NULL, NULL), 0);
	assert_string_equal(s.state, "/var/lib/postern");
	assert_string_equal(s.config, "/etc/postern");
	assert_string_equal(s.run, "/run/postern");
	assert_string_equal(s.instance, "main");
	assert_int_equal(args(&s, "state=/x", NULL, NULL), 0);
	assert_string_equal(s.config, "/x/etc");
	assert_string_equal(s.run, "/x/run");
	assert_int_equal(args(&s, "state=/x", "config=/y", NULL), 0);
	assert_string_equal(s.config, "/y");
}

static void refuses_arguments_that_it_does_not_understand(void **state)
{
	static const char *const bad[] = {"verbose", "state=", "instance=A", "instance=../x",
	    "lock=2", "lock=x", "statex=/y", "instance=root"};
	struct settings s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(args(&s, bad[i], NULL, &e), -EINVAL);
		assert_string_not_equal(e.text, "");
	}
}

static void listens_at_numeric_addresses_only(void **state)
{
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "::1:22",
	    "host.example:22", "127.0.0.1:x", "127.0.0.1:70000"};
	char shown[SOCKETS_ADDRESS_MAX];
	int fd = -1;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(sockets_tcp(bad[i], &fd, shown, &e), -EINVAL);
		assert_int_equal(fd, -1);
	}
	assert_int_equal(sockets_tcp("127.0.0.1:0", &fd, shown, NULL), 0);
	assert_memory_equal(shown, "127.0.0.1:", 10);
	assert_string_not_equal(shown, "127.0.0.1:0");
	assert_int_equal(close(fd), 0);
	assert_int_equal(sockets_tcp("localhost:0", &fd, shown, NULL), 0);
	assert_int_equal(close(fd), 0);
}

/* A root of our own, with what is in its etc and proc. */
static char root[64];

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static int make_root(void **state)
{
	static const char *const dirs[] = {"etc", "proc", "proc/12"};
	char path[128];

	(void)state;
	(void)snprintf(root, sizeof root, "/tmp/postern-ids-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		(void)snprintf(path, sizeof path, "%s/%s", root, dirs[i]);
		if (mkdir(path, 0755) < 0)
			return -1;
	}
	put("etc/passwd", "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n");
	put("etc/group", "root:x:0:\n");
	put("etc/subuid", "agent:100000:65536\n");
	put("proc/12/status",
	    "Name:\tx\nState:\tS\nUid:\t1000\t1000\t1000\t1000\nGid:\t0\t0\t0\t0\n");
	return 0;
}

static int drop_root(void **state)
{
	static const char *const names[] = {"proc/12/status", "proc/12", "proc", "etc/passwd",
	    "etc/group", "etc/subuid", "etc/subgid", "etc", ""};
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof path, "%s/%s", root, names[i]);
		(void)remove(path);
	}
	return 0;
}

static int check(int64_t base, int64_t count, int *ret_process, struct err *e)
{
	return idrange_check(root, base, count, ret_process, e);
}

static void a_range_that_nobody_uses_is_good(void **state)
{
	int process = -1;

	(void)state;
	assert_int_equal(check(1879048192, 131072, &process, NULL), 0);
	assert_int_equal(process, 0);
	/* to the very edges of the others */
	assert_int_equal(check(1001, 100000 - 1001, &process, NULL), 0);
	assert_int_equal(check(165536, 65536, &process, NULL), 0);
}

static void a_range_with_an_account_is_refused(void **state)
{
	struct err e = ERR_INIT;
	int process;

	(void)state;
	assert_int_equal(check(1000, 1, &process, &e), -EADDRINUSE);
	assert_int_equal(process, 0);
	assert_non_null(strstr(e.text, "agent"));
	assert_non_null(strstr(e.text, "/etc/passwd"));
}

static void a_range_over_a_subordinate_range_is_refused(void **state)
{
	struct err e = ERR_INIT;
	int process;

	(void)state;
	assert_int_equal(check(165535, 65536, &process, &e), -EADDRINUSE); /* its last id */
	assert_non_null(strstr(e.text, "subuid"));
	assert_int_equal(check(65536, 34465, &process, NULL), -EADDRINUSE); /* its first */
	put("etc/subgid", "agent:300000:10\n");
	assert_int_equal(check(300009, 1, &process, NULL), -EADDRINUSE);
}

static void a_range_with_a_process_is_refused_unless_it_has_ended(void **state)
{
	int process;

	(void)state;
	put("proc/12/status", "Name:\tx\nState:\tS\nUid:\t0\t0\t5000\t0\nGid:\t0\t0\t0\t0\n");
	assert_int_equal(check(5000, 1, &process, NULL), -EADDRINUSE);
	assert_int_equal(process, 1);
	assert_int_equal(idrange_wait(root, 5000, 1, 100, NULL), -EADDRINUSE);
	put("proc/12/status",
	    "Name:\tx\nState:\tZ\nUid:\t5000\t5000\t5000\t5000\nGid:\t0\t0\t0\t0\n");
	assert_int_equal(check(5000, 1, &process, NULL), 0);
}

static void a_launched_program_gets_what_it_was_given_and_nothing_else(void **state)
{
	cleanup_close int bin = open("/usr/bin", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int out[2], status;
	char text[256] = "";
	struct launch l;
	ssize_t n;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	launch_init(&l, bin, "env");
	launch_arg(&l, "sh");
	launch_arg(&l, "-c");
	launch_arg(&l, "echo $# $SECRET; ls /proc/self/fd >&3; echo $1 >&3");
	launch_arg(&l, "x");
	launch_fd(&l, NULL, out[1]);
	launch_fd(&l, "dir", bin);
	assert_int_equal(setenv("SECRET", "seen", 1), 0);
	pid = launch_run(&l, NULL);
	assert_true(pid > 0);
	(void)close(out[1]);
	for (size_t at = 0; (n = read(out[0], text + at, sizeof text - 1 - at)) > 0;)
		at += (size_t)n;
	(void)close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(text, "0\n1\n2\n3\n4\n5\ndir=4\n"); /* 5: of ls itself */
}

static void a_launched_program_has_the_oom_score_that_it_was_given(void **state)
{
	cleanup_close int bin = open("/usr/bin", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char text[16] = "";
	struct launch l;
	int out[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	launch_init(&l, bin, "sh");
	l.oom = LAUNCH_OOM_SANDBOX;
	launch_arg(&l, "-c");
	launch_arg(&l, "cat /proc/self/oom_score_adj >&3");
	launch_fd(&l, NULL, out[1]);
	assert_true((pid = launch_run(&l, NULL)) > 0);
	(void)close(out[1]);
	assert_int_equal(read(out[0], text, sizeof text - 1), 4);
	assert_string_equal(text, "900\n");
	(void)close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
	cleanup_close int bin = open("/usr/bin", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err e = ERR_INIT;
	struct launch l;

	(void)state;
	launch_init(&l, bin, "no-such-program");
	assert_int_equal(launch_run(&l, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no-such-program"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pauses_grow_up_to_a_second),
	    cmocka_unit_test(a_status_is_told_as_text),
	    cmocka_unit_test(directories_follow_from_the_state_directory),
	    cmocka_unit_test(refuses_arguments_that_it_does_not_understand),
	    cmocka_unit_test(listens_at_numeric_addresses_only),
	    cmocka_unit_test_setup_teardown(a_range_that_nobody_uses_is_good, make_root, drop_root),
	    cmocka_unit_test_setup_teardown(
	        a_range_with_an_account_is_refused, make_root, drop_root),
	    cmocka_unit_test_setup_teardown(
	        a_range_over_a_subordinate_range_is_refused, make_root, drop_root),
	    cmocka_unit_test_setup_teardown(
	        a_range_with_a_process_is_refused_unless_it_has_ended, make_root, drop_root),
	    cmocka_unit_test(a_launched_program_gets_what_it_was_given_and_nothing_else),
	    cmocka_unit_test(a_launched_program_has_the_oom_score_that_it_was_given),
	    cmocka_unit_test(a_program_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
