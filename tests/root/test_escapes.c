/*
 * Every attack of tests/support/escape_probe.h, inside a sandbox: none goes through. With the
 * argument `table` it prints, for people, what each does natively and inside (`make escape`).
 * tests/root/test_defences.c shows that each goes through without its defences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/escape_probe.h"
#include "tests/support/escape_rig.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct box box;

static void is_held(void **state)
{
	const struct escape *e = *(const struct escape *const *)(void *)state;
	char text[256];

	escape_inside(&box, e, text, sizeof text);
	if (strncmp(text, "held: ", 6) != 0)
		fail_msg("%s: %s", e->name, text);
}

static int setup(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;

	(void)state;
	if (escape_leak() < 0)
		return -1;
	rig_plan(&p);
	if (rig_new(&rig, NULL, 0, &e) < 0 || box_start(&rig, &box, &p, &f, &e) < 0) {
		print_error("%s: %s\n", f.step ? f.step : "rig", err_text(&e));
		return -1;
	}
	return box_install_self(&box);
}

static int teardown(void **state)
{
	(void)state;
	if (!box_end(&box, NULL))
		return -1;
	rig_free(&rig);
	return 0;
}

static int table(void)
{
	char native[64][256], inside[256];

	assert_true(escapes_len <= ARRAY_LEN(native));
	/* first, as the rig moves us into a mount namespace of its own */
	for (size_t i = 0; i < escapes_len; i++)
		escape_natively(&escapes[i], native[i], sizeof native[i]);

	(void)printf(
	    "Attacks, as an ordinary user tries them natively and as an agent does inside.\n"
	    "native: uid 1000 of a new user namespace with ids that nobody has, everything\n"
	    "read-only, no seccomp, no Landlock: it could hurt nobody. Each only tries.\n\n"
	    "case  %-24s %-36s %-36s %s\n",
	    "attack", "native host", "inside", "what holds it");
	if (setup(NULL) < 0)
		return 1;
	for (size_t i = 0; i < escapes_len; i++) {
		char number[8] = "-";

		if (escapes[i].number)
			(void)snprintf(number, sizeof number, "%d", escapes[i].number);
		escape_inside(&box, &escapes[i], inside, sizeof inside);
		(void)printf("%4s  %-24s %-36s %-36s %s\n", number, escapes[i].name, native[i],
		    inside, escapes[i].layer);
	}
	return teardown(NULL) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	int r;

	if (strcmp(argv[0], "/tmp/probe") == 0 || strcmp(argv[0], "probe") == 0) {
		r = escape_main(argc, argv);
		(void)fflush(stdout);
		_exit(r); /* a leak check would need ptrace */
	}
	if (argc == 2 && strcmp(argv[1], "table") == 0)
		return table();
	tests = calloc(escapes_len, sizeof *tests);
	if (!tests)
		return 1;
	for (size_t i = 0; i < escapes_len; i++) {
		union {
			const struct escape *in;
			void *out;
		} e = {.in = &escapes[i]};

		tests[i] = (struct CMUnitTest){escapes[i].name, is_held, NULL, NULL, e.out};
	}
	r = _cmocka_run_group_tests("escapes", tests, escapes_len, setup, teardown);
	free(tests);
	return r;
}
