/*
 * A list of programs: what is on it runs, and no way around it does. Each probe that is refused
 * here runs in a sandbox without a list (the first test), so it is the list that refuses it.
 */
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/programs.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct box free_box, box;
static struct ran ran;
static int host_root;

/* ---- the program inside: it is /tmp/probe and what a test has it load ---- */

static int probe(const char *what)
{
	char page[4096] = "";
	int fd = -1;
	void *p;

	if (strcmp(what, "memfd") == 0) {
		fd = (int)syscall(SYS_memfd_create, "x", 0);
		return fd < 0 ? errno : 0;
	}
	if (strcmp(what, "mmap") == 0) {
		fd = open("/tmp/page", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
		if (fd < 0 || write(fd, page, sizeof page) != (ssize_t)sizeof page)
			return 255;
		p = mmap(NULL, sizeof page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
		return p == MAP_FAILED ? errno : 0;
	}
	return 254;
}

/* ---- outside ---- */

static void run(struct box *x, const char *script, int status)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	if (ran.exit != status)
		print_error("%s: %d, not %d\n%s%s", script, ran.exit, status, ran.out, ran.err);
	assert_int_equal(ran.exit, status);
}

/* As a shell has it: 126 for what may not be run. */
#define REFUSED 126

static const char LD[] = "/lib64/ld-linux-x86-64.so.2";

static void without_a_list_every_way_is_open(void **state)
{
	char s[256];

	(void)state;
	run(&free_box, "/usr/bin/id >/dev/null", 0);
	(void)snprintf(s, sizeof s, "%s /usr/bin/id >/dev/null", LD);
	run(&free_box, s, 0);
	run(&free_box, "cp /usr/bin/id /tmp/x && /tmp/x >/dev/null", 0);
	run(&free_box, "printf '#!/usr/bin/perl\\n' >/tmp/s; chmod 755 /tmp/s; /tmp/s", 0);
	run(&free_box, "/tmp/probe memfd", 0);
	run(&free_box, "/tmp/probe mmap", 0);
	run(&free_box, "cp /usr/bin/id /dev/shm/x && /dev/shm/x >/dev/null", 0);
}

static void what_is_listed_runs(void **state)
{
	(void)state;
	run(&box, "cat /etc/passwd >/dev/null && ls / /usr/bin >/dev/null", 0);
	run(&box, "echo a >/tmp/a && cat /tmp/a", 0);
	assert_string_equal(ran.out, "a\n");
	run(&box, "ls -l /usr/share/ >/dev/null", 0);
	run(&box, "/bin/cat /usr/share/common-licenses/BSD >/dev/null", 0);
}

static void what_is_not_listed_does_not(void **state)
{
	(void)state;
	run(&box, "/usr/bin/id", REFUSED);
	run(&box, "exec /usr/bin/perl -e 1", REFUSED);
	run(&box, "/run/postern/postern-init", 1); /* ours: it is nobody's but as process 1 */
}

static void the_loader_cannot_be_had_to_run_it(void **state)
{
	char s[256];

	(void)state;
	(void)snprintf(s, sizeof s, "%s /usr/bin/id", LD);
	run(&box, s, 127);
	assert_non_null(strstr(ran.err, "Permission denied"));
	(void)snprintf(s, sizeof s, "%s /usr/bin/cat /etc/hostname", LD); /* it is listed */
	run(&box, s, 0);
}

static void it_can_neither_be_read_nor_copied(void **state)
{
	(void)state;
	run(&box, "cat /usr/bin/id >/tmp/x", 1);
	run(&box, "cat /usr/bin/cat >/tmp/c; chmod 755 /tmp/c; /tmp/c", REFUSED);
}

static void what_the_agent_writes_does_not_run(void **state)
{
	char s[256];

	(void)state;
	run(&box, "/tmp/probe memfd", REFUSED);
	run(&box, "cat /tmp/probe >/dev/shm/p; chmod 755 /dev/shm/p; /dev/shm/p", REFUSED);
	run(&box, "cat /tmp/probe >/home/agent/p; chmod 755 /home/agent/p; /home/agent/p", REFUSED);
	(void)snprintf(s, sizeof s, "%s /tmp/probe memfd", LD);
	run(&box, s, 127);
	assert_non_null(strstr(ran.err, "failed to map segment"));
}

static void a_library_of_the_agent_is_not_loaded(void **state)
{
	(void)state;
	/* any shared object will do: it is not mapped */
	run(&box, "LD_PRELOAD=/tmp/probe cat /dev/null", 0);
	assert_non_null(strstr(ran.err, "cannot be preloaded"));
	assert_non_null(strstr(ran.err, "failed to map segment"));
}

static void a_script_needs_its_interpreter_on_the_list(void **state)
{
	(void)state;
	run(&box, "printf '#!/usr/bin/perl\\n' >/tmp/s; chmod 755 /tmp/s; /tmp/s", REFUSED);
	run(&box, "printf '#!/bin/cat\\n' >/tmp/s; chmod 755 /tmp/s; /tmp/s", REFUSED);
}

static void enforced_says_so(void **state)
{
	(void)state;
	assert_int_equal(json_integer_value(json_object_get(box.enforced, "programs")), 4);
	assert_string_equal(
	    json_string_value(json_object_get(box.enforced, "programs_strength")), "interpreter");
	assert_int_equal(json_integer_value(json_object_get(free_box.enforced, "programs")), 0);
}

static struct programs *find(const char *const *list, struct err *e)
{
	struct programs *g = NULL;
	struct plan p;

	rig_plan(&p);
	for (; *list; list++)
		(void)str_copy(p.programs[p.nprograms++], PLAN_INSIDE_MAX, *list);
	(void)programs_find(host_root, &p, 65534, &g, e);
	return g;
}

static void a_list_has_a_strength(void **state)
{
	static const char *const kernel[] = {"/bin/cat", "/usr/bin/ls", NULL};
	static const char *const shell[] = {"/bin/cat", "/bin/sh", NULL};
	static const char *const awk[] = {"/usr/bin/awk", NULL}; /* links to one */
	static const char *const script[] = {"/usr/bin/ldd", NULL};
	const char *const *all[] = {kernel, shell, awk, script};
	const char *who[] = {"", "/bin/sh", "/usr/bin/awk", NULL};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct programs *g = find(all[i], &e);

		if (!g)
			print_error("%s\n", err_text(&e));
		assert_non_null(g);
		assert_int_equal(g->strength, i == 0 ? PROGRAMS_KERNEL : PROGRAMS_INTERPRETER);
		if (who[i])
			assert_string_equal(g->interpreter, who[i]);
		free(g);
	}
}

static void a_list_that_cannot_be_is_refused(void **state)
{
	static const char *const absent[] = {"/usr/bin/nothing-of-the-kind", NULL};
	static const char *const data[] = {"/etc/passwd", NULL};
	static const char *const dir[] = {"/usr/bin", NULL};
	struct backend_failure f = {NULL};
	struct err e = ERR_INIT;
	struct plan p;

	(void)state;
	assert_null(find(absent, &e));
	assert_non_null(strstr(err_text(&e), "/usr/bin/nothing-of-the-kind: No such file"));
	assert_null(find(data, &e));
	assert_non_null(strstr(err_text(&e), "neither a program nor a script"));
	assert_null(find(dir, &e));
	rig_plan(&p);
	(void)str_copy(p.programs[p.nprograms++], PLAN_INSIDE_MAX, absent[0]);
	struct box x;
	assert_true(box_start(&rig, &x, &p, &f, &e) < 0);
	assert_string_equal(f.step, "programs");
}

static int begin(void **state)
{
	static const char *const list[] = {"/bin/sh", "/bin/cat", "/usr/bin/ls", "/bin/chmod"};
	struct backend_failure f = {NULL};
	struct err e = ERR_INIT;
	struct plan p;

	(void)state;
	host_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	rig_plan(&p);
	if (box_start(&rig, &free_box, &p, &f, &e) < 0 || box_install_self(&free_box) < 0)
		goto fail;
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		(void)str_copy(p.programs[p.nprograms++], PLAN_INSIDE_MAX, list[i]);
	if (box_start(&rig, &box, &p, &f, &e) < 0 || box_install_self(&box) < 0)
		goto fail;
	return 0;
fail:
	print_error("%s: %s\n%s\n", f.step, err_text(&e), ran.err);
	return -1;
}

static int end(void **state)
{
	(void)state;
	if (free_box.s)
		(void)box_end(&free_box, NULL);
	if (box.s)
		(void)box_end(&box, NULL);
	rig_free(&rig);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_list_every_way_is_open),
	    cmocka_unit_test(what_is_listed_runs),
	    cmocka_unit_test(what_is_not_listed_does_not),
	    cmocka_unit_test(the_loader_cannot_be_had_to_run_it),
	    cmocka_unit_test(it_can_neither_be_read_nor_copied),
	    cmocka_unit_test(what_the_agent_writes_does_not_run),
	    cmocka_unit_test(a_library_of_the_agent_is_not_loaded),
	    cmocka_unit_test(a_script_needs_its_interpreter_on_the_list),
	    cmocka_unit_test(enforced_says_so),
	    cmocka_unit_test(a_list_has_a_strength),
	    cmocka_unit_test(a_list_that_cannot_be_is_refused),
	};

	if (argc == 2 && strncmp(argv[0], "/tmp/probe", 10) == 0)
		return probe(argv[1]);
	return cmocka_run_group_tests(tests, begin, end);
}
