/*
 * A sandbox from the inside, as an attacker would try it. The program copies itself into a sandbox
 * and runs there with the name of a probe; probes refuse to run anywhere else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/support/sandbox_probe.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct box box;
static struct ran ran;
static char host_ns[8][64], host_port[16], host_name[64];
static const char *const ns_names[] = {"user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time"};

static void probe(const char *name)
{
	const char *argv[] = {"/tmp/probe", name, NULL};

	assert_int_equal(box_run(&box, 1, argv, NULL, 0, 20000, &ran), 0);
}

static void expect_text(const char *script, const char *out)
{
	assert_int_equal(box_sh(&box, script, &ran), 0);
	if (strcmp(ran.out, out) != 0)
		print_error("%s\n%s", script, ran.err);
	assert_string_equal(ran.out, out);
}

struct want {
	const char *name;
	int value;
};

static void check_all(const char *name, const struct want *w, size_t n)
{
	size_t lines = 0;

	probe(name);
	if (ran.exit != 0)
		print_error("%s\n%s\n", ran.out, ran.err);
	assert_int_equal(ran.exit, 0);
	for (size_t i = 0; i < n; i++) {
		char line[128];
		const char *at;

		(void)snprintf(line, sizeof line, "%s=%d\n", w[i].name, w[i].value);
		at = strstr(ran.out, line);
		while (at && at != ran.out && at[-1] != '\n') /* the end of another's name */
			at = strstr(at + 1, line);
		if (!at) {
			print_error("expected %sin:\n%s%s", line, ran.out, ran.err);
			fail();
		}
	}
	for (const char *c = ran.out; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, n); /* every probe has its expectation */
}

static void the_calls_that_reach_the_kernel_are_few(void **state)
{
	static const struct want want[] = {{"unshare user", EPERM}, {"unshare mount", EPERM},
	    {"unshare net", EPERM}, {"clone user", EPERM}, {"clone user high bits", EPERM},
	    {"clone3", ENOSYS}, {"setns", EPERM}, {"mount", EPERM}, {"umount", EPERM},
	    {"pivot_root", EPERM}, {"chroot", EPERM}, {"fsopen", ENOSYS}, {"open_tree", ENOSYS},
	    {"mknod", EACCES}, {"io_uring_setup", ENOSYS}, {"keyctl", ENOSYS}, {"add_key", ENOSYS},
	    {"request_key", ENOSYS}, {"userfaultfd", ENOSYS}, {"bpf", ENOSYS},
	    {"perf_event_open", ENOSYS}, {"ptrace", EPERM}, {"process_vm_readv", ENOSYS},
	    {"open_by_handle_at", ENOSYS}, {"name_to_handle_at", ENOSYS}, {"quotactl", ENOSYS},
	    {"kexec_load", EPERM}, {"seccomp", ENOSYS}, {"prctl seccomp", EINVAL},
	    {"prctl mm", EINVAL}, {"prctl dumpable", 0}, {"personality query", 0},
	    {"personality", EPERM}, {"TIOCSTI", EPERM}, {"TIOCSTI high bits", EPERM},
	    {"TIOCLINUX high bits", EPERM}, {"TIOCSETD", EPERM}, {"F_SETPIPE_SZ", EPERM},
	    {"F_SETPIPE_SZ high bits", EPERM}, {"F_SETLEASE", EPERM}, {"F_GETPIPE_SZ", 0},
	    {"ioctl other", 0}, {"setuid 0", EPERM}, {"setgroups", EPERM}, {"sethostname", EPERM},
	    {"kill init", EPERM}};

	(void)state;
	check_all("calls", want, ARRAY_LEN(want));
}

/* inotify(7) and flock(2) go by inode, and the host's are the same to everybody. */
static void who_uses_a_program_of_the_hosts_is_not_told(void **state)
{
	static const char spy[] =
	    "mkfifo /tmp/go && cat >/tmp/spy.py <<'END'\n"
	    "import ctypes, fcntl, os\n"
	    "f = open('/usr/bin/cksum')\n"
	    "fcntl.flock(f, fcntl.LOCK_EX)\n"
	    "l = ctypes.CDLL(None)\n"
	    "n = l.inotify_init1(os.O_NONBLOCK)\n"
	    "assert l.inotify_add_watch(n, b'/usr/bin/cksum', 0x20) > 0\n"
	    "def told():\n"
	    "    try: return len(os.read(n, 4096)) > 0\n"
	    "    except BlockingIOError: return False\n"
	    "open('/tmp/ready', 'w').close()\n"
	    "open('/tmp/go').close()\n"
	    "others = told()\n"
	    "open('/usr/bin/cksum').close()\n"
	    "print('others', others, 'own', told(), file=open('/tmp/spied', 'w'), flush=True)\n"
	    "open('/tmp/done').close()\n"
	    "END\n"
	    "mkfifo /tmp/done; setsid python3 /tmp/spy.py >/tmp/spy.log 2>&1 </dev/null &\n"
	    "while [ ! -e /tmp/ready ]; do read -t 0.05 x </dev/null; done; echo up";
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box other;
	struct plan p;

	(void)state;
	rig_plan(&p);
	assert_int_equal(box_start(&rig, &other, &p, &f, &e), 0);
	expect_text(spy, "up\n");
	assert_int_equal(
	    box_sh(&other, "cksum </dev/null; flock -n /usr/bin/cksum echo free", &ran), 0);
	assert_string_equal(ran.out, "4294967295 0\nfree\n");
	cleanup_close int own = open("/usr/bin/cksum", O_RDONLY | O_CLOEXEC);
	assert_true(own >= 0);
	expect_text(": >/tmp/go; : >/tmp/done; cat /tmp/spied", "others False own True\n");
	assert_true(box_end(&other, NULL));
}

static void sockets_are_local_tcp_and_udp(void **state)
{
	static const struct want want[] = {{"unix", 0}, {"inet tcp", 0}, {"inet6 udp", 0},
	    {"netlink route", 0}, {"netlink audit", EAFNOSUPPORT},
	    {"netlink netfilter", EAFNOSUPPORT}, {"vsock", EAFNOSUPPORT}, {"alg", EAFNOSUPPORT},
	    {"packet", EAFNOSUPPORT}, {"xdp", EAFNOSUPPORT}, {"mptcp", EPROTONOSUPPORT},
	    {"sctp", EPROTONOSUPPORT}, {"sctp seqpacket", EPERM}, {"raw", EPERM},
	    {"ping", EPROTONOSUPPORT}, {"family high bits", EAFNOSUPPORT}, {"tcp ulp", EPERM},
	    {"udp encap", EPERM}, {"nodelay", 0}};

	(void)state;
	check_all("sockets", want, ARRAY_LEN(want));
}

static void only_its_own_files_can_be_written(void **state)
{
	static const struct want want[] = {{"/proc/sys/kernel/hostname", EACCES},
	    {"/proc/sys/kernel/core_pattern", EACCES}, {"/proc/sysrq-trigger", 1},
	    {"/proc/kcore empty", 1}, {"/proc/1/mem", EACCES}, {"/proc/1/exe", EACCES},
	    {"/proc/1/environ", EACCES}, {"/proc/self/exe", ETXTBSY},
	    {"/proc/self/oom_score_adj", EACCES}, {"/usr/bin/x", 1}, {"/usr/bin/true", 1},
	    {"/etc/x", EACCES}, {"/etc/passwd", EACCES}, {"/x", EACCES},
	    {"/run/postern/postern-init", EACCES}, {"/run/postern/x", EACCES}, {"/dev/x", 1},
	    {"/dev/kmsg", ENOENT}, {"/dev/kvm", ENOENT}, {"/sys", ENOENT}, {"/etc/shadow", ENOENT},
	    {"/home/agent/x", 0}, {"/tmp/x", 0}};

	(void)state;
	check_all("files", want, ARRAY_LEN(want));
}

static void another_architecture_is_killed(void **state)
{
	(void)state;
#if defined(__x86_64__)
	probe("i386");
	assert_int_equal(ran.signal, SIGSYS);
	probe("x32");
	assert_int_equal(ran.signal, SIGSYS);
#else
	skip();
#endif
}

static void descriptors_are_three_pipes(void **state)
{
	(void)state;
	probe("fds");
	assert_string_equal(ran.out, "pipe=0\npipe=1\npipe=2\n");
}

static void no_capability_in_any_set(void **state)
{
	(void)state;
	expect_text("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
	    "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
	    "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
}

static void init_keeps_exactly_four_capabilities(void **state)
{
	(void)state;
	/* KILL, SETGID, SETUID, SETPCAP: bits 5 to 8 */
	expect_text("grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid)' /proc/1/status",
	    "Uid:\t65534\t65534\t65534\t65534\nCapInh:\t00000000000001e0\nCapPrm:"
	    "\t00000000000001e0\n"
	    "CapEff:\t00000000000001e0\nCapBnd:\t00000000000001e0\nCapAmb:\t00000000000001e0\n"
	    "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

static void every_namespace_is_another(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ns_names); i++) {
		char script[64];

		(void)snprintf(script, sizeof script, "readlink /proc/self/ns/%s", ns_names[i]);
		assert_int_equal(box_sh(&box, script, &ran), 0);
		ran.out[strcspn(ran.out, "\n")] = '\0';
		assert_int_equal(strncmp(ran.out, ns_names[i], strlen(ns_names[i])), 0);
		assert_string_not_equal(ran.out, host_ns[i]);
	}
}

static void the_hosts_processes_are_not_there(void **state)
{
	char script[96];

	(void)state;
	(void)snprintf(
	    script, sizeof script, "kill -0 %d 2>&1 | grep -c 'No such process'", (int)getpid());
	expect_text(script, "1\n");
	expect_text(
	    "cat /proc/[0-9]*/comm | sort -u | grep -vxE 'cat|grep|sh|sort|postern-init'", "");
	expect_text("[ $(ls /proc | grep -c '^[0-9]') -le 6 ] && echo few", "few\n");
}

static void the_hosts_files_are_not_there(void **state)
{
	(void)state;
	expect_text("ls / | grep -vxE "
	            "'bin|dev|etc|home|lib|lib32|lib64|libx32|proc|root|run|sbin|tmp|usr|var'",
	    "");
	expect_text("ls -A /home /home/agent /root 2>&1 | grep -v denied; ls /run /run/postern",
	    "/home:\nagent\n\n/home/agent:\nx\n/run:\npostern\n\n/run/"
	    "postern:\nbin\npostern-init\n");
	/* no mount names a directory of the host's but /usr and the skeleton */
	expect_text("awk '{print $5}' /proc/self/mountinfo | grep -vE "
	            "'^/(usr|dev|dev/pts|dev/shm|proc(/.*)?)?$'",
	    "");
}

static void proc_is_masked(void **state)
{
	(void)state;
	expect_text("grep -cE ' /proc/sys ro,' /proc/self/mountinfo", "1\n");
	expect_text("for f in kcore keys key-users timer_list interrupts sysrq-trigger; do "
	            "[ -s /proc/$f ] && cat /proc/$f | head -c 1; done; "
	            "for d in acpi bus fs irq scsi driver; do ls /proc/$d 2>/dev/null; done",
	    "");
	expect_text("[ -n \"$(cat /proc/meminfo)\" ] && [ -r /proc/cpuinfo ] && nproc >/dev/null "
	            "&& echo there",
	    "there\n");
}

static void the_hosts_network_is_not_there(void **state)
{
	const char *argv[] = {"/tmp/probe", "host", host_port, host_name, NULL};

	(void)state;
	expect_text("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '", "lo\n");
	assert_int_equal(box_run(&box, 1, argv, NULL, 0, 5000, &ran), 0);
	assert_string_equal(ran.out, "tcp=111\nabstract=111\n"); /* ECONNREFUSED */
	expect_text("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0\n");
}

static void the_agent_cannot_touch_init(void **state)
{
	(void)state;
	expect_text("for s in TERM KILL STOP; do kill -$s 1 2>/dev/null || echo no; done; "
	            "ls -l /proc/1/fd 2>&1 | grep -c denied; cat /proc/1/maps 2>&1 | grep -c "
	            "denied; echo alive",
	    "no\nno\nno\n1\n1\nalive\n");
}

static void setuid_programs_give_nothing(void **state)
{
	(void)state;
	expect_text("cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id; /tmp/id -u", "1000\n");
	expect_text(
	    "findmnt -no OPTIONS /usr | grep -c nosuid; findmnt -no OPTIONS / | grep -c nosuid",
	    "1\n1\n");
}

static void two_sandboxes_do_not_know_each_other(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	struct box other;
	char id[33];

	(void)state;
	rig_plan(&p);
	assert_int_equal(box_start(&rig, &other, &p, &f, &e), 0);
	assert_int_not_equal(json_integer_value(json_object_get(other.enforced, "idbase")),
	    json_integer_value(json_object_get(box.enforced, "idbase")));
	/* as machines, either */
	assert_int_equal(box_sh(&other, "cat /etc/machine-id", &ran), 0);
	assert_int_equal(ran.out_len, 33);
	memcpy(id, ran.out, sizeof id);
	assert_int_equal(box_sh(&box, "cat /etc/machine-id", &ran), 0);
	assert_int_equal(ran.out_len, 33);
	assert_memory_not_equal(id, ran.out, sizeof id);
	assert_int_equal(
	    box_sh(&other,
	        "echo secret >/tmp/s; echo secret >/dev/shm/s; (exec -a marker sleep 60 "
	        ">/dev/null 2>&1 &) 2>/dev/null; sleep 60 >/dev/null 2>&1 & echo ok",
	        &ran),
	    0);
	expect_text("ls /tmp/s /dev/shm/s 2>/dev/null; pgrep sleep; pgrep marker", "");
	assert_true(box_end(&other, NULL));
}

/* CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID of its own user namespace; init is another.
 */
static void root_inside_has_seven_capabilities_and_no_hold_of_init(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	struct box root;

	(void)state;
	rig_plan(&p);
	p.root_user = true;
	assert_int_equal(box_start(&rig, &root, &p, &f, &e), 0);
	assert_int_equal(
	    box_sh(&root,
	        "id -u; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
	        "chown 5:6 /tmp && stat -c %u:%g /tmp; readlink /proc/1/exe; kill -9 1; "
	        "grep ^Uid /proc/1/status; unshare -U true || mount -t tmpfs x /mnt || echo no",
	        &ran),
	    0);
	assert_string_equal(ran.out,
	    "0\nCapInh:\t0000000000000000\nCapPrm:\t00000000000000fb\nCapEff:\t00000000000000fb\n"
	    "CapBnd:\t00000000000000fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	    "5:6\nUid:\t65534\t65534\t65534\t65534\nno\n");
	assert_true(box_end(&root, NULL));
}

static void probes_refuse_to_run_outside(void **state)
{
	int status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		char name[] = "probe", what[] = "fds", *argv[] = {name, what, NULL};

		(void)dup2(null, 2);
		_exit(probe_main(2, argv));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), PROBE_REFUSED);
	(void)close(null);
}

/* What a probe might find, were it on the host. */
static void listen_outside(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	socklen_t len = sizeof a;
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int un = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(host_name, sizeof host_name, "postern-test-%d", (int)getpid());
	(void)snprintf(u.sun_path + 1, sizeof u.sun_path - 1, "%s", host_name);
	assert_int_equal(bind(tcp, (const struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(tcp, 1), 0);
	assert_int_equal(getsockname(tcp, (struct sockaddr *)&a, &len), 0);
	(void)snprintf(host_port, sizeof host_port, "%u", ntohs(a.sin_port));
	assert_int_equal(
	    bind(un, (const struct sockaddr *)&u,
	        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(host_name))),
	    0);
	assert_int_equal(listen(un, 1), 0);
}

static int setup(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ns_names); i++) {
		char path[64];
		ssize_t n;

		(void)snprintf(path, sizeof path, "/proc/self/ns/%s", ns_names[i]);
		n = readlink(path, host_ns[i], sizeof host_ns[i] - 1);
		host_ns[i][n < 0 ? 0 : n] = '\0';
	}
	listen_outside();
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	rig_plan(&p);
	if (box_start(&rig, &box, &p, &f, &e) < 0) {
		print_error("step %s: %s\n", f.step, err_text(&e));
		return -1;
	}
	return box_install_self(&box);
}

static int teardown(void **state)
{
	(void)state;
	assert_true(box_end(&box, NULL));
	rig_free(&rig);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_calls_that_reach_the_kernel_are_few),
	    cmocka_unit_test(who_uses_a_program_of_the_hosts_is_not_told),
	    cmocka_unit_test(sockets_are_local_tcp_and_udp),
	    cmocka_unit_test(only_its_own_files_can_be_written),
	    cmocka_unit_test(another_architecture_is_killed),
	    cmocka_unit_test(descriptors_are_three_pipes),
	    cmocka_unit_test(no_capability_in_any_set),
	    cmocka_unit_test(init_keeps_exactly_four_capabilities),
	    cmocka_unit_test(every_namespace_is_another),
	    cmocka_unit_test(the_hosts_processes_are_not_there),
	    cmocka_unit_test(the_hosts_files_are_not_there),
	    cmocka_unit_test(proc_is_masked),
	    cmocka_unit_test(the_hosts_network_is_not_there),
	    cmocka_unit_test(the_agent_cannot_touch_init),
	    cmocka_unit_test(setuid_programs_give_nothing),
	    cmocka_unit_test(two_sandboxes_do_not_know_each_other),
	    cmocka_unit_test(root_inside_has_seven_capabilities_and_no_hold_of_init),
	    cmocka_unit_test(probes_refuse_to_run_outside),
	};

	if (strcmp(argv[0], "/tmp/probe") == 0) {
		int r = probe_main(argc, argv);

		(void)fflush(stdout);
		_exit(r); /* a leak check would need ptrace */
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
