/*
 * Limits hold, count together what they say, and are refused where the host cannot enforce them.
 * And the parts of a sandbox that a plan chooses: a directory as root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/tree.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define MIB (UINT64_C(1) << 20)

static struct rig rig;
static struct ran ran;
static char root_path[PLAN_PATH_MAX];
static int root_parent = -1;

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int r = box_start(&rig, x, p, &f, &e);

	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
}

static void sh(struct box *x, const char *script)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	assert_true(ran.finished);
}

static void memory_beyond_the_limit_is_killed(void **state)
{
	const char *argv[] = {"/usr/bin/python3", "-c", "x = bytearray(200 << 20)", NULL};
	struct backend_usage u;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 64 * MIB;
	start(&x, &p);
	/* the whole session, as who watches it sees to (test_sandbox_cgroup.c) */
	assert_int_equal(box_run(&x, 1, argv, NULL, 0, 20000, &ran), 0);
	assert_true(!ran.finished || ran.signal == SIGKILL);
	assert_true(box_end(&x, &u));
	assert_true(u.oom_kills >= 1);
	assert_true(u.memory_peak > 32 * MIB && u.memory_peak <= 64 * MIB);
}

/* What lies in the writable layer is memory of the sandbox, and of nobody else. */
static void files_count_as_memory(void **state)
{
	struct backend_usage u;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 32 * MIB;
	p.disk_bytes = 256 * MIB;
	start(&x, &p);
	/* whoever writes is killed, and whoever comes next, as files stay */
	assert_int_equal(
	    box_sh(&x, "head -c 100000000 /dev/zero >/tmp/big && echo written", &ran), 0);
	assert_string_equal(ran.out, "");
	assert_true(box_end(&x, &u));
	assert_true(u.oom_kills >= 1);
	assert_true(u.memory_peak <= 32 * MIB);
}

static void a_fork_bomb_stops_at_the_limit(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.pids = 24;
	start(&x, &p);
	sh(&x, "/usr/bin/python3 -c '\n"
	       "import os, signal\n"
	       "n = 0\n"
	       "try:\n"
	       "  while n < 200:\n"
	       "    if os.fork() == 0: signal.pause()\n"
	       "    n += 1\n"
	       "except BlockingIOError: pass\n"
	       "print(n, flush=True)\n"
	       "os.kill(-1, 9)'");
	int n = 0;
	assert_int_equal(sscanf(ran.out, "%d", &n), 1);
	assert_true(n > 10 && n < 24);
	assert_true(box_end(&x, NULL));
}

static void processor_time_is_rationed(void **state)
{
	int64_t began = clock_mono_ns(), took_us;
	struct backend_usage u;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.cpu_percent = 20;
	start(&x, &p);
	sh(&x, "timeout 2 sh -c 'while :; do :; done'");
	assert_true(box_end(&x, &u));
	/* of two seconds, longer on a slow machine: 400 ms, and some slack for the last period */
	took_us = (clock_mono_ns() - began) / 1000;
	assert_true(u.cpu_us > 100000);
	assert_true((int64_t)u.cpu_us < took_us / 5 + 300000);
}

static void disk_bytes_are_shared_by_all_that_is_writable(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.disk_bytes = 8 * MIB;
	start(&x, &p);
	sh(&x, "head -c 20000000 /dev/zero >/tmp/a; stat -c %s /tmp/a");
	assert_non_null(strstr(ran.err, "No space left"));
	sh(&x, "head -c 10 /dev/zero >/home/agent/x");
	assert_non_null(strstr(ran.err, "No space left"));
	sh(&x, "head -c 4096 /dev/zero >/dev/shm/x");
	assert_non_null(strstr(ran.err, "No space left"));
	sh(&x, "rm /tmp/a; head -c 6000000 /dev/zero >/dev/shm/x && ! head -c 6000000 /dev/zero "
	       ">/var/tmp/x");
	assert_int_equal(ran.exit, 0);
	assert_true(box_end(&x, NULL));
}

static void inodes_are_limited(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.disk_inodes = 64;
	start(&x, &p);
	sh(&x, "cd /tmp; for i in $(seq 100); do : >f$i || break; done 2>&1 | head -1; ls | wc -l");
	assert_non_null(strstr(ran.out, "No space left"));
	assert_true(box_end(&x, NULL));
}

static void open_files_are_limited(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.open_files = 77;
	start(&x, &p);
	sh(&x, "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc");
	assert_string_equal(ran.out, "77\n77\n0\n0\n");
	assert_true(box_end(&x, NULL));
}

static void what_is_enforced_is_told(void **state)
{
	const char *dump;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 64 * MIB;
	p.limits.pids = 32;
	p.limits.cpu_percent = 50;
	start(&x, &p);
	json_t *l = json_object_get(x.enforced, "limits");
	assert_int_equal(json_integer_value(json_object_get(l, "memory_bytes")), 64 * MIB);
	assert_int_equal(json_integer_value(json_object_get(l, "pids")), 32);
	assert_int_equal(json_integer_value(json_object_get(l, "cpu_percent")), 50);
	assert_int_equal(json_object_size(l), 3);
	assert_int_equal(json_array_size(json_object_get(x.enforced, "namespaces")), 8);
	assert_int_equal(strlen(json_string_value(json_object_get(x.enforced, "seccomp"))), 64);
	dump = json_string_value(json_object_get(x.enforced, "cgroup"));
	assert_true(strcmp(dump, "v2") == 0 || strcmp(dump, "hybrid") == 0);
	assert_true(box_end(&x, NULL));
}

/* kernel.pty.max counts those of the whole host, most sandboxes' 3072. */
static void terminals_are_limited(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	sh(&x, "python3 -c \"import os\nn = 0\ntry:\n  while n < 500:\n"
	       "    os.open('/dev/ptmx', os.O_RDWR)\n    n += 1\nexcept OSError: pass\nprint(n)\"");
	assert_string_equal(ran.out, "64\n");
	assert_true(box_end(&x, NULL));
}

/* /proc/sys/user and RLIMIT_SIGPENDING count for whoever made the user namespace as well. */
static void what_one_takes_of_a_uids_share_others_still_have(void **state)
{
	/* a process that stays, and says what it got before it closes its output */
	static const char take[] =
	    "exec 2>&1; python3 -c \"import ctypes, os, signal, sys\n"
	    "if os.fork(): os._exit(0)\n"
	    "os.setsid()\nl = ctypes.CDLL(None)\nn = m = 0\n"
	    "while n < 100 and l.inotify_init() >= 0: n += 1\n"
	    "signal.pthread_sigmask(signal.SIG_BLOCK, [40])\n"
	    "while m < 1000000 and l.sigqueue(os.getpid(), 40, None) == 0: m += 1\n"
	    "print(n, m, flush=True)\nos.closerange(0, 3)\nsignal.pause()\"";
	struct plan p;
	struct box x, y;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	start(&y, &p);
	sh(&x, take);
	assert_string_equal(ran.out, "100 4096\n");
	sh(&y, take);
	assert_string_equal(ran.out, "100 4096\n");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
}

static void a_limit_that_cannot_be_set_fails_the_start(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.cpu_percent = UINT64_C(1) << 62; /* no quota that a kernel would take */
	assert_true(box_start(&rig, &x, &p, &f, &e) < 0);
	assert_string_equal(f.step, "cgroup");
	assert_non_null(strstr(err_text(&e), "cpu"));
	rig_plan(&p);
	p.disk_bytes = UINT64_MAX;
	assert_int_equal(
	    box_start(&rig, &x, &p, &f, &e), 0); /* as much as there is: memory bounds it */
	assert_true(box_end(&x, NULL));
}

/* A name that no tenant can have keeps its sessions apart from logins by sshd. */
static void a_tenant_called_ties_is_a_tenant(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	(void)str_copy(p.tenant, sizeof(p.tenant), "ties");
	start(&x, &p);
	sh(&x, "echo fine");
	assert_true(box_end(&x, NULL));
	assert_string_equal(ran.out, "fine\n");
}

/* Where they are is in descriptors that are gone before the agent's ids are taken. */
static void the_agent_cannot_leave_its_cgroup(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.pids = 64;
	start(&x, &p);
	sh(&x, "ls -l /proc/self/fd | grep -c cgroup; ls -d /sys/fs/cgroup 2>&1; cut -d: -f3 "
	       "/proc/self/cgroup | sort -u");
	assert_non_null(strstr(ran.out, "0\n"));
	assert_non_null(strstr(ran.out, "No such file"));
	assert_true(box_end(&x, NULL));
}

/* Agents first, who reads for them next, and those without which nothing goes last. */
static void sandboxes_are_what_the_oom_killer_picks_first(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	sh(&x, "cat /proc/self/oom_score_adj /proc/1/oom_score_adj; "
	       "echo 0 >/proc/self/oom_score_adj || echo refused");
	assert_string_equal(ran.out, "900\n900\nrefused\n");
	assert_true(box_end(&x, NULL));
}

/* ---- a directory as root ---- */

static void a_directory_can_be_the_root(void **state)
{
	const char *cat[] = {"/bin/cat", "/etc/passwd", "/marker", NULL};
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.root = PLAN_ROOT_DIRECTORY;
	memcpy(p.root_path, root_path, sizeof p.root_path);
	start(&x, &p);
	assert_int_equal(box_run(&x, 1, cat, NULL, 0, 5000, &ran), 0);
	/* the template's users, but for those in the agent's way */
	assert_string_equal(ran.out, "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"
	                             "agent:x:1000:1000:agent:/home/agent:/bin/sh\nmarker\n");
	sh(&x, "echo x >/marker"); /* root's, and root is nobody here */
	assert_int_not_equal(ran.exit, 0);
	sh(&x, "echo mine >/work/f && cat /work/f"); /* the agent's own */
	assert_string_equal(ran.out, "mine\n");
	assert_true(box_end(&x, NULL));
	/* nothing of it went to the template */
	cleanup_close int fd = openat(root_parent, "root/work/f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd, -1);
}

/* CVE-2019-14271's kind: a link in an unpacked image must not name a file of the host. */
static void a_link_in_the_template_is_not_followed(void **state)
{
	const char *cat[] = {"/bin/cat", "/etc/group", NULL};
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.root = PLAN_ROOT_DIRECTORY;
	memcpy(p.root_path, root_path, sizeof p.root_path);
	start(&x, &p);
	assert_int_equal(box_run(&x, 1, cat, NULL, 0, 5000, &ran), 0);
	assert_null(strstr(ran.out, "shadow"));
	assert_non_null(strstr(ran.out, "agent:x:1000:\n"));
	assert_true(box_end(&x, NULL));
}

/* A root with just enough: sh, cat and their libraries. */
static int make_root(void)
{
	static const char *const dirs[] = {"root", "root/usr", "root/usr/bin", "root/usr/lib",
	    "root/usr/lib/x86_64-linux-gnu", "root/usr/lib64", "root/etc", "root/proc", "root/dev"};
	static const char *const files[] = {"usr/bin/dash", "usr/bin/cat",
	    "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"};
	char to[128];
	int host = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++)
		r = tree_dir(root_parent, dirs[i], 0755, 0);
	if (r == 0)
		r = tree_dir(root_parent, "root/work", 0755, 1000);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(files); i++) {
		(void)snprintf(to, sizeof to, "root/%s", files[i]);
		r = tree_copy_file(host, files[i], root_parent, to, 0755);
	}
	(void)close(host);
	if (r == 0 && (symlinkat("dash", root_parent, "root/usr/bin/sh") < 0 ||
	                  symlinkat("usr/bin", root_parent, "root/bin") < 0 ||
	                  symlinkat("usr/lib", root_parent, "root/lib") < 0 ||
	                  symlinkat("usr/lib64", root_parent, "root/lib64") < 0 ||
	                  symlinkat("/etc/group", root_parent, "root/etc/group") < 0))
		r = -errno;
	if (r == 0)
		r = tree_write(root_parent, "root/marker", "marker\n");
	return r ? r
	         : tree_write(root_parent, "root/etc/passwd",
	               "root:x:0:0::/root:/bin/sh\n"
	               "daemon:x:1:1::/:/bin/false\n"
	               "user:x:1000:1000::/home/user:/bin/sh\n"
	               "agent:x:5:5::/:/bin/sh\n");
}

static void remove_root(void)
{
	static const char *const names[] = {"usr/bin/sh", "usr/bin/dash", "usr/bin/cat",
	    "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6", "bin", "lib",
	    "lib64", "etc/group", "etc/passwd", "marker"};
	static const char *const dirs[] = {"usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib",
	    "usr/lib64", "usr", "etc", "proc", "dev", "work", "."};
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof path, "root/%s", names[i]);
		(void)unlinkat(root_parent, path, 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(dirs) - 1; i++) {
		(void)snprintf(path, sizeof path, "root/%s", dirs[i]);
		(void)unlinkat(root_parent, path, AT_REMOVEDIR);
	}
	(void)unlinkat(root_parent, "root", AT_REMOVEDIR);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	char dir[64];
	int build = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	(void)state;
	(void)snprintf(dir, sizeof dir, "root-%d", (int)getpid());
	root_parent = fd_open_dir(build, dir, 0755);
	(void)close(build);
	if (snprintf(root_path, sizeof root_path, "%s/%s/root", rig_build_dir(), dir) < 0 ||
	    root_path[0] != '/' || (r = make_root()) < 0 || rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	char dir[64];

	(void)state;
	remove_root();
	(void)snprintf(dir, sizeof dir, "root-%d", (int)getpid());
	(void)unlinkat(rig.parent_fd, dir, AT_REMOVEDIR);
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_beyond_the_limit_is_killed),
	    cmocka_unit_test(files_count_as_memory),
	    cmocka_unit_test(a_fork_bomb_stops_at_the_limit),
	    cmocka_unit_test(processor_time_is_rationed),
	    cmocka_unit_test(terminals_are_limited),
	    cmocka_unit_test(what_one_takes_of_a_uids_share_others_still_have),
	    cmocka_unit_test(disk_bytes_are_shared_by_all_that_is_writable),
	    cmocka_unit_test(inodes_are_limited),
	    cmocka_unit_test(open_files_are_limited),
	    cmocka_unit_test(what_is_enforced_is_told),
	    cmocka_unit_test(a_limit_that_cannot_be_set_fails_the_start),
	    cmocka_unit_test(a_tenant_called_ties_is_a_tenant),
	    cmocka_unit_test(the_agent_cannot_leave_its_cgroup),
	    cmocka_unit_test(sandboxes_are_what_the_oom_killer_picks_first),
	    cmocka_unit_test(a_directory_can_be_the_root),
	    cmocka_unit_test(a_link_in_the_template_is_not_followed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
