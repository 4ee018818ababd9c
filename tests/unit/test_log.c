#include "lib/log.h"

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

#include "lib/util.h"

static int pipe_fds[2], saved_stderr = -1;

static int capture(void **state)
{
	(void)state;
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0 || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int release(void **state)
{
	(void)state;
	(void)unsetenv("JOURNAL_STREAM");
	(void)dup2(saved_stderr, STDERR_FILENO);
	util_close(&saved_stderr);
	util_close(&pipe_fds[0]);
	util_close(&pipe_fds[1]);
	return 0;
}

static const char *written(void)
{
	static char text[8192];
	ssize_t n = read(pipe_fds[0], text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void writes_ident_and_text(void **state)
{
	(void)state;
	log_open("postern-core", LOG_INFO);
	errno = ENOENT;
	log_warn("%s: %m", "x");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(written(), "postern-core: x: No such file or directory\n");
}

static void drops_what_is_more_talkative(void **state)
{
	(void)state;
	log_open("p", LOG_WARNING);
	log_info("no");
	log_debug("no");
	log_warn("yes");
	log_error("yes");
	assert_string_equal(written(), "p: yes\np: yes\n");
}

static void gives_priorities_to_the_journal(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(
	    stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_open("p", LOG_DEBUG);
	log_error("a");
	log_debug("b");
	assert_string_equal(written(), "<3>a\n<7>b\n");
}

static void the_journal_of_somebody_else_is_not_ours(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_open("p", LOG_DEBUG);
	log_error("a");
	assert_string_equal(written(), "p: a\n");
}

static void one_message_is_one_harmless_line(void **state)
{
	(void)state;
	log_open("p", LOG_DEBUG);
	log_error("a\nforged: b\r\033[2J\177");
	assert_string_equal(written(), "p: a\\x0aforged: b\\x0d\\x1b[2J\\x7f\n");
	log_error("caf\xc3\xa9 \xc2\x9b"
	          "2J");
	assert_string_equal(written(), "p: caf\xc3\xa9 \\xc2\\x9b2J\n");
}

static void a_long_message_is_cut_to_one_line(void **state)
{
	static char longer[6000];
	const char *out;

	(void)state;
	memset(longer, '\n', sizeof longer - 1);
	log_open("p", LOG_DEBUG);
	log_error("%s", longer);
	out = written();
	assert_true(strlen(out) > 1000 && strlen(out) < 2200);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void a_long_ident_is_cut(void **state)
{
	(void)state;
	log_open("iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii",
	    LOG_DEBUG);
	log_error("text");
	assert_non_null(strstr(written(), "itext\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(writes_ident_and_text, capture, release),
	    cmocka_unit_test_setup_teardown(drops_what_is_more_talkative, capture, release),
	    cmocka_unit_test_setup_teardown(gives_priorities_to_the_journal, capture, release),
	    cmocka_unit_test_setup_teardown(
	        the_journal_of_somebody_else_is_not_ours, capture, release),
	    cmocka_unit_test_setup_teardown(one_message_is_one_harmless_line, capture, release),
	    cmocka_unit_test_setup_teardown(a_long_message_is_cut_to_one_line, capture, release),
	    cmocka_unit_test_setup_teardown(a_long_ident_is_cut, capture, release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
