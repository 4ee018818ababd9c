#include "pam/run_request.h"

#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "lib/util.h"

static const char *kind_of(const char *original, char *command, size_t size)
{
	static char kind[16];
	json_t *body = NULL;
	const char *b64;

	assert_int_equal(run_request(original, -1, NULL, &body, NULL), 0);
	assert_null(json_object_get(body, "pty"));
	assert_null(json_object_get(body, "env"));
	(void)snprintf(kind, sizeof kind, "%s", json_string_value(json_object_get(body, "kind")));
	b64 = json_string_value(json_object_get(body, "command"));
	(void)snprintf(command, size, "%s", b64 ? b64 : "");
	json_decref(body);
	return kind;
}

static void no_command_is_a_shell(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of(NULL, command, sizeof command), "shell");
	assert_string_equal(command, "");
}

static void a_command_is_passed_on_as_bytes(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of("echo \xff", command, sizeof command), "exec");
	assert_string_equal(command, "ZWNobyD/");
	assert_string_equal(kind_of("", command, sizeof command), "exec");
}

static void only_the_exact_sftp_servers_are_the_subsystem(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of("internal-sftp", command, sizeof command), "subsystem");
	assert_string_equal(command, "c2Z0cA==");
	assert_string_equal(
	    kind_of("/usr/lib/openssh/sftp-server", command, sizeof command), "subsystem");
	assert_string_equal(kind_of("internal-sftp -e", command, sizeof command), "exec");
	assert_string_equal(kind_of("/tmp/sftp-server", command, sizeof command), "exec");
	assert_string_equal(kind_of("internal-sftp\n", command, sizeof command), "exec");
}

static void the_longest_command_is_taken_and_one_byte_more_is_not(void **state)
{
	char *s = calloc(1, RUN_COMMAND_MAX + 2);
	json_t *body = NULL;

	(void)state;
	assert_non_null(s);
	memset(s, 'a', RUN_COMMAND_MAX);
	assert_int_equal(run_request(s, -1, NULL, &body, NULL), 0);
	json_decref(body);
	s[RUN_COMMAND_MAX] = 'a';
	assert_int_equal(run_request(s, -1, NULL, &body, NULL), -E2BIG);
	free(s);
}

static void a_terminal_goes_along_and_its_name_is_looked_at(void **state)
{
	struct winsize w = {.ws_row = 24, .ws_col = 80};
	json_t *body = NULL, *pty;
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	assert_int_equal(run_request(NULL, slave, "xterm-256color", &body, NULL), 0);
	pty = json_object_get(body, "pty");
	assert_string_equal(json_string_value(json_object_get(pty, "term")), "xterm-256color");
	assert_int_equal(json_integer_value(json_object_get(pty, "cols")), 80);
	assert_int_equal(json_integer_value(json_object_get(pty, "rows")), 24);
	json_decref(body);
	assert_int_equal(run_request(NULL, slave, "x\x1b[2J", &body, NULL), 0);
	pty = json_object_get(body, "pty");
	assert_string_equal(json_string_value(json_object_get(pty, "term")), "dumb");
	json_decref(body);
	util_close(&master);
	util_close(&slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_command_is_a_shell),
	    cmocka_unit_test(a_command_is_passed_on_as_bytes),
	    cmocka_unit_test(only_the_exact_sftp_servers_are_the_subsystem),
	    cmocka_unit_test(the_longest_command_is_taken_and_one_byte_more_is_not),
	    cmocka_unit_test(a_terminal_goes_along_and_its_name_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
