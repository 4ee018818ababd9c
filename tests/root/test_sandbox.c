/*
 * A sandbox in use: commands, terminals, signals, many at once, and programs that people use.
 */
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
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "lib/buf.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct box box; /* the one that most tests share */
static struct ran ran;

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int r = box_start(&rig, x, p, &f, &e);

	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
}

static void sh(const char *script)
{
	assert_int_equal(box_sh(&box, script, &ran), 0);
	assert_true(ran.finished);
}

static void expect(const char *script, const char *out)
{
	sh(script);
	if (strcmp(ran.out, out) != 0)
		print_error("%s\nsaid: %s\nand: %s\n", script, ran.out, ran.err);
	assert_string_equal(ran.out, out);
}

static void gives_back_exit_codes(void **state)
{
	(void)state;
	sh("exit 0");
	assert_int_equal(ran.exit, 0);
	sh("echo out; echo err >&2; exit 42");
	assert_int_equal(ran.exit, 42);
	assert_string_equal(ran.out, "out\n");
	assert_string_equal(ran.err, "err\n");
	sh("kill -TERM $$");
	assert_int_equal(ran.signal, SIGTERM);
	sh("kill -KILL $$");
	assert_int_equal(ran.signal, SIGKILL);
}

static void a_missing_command_is_127_with_a_message(void **state)
{
	const char *missing[] = {"no-such-command", NULL}, *path[] = {"/no/such", NULL},
	           *notexec[] = {"/etc/passwd", NULL}, *dir[] = {"/tmp", NULL};

	(void)state;
	assert_int_equal(box_run(&box, 1, missing, NULL, 0, 5000, &ran), 0);
	assert_int_equal(ran.exit, 127);
	assert_int_equal(ran.error, ENOENT);
	assert_string_equal(ran.err, "postern: no-such-command: command not found\n");
	assert_int_equal(box_run(&box, 1, path, NULL, 0, 5000, &ran), 0);
	assert_int_equal(ran.exit, 127);
	assert_int_equal(box_run(&box, 1, notexec, NULL, 0, 5000, &ran), 0);
	assert_int_equal(ran.exit, 126);
	assert_string_equal(ran.err, "postern: /etc/passwd: permission denied\n");
	assert_int_equal(box_run(&box, 1, dir, NULL, 0, 5000, &ran), 0);
	assert_int_equal(ran.exit, 126);
}

static void stdin_reaches_its_end(void **state)
{
	const char *cat[] = {"cat", NULL};
	static char big[200000];

	(void)state;
	memset(big, 'x', sizeof big);
	assert_int_equal(box_run(&box, 1, cat, big, sizeof big, 5000, &ran), 0);
	assert_int_equal(ran.out_len, sizeof big);
	assert_memory_equal(ran.out, big, sizeof big);
}

static void the_agent_is_who_it_should_be(void **state)
{
	(void)state;
	expect("id", "uid=1000(agent) gid=1000(agent) groups=1000(agent)\n");
	expect("hostname; pwd; umask; stat -c '%U:%G %a' /home/agent; echo ~",
	    "agent\n/home/agent\n0022\n"
	    "agent:agent 755\n/home/agent\n");
	expect("grep -E 'Sig(Blk|Ign)' /proc/self/status",
	    "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	expect("stat -c '%U:%G' / /etc/passwd /run/postern", "root:root\nroot:root\nroot:root\n");
	if (json_is_true(json_object_get(box.enforced, "usr_mapped")))
		expect("stat -c '%U:%G' /usr /usr/bin/true", "root:root\nroot:root\n");
	expect("stat -c '%a' /tmp /var/tmp /dev/shm", "1777\n1777\n1777\n");
	expect("touch /tmp/a /home/agent/a /dev/shm/a && cat /proc/sys/kernel/random/uuid | wc -c",
	    "37\n");
	expect("echo x >/dev/null && head -c 3 /dev/zero | wc -c && readlink /dev/fd /dev/ptmx",
	    "3\n/proc/self/fd\npts/ptmx\n");
}

static void its_own_pid_namespace_and_init(void **state)
{
	(void)state;
	expect(
	    "cat /proc/1/comm; grep -E 'Uid|CapEff' /proc/1/status; set -- /proc/[0-9]*; echo $#",
	    "postern-init\nUid:\t65534\t65534\t65534\t65534\nCapEff:\t00000000000001e0\n2\n");
}

static void orphans_are_reaped(void **state)
{
	(void)state;
	sh("(sleep 0.05 & ) ; (true &); exit 0");
	expect("sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l", "0\n");
}

static void every_command_has_a_session_of_its_own(void **state)
{
	(void)state;
	expect("[ $(ps -o sid= -p $$) = $$ ] && echo leader", "leader\n");
}

/* ---- signals ---- */

static void a_signal_reaches_the_whole_group(void **state)
{
	const char *argv[] = {"sh", "-c", "sleep 60 & sleep 60", NULL};
	uint8_t record[INIT_STATUS_LEN], kind;
	int status[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t value;
	struct buf b;

	(void)state;
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {null, null, null, status[1]};
	assert_int_equal(box_send_exec(&box, 77, 0, argv, fds, 4), 0);
	(void)close(status[1]);
	(void)close(null);
	sh("while ! [ $(pgrep -c sleep) = 2 ]; do sleep 0.02; done");
	buf_init(&b, 64);
	init_put_signal(&b, 77, SIGTERM);
	assert_int_equal(send(box.request, b.data, b.len, 0), b.len);
	buf_done(&b);
	assert_int_equal(read(status[0], record, sizeof record), sizeof record);
	assert_int_equal(init_parse_status(record, &kind, &value), 0);
	assert_int_equal(kind, INIT_SIGNALED);
	assert_int_equal(value, SIGTERM);
	(void)close(status[0]);
	expect("sleep 0.1; pgrep -c sleep; true", "0\n");
}

/* ---- terminals ---- */

/* Runs a script on a terminal of its own and collects what it shows. */
static void on_pty(const char *script, char *out, size_t size)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	uint8_t record[INIT_STATUS_LEN] = {0};
	int status[2], master, slave;
	struct err e = ERR_INIT;
	size_t n = 0;

	assert_int_equal(rig.b->ops->open_pty(box.s, &master, &slave, &e), 0);
	const struct winsize w = {.ws_row = 33, .ws_col = 77};
	assert_int_equal(ioctl(master, TIOCSWINSZ, &w), 0);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {slave, status[1]};
	assert_int_equal(box_send_exec(&box, 78, INIT_PTY, argv, fds, 2), 0);
	(void)close(slave);
	(void)close(status[1]);
	for (;;) {
		ssize_t r = read(master, out + n, size - 1 - n);

		if (r <= 0)
			break; /* EIO: the last slave has gone */
		n += (size_t)r;
	}
	out[n] = '\0';
	assert_int_equal(read(status[0], record, sizeof record), sizeof record);
	assert_int_equal(record[0], INIT_EXITED);
	(void)close(status[0]);
	(void)close(master);
}

static void a_terminal_has_a_name_inside(void **state)
{
	char out[4096];

	(void)state;
	on_pty("tty; stty size; stat -c %U:%G:%a $(tty); ls -l /proc/self/fd >/tmp/fds; grep -c "
	       "pts /tmp/fds",
	    out, sizeof out);
	assert_string_equal(out, "/dev/pts/0\r\n33 77\r\nagent:tty:620\r\n2\r\n");
}

static void a_terminal_is_the_controlling_one(void **state)
{
	char out[4096];

	(void)state;
	on_pty("echo here >/dev/tty; set -m; sleep 0 & wait; ps -o tty= -p $$", out, sizeof out);
	assert_non_null(strstr(out, "here\r\n"));
	assert_non_null(strstr(out, "pts/0\r\n"));
}

static void the_agent_can_open_terminals_itself(void **state)
{
	(void)state;
	expect("script -qec 'tty' /dev/null | tr -d '\\r'", "/dev/pts/0\n");
}

/* ---- many ---- */

static void sixty_four_channels_at_once(void **state)
{
	struct pollfd p[64];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), left = 64;

	(void)state;
	for (uint32_t i = 0; i < 64; i++) {
		const char *argv[] = {"sh", "-c", "read line; echo $line", NULL};
		int in[2], out[2], status[2];

		assert_int_equal(pipe2(in, O_CLOEXEC), 0);
		assert_int_equal(pipe2(out, O_CLOEXEC), 0);
		assert_int_equal(pipe2(status, O_CLOEXEC), 0);
		const int fds[] = {in[0], out[1], null, status[1]};
		assert_int_equal(box_send_exec(&box, 100 + i, 0, argv, fds, 4), 0);
		(void)dprintf(in[1], "%u\n", i);
		(void)close(in[0]);
		(void)close(in[1]);
		(void)close(out[1]);
		(void)close(status[0]);
		(void)close(status[1]);
		p[i] = (struct pollfd){out[0], POLLIN, 0};
	}
	(void)close(null);
	while (left > 0) {
		assert_true(poll(p, 64, 20000) > 0);
		for (uint32_t i = 0; i < 64; i++) {
			char text[16], want[16];
			ssize_t n;

			if (p[i].fd < 0 || !p[i].revents)
				continue;
			n = read(p[i].fd, text, sizeof text - 1);
			assert_true(n > 0);
			text[n] = '\0';
			(void)snprintf(want, sizeof want, "%u\n", i);
			assert_string_equal(text, want);
			util_close(&p[i].fd);
			left--;
		}
	}
}

static void a_channel_number_in_use_is_refused(void **state)
{
	const char *hold[] = {"sleep", "60", NULL}, *again[] = {"true", NULL};
	int status[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {null, null, null, status[1]};
	assert_int_equal(box_send_exec(&box, 5, 0, hold, fds, 4), 0);
	assert_int_equal(box_run(&box, 5, again, NULL, 0, 5000, &ran), 0);
	assert_int_equal(ran.error, EBUSY);
	assert_int_equal(ran.exit, 126);
	sh("pkill sleep");
	(void)close(status[0]);
	(void)close(status[1]);
	(void)close(null);
}

/* ---- programs ---- */

static void runs_quietly(const char *script)
{
	sh(script);
	if (ran.exit != 0 || ran.err_len != 0)
		print_error("%s\nexit %d signal %d\n%s%s\n", script, ran.exit, ran.signal, ran.out,
		    ran.err);
	assert_int_equal(ran.exit, 0);
	assert_string_equal(ran.err, "");
}

static void git_works_without_complaint(void **state)
{
	(void)state;
	runs_quietly(
	    "git --version && git init -q -b main /tmp/g && cd /tmp/g && echo x >a && git add a && "
	    "git -c user.name=a -c user.email=a@b commit -q -m one && git log --oneline && git "
	    "status -s "
	    "&& git clone -q /tmp/g /tmp/h && git -C /tmp/h fsck");
}

static void ssh_works_without_complaint(void **state)
{
	(void)state;
	runs_quietly("ssh -V 2>&1 && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh-key && ssh -T -G "
	             "localhost >/dev/null");
	runs_quietly("(printf '\\0\\0\\0\\5\\1\\0\\0\\0\\3'; sleep 0.3) | "
	             "/usr/lib/openssh/sftp-server | od -An -tx1 | head -1");
	assert_non_null(strstr(ran.out, "02 00 00 00 03")); /* SSH_FXP_VERSION 3 */
}

static void python_works_without_complaint(void **state)
{
	(void)state;
	runs_quietly(
	    "/usr/bin/python3 -c 'import ssl, socket, subprocess, threading, tempfile, "
	    "multiprocessing, pwd; "
	    "ssl.create_default_context(); assert pwd.getpwuid(1000).pw_name == \"agent\"; "
	    "t = threading.Thread(target=print, args=(1,)); t.start(); t.join(); "
	    "subprocess.run([\"true\"], check=True); tempfile.TemporaryFile(); "
	    "s = socket.create_server((\"127.0.0.1\", 80)); "
	    "c = socket.create_connection((\"127.0.0.1\", 80)); print(multiprocessing.Lock())'");
}

static void compilers_and_node_work(void **state)
{
	(void)state;
	runs_quietly("cd /tmp && echo 'int main(void){return 0;}' >m.c && gcc m.c -o m && ./m");
	runs_quietly("command -v node >/dev/null || exit 0; node -e "
	             "'require(\"fs\").readFileSync(\"/etc/passwd\"); "
	             "new (require(\"worker_threads\").Worker)(\"1\", {eval: true})'");
	runs_quietly(
	    "tar cf - /etc 2>/dev/null | gzip | gunzip | tar tf - >/dev/null; awk 'BEGIN{exit 0}'; "
	    "find /usr/bin -name true | xargs ls -l >/dev/null");
}

static void certificates_and_alternatives_are_there(void **state)
{
	(void)state;
	expect("readlink -e /usr/bin/awk >/dev/null && echo awk; [ ! -d /usr/share/ca-certificates "
	       "] || "
	       "[ -s /etc/ssl/certs/ca-certificates.crt ] && echo certs",
	    "awk\ncerts\n");
}

static void the_credential_program_is_in_reach(void **state)
{
	(void)state;
	expect("command -v postern-cred", "/run/postern/bin/postern-cred\n");
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	struct plan p;

	(void)state;
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	rig_plan(&p);
	start(&box, &p);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_true(box_end(&box, NULL));
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(its_own_pid_namespace_and_init),
	    cmocka_unit_test(gives_back_exit_codes),
	    cmocka_unit_test(a_missing_command_is_127_with_a_message),
	    cmocka_unit_test(stdin_reaches_its_end),
	    cmocka_unit_test(the_agent_is_who_it_should_be),
	    cmocka_unit_test(orphans_are_reaped),
	    cmocka_unit_test(every_command_has_a_session_of_its_own),
	    cmocka_unit_test(a_signal_reaches_the_whole_group),
	    cmocka_unit_test(a_terminal_has_a_name_inside),
	    cmocka_unit_test(a_terminal_is_the_controlling_one),
	    cmocka_unit_test(the_agent_can_open_terminals_itself),
	    cmocka_unit_test(sixty_four_channels_at_once),
	    cmocka_unit_test(a_channel_number_in_use_is_refused),
	    cmocka_unit_test(git_works_without_complaint),
	    cmocka_unit_test(ssh_works_without_complaint),
	    cmocka_unit_test(python_works_without_complaint),
	    cmocka_unit_test(compilers_and_node_work),
	    cmocka_unit_test(certificates_and_alternatives_are_there),
	    cmocka_unit_test(the_credential_program_is_in_reach),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
