/*
 * What a template shows of the host: it can be read and nothing else, by the rules that hold for
 * anybody, and the places where it is shown are no way to anything else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/tree.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct ran ran;
static char top[] = "/tmp/binds-XXXXXX"; /* on a disk of the host */

static void plan(struct plan *p, const char *source, const char *target)
{
	rig_plan(p);
	p->nmounts = 1;
	(void)snprintf(p->mounts[0].source, sizeof p->mounts[0].source, "%s%s", top, source);
	(void)snprintf(p->mounts[0].target, sizeof p->mounts[0].target, "%s", target);
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

static void refused(const struct plan *p, const char *step, const char *says)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box x;

	assert_true(box_start(&rig, &x, p, &f, &e) < 0);
	assert_string_equal(f.step, step);
	if (!strstr(err_text(&e), says))
		print_error("%s\n", err_text(&e));
	assert_non_null(strstr(err_text(&e), says));
}

static void it_is_read_and_not_written(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data", "/srv/deep/er");
	start(&x, &p);
	sh(&x, "cat /srv/deep/er/open", "open\n");
	sh(&x, "echo x 2>&- >/srv/deep/er/open || echo no", "no\n");
	sh(&x, "echo x 2>&- >/srv/deep/er/wide/new || echo no", "no\n");
	sh(&x, "grep ' /srv/deep/er ' /proc/self/mountinfo | cut -d' ' -f6 | cut -d, -f1-3",
	    "ro,nosuid,nodev\n");
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(x.enforced, "mounts"), 0)),
	    "/srv/deep/er");
	assert_true(box_end(&x, NULL));
}

/* Neither as the agent nor as root inside: nobody in there owns it. */
static void only_what_anybody_may_read_can_be_read(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data", "/data");
	for (int root = 0; root < 2; root++) {
		p.root_user = root;
		start(&x, &p);
		sh(&x, "cat /data/roots 2>&- || echo no", "no\n");
		sh(&x, "cat /data/users 2>&- || echo no", "no\n");
		sh(&x, "chmod 777 /data/open 2>&- || echo no", "no\n");
		assert_true(box_end(&x, NULL));
	}
}

static void what_is_mounted_below_it_stays_out(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data", "/data");
	start(&x, &p);
	sh(&x, "ls /data/nested", "");
	assert_true(box_end(&x, NULL));
}

static void a_file_can_be_shown(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data/open", "/opt/one.conf");
	start(&x, &p);
	sh(&x, "cat /opt/one.conf", "open\n");
	assert_true(box_end(&x, NULL));
}

/* A directory that is made for it must not hide whose the one below was. */
static void the_home_around_it_stays_the_agents(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data", "/home/agent/data");
	start(&x, &p);
	sh(&x, "echo mine >~/f && cat ~/f ~/data/open", "mine\nopen\n");
	sh(&x, "stat -c '%u %a' /home/agent /home", "1000 755\n0 755\n");
	assert_true(box_end(&x, NULL));
}

static void nothing_of_it_runs_where_programs_are_listed(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	plan(&p, "/data", "/data");
	start(&x, &p);
	sh(&x, "/data/true && echo ran", "ran\n");
	assert_true(box_end(&x, NULL));
	p.nprograms = 2;
	(void)snprintf(p.programs[0], sizeof p.programs[0], "/usr/bin/dash");
	(void)snprintf(p.programs[1], sizeof p.programs[1], "/usr/bin/cat");
	start(&x, &p);
	const char *argv[] = {
	    "/usr/bin/dash", "-c", "cat /data/open; /data/true 2>&- || echo no", NULL};
	assert_int_equal(box_run(&x, 1, argv, NULL, 0, 10000, &ran), 0);
	assert_string_equal(ran.out, "open\nno\n");
	assert_true(box_end(&x, NULL));
}

static void no_link_leads_to_a_source(void **state)
{
	struct plan p;

	(void)state;
	plan(&p, "/link", "/data");
	refused(&p, "mounts", "symbolic links");
	plan(&p, "/none", "/data");
	refused(&p, "mounts", "No such file");
}

static void sockets_and_the_kernels_own_are_not_shown(void **state)
{
	static const char *const sources[] = {"/run", "/run/user", "/proc", "/sys/fs", "/dev"};
	struct plan p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		plan(&p, "", "/data");
		(void)snprintf(p.mounts[0].source, sizeof p.mounts[0].source, "%s", sources[i]);
		refused(&p, "mounts", "is shown");
	}
	plan(&p, "/proc-too", "/data");
	refused(&p, "mounts", "kernel's own");
	plan(&p, "/fifo", "/data");
	refused(&p, "mounts", "neither");
}

static void what_is_the_sandboxs_own_is_not_covered(void **state)
{
	static const char *const targets[] = {"/proc", "/dev/x", "/run", "/run/postern/bin"};
	struct plan p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		plan(&p, "/data", targets[i]);
		refused(&p, "mounts", "own");
	}
	plan(&p, "/data", "/bin/x"); /* a link of the skeleton's */
	refused(&p, "mounts", "symbolic links");
}

static int make(void)
{
	int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int host = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[64];
	int r = -1;

	if (chmod(top, 0755) < 0 || tree_dir(at, "data", 0755, 0) < 0 ||
	    tree_dir(at, "data/nested", 0755, 0) < 0 || tree_dir(at, "data/wide", 0777, 0) < 0 ||
	    tree_dir(at, "proc-too", 0755, 0) < 0 || tree_write(at, "data/open", "open\n") < 0 ||
	    tree_write(at, "data/roots", "x\n") < 0 || tree_write(at, "data/users", "x\n") < 0 ||
	    tree_copy_file(host, "usr/bin/true", at, "data/true", 0755) < 0 ||
	    fchmodat(at, "data/roots", 0600, 0) < 0 || fchmodat(at, "data/users", 0600, 0) < 0 ||
	    fchownat(at, "data/users", 1000, 1000, 0) < 0 || symlinkat("data", at, "link") < 0 ||
	    mkfifoat(at, "fifo", 0666) < 0)
		goto out;
	(void)snprintf(path, sizeof path, "%s/data/nested", top);
	if (mount("inner", path, "tmpfs", 0, "mode=0755") < 0)
		goto out;
	(void)snprintf(path, sizeof path, "%s/data/nested/inner", top);
	if (mkdir(path, 0755) < 0)
		goto out;
	(void)snprintf(path, sizeof path, "%s/proc-too", top);
	r = mount("proc", path, "proc", 0, NULL);
out:
	(void)close(at);
	(void)close(host);
	return r;
}

static void clean(int at)
{
	static const char *const names[] = {
	    "data/open", "data/roots", "data/users", "data/true", "link", "fifo"};
	static const char *const dirs[] = {"data/nested", "data/wide", "data", "proc-too"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlinkat(at, names[i], 0);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		(void)unlinkat(at, dirs[i], AT_REMOVEDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_read_and_not_written),
	    cmocka_unit_test(only_what_anybody_may_read_can_be_read),
	    cmocka_unit_test(what_is_mounted_below_it_stays_out),
	    cmocka_unit_test(a_file_can_be_shown),
	    cmocka_unit_test(the_home_around_it_stays_the_agents),
	    cmocka_unit_test(nothing_of_it_runs_where_programs_are_listed),
	    cmocka_unit_test(no_link_leads_to_a_source),
	    cmocka_unit_test(sockets_and_the_kernels_own_are_not_shown),
	    cmocka_unit_test(what_is_the_sandboxs_own_is_not_covered),
	};
	struct err e = ERR_INIT;
	int r = 1, at, parent;

	if (getuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	if (!mkdtemp(top) || (parent = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 1;
	/* what is mounted for the tests goes with this process */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    make() < 0)
		printf("Bail out! %s: %s\n", top, strerror(errno));
	else if (rig_new(&rig, NULL, 0, &e) < 0)
		printf("Bail out! %s\n", err_text(&e));
	else {
		r = cmocka_run_group_tests(tests, NULL, NULL);
		rig_free(&rig);
	}
	clean(at);
	(void)unlinkat(parent, top + sizeof "/tmp/" - 1, AT_REMOVEDIR);
	return r;
}
