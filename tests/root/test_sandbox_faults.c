/*
 * A sandbox's set-up that fails: the start is refused with the step's name, nothing of it is left,
 * and the next one works. What fails here is the skeleton, at its last step: our own programs are
 * not where they should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/skeleton.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define TRIES 4

static struct rig rig;
static int libexec = -1, programs = -1;
static char libexec_name[64];

struct left {
	unsigned skeletons, roots, mounts, fds;
};

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *t; (t = readdir(d));)
		n += t->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static struct left look(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct left l = {.skeletons = entries("/skel"), .roots = entries("/roots")};

	assert_non_null(f);
	for (int c; (c = fgetc(f)) != EOF;)
		l.mounts += c == '\n';
	(void)fclose(f);
	l.fds = entries("/proc/self/fd");
	return l;
}

static void assert_same(const struct left *a, const struct left *b)
{
	assert_int_equal(a->skeletons, b->skeletons);
	assert_int_equal(a->roots, b->roots);
	assert_int_equal(a->mounts, b->mounts);
	assert_int_equal(a->fds, b->fds);
}

static void break_programs(void)
{
	if (unlinkat(libexec, "postern-init", 0) < 0)
		assert_int_equal(errno, ENOENT);
}

static void mend_programs(void)
{
	assert_return_code(linkat(programs, "postern-init", libexec, "postern-init", 0), errno);
}

static void refused(const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box x;

	assert_int_equal(box_start(&rig, &x, p, &f, &e), -ENOENT);
	assert_string_equal(f.step, "template");
	if (!strstr(err_text(&e), "postern-init"))
		fail_msg("%s", err_text(&e));
}

static void works(const struct plan *p)
{
	const char *argv[] = {"/bin/true", NULL};
	struct backend_failure f = {0};
	static struct ran ran;
	struct err e = ERR_INIT;
	struct box x;
	int r = box_start(&rig, &x, p, &f, &e);

	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
	assert_int_equal(box_run(&x, 1, argv, NULL, 0, 10000, &ran), 0);
	assert_true(ran.finished);
	assert_int_equal(ran.exit, 0);
	assert_true(box_end(&x, NULL));
}

/* Each with a role of its own, so that no skeleton of another is found. */
static void failed_skeleton_leaves_nothing(const char *role, struct plan *p)
{
	struct left before, after;

	(void)str_copy(p->role, sizeof p->role, role);
	break_programs();
	before = look();
	refused(p);
	after = look();
	assert_same(&before, &after);
	mend_programs();
	works(p);
}

static void host_skeleton_that_failed_leaves_nothing(void **state)
{
	struct plan p;

	(void)state;
	rig_plan(&p);
	failed_skeleton_leaves_nothing("host", &p);
}

static void bound_root_of_a_failed_skeleton_is_unbound(void **state)
{
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.root = PLAN_ROOT_DIRECTORY;
	(void)str_copy(p.root_path, sizeof p.root_path, "/usr"); /* merged: it has bin and lib */
	failed_skeleton_leaves_nothing("directory", &p);
}

static void bound_database_of_a_failed_skeleton_is_unbound(void **state)
{
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.root_user = true;
	failed_skeleton_leaves_nothing("root", &p);
}

static void failures_use_up_no_skeletons(void **state)
{
	char next[64];
	unsigned made;
	struct plan p;

	(void)state;
	rig_plan(&p);
	(void)str_copy(p.role, sizeof p.role, "often");
	made = look().skeletons;
	break_programs();
	/* they are numbered, and there is a last number */
	(void)snprintf(next, sizeof next, "/skel/%u", made);
	for (int i = 0; i < TRIES; i++)
		refused(&p);
	mend_programs();
	works(&p);
	assert_return_code(access(next, F_OK), errno);
	(void)snprintf(next, sizeof next, "/skel/%u", made + 1);
	assert_int_not_equal(access(next, F_OK), 0);
}

static int make_libexec(struct err *e)
{
	char path[4200];
	int build = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(libexec_name, sizeof libexec_name, "faults-%d", (int)getpid());
	(void)snprintf(path, sizeof path, "%s/%s", rig_build_dir(), libexec_name);
	libexec = fd_open_dir(build, libexec_name, 0755);
	programs = openat(build, "libexec/postern", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)close(build);
	if (libexec < 0 || programs < 0)
		return err_set(e, -errno, "%s: %m", path);
	return rig_new(&rig, path, 0, e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(host_skeleton_that_failed_leaves_nothing),
	    cmocka_unit_test(bound_root_of_a_failed_skeleton_is_unbound),
	    cmocka_unit_test(bound_database_of_a_failed_skeleton_is_unbound),
	    cmocka_unit_test(failures_use_up_no_skeletons),
	};
	struct err e = ERR_INIT;
	int r;

	if (getuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	if (make_libexec(&e) < 0) {
		printf("Bail out! %s\n", err_text(&e));
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlinkat(libexec, "postern-init", 0);
	if (rig.parent_fd >= 0)
		(void)unlinkat(rig.parent_fd, libexec_name, AT_REMOVEDIR);
	rig_free(&rig);
	return r;
}
