/*
 * A template's own Landlock rules: what holds below their paths is what they say, and around them
 * what held before; what cannot be had is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct ran ran;

static void rule(struct plan *p, const char *path, enum plan_landlock access)
{
	(void)str_copy(p->rules[p->nrules].path, sizeof p->rules[0].path, path);
	p->rules[p->nrules++].access = access;
}

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int r = box_start(&rig, x, p, &f, &e);

	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
}

static void sh(struct box *x, const char *script, const char *want)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	assert_true(ran.finished);
	if (strcmp(ran.out, want) != 0)
		print_error("%s: %s%s\n", script, ran.out, ran.err);
	assert_string_equal(ran.out, want);
}

static void refused(const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box x;

	assert_true(box_start(&rig, &x, p, &f, &e) < 0);
	assert_string_equal(f.step, "landlock");
}

#define DENIED " 2>&1 | grep -c 'Permission denied'"

static void nothing_holds_below_none(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	rule(&p, "/usr/share/doc", PLAN_LANDLOCK_NONE);
	start(&x, &p);
	sh(&x, "ls /usr/share/doc" DENIED, "1\n");
	sh(&x, "ls /usr/share/doc/dash" DENIED, "1\n");
	sh(&x, "cat /usr/share/doc/dash/copyright" DENIED, "1\n");
	/* all around it is as before */
	sh(&x, "head -c1 /usr/share/common-licenses/GPL-3 | wc -c; ls /usr/bin/dash",
	    "1\n/usr/bin/dash\n");
	sh(&x, "echo x >/tmp/f && cat /tmp/f; echo y >~/f && cat ~/f", "x\ny\n");
	sh(&x, "cat /etc/machine-id | wc -c; echo z >/dev/null && echo z", "33\nz\n");
	assert_int_equal(json_integer_value(json_object_get(x.enforced, "landlock_rules")), 1);
	assert_true(box_end(&x, NULL));
}

static void the_deepest_rule_holds(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	rule(&p, "/usr/share", PLAN_LANDLOCK_NONE);
	rule(&p, "/usr/share/common-licenses", PLAN_LANDLOCK_READ);
	start(&x, &p);
	sh(&x, "ls /usr/share" DENIED, "1\n");
	sh(&x, "head -c1 /usr/share/common-licenses/GPL-3 | wc -c", "1\n");
	sh(&x, "head -c1 /usr/share/doc/dash/copyright" DENIED, "1\n");
	assert_true(box_end(&x, NULL));
}

static void below_read_nothing_runs(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	rule(&p, "/usr/sbin", PLAN_LANDLOCK_READ);
	start(&x, &p);
	sh(&x, "/usr/sbin/chroot --version" DENIED, "1\n");
	sh(&x, "head -c4 /usr/sbin/chroot | tail -c3; echo", "ELF\n");
	sh(&x, "ls -d / /usr/bin/true; ls / >/tmp/l && echo listed", "/\n/usr/bin/true\nlisted\n");
	assert_true(box_end(&x, NULL));
}

static void a_writable_directory_can_be_read_only(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	rule(&p, "/var", PLAN_LANDLOCK_READ);
	start(&x, &p);
	sh(&x, "ls /var/tmp; echo x >/tmp/f && cat /tmp/f", "x\n");
	sh(&x, "(: >/var/tmp/f)" DENIED, "1\n");
	assert_true(box_end(&x, NULL));
}

/* As far as modes allow, which here is as far as root inside goes. */
static void write_adds_to_what_is_usual(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.root_user = true;
	start(&x, &p);
	sh(&x, "(: >/run/../new)" DENIED, "1\n");
	assert_true(box_end(&x, NULL));
	rule(&p, "/bin-not", PLAN_LANDLOCK_WRITE);
	refused(&p); /* it is not there */
	p.nrules = 0;
	p.root_user = false;
	rule(&p, "/etc", PLAN_LANDLOCK_WRITE);
	start(&x, &p);
	sh(&x, "(: >/etc/new)" DENIED, "1\n"); /* it is root's */
	assert_true(box_end(&x, NULL));
}

static void a_list_of_programs_stays_one(void **state)
{
	const char *argv[] = {"/usr/bin/dash", "-c",
	    "cat /etc/hostname >/dev/null && echo r; /usr/bin/true 2>/dev/null || echo no; "
	    "cat /usr/bin/true 2>/dev/null >&2 || echo no; cat /usr/share/common-licenses/GPL-3 "
	    "2>/dev/null >&2 || echo no",
	    NULL};
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.nprograms = 2;
	(void)str_copy(p.programs[0], sizeof p.programs[0], "/usr/bin/dash");
	(void)str_copy(p.programs[1], sizeof p.programs[1], "/usr/bin/cat");
	rule(&p, "/usr/share", PLAN_LANDLOCK_NONE);
	rule(&p, "/usr/bin", PLAN_LANDLOCK_EXEC);
	start(&x, &p);
	assert_int_equal(box_run(&x, 1, argv, NULL, 0, 10000, &ran), 0);
	assert_string_equal(ran.out, "r\nno\nno\nno\n");
	assert_true(box_end(&x, NULL));
	rule(&p, "/usr/lib", PLAN_LANDLOCK_WRITE);
	refused(&p);
}

static void what_cannot_be_had_is_refused(void **state)
{
	static const struct {
		const char *path;
		enum plan_landlock access;
	} all[] = {
	    {"/home/agent", PLAN_LANDLOCK_READ}, /* below what is writable */
	    {"/run", PLAN_LANDLOCK_NONE},        /* what runs first lies there */
	    {"/proc", PLAN_LANDLOCK_WRITE},
	    {"/bin", PLAN_LANDLOCK_NONE}, /* a link: its target would have what it had */
	    {"/usr/not-there", PLAN_LANDLOCK_NONE},
	};
	struct plan p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		rig_plan(&p);
		rule(&p, all[i].path, all[i].access);
		refused(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_holds_below_none),
	    cmocka_unit_test(the_deepest_rule_holds),
	    cmocka_unit_test(below_read_nothing_runs),
	    cmocka_unit_test(a_writable_directory_can_be_read_only),
	    cmocka_unit_test(write_adds_to_what_is_usual),
	    cmocka_unit_test(a_list_of_programs_stays_one),
	    cmocka_unit_test(what_cannot_be_had_is_refused),
	};
	struct err e = ERR_INIT;
	int r;

	if (getuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		printf("Bail out! %s\n", err_text(&e));
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rig_free(&rig);
	return r;
}
