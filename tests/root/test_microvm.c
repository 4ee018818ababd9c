/*
 * Sessions in virtual machines, through the seam of the back ends: QEMU emulates, with Debian's
 * kernel. What is missing on this machine (the kernel, QEMU) skips the tests; POSTERN_MUST_WORK
 * makes it a failure.
 */
#include "broker/spawn/backend_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "broker/spawn/backend.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define BOOT_MS 90000 /* emulated, on a loaded machine */

static struct rig rig;
static struct backend *vm;
static char why[256], root[1024];

/* Before the rig leaves the host's mounts. */
static int make_images(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		(void)execlp("python3", "python3", "tests/support/microvm_images.py",
		    rig_build_dir(), (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
	                                                                       : -1;
}

static const char *const files[] = {"vmlinuz", "initramfs", "version"};

static void name(char *dst, size_t size, const char *dir, const char *file)
{
	(void)snprintf(dst, size, "%s/microvm/%s", dir, file);
}

/* Into the rig's state directory, and out of it. */
static void install(bool on)
{
	char dir[128], to[160], from[160];

	(void)snprintf(dir, sizeof dir, "%s/microvm", rig.dir);
	if (on)
		(void)mkdirat(rig.parent_fd, dir, 0755);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		name(to, sizeof to, rig.dir, files[i]);
		(void)snprintf(from, sizeof from, "microvm/kernel/%s", files[i]);
		if (on)
			assert_int_equal(linkat(rig.parent_fd, from, rig.parent_fd, to, 0), 0);
		else
			(void)unlinkat(rig.parent_fd, to, 0);
	}
	if (!on)
		(void)unlinkat(rig.parent_fd, dir, AT_REMOVEDIR);
}

static struct plan plan(void)
{
	struct plan p;

	rig_plan(&p);
	p.tier = PLAN_TIER_MICROVM;
	p.emulate = true;
	p.root = PLAN_ROOT_DIRECTORY;
	(void)str_copy(p.root_path, sizeof p.root_path, root);
	p.limits.memory_bytes = UINT64_C(256) << 20;
	p.limits.pids = 32;
	p.disk_bytes = UINT64_C(32) << 20;
	p.disk_inodes = 1000;
	p.open_files = 100;
	p.credentials = true;
	return p;
}

static void need(void)
{
	if (vm)
		return;
	if (getenv("POSTERN_MUST_WORK"))
		fail_msg("%s", why);
	print_message("skipped: %s\n", why);
	skip();
}

static int start(struct box *x, const struct plan *p, struct backend_failure *f, struct err *e)
{
	int inner, r = box_open(x, &inner);

	assert_int_equal(r, 0);
	r = vm->ops->start(vm, x->session, p, inner, &x->s, &x->enforced, f, e);
	(void)close(inner);
	if (r < 0)
		util_close(&x->request);
	return r;
}

static void run(struct box *x, const char *script, const char *in, struct ran *ran)
{
	static uint32_t channel = 5000;
	const char *argv[] = {"/bin/sh", "-c", script, NULL};

	assert_int_equal(box_run(x, channel++, argv, in, in ? strlen(in) : 0, BOOT_MS, ran), 0);
	assert_true(ran->finished);
}

static struct box box;
static struct ran ran;

static void boots_and_runs_a_command_with_its_streams_and_status(void **state)
{
	struct backend_failure f = {NULL};
	struct plan p = plan();
	struct err e = ERR_INIT;

	(void)state;
	need();
	if (start(&box, &p, &f, &e) < 0)
		fail_msg("%s: %s", f.step, err_text(&e));
	run(&box, "cat; echo err >&2; exit 7", "hello", &ran);
	assert_int_equal(ran.exit, 7);
	assert_int_equal(ran.out_len, 5);
	assert_memory_equal(ran.out, "hello", 5);
	assert_memory_equal(ran.err, "err\n", 4);
	assert_string_equal(json_string_value(json_object_get(box.enforced, "accel")), "tcg");
	assert_int_equal(strlen(json_string_value(json_object_get(box.enforced, "image"))), 64);
}

static void is_the_agent_without_network_or_capabilities(void **state)
{
	(void)state;
	need();
	run(&box,
	    "id -u; hostname; cat /proc/self/status | while read a b; do case $a in "
	    "CapEff:|CapBnd:|"
	    "NoNewPrivs:|Seccomp:) echo $a $b;; esac; done; ls /sys/class/net 2>/dev/null; "
	    "wc -l </proc/net/dev; echo x >/etc/passwd || echo refused; echo y >/home/agent/f && "
	    "cat "
	    "/home/agent/f",
	    NULL, &ran);
	ran.out[ran.out_len] = '\0';
	assert_string_equal(ran.out, "1000\nagent\nCapEff: 0000000000000000\n"
	                             "CapBnd: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n3\n"
	                             "refused\ny\n");
}

static void carries_more_than_a_window_both_ways(void **state)
{
	static char in[200000];

	(void)state;
	need();
	memset(in, 'a', sizeof in - 1);
	run(&box, "cat", in, &ran);
	assert_int_equal(ran.out_len, sizeof in - 1);
	assert_memory_equal(ran.out, in, sizeof in - 1);
	run(&box, "yes | head -c 250000", NULL, &ran);
	assert_int_equal(ran.out_len, 250000);
}

static void limits_processes_files_and_disk(void **state)
{
	(void)state;
	need();
	run(&box,
	    "ulimit -n; i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo "
	    "all",
	    NULL, &ran);
	assert_memory_equal(ran.out, "100\n", 4);
	assert_null(memmem(ran.out, ran.out_len, "all", 3));
	run(&box, "head -c 40000000 /dev/zero >/tmp/big || echo full", NULL, &ran);
	assert_memory_equal(ran.out, "full\n", 5);
}

static void sends_signals_and_says_what_ended_it(void **state)
{
	int pipes[4][2], give[4];
	const char *argv[] = {"/bin/sleep", "1000", NULL};
	uint8_t record[INIT_STATUS_LEN], kind;
	struct pollfd p;
	uint32_t value;
	struct buf b;

	(void)state;
	need();
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
		give[i] = pipes[i][i != 0];
	}
	assert_int_equal(box_send_exec(&box, 77, 0, argv, give, 4), 0);
	for (size_t i = 0; i < 4; i++)
		(void)close(give[i]);
	buf_init(&b, 64);
	init_put_signal(&b, 77, SIGTERM);
	assert_int_equal(send(box.request, b.data, b.len, 0), b.len);
	buf_done(&b);
	p = (struct pollfd){pipes[3][0], POLLIN, 0};
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	assert_int_equal(read(pipes[3][0], record, sizeof record), sizeof record);
	assert_int_equal(init_parse_status(record, &kind, &value), 0);
	assert_int_equal(kind, INIT_SIGNALED);
	assert_int_equal(value, SIGTERM);
	(void)close(pipes[0][1]);
	for (size_t i = 1; i < 4; i++)
		(void)close(pipes[i][0]);
}

/* QEMU as a whole: while it is frozen nothing comes out of the guest, and then it goes on. */
static void stands_still_while_it_is_frozen(void **state)
{
	const char *argv[] = {"/bin/cat", NULL};
	int pipes[4][2], give[4];
	struct pollfd p;
	char c = 0;

	(void)state;
	need();
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
		give[i] = pipes[i][i != 0];
	}
	assert_int_equal(box_send_exec(&box, 78, 0, argv, give, 4), 0);
	for (size_t i = 0; i < 4; i++)
		(void)close(give[i]);
	p = (struct pollfd){pipes[1][0], POLLIN, 0};
	assert_int_equal(write(pipes[0][1], "a", 1), 1);
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	assert_int_equal(read(pipes[1][0], &c, 1), 1);
	assert_int_equal(c, 'a');
	assert_int_equal(vm->ops->freeze(box.s, 1, NULL), 0);
	assert_int_equal(write(pipes[0][1], "b", 1), 1);
	assert_int_equal(poll(&p, 1, 1000), 0);
	assert_int_equal(vm->ops->freeze(box.s, 0, NULL), 0);
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	assert_int_equal(read(pipes[1][0], &c, 1), 1);
	assert_int_equal(c, 'b');
	(void)close(pipes[0][1]);
	p = (struct pollfd){pipes[3][0], POLLIN, 0};
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	for (size_t i = 1; i < 4; i++)
		(void)close(pipes[i][0]);
}

static void has_a_terminal_with_its_size(void **state)
{
	const char *argv[] = {"/bin/sh", "-c", "stty size; read x; echo got $x; exit 3", NULL};
	struct winsize w = {33, 99, 0, 0};
	uint8_t record[INIT_STATUS_LEN], kind;
	int master, slave, status[2], give[2];
	char text[512] = "";
	struct err e = ERR_INIT;
	uint32_t value;
	size_t len = 0;

	(void)state;
	need();
	assert_int_equal(vm->ops->open_pty(box.s, &master, &slave, &e), 0);
	assert_int_equal(ioctl(master, TIOCSWINSZ, &w), 0);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	give[0] = slave;
	give[1] = status[1];
	assert_int_equal(box_send_exec(&box, 78, INIT_PTY, argv, give, 2), 0);
	(void)close(slave);
	(void)close(status[1]);
	assert_int_equal(write(master, "word\r", 5), 5);
	for (;;) {
		struct pollfd p = {master, POLLIN, 0};
		ssize_t n;

		assert_int_equal(poll(&p, 1, BOOT_MS), 1);
		n = read(master, text + len, sizeof text - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	assert_non_null(strstr(text, "33 99"));
	assert_non_null(strstr(text, "got word"));
	assert_int_equal(read(status[0], record, sizeof record), sizeof record);
	assert_int_equal(init_parse_status(record, &kind, &value), 0);
	assert_int_equal(value, 3);
	(void)close(master);
	(void)close(status[0]);
}

static void brings_the_agents_knock_to_the_sessions_listener(void **state)
{
	struct pollfd p = {.events = POLLIN};
	char byte;
	int fd;

	(void)state;
	need();
	run(&box, "/run/postern/bin/postern-cred list </dev/null >/dev/null 2>&1 & echo started",
	    NULL, &ran);
	p.fd = vm->ops->cred_listener(box.s);
	assert_true(p.fd >= 0);
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	fd = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	p.fd = fd;
	assert_int_equal(poll(&p, 1, BOOT_MS), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
	(void)close(fd);
}

static pid_t child_of(pid_t pid)
{
	char path[64], text[64] = "";
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
		text[0] = '\0';
	util_close(&fd);
	return (pid_t)strtol(text, NULL, 10);
}

static bool end(struct box *x)
{
	int64_t until = clock_mono_ns() + 20 * NSEC_PER_SEC;
	struct pollfd p = {vm->ops->pidfd(x->s), POLLIN, 0};

	util_close(&x->request);
	json_decref(x->enforced);
	vm->ops->kill(x->s);
	(void)poll(&p, 1, 20000);
	while (vm->ops->reap(x->s, NULL) == -EAGAIN) {
		if (clock_mono_ns() > until)
			return false;
		(void)poll(NULL, 0, 5);
	}
	return true;
}

static void ends_by_kill_and_leaves_nothing(void **state)
{
	(void)state;
	need();
	assert_true(end(&box));
}

static void ends_when_qemu_is_killed(void **state)
{
	struct backend_failure f = {NULL};
	struct plan p = plan();
	struct err e = ERR_INIT;
	struct pollfd over;
	struct box x;
	pid_t qemu = 0;

	(void)state;
	need();
	assert_int_equal(start(&x, &p, &f, &e), 0);
	for (int i = 0; i < 5000 && qemu <= 0; i++) {
		qemu = child_of(vm->ops->pid(x.s));
		(void)poll(NULL, 0, 2);
	}
	assert_true(qemu > 0);
	assert_int_equal(kill(qemu, SIGKILL), 0);
	over = (struct pollfd){vm->ops->pidfd(x.s), POLLIN, 0};
	assert_int_equal(poll(&over, 1, 20000), 1);
	assert_true(end(&x));
}

static void refuses_by_name_what_it_cannot_enforce(void **state)
{
	struct backend_failure f = {NULL};
	struct err e = ERR_INIT;
	struct plan p = plan();
	struct box x;

	(void)state;
	need();
	p.emulate = false; /* no stock kernel boots on this machine's KVM */
	assert_true(start(&x, &p, &f, &e) < 0);
	assert_string_equal(f.step, "kvm");
	p = plan();
	p.watch = true;
	assert_int_equal(start(&x, &p, &f, &e), -ENOTSUP);
	assert_string_equal(f.step, "watch");
	p = plan();
	p.limits.memory_bytes = 1 << 20;
	assert_int_equal(start(&x, &p, &f, &e), -ENOTSUP);
	assert_string_equal(f.step, "memory");
	p = plan();
	(void)str_copy(p.root_path, sizeof p.root_path, "/nowhere");
	assert_int_equal(start(&x, &p, &f, &e), -ENOENT);
	assert_string_equal(f.step, "image");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(boots_and_runs_a_command_with_its_streams_and_status),
	    cmocka_unit_test(is_the_agent_without_network_or_capabilities),
	    cmocka_unit_test(carries_more_than_a_window_both_ways),
	    cmocka_unit_test(sends_signals_and_says_what_ended_it),
	    cmocka_unit_test(stands_still_while_it_is_frozen),
	    cmocka_unit_test(has_a_terminal_with_its_size),
	    cmocka_unit_test(limits_processes_files_and_disk),
	    cmocka_unit_test(brings_the_agents_knock_to_the_sessions_listener),
	    cmocka_unit_test(ends_by_kill_and_leaves_nothing),
	    cmocka_unit_test(ends_when_qemu_is_killed),
	    cmocka_unit_test(refuses_by_name_what_it_cannot_enforce),
	};
	struct err e = ERR_INIT;
	int r;

	(void)snprintf(why, sizeof why, "it needs root, QEMU and a kernel");
	if (geteuid() == 0 && make_images() == 0) {
		char *dir = realpath(rig_build_dir(), NULL);

		(void)snprintf(root, sizeof root, "%s/microvm/root", dir ? dir : "");
		free(dir);
		if (rig_new(&rig, NULL, 0, &e) < 0) {
			(void)fprintf(stderr, "%s\n", err_text(&e));
			return 1;
		}
		install(true);
		vm = backend_vm_new(rig.b, why, sizeof why);
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	if (vm)
		vm->ops->free(vm);
	if (rig.b) {
		install(false);
		rig_free(&rig);
	}
	return r;
}
