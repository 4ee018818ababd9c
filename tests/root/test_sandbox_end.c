/*
 * A sandbox's end: how it comes, what is told of it, and that nothing is left, of failed starts
 * neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "broker/spawn/cgroup_find.h"
#include "lib/buf.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct ran ran;
static int cgroup_fd[4]; /* our own cgroup in each hierarchy, opened while it could be seen */
static const char *const hierarchies[] = {NULL, "memory", "pids", "cpu"};

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int r = box_start(&rig, x, p, &f, &e);

	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
}

static void end_lets_commands_finish(void **state)
{
	const char *argv[] = {"sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.02; done", NULL};
	uint8_t record[INIT_STATUS_LEN] = {0};
	int status[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct plan p;
	struct box x;
	struct buf b;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {null, null, null, status[1]};
	assert_int_equal(box_send_exec(&x, 1, 0, argv, fds, 4), 0);
	(void)close(status[1]);
	(void)close(null);
	assert_int_equal(box_sh(&x, "sleep 0.2", &ran), 0);
	buf_init(&b, 64);
	init_put_end(&b, 3000);
	assert_int_equal(send(x.request, b.data, b.len, 0), b.len);
	buf_done(&b);
	assert_int_equal(read(status[0], record, sizeof record), sizeof record);
	assert_int_equal(record[0], INIT_EXITED);
	assert_int_equal(record[7], 7);
	struct pollfd gone = {rig.b->ops->pidfd(x.s), POLLIN, 0};
	assert_int_equal(poll(&gone, 1, 2000), 1);
	(void)close(status[0]);
	assert_true(box_end(&x, NULL));
}

static void a_closed_request_socket_ends_the_sandbox(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	assert_int_equal(box_sh(&x, "sleep 100 >/dev/null 2>&1 &", &ran), 0);
	struct pollfd gone = {rig.b->ops->pidfd(x.s), POLLIN, 0};
	assert_int_equal(poll(&gone, 1, 0), 0);
	util_close(&x.request);
	assert_int_equal(poll(&gone, 1, 2000), 1);
	assert_true(box_end(&x, NULL));
}

static void usage_is_told(void **state)
{
	struct backend_usage u;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	assert_int_equal(box_sh(&x, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", &ran), 0);
	assert_true(box_end(&x, &u));
	assert_true(u.cpu_us > 10000);
	assert_true(u.memory_peak > 100000);
	assert_int_equal(u.oom_kills, 0);
}

static void freezing_stops_and_thawing_goes_on(void **state)
{
	const char *argv[] = {"sh", "-c", "while :; do echo .; sleep 0.01; done", NULL};
	int out[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char sink[65536];
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	const int fds[] = {null, out[1], null, null};
	assert_int_equal(box_send_exec(&x, 1, 0, argv, fds, 4), 0);
	(void)close(out[1]);
	(void)close(null);
	struct pollfd ready = {out[0], POLLIN, 0};
	assert_int_equal(poll(&ready, 1, 3000), 1);
	assert_int_equal(rig.b->ops->freeze(x.s, 1, NULL), 0);
	(void)poll(NULL, 0, 100); /* freezing is not instant */
	while (read(out[0], sink, sizeof sink) > 0)
		;
	assert_int_equal(poll(&ready, 1, 200), 0);
	assert_int_equal(rig.b->ops->freeze(x.s, 0, NULL), 0);
	assert_int_equal(poll(&ready, 1, 3000), 1);
	(void)close(out[0]);
	assert_true(box_end(&x, NULL));
}

static size_t count_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t n = 0;

	for (struct dirent *t; d && (t = readdir(d));)
		n += t->d_name[0] != '.' && (t->d_type == DT_DIR || t->d_type == DT_LNK);
	if (d)
		(void)closedir(d);
	return n;
}

static size_t count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		(void)fclose(f);
	return n;
}

static size_t count_cgroups(void)
{
	char path[128];
	size_t n = 0;

	(void)snprintf(path, sizeof path, "postern-%s/demo", rig.instance);
	for (size_t i = 0; i < 4; i++)
		if (cgroup_fd[i] >= 0)
			n += count_dir(cgroup_fd[i], path);
	return n;
}

static long long ids_in_use(void)
{
	json_t *o = rig.b->ops->probe(rig.b);
	long long n = json_integer_value(json_object_get(o, "ids_in_use")) -
	              json_integer_value(json_object_get(o, "spares"));

	json_decref(o);
	return n;
}

static void nothing_is_left_after_fifty(void **state)
{
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 256 << 20;
	p.disk_bytes = 16 << 20;
	p.credentials = true;
	while (rig.b->ops->idle(rig.b) > 0)
		;
	size_t fds = count_dir(AT_FDCWD, "/proc/self/fd"), cgroups = count_cgroups(),
	       mounts = count_lines("/proc/self/mountinfo");
	long long ids = ids_in_use();
	for (int i = 0; i < 50; i++) {
		struct box x;

		start(&x, &p);
		if (i % 5 == 0)
			assert_int_equal(
			    box_sh(&x, "touch /tmp/x; (sleep 50 >/dev/null 2>&1 &)", &ran), 0);
		assert_true(box_end(&x, NULL));
		(void)rig.b->ops->idle(rig.b);
	}
	while (rig.b->ops->idle(rig.b) > 0)
		;
	assert_int_equal(count_dir(AT_FDCWD, "/proc/self/fd"), fds);
	assert_int_equal(count_lines("/proc/self/mountinfo"), mounts);
	assert_int_equal(count_cgroups(), cgroups);
	assert_int_equal(ids_in_use(), ids);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_failed_start_leaves_nothing(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	while (rig.b->ops->idle(rig.b) > 0)
		;
	size_t fds = count_dir(AT_FDCWD, "/proc/self/fd"), cgroups = count_cgroups();
	long long ids = ids_in_use();
	p.open_files = UINT64_C(1) << 40; /* above fs.nr_open: refused by the kernel */
	assert_true(box_start(&rig, &x, &p, &f, &e) < 0);
	assert_string_equal(f.step, "descriptors");
	assert_int_equal(ids_in_use(), ids);
	while (rig.b->ops->idle(rig.b) > 0)
		;
	assert_int_equal(count_cgroups(), cgroups);
	assert_int_equal(count_dir(AT_FDCWD, "/proc/self/fd"), fds);
}

static void a_root_that_does_not_exist_is_a_failed_step(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.root = PLAN_ROOT_DIRECTORY;
	(void)str_copy(p.root_path, sizeof p.root_path, "/no/such/root");
	assert_int_equal(box_start(&rig, &x, &p, &f, &e), -ENOENT);
	assert_string_equal(f.step, "template");
	assert_non_null(strstr(err_text(&e), "/no/such/root"));
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	char path[512];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		cgroup_fd[i] = cgroup_find(hierarchies[i], path, sizeof path, NULL, 0) == 0
		                   ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		                   : -1;
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(end_lets_commands_finish),
	    cmocka_unit_test(a_closed_request_socket_ends_the_sandbox),
	    cmocka_unit_test(usage_is_told),
	    cmocka_unit_test(freezing_stops_and_thawing_goes_on),
	    cmocka_unit_test(nothing_is_left_after_fifty),
	    cmocka_unit_test(a_failed_start_leaves_nothing),
	    cmocka_unit_test(a_root_that_does_not_exist_is_a_failed_step),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
