/*
 * What each defence is for: the attacks of tests/support/escape_probe.h go through once their
 * defences are switched off, in a sandbox whose spawn and init were built with switches
 * (lib/defence.h). They are harmless there: nothing uses what it gets, and the sandbox's own
 * namespaces hold. Where several defences hold one attack, each of them alone still does.
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
#include <sys/wait.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/defence.h"
#include "tests/support/escape_probe.h"
#include "tests/support/escape_rig.h"
#include "tests/support/sandbox_rig.h"

static char libexec[4096];

static int in_rig(const struct escape *e, const char *off, char *text, size_t size)
{
	struct backend_failure f = {0};
	struct err err = ERR_INIT;
	struct plan p;
	struct rig rig;
	struct box box;

	defence_set(off);
	rig_plan(&p);
	if (rig_new(&rig, libexec, 0, &err) < 0 || box_start(&rig, &box, &p, &f, &err) < 0)
		return snprintf(text, size, "%s: %s", f.step ? f.step : "rig", err_text(&err));
	if (box_install_self(&box) < 0)
		return snprintf(text, size, "the probe cannot be installed");
	escape_inside(&box, e, text, size);
	if (!box_end(&box, NULL))
		return snprintf(text, size, "the sandbox does not end");
	rig_free(&rig);
	return 0;
}

/* A whole rig for each, in a process of its own: some switches work where a rig is made. */
static void attempt(const struct escape *e, const char *off, char *text, size_t size)
{
	int p[2];
	pid_t pid;
	ssize_t n;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)in_rig(e, off, text, size);
		(void)!write(p[1], text, strlen(text));
		_exit(0);
	}
	(void)close(p[1]);
	n = read(p[0], text, size - 1);
	text[n < 0 ? 0 : n] = '\0';
	(void)close(p[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void goes_through_without_its_defences(void **state)
{
	const struct escape *e = *(const struct escape *const *)(void *)state;
	char text[256];

	if (e->number == 30 && access("/dev/kvm", F_OK) < 0)
		skip();
	attempt(e, e->off, text, sizeof text);
	if (strcmp(text, "through") != 0)
		fail_msg("%s without %s: %s", e->name, e->off, text);
}

static void is_held_by_any_one_of_its_defences(void **state)
{
	const struct escape *e = *(const struct escape *const *)(void *)state;
	char names[128], *list[8], *save = NULL, off[128], text[256];
	size_t n = 0;

	(void)snprintf(names, sizeof names, "%s", e->off);
	for (char *t = strtok_r(names, ",", &save); t; t = strtok_r(NULL, ",", &save))
		list[n++] = t;
	for (size_t keep = 0; keep < n; keep++) {
		off[0] = '\0';
		for (size_t i = 0; i < n; i++)
			if (i != keep)
				(void)snprintf(off + strlen(off), sizeof off - strlen(off), "%s%s",
				    *off ? "," : "", list[i]);
		attempt(e, off, text, sizeof text);
		/* or there is no sandbox at all */
		if (strncmp(text, "held: ", 6) != 0 && strncmp(text, "landlock: ", 10) != 0 &&
		    strncmp(text, "seccomp: ", 9) != 0)
			fail_msg("%s without %s: %s", e->name, off, text);
	}
}

static int setup(void **state)
{
	char from[4200];

	(void)state;
	(void)snprintf(libexec, sizeof libexec, "%s/weak/libexec", rig_build_dir());
	(void)snprintf(from, sizeof from, "%s/postern-init", libexec);
	if (escape_leak() < 0)
		return -1;
	return access(from, X_OK);
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	size_t n = 0;
	int r;

	if (strcmp(argv[0], "/tmp/probe") == 0) {
		r = escape_main(argc, argv);
		(void)fflush(stdout);
		_exit(r);
	}
	tests = calloc(2 * escapes_len, sizeof *tests);
	if (!tests)
		return 1;
	for (size_t i = 0; i < escapes_len; i++) {
		union {
			const struct escape *in;
			void *out;
		} e = {.in = &escapes[i]};
		static char titles[128][128];

		if (!escapes[i].off)
			continue;
		(void)snprintf(titles[n], sizeof titles[n], "%s_goes_through_without_%s",
		    escapes[i].name, escapes[i].off);
		tests[n] = (struct CMUnitTest){
		    titles[n], goes_through_without_its_defences, NULL, NULL, e.out};
		n++;
		if (!strchr(escapes[i].off, ','))
			continue;
		(void)snprintf(titles[n], sizeof titles[n], "%s_is_held_by_each_alone_of_%s",
		    escapes[i].name, escapes[i].off);
		tests[n] = (struct CMUnitTest){
		    titles[n], is_held_by_any_one_of_its_defences, NULL, NULL, e.out};
		n++;
	}
	r = _cmocka_run_group_tests("defences", tests, n, setup, NULL);
	free(tests);
	return r;
}
