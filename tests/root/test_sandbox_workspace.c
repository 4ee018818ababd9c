/*
 * Workspaces in sandboxes: what lasts, who sees it, whose it is on the disk, and that nothing of it
 * can be run there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "broker/spawn/backend_ns.h"
#include "broker/workspace/store.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct ran ran;
static struct work_store *store;

static int try_start(struct box *x, const char *tenant, const char *name, enum plan_workspace mode,
    bool root, struct backend_failure *f, struct err *e)
{
	struct plan p;

	rig_plan(&p);
	(void)str_copy(p.tenant, sizeof p.tenant, tenant);
	(void)str_copy(p.workspace, sizeof p.workspace, name);
	p.workspace_mode = mode;
	p.root_user = root;
	return box_start(&rig, x, &p, f, e);
}

static void start(struct box *x, const char *tenant, const char *name, enum plan_workspace mode)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;

	if (try_start(x, tenant, name, mode, false, &f, &e) < 0) {
		print_error("step %s: %s\n", f.step, err_text(&e));
		fail();
	}
}

static void expect(struct box *x, const char *script, const char *out)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	if (strcmp(ran.out, out) != 0)
		print_error("%s\n%s", script, ran.err);
	assert_string_equal(ran.out, out);
}

/* In a session of its own. */
static void in_session(const char *tenant, const char *name, enum plan_workspace mode,
    const char *script, const char *out)
{
	struct box x;

	start(&x, tenant, name, mode);
	expect(&x, script, out);
	assert_true(box_end(&x, NULL));
}

#define RW PLAN_WORKSPACE_RW
#define RO PLAN_WORKSPACE_RO

static void what_is_written_lasts(void **state)
{
	(void)state;
	in_session("demo", "lasts", RW,
	    "cd /workspace && echo hello >a && mkdir d && echo x >d/f && ln -s a l && "
	    "stat -c %u:%g:%a . a",
	    "1000:1000:755\n1000:1000:644\n");
	in_session("demo", "lasts", RW,
	    "cd /workspace && cat a d/f && readlink l && stat -c %u:%g a && rm a && mv d e && ls",
	    "hello\nx\na\n1000:1000\ne\nl\n");
	in_session("demo", "lasts", RO, "cd /workspace && ls; touch x 2>&1 | grep -c Read-only",
	    "e\nl\n1\n");
}

static void layers_show_what_is_above(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	in_session(
	    "demo", "layers", RW, "cd /workspace; echo 1 >a; echo 1 >b; mkdir d; echo 1 >d/x", "");
	assert_int_equal(work_snapshot(store, "demo", "layers", "one", &e), 0);
	in_session("demo", "layers", RW,
	    "cd /workspace; echo 2 >a; rm b; rm -r d; mkdir d; echo 2 >d/y; cat a; ls; ls d",
	    "2\na\nd\ny\n");
	assert_int_equal(work_snapshot(store, "demo", "layers", "two", &e), 0);
	assert_int_equal(work_fork(store, "demo", "layers", "one", "other", &e), 0);
	in_session(
	    "demo", "other", RW, "cd /workspace; cat a b d/x; ls; echo 3 >a", "1\n1\n1\na\nb\nd\n");
	in_session("demo", "layers", RW, "cd /workspace; cat a; ls . d; chmod 700 d; echo 3 >b",
	    "2\n.:\na\nd\n\nd:\ny\n");
	assert_int_equal(work_rollback(store, "demo", "layers", "two", &e), 0);
	in_session("demo", "layers", RO, "cd /workspace; cat a; ls; ls d; stat -c %a d",
	    "2\na\nd\ny\n755\n");
	assert_int_equal(work_delete(store, "demo", "layers", NULL, &e), 0);
	in_session("demo", "other", RO, "cd /workspace; cat a b d/x", "3\n1\n1\n");
}

static void one_session_writes_at_a_time(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box x, y, z;

	(void)state;
	start(&x, "demo", "single", RW);
	expect(&x, "echo before >/workspace/a", "");
	assert_int_equal(try_start(&y, "demo", "single", RW, false, &f, &e), -EBUSY);
	assert_string_equal(f.step, "workspace");
	assert_non_null(strstr(err_text(&e), x.session));
	assert_int_equal(work_snapshot(store, "demo", "single", "s", &e), -EBUSY);
	assert_int_equal(work_rollback(store, "demo", "single", "s", &e), -ENOENT);
	assert_int_equal(work_delete(store, "demo", "single", NULL, &e), -EBUSY);
	/* a reader sees what was frozen last */
	start(&y, "demo", "single", RO);
	expect(&y, "ls /workspace", "");
	assert_true(box_end(&y, NULL));
	assert_true(box_end(&x, NULL));
	/* and the lock has gone with the sandbox */
	start(&y, "demo", "single", RO);
	start(&z, "demo", "single", RW);
	expect(&z, "cat /workspace/a; echo after >/workspace/a", "before\n");
	/* what somebody reads stays as it was */
	expect(&y, "cat /workspace/a", "before\n");
	assert_true(box_end(&z, NULL));
	assert_true(box_end(&y, NULL));
	in_session("demo", "single", RO, "cat /workspace/a", "after\n");
}

static void a_reader_needs_one_that_exists(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct box x;

	(void)state;
	assert_int_equal(try_start(&x, "demo", "none-such", RO, false, &f, &e), -ENOENT);
	assert_string_equal(f.step, "workspace");
}

static void tenants_have_workspaces_of_their_own(void **state)
{
	(void)state;
	in_session("one", "same", RW, "echo secret >/workspace/s; ls /workspace", "s\n");
	in_session("two", "same", RW, "ls -A /workspace; echo other >/workspace/s", "");
	in_session("one", "same", RO, "cat /workspace/s", "secret\n");
	/* what it lies on cannot be seen */
	in_session("one", "same", RW,
	    "ls -d /ws /mnt/workspace /workspaces 2>/dev/null; "
	    "cut -d' ' -f5 /proc/self/mountinfo | grep -E '^/(ws|roots)'; "
	    "findmnt -no OPTIONS /workspace | grep -o -E 'nosuid|nodev' | sort",
	    "nodev\nnosuid\n");
}

static void sockets_and_fifos_cannot_be_made(void **state)
{
	(void)state;
	in_session("demo", "special", RW,
	    "cd /workspace; mkfifo f 2>&1 | grep -c denied; "
	    "/usr/bin/python3 -c 'import socket; "
	    "socket.socket(socket.AF_UNIX).bind(\"s\")' 2>&1 | grep -c PermissionError; "
	    "mkfifo /tmp/f; mv /tmp/f f2 2>/dev/null; ln /tmp/f f3 2>/dev/null; "
	    "mknod n c 0 0 2>/dev/null; mknod b b 7 0 2>/dev/null; ls -A",
	    "1\n1\n");
}

/* ---- on the disk ---- */

static uint32_t low, high;
static unsigned found, wrong;

static int look(const char *path, const struct stat *st, int type, struct FTW *at)
{
	char xattr[64];

	(void)type;
	found++;
	if (at->level == 0)
		return 0;
	if (st->st_uid < low || st->st_uid >= high || st->st_gid < low || st->st_gid >= high) {
		print_error("%s: %u:%u\n", path, st->st_uid, st->st_gid);
		wrong++;
	}
	/* a program with rights of its own would belong to an id that nobody has */
	if (lgetxattr(path, "security.capability", xattr, sizeof xattr) >= 0)
		wrong++;
	if (S_ISSOCK(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISBLK(st->st_mode) ||
	    (S_ISCHR(st->st_mode) && st->st_rdev != 0))
		wrong++;
	return 0;
}

/* Below TENANT/layers, through spawn's own mount; the range is that of the root directory. */
static void look_at(const char *tenant, uint32_t *ret_low)
{
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof path, "/roots/0/%s/layers", tenant);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	low = st.st_uid;
	high = low + 65536;
	found = wrong = 0;
	assert_int_equal(nftw(path, look, 16, FTW_PHYS), 0);
	assert_true(found > 5);
	assert_int_equal(wrong, 0);
	*ret_low = low;
}

static void files_belong_to_the_tenants_range(void **state)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	uint32_t one, two;
	struct box x;
	struct stat st;

	(void)state;
	in_session("one", "ids", RW,
	    "cd /workspace; echo a >a; mkdir d; echo b >d/b; cp /usr/bin/id id; chmod 6755 id", "");
	assert_int_equal(work_snapshot(store, "one", "ids", "s", &e), 0);
	/* a directory and a file that are there are changed and taken away: whiteouts, copies */
	in_session(
	    "one", "ids", RW, "cd /workspace; rm a; mv d e; chmod 4755 id; ./id -u", "1000\n");
	in_session("two", "ids", RW, "echo c >/workspace/c", "");
	assert_int_equal(try_start(&x, "one", "ids", RW, true, &f, &e), 0);
	(void)box_sh(&x,
	    "cd /workspace; echo r >r; chown 0:0 r; cp /usr/bin/id rootid; "
	    "chown 0:0 rootid; chmod 4755 rootid",
	    &ran);
	assert_true(box_end(&x, NULL));
	look_at("one", &one);
	look_at("two", &two);
	assert_true(one + 65536 <= two || two + 65536 <= one);
	assert_true(one > 0 && two > 0);
	assert_int_equal(stat("/roots/0/one", &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void no_session_gets_the_ids_of_files(void **state)
{
	uint32_t one, base;
	struct box x;

	(void)state;
	look_at("one", &one);
	for (int i = 0; i < 8; i++) {
		start(&x, "two", "ids", RO);
		base = (uint32_t)json_integer_value(json_object_get(x.enforced, "idbase"));
		assert_true(base + 65536 <= one || one + 65536 <= base);
		assert_true(box_end(&x, NULL));
	}
}

static void the_store_is_on_a_nosuid_nodev_mount(void **state)
{
	char line[512];
	bool good = false;
	FILE *m = fopen("/proc/self/mountinfo", "re");

	(void)state;
	assert_non_null(m);
	while (fgets(line, sizeof line, m))
		if (strstr(line, " /roots/0 "))
			good = strstr(line, "nosuid") && strstr(line, "nodev");
	(void)fclose(m);
	assert_true(good);
}

static void a_killed_writer_leaves_what_it_wrote(void **state)
{
	struct box x;

	(void)state;
	start(&x, "demo", "killed", RW);
	expect(&x,
	    "cd /workspace; for i in 1 2 3; do echo $i >f$i; done; "
	    "(while :; do echo x >>g; done) >/dev/null 2>&1 & ls f? | wc -l",
	    "3\n");
	assert_int_equal(kill(rig.b->ops->pid(x.s), SIGKILL), 0);
	assert_true(box_end(&x, NULL));
	in_session(
	    "demo", "killed", RW, "cd /workspace; cat f1 f2 f3; rm g; ls", "1\n2\n3\nf1\nf2\nf3\n");
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	store = backend_ns_work(rig.b);
	return store ? 0 : -1;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level > 0 ? remove(path) : 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)nftw("/roots/0", forget, 16, FTW_DEPTH | FTW_PHYS);
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_lasts),
	    cmocka_unit_test(layers_show_what_is_above),
	    cmocka_unit_test(one_session_writes_at_a_time),
	    cmocka_unit_test(a_reader_needs_one_that_exists),
	    cmocka_unit_test(tenants_have_workspaces_of_their_own),
	    cmocka_unit_test(sockets_and_fifos_cannot_be_made),
	    cmocka_unit_test(files_belong_to_the_tenants_range),
	    cmocka_unit_test(no_session_gets_the_ids_of_files),
	    cmocka_unit_test(the_store_is_on_a_nosuid_nodev_mount),
	    cmocka_unit_test(a_killed_writer_leaves_what_it_wrote),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
