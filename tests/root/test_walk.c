/* The walker on hostile trees: a layer above another one, made by hand in a directory of the test's
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/walk/changes.h"
#include "broker/walk/gate.h"
#include "broker/walk/opaque.h"
#include "lib/clock.h"
#include "lib/util.h"

struct tree {
	char dir[32];
	int top, low;
	char told[65536];
	struct changes c;
};

static int set_up(void **state)
{
	struct tree *t = calloc(1, sizeof *t);
	int fd;

	(void)snprintf(t->dir, sizeof t->dir, "/tmp/walk-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, "up", 0755), 0);
	assert_int_equal(mkdirat(fd, "low", 0755), 0);
	t->top = openat(fd, "up", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->low = openat(fd, "low", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)close(fd);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct tree *t = *state;
	char *argv[] = {(char[]){"rm"}, (char[]){"-rf"}, t->dir, NULL};
	pid_t pid;

	(void)close(t->top);
	(void)close(t->low);
	if ((pid = fork()) == 0) {
		(void)execv("/bin/rm", argv);
		_exit(1);
	}
	(void)waitpid(pid, NULL, 0);
	free(t);
	return 0;
}

static void put(int dir, const char *name, const char *text, mode_t mode)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static int take(void *arg, const struct change *x)
{
	struct tree *t = arg;
	size_t n = strlen(t->told);

	(void)snprintf(t->told + n, sizeof t->told - n, "%s %s %s%s%s%s\n", change_kinds[x->what],
	    change_type(x->mode), x->path, x->skipped ? " !" : "", x->skipped ? x->skipped : "",
	    x->deep ? " deep" : "");
	return 0;
}

static int look(void *arg, int fd)
{
	(void)arg;
	return opaque_look(fd);
}

static void walk(struct tree *t)
{
	t->c.top = t->top;
	t->c.lower = &t->low;
	t->c.nlower = 1;
	t->c.opaque = look;
	t->c.take = take;
	t->c.arg = t;
	*t->told = '\0';
	assert_int_equal(changes_walk(&t->c), 0);
}

static void tells_added_changed_deleted_and_metadata_in_order(void **state)
{
	struct tree *t = *state;

	put(t->low, "kept", "1", 0644);
	put(t->low, "content", "old", 0644);
	put(t->low, "mode", "same", 0644);
	put(t->low, "gone", "x", 0644);
	assert_int_equal(mkdirat(t->low, "d", 0755), 0);
	put(t->low, "d/in", "1", 0644);
	put(t->top, "content", "new", 0644);
	put(t->top, "mode", "same", 0600);
	put(t->top, "new", "x", 0755);
	assert_int_equal(mkdirat(t->top, "d", 0755), 0);
	put(t->top, "d/in", "2", 0644);
	assert_int_equal(mknodat(t->top, "gone", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(mknodat(t->top, "never", S_IFCHR, makedev(0, 0)), 0);
	walk(t);
	assert_string_equal(t->told, "changed file content\n"
	                             "changed file d/in\n"
	                             "deleted file gone\n"
	                             "metadata file mode\n"
	                             "added file new\n");
	assert_false(t->c.incomplete);
}

static void an_opaque_directory_deletes_what_it_hides(void **state)
{
	struct tree *t = *state;

	assert_int_equal(mkdirat(t->low, "d", 0755), 0);
	put(t->low, "d/hidden", "1", 0644);
	put(t->low, "d/same", "1", 0644);
	assert_int_equal(mkdirat(t->top, "d", 0755), 0);
	put(t->top, "d/same", "2", 0644);
	walk(t);
	assert_string_equal(t->told, "changed file d/same\n");
	assert_int_equal(fsetxattr(openat(t->top, "d", O_RDONLY | O_CLOEXEC),
	                     "trusted.overlay.opaque", "y", 1, 0),
	    0);
	walk(t);
	assert_string_equal(t->told, "deleted file d/hidden\nchanged file d/same\n");
}

static void layers_that_count_are_seen_as_one(void **state)
{
	struct tree *t = *state;
	int mid[2], fd;

	assert_int_equal(mkdirat(t->low, "mid", 0755), 0);
	mid[0] = openat(t->low, "mid", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(t->low, "base", 0755), 0);
	mid[1] = openat(t->low, "base", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(mid[1], "d", 0755), 0);
	put(mid[1], "d/old", "1", 0644);
	put(mid[1], "removed", "1", 0644);
	assert_int_equal(mkdirat(mid[0], "d", 0755), 0);
	put(mid[0], "d/later", "1", 0644);
	put(mid[0], "d/gone", "1", 0644);
	assert_int_equal(mknodat(mid[0], "removed", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(mkdirat(mid[0], "hidden", 0755), 0);
	put(mid[0], "hidden/by", "1", 0644);
	assert_int_equal(mkdirat(t->top, "d", 0755), 0);
	assert_int_equal(mknodat(t->top, "d/gone", S_IFCHR, makedev(0, 0)), 0);
	put(t->top, "d/new", "1", 0644);
	assert_int_equal(mkdirat(t->top, "hidden", 0755), 0);
	fd = openat(t->top, "hidden", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
	(void)close(fd);
	t->c = (struct changes){.top = t->top,
	    .lower = mid,
	    .nlower = 2,
	    .nmore = 1,
	    .opaque = look,
	    .take = take,
	    .arg = t};
	*t->told = '\0';
	assert_int_equal(changes_walk(&t->c), 0);
	assert_string_equal(t->told, "added file d/later\nadded file d/new\nadded dir hidden\n"
	                             "deleted file removed\n");
	(void)close(mid[0]);
	(void)close(mid[1]);
}

static void follows_no_link_and_opens_no_fifo(void **state)
{
	struct tree *t = *state;

	assert_int_equal(symlinkat("/", t->top, "out"), 0);
	assert_int_equal(symlinkat(".", t->top, "loop"), 0);
	assert_int_equal(mkfifoat(t->top, "pipe", 0644), 0);
	assert_int_equal(mknodat(t->top, "disk", S_IFBLK | 0644, makedev(7, 99)), 0);
	walk(t);
	assert_string_equal(t->told, "added device disk\nadded symlink loop\nadded symlink out\n"
	                             "added fifo pipe\n");
}

static void hashes_no_more_than_it_may(void **state)
{
	struct tree *t = *state;
	int fd = openat(t->top, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_int_equal(ftruncate(fd, INT64_C(1) << 40), 0);
	(void)close(fd);
	put(t->top, "a", "12345678", 0644);
	put(t->top, "b", "12345678", 0644);
	t->c.file_bytes = 1 << 20;
	t->c.hash_bytes = 10;
	walk(t);
	assert_string_equal(t->told, "added file a\nadded file b !size\nadded file sparse !size\n");
}

static void what_is_over_the_cap_is_counted(void **state)
{
	struct tree *t = *state;
	char name[16];

	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof name, "f%05d", i);
		put(t->top, name, "", 0644);
	}
	t->c.max = 2500;
	walk(t);
	assert_non_null(strstr(t->told, "added file f01999\nadded file f02000\n"));
	assert_null(strstr(t->told, "f02500"));
	assert_int_equal(t->c.count[CHANGE_ADDED], 3000);
	assert_int_equal(t->c.left_out, 500);
}

static void deep_trees_are_named_and_not_entered(void **state)
{
	struct tree *t = *state;
	int at = dup(t->top);

	/* far beyond PATH_MAX */
	for (int i = 0; i < 1000; i++) {
		int next;

		assert_int_equal(mkdirat(at, "a-name-that-makes-the-path-long-soon", 0755), 0);
		next = openat(at, "a-name-that-makes-the-path-long-soon", O_RDONLY | O_CLOEXEC);
		(void)close(at);
		at = next;
	}
	(void)close(at);
	walk(t);
	assert_int_equal(t->c.count[CHANGE_ADDED], CHANGES_DEPTH);
	assert_int_equal(t->c.deep, 1);
	assert_true(t->c.incomplete);
}

static void ends_at_its_deadline(void **state)
{
	struct tree *t = *state;

	put(t->top, "a", "", 0644);
	t->c.deadline_ns = clock_mono_ns() - 1;
	walk(t);
	assert_true(t->c.incomplete);
	assert_string_equal(t->told, "");
}

static void any_bytes_are_a_name(void **state)
{
	struct tree *t = *state;

	put(t->top, "\xff\x1b[2J\n\"", "", 0644);
	walk(t);
	assert_string_equal(t->told, "added file \xff\x1b[2J\n\"\n");
}

static void the_process_beside_answers_for_opaque_ones(void **state)
{
	struct tree *t = *state;
	int pair[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	if ((pid = fork()) == 0) {
		(void)close(pair[0]);
		opaque_serve(pair[1]);
		_exit(0);
	}
	(void)close(pair[1]);
	assert_int_equal(opaque_ask(pair[0], t->top), 0);
	assert_int_equal(fsetxattr(t->top, "trusted.overlay.opaque", "y", 1, 0), 0);
	assert_int_equal(opaque_ask(pair[0], t->top), 1);
	(void)close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(tells_added_changed_deleted_and_metadata_in_order),
	    T(an_opaque_directory_deletes_what_it_hides),
	    T(layers_that_count_are_seen_as_one),
	    T(follows_no_link_and_opens_no_fifo),
	    T(hashes_no_more_than_it_may),
	    T(what_is_over_the_cap_is_counted),
	    T(deep_trees_are_named_and_not_entered),
	    T(ends_at_its_deadline),
	    T(any_bytes_are_a_name),
	    T(the_process_beside_answers_for_opaque_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
