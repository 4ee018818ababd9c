#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/ctl/args.h"
#include "broker/ctl/check.h"
#include "lib/err.h"
#include "lib/util.h"

static int nothing(struct ctl *c)
{
	(void)c;
	return 0;
}

static const struct ctl_option options[] = {{"ttl", "TIME", false, ""}, {"role", "ROLE", true, ""},
    {"dry", NULL, false, ""}, {NULL, NULL, false, NULL}};
static const struct ctl_command commands[] = {
    {"cert", "issue", NULL, 0, 0, options, "", nothing},
    {"cert", "show", "FILE", 1, 1, NULL, "", nothing},
    {"kill", NULL, "ID", 1, 2, options, "", nothing},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL},
};

static int parse(struct ctl *c, struct err *e, const char *line)
{
	static char text[1024];
	static char *argv[64];
	int argc = 0;

	(void)snprintf(text, sizeof text, "postern %s", line);
	for (char *p = text, *word; (word = strsep(&p, " "));)
		argv[argc++] = word;
	argv[argc] = NULL;
	return ctl_args_parse(commands, argc, argv, c, e);
}

static void finds_noun_verb_and_words(void **state)
{
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, NULL, "cert show f"), 0);
	assert_ptr_equal(c.command, &commands[1]);
	assert_int_equal(c.nwords, 1);
	assert_string_equal(c.word[0], "f");
	assert_int_equal(parse(&c, NULL, "kill one two"), 0);
	assert_ptr_equal(c.command, &commands[2]);
	assert_int_equal(c.nwords, 2);
}

static void state_and_json_stand_anywhere(void **state)
{
	static const char *const lines[] = {"--state /d --json cert show f",
	    "cert --json show f --state /d", "cert show --state=/d f --json",
	    "cert --state /d show f --json"};
	struct ctl c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(parse(&c, NULL, lines[i]), 0);
		assert_ptr_equal(c.command, &commands[1]);
		assert_string_equal(c.state, "/d");
		assert_true(c.json);
		assert_string_equal(c.word[0], "f");
	}
}

static void options_have_values_switches_and_repetitions(void **state)
{
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, NULL, "cert issue --ttl 5m --role a --role=b --dry"), 0);
	assert_string_equal(ctl_opt(&c, "ttl"), "5m");
	assert_string_equal(ctl_opt_nth(&c, "role", 0), "a");
	assert_string_equal(ctl_opt_nth(&c, "role", 1), "b");
	assert_null(ctl_opt_nth(&c, "role", 2));
	assert_string_equal(ctl_opt(&c, "dry"), "");
	assert_null(ctl_opt(&c, "missing"));
}

static void two_dashes_end_the_options(void **state)
{
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, NULL, "kill -- --role --json"), 0);
	assert_int_equal(c.nwords, 2);
	assert_string_equal(c.word[0], "--role");
	assert_false(c.json);
}

static void refuses_what_it_does_not_know(void **state)
{
	static const char *const bad[] = {"", "frob", "cert", "cert frob", "cert show",
	    "cert show a b", "cert show f --ttl 1", "cert issue --nope", "cert issue --ttl",
	    "cert issue --ttl=", "cert issue --ttl 1 --ttl 2", "cert issue --dry=x",
	    "cert issue word", "--state", "kill", "kill a b c", "cert issue --",
	    "kill 1 2 3 4 5 6 7 8 9 10"};
	struct ctl c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;
		int r = parse(&c, &e, bad[i]);

		if (strcmp(bad[i], "cert issue --") == 0)
			assert_int_equal(r, 0);
		else if (r != -EINVAL || !*e.text)
			fail_msg("not refused: %s", bad[i]);
	}
}

static void an_error_names_the_help_that_helps(void **state)
{
	struct err e = ERR_INIT;
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, &e, "frob"), -EINVAL);
	assert_non_null(strstr(e.text, "see postern --help"));
	assert_int_equal(parse(&c, &e, "cert frob"), -EINVAL);
	assert_non_null(strstr(e.text, "see postern cert --help"));
	assert_int_equal(parse(&c, &e, "cert issue --nope"), -EINVAL);
	assert_non_null(strstr(e.text, "see postern cert --help"));
}

static void foreign_text_in_an_error_is_escaped(void **state)
{
	struct err e = ERR_INIT;
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, &e, "\033]0;x\007"), -EINVAL);
	assert_null(strchr(e.text, '\033'));
	assert_non_null(strstr(e.text, "\\x1b"));
}

static void many_options_are_bounded(void **state)
{
	char line[1000] = "cert issue";
	struct ctl c;

	(void)state;
	for (int i = 0; i < CTL_OPTIONS_MAX; i++)
		(void)snprintf(line + strlen(line), sizeof line - strlen(line), " --role=r");
	assert_int_equal(parse(&c, NULL, line), 0);
	(void)snprintf(line + strlen(line), sizeof line - strlen(line), " --role=r");
	assert_int_equal(parse(&c, NULL, line), -EINVAL);
}

static void help_and_version_need_no_command(void **state)
{
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, NULL, "--help"), 0);
	assert_true(c.help);
	assert_null(c.command);
	assert_int_equal(parse(&c, NULL, "cert --help"), 0);
	assert_string_equal(c.noun, "cert");
	assert_int_equal(parse(&c, NULL, "cert show --help"), 0);
	assert_int_equal(parse(&c, NULL, "--version"), 0);
	assert_true(c.version);
	assert_int_equal(parse(&c, NULL, "frob --help"), -EINVAL);
}

/* ---- what `check` says of a stock sshd's settings ---- */

static const char good_sshd[] =
    "port 22\nusepam yes\ndisableforwarding yes\npermituserrc no\npermituserenvironment no\n"
    "authorizedkeysfile none\npasswordauthentication no\nkbdinteractiveauthentication no\n"
    "trustedusercakeys /etc/postern/sshd/ca.pub\nforcecommand /usr/libexec/postern/postern-run\n";

static bool sshd_is_bad(const char *from, const char *to)
{
	struct check k = {json_array(), false};
	char text[1024];
	const char *at = from ? strstr(good_sshd, from) : NULL;

	if (from)
		(void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good_sshd), good_sshd, to,
		    at + strlen(from));
	else
		(void)snprintf(text, sizeof text, "%s", good_sshd);
	check_sshd_text(&k, text);
	json_decref(k.list);
	return k.bad;
}

static void the_settings_that_stock_sshd_needs_are_demanded(void **state)
{
	(void)state;
	assert_false(sshd_is_bad(NULL, NULL));
	assert_true(sshd_is_bad("usepam yes", "usepam no"));
	assert_true(sshd_is_bad("disableforwarding yes", "disableforwarding no"));
	assert_true(sshd_is_bad("disableforwarding yes\n", ""));
	assert_true(sshd_is_bad("permituserrc no", "permituserrc yes"));
	assert_true(
	    sshd_is_bad("authorizedkeysfile none", "authorizedkeysfile .ssh/authorized_keys"));
	assert_true(
	    sshd_is_bad("trustedusercakeys /etc/postern/sshd/ca.pub", "trustedusercakeys none"));
	assert_true(sshd_is_bad("postern-run", "other"));
	assert_true(
	    sshd_is_bad("forcecommand /usr/libexec/postern/postern-run", "forcecommand none"));
	assert_true(sshd_is_bad("passwordauthentication no", "passwordauthentication yes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_noun_verb_and_words),
	    cmocka_unit_test(state_and_json_stand_anywhere),
	    cmocka_unit_test(options_have_values_switches_and_repetitions),
	    cmocka_unit_test(two_dashes_end_the_options),
	    cmocka_unit_test(refuses_what_it_does_not_know),
	    cmocka_unit_test(an_error_names_the_help_that_helps),
	    cmocka_unit_test(foreign_text_in_an_error_is_escaped),
	    cmocka_unit_test(many_options_are_bounded),
	    cmocka_unit_test(help_and_version_need_no_command),
	    cmocka_unit_test(the_settings_that_stock_sshd_needs_are_demanded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
