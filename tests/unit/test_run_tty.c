#include "pam/run_tty.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/status.h"
#include "lib/util.h"
#include "tests/support/relay_rig.h"

/* The sandbox's terminal echoes what was typed before what it shows next, or after. */
static void read_until(int fd, const char *what)
{
	char have[256] = "";
	size_t n = 0;

	while (n < sizeof have - 1 && !strstr(have, what)) {
		ssize_t k = read(fd, have + n, sizeof have - 1 - n);

		assert_true(k > 0);
		n += (size_t)k;
		have[n] = '\0';
	}
	assert_non_null(strstr(have, what));
}

static void a_terminal_is_raw_meanwhile_and_as_before_afterwards(void **state)
{
	struct relay_rig g;
	struct run_tty tty;
	struct termios before, during, after;
	int client, slave, flag;

	(void)state;
	rr_pty(&g, &client, &slave);
	assert_int_equal(tcgetattr(g.r.tty, &before), 0);
	assert_int_equal(run_tty_raw(&tty, g.r.tty), 0);
	assert_int_equal(tcgetattr(g.r.tty, &during), 0);
	flag = (int)during.c_lflag & (ECHO | ICANON | ISIG);
	assert_int_equal(flag, 0);
	rr_start(&g);
	rr_put(client, "x\x03\r"); /* a control C is the sandbox's, not ours */
	rr_put(slave, "prompt$ ");
	read_until(client, "prompt$ ");
	rr_put(slave, "last");
	rr_put_status(&g, STATUS_EXITED, 4);
	rr_wait(&g); /* the slave is still open, as by a child in the background */
	read_until(client, "last");
	run_tty_restore(&tty);
	assert_int_equal(tcgetattr(g.r.tty, &after), 0);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_int_equal(before.c_oflag, after.c_oflag);
	assert_int_equal(g.end.exit, 4);
	util_close(&client);
	util_close(&slave);
	util_close(&g.r.tty);
	rr_done(&g);
}

static void a_changed_size_reaches_the_sandbox(void **state)
{
	struct relay_rig g;
	struct winsize w = {.ws_row = 50, .ws_col = 150}, have = {0};
	sigset_t set;
	int client, slave;

	(void)state;
	rr_pty(&g, &client, &slave);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGWINCH);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	cleanup_close int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g.r.signals = fd;
	assert_int_equal(run_tty_copy_size(g.r.tty, g.r.box[0]), 0);
	assert_int_equal(ioctl(slave, TIOCGWINSZ, &have), 0);
	assert_int_equal(have.ws_col, 101);
	rr_start(&g);
	assert_int_equal(ioctl(client, TIOCSWINSZ, &w), 0);
	assert_int_equal(kill(getpid(), SIGWINCH), 0);
	for (int i = 0; i < 1000 && have.ws_col != 150; i++) {
		struct timespec t = {0, 1000000};

		(void)nanosleep(&t, NULL);
		assert_int_equal(ioctl(slave, TIOCGWINSZ, &have), 0);
	}
	assert_int_equal(have.ws_col, 150);
	assert_int_equal(have.ws_row, 50);
	rr_put_status(&g, STATUS_EXITED, 0);
	rr_wait(&g);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	util_close(&client);
	util_close(&slave);
	util_close(&g.r.tty);
	rr_done(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_terminal_is_raw_meanwhile_and_as_before_afterwards),
	    cmocka_unit_test(a_changed_size_reaches_the_sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
