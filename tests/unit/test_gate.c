/* What of a hostile tree is flagged before it leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "broker/walk/gate.h"

static void flags_names_at_any_depth(void **state)
{
	static const struct {
		const char *path;
		unsigned flag;
	} bad[] = {
	    {".git/hooks/pre-commit", GATE_HOOK},
	    {"a/b/.git/hooks/post-checkout", GATE_HOOK},
	    {".GIT/Hooks/pre-commit", GATE_HOOK},
	    {"git~1/hooks/x", GATE_HOOK},
	    {".git./hooks /x", GATE_HOOK},
	    {".husky/pre-push", GATE_HOOK},
	    {".git/config", GATE_GIT},
	    {"sub/.git", GATE_GIT},
	    {".gitmodules", GATE_GIT},
	    {".github/workflows/x.yml", GATE_CI},
	    {".gitlab-ci.yml", GATE_CI},
	    {".vscode/tasks.json", GATE_EDITOR},
	    {"p/.idea/workspace.xml", GATE_EDITOR},
	    {".envrc", GATE_SHELL},
	    {".bashrc", GATE_SHELL},
	    {".profile", GATE_SHELL},
	    {"Makefile", GATE_BUILD},
	    {"web/package.json", GATE_BUILD},
	    {".npmrc", GATE_BUILD},
	    {"tests/conftest.py", GATE_PYTHON},
	    {"lib/sitecustomize.py", GATE_PYTHON},
	    {"x/evil.pth", GATE_PYTHON},
	    {"venv/pyvenv.cfg", GATE_PYTHON},
	    {".claude/settings.json", GATE_AGENT},
	    {"lib/libx.so.1", GATE_PROGRAM},
	};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!(gate_path(bad[i].path) & bad[i].flag))
			fail_msg("%s is not flagged as %s", bad[i].path, gate_word(bad[i].flag));
}

static void leaves_plain_names_alone(void **state)
{
	static const char *const good[] = {"README.md", "src/main.c", "notes.txt", "hooks/readme",
	    "git/hooks/x", "a.b/c.d/e", "configs", "docs/index.html", "data.csv"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(gate_path(good[i]), 0);
}

static void flags_links_that_may_point_out(void **state)
{
	static const char *const out[][2] = {{"l", "/etc/passwd"}, {"l", ".."}, {"l", "../x"},
	    {"a/l", "../../x"}, {"a/b/l", "c/../../../x"}, {"a/l", "b/.."}, {"l", ""},
	    {"a/l", ".//../../x"}};
	static const char *const in[][2] = {{"l", "x"}, {"l", "./x/y"}, {"a/l", "../x"},
	    {"a/b/l", "../../x"}, {"l", "a//b"}, {"l", "..x"}, {"l", "..."}};

	(void)state;
	for (size_t i = 0; i < sizeof out / sizeof *out; i++)
		if (!gate_link(out[i][0], out[i][1]))
			fail_msg("%s -> %s is not flagged", out[i][0], out[i][1]);
	for (size_t i = 0; i < sizeof in / sizeof *in; i++)
		if (gate_link(in[i][0], in[i][1]))
			fail_msg("%s -> %s is flagged", in[i][0], in[i][1]);
}

static void flags_modes(void **state)
{
	(void)state;
	assert_int_equal(gate_mode(S_IFREG | 0644), 0);
	assert_int_equal(gate_mode(S_IFREG | 0654), GATE_EXECUTABLE);
	assert_int_equal(gate_mode(S_IFREG | 04644), GATE_SETUID);
	assert_int_equal(gate_mode(S_IFREG | 02755), GATE_SETUID | GATE_EXECUTABLE);
	assert_int_equal(gate_mode(S_IFDIR | 02755), 0);
	assert_int_equal(gate_mode(S_IFDIR | 04755), GATE_SETUID);
	assert_int_equal(gate_mode(S_IFCHR | 0600), GATE_DEVICE);
	assert_int_equal(gate_mode(S_IFBLK | 0600), GATE_DEVICE);
	assert_int_equal(gate_mode(S_IFIFO | 0600), GATE_SPECIAL);
	assert_int_equal(gate_mode(S_IFSOCK | 0600), GATE_SPECIAL);
}

static void flags_bytes_of_programs_and_bare_repositories(void **state)
{
	static const char conf[] = "[core]\n\tbare = true\n\tFSMonitor = ./x\n";

	(void)state;
	assert_int_equal(gate_content("x", "#!/bin/sh\n", 10), GATE_PROGRAM);
	assert_int_equal(gate_content("x", "\177ELF\2", 5), GATE_PROGRAM);
	assert_int_equal(gate_content("x", "MZ", 2), GATE_PROGRAM);
	assert_int_equal(gate_content("x", "#", 1), 0);
	assert_int_equal(gate_content("x", "", 0), 0);
	assert_int_equal(gate_content("b/config", conf, sizeof conf - 1), GATE_GIT);
	assert_int_equal(gate_content("b/config", "[user]\n", 7), 0);
	assert_int_equal(gate_content("b/text", conf, sizeof conf - 1), 0);
}

static void flags_extended_attributes(void **state)
{
	(void)state;
	assert_int_equal(gate_xattrs("", 0), 0);
	assert_int_equal(gate_xattrs("security.capability", 20), GATE_CAPABILITY);
	assert_int_equal(
	    gate_xattrs("user.x\0security.capability", 27), GATE_CAPABILITY | GATE_XATTR);
	assert_int_equal(gate_xattrs("security.selinux", 17), 0);
	assert_int_equal(gate_xattrs("user.unterminated", 5), GATE_XATTR);
}

static void every_flag_has_a_word_and_a_reason(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GATE_COUNT; i++) {
		assert_true(*gate_word(1u << i) != '\0');
		assert_true(*gate_reason(1u << i) != '\0');
		assert_int_equal(gate_find(gate_word(1u << i)), 1u << i);
	}
	assert_int_equal(gate_find("nothing"), 0);
	assert_string_equal(gate_word(0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(flags_names_at_any_depth),
	    cmocka_unit_test(leaves_plain_names_alone),
	    cmocka_unit_test(flags_links_that_may_point_out),
	    cmocka_unit_test(flags_modes),
	    cmocka_unit_test(flags_bytes_of_programs_and_bare_repositories),
	    cmocka_unit_test(flags_extended_attributes),
	    cmocka_unit_test(every_flag_has_a_word_and_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
