#include "lib/fdio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

static char dir_name[] = "/tmp/postern-fdio-XXXXXX";
static int dir = -1;

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir_name))
		return -1;
	dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {
	    "f", "f.tmp", "fifo", "link", "sub/f", "sub/up", "sub/abs"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		(void)unlinkat(dir, files[i], 0);
	(void)unlinkat(dir, "sub", AT_REMOVEDIR);
	util_close(&dir);
	return rmdir(dir_name);
}

static void put(const char *name, const char *text)
{
	struct err e = ERR_INIT;

	assert_int_equal(fd_write_file(dir, name, text, strlen(text), 0640, &e), 0);
}

static void writes_a_file_whole_and_reads_it_back(void **state)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;
	struct stat st;

	(void)state;
	put("f", "one");
	put("f", "second");
	buf_init(&b, 100);
	assert_int_equal(fd_read_file(dir, "f", 6, &b, &e), 0);
	assert_string_equal(buf_cstr(&b), "second");
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640); /* whatever the umask is */
	assert_int_equal(fstatat(dir, "f.tmp", &st, 0), -1);
}

static void replaces_a_leftover_and_follows_no_link_there(void **state)
{
	struct stat st;

	(void)state;
	put("f", "kept");
	assert_int_equal(symlinkat("f", dir, "link.tmp"), 0);
	put("link", "new");
	assert_int_equal(fstatat(dir, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(unlinkat(dir, "link", 0), 0);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
	struct err e = ERR_INIT;
	struct rlimit old, small = {2, RLIM_INFINITY};
	struct stat st;
	char big[100] = "";

	(void)state;
	put("f", "old");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = fd_write_file(dir, "f", big, sizeof big, 0600, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(e.text, "f: "));
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(fstatat(dir, "f.tmp", &st, 0), -1);
}

static void refuses_names_too_long_and_missing_directories(void **state)
{
	static char name[5000];
	struct err e = ERR_INIT;

	(void)state;
	memset(name, 'a', sizeof name - 1);
	assert_int_equal(fd_write_file(dir, name, "", 0, 0600, &e), -ENAMETOOLONG);
	assert_int_equal(fd_write_file(dir, "none/f", "", 0, 0600, &e), -ENOENT);
}

static void reads_nothing_beyond_max(void **state)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;

	(void)state;
	put("f", "123456");
	buf_init(&b, 100);
	assert_int_equal(fd_read_file(dir, "f", 5, &b, &e), -EFBIG);
	buf_done(&b);
	buf_init(&b, 5);
	assert_int_equal(fd_read_file(dir, "f", 6, &b, &e), -ENOBUFS);
}

static void reads_regular_files_only(void **state)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_int_equal(fd_read_file(dir, "fifo", 5, &b, &e), -EINVAL); /* and does not wait */
	assert_int_equal(fd_read_file(dir, ".", 5, &b, &e), -EINVAL);
	assert_int_equal(fd_read_file(dir, "none", 5, &b, &e), -ENOENT);
	assert_string_equal(e.text, "none: No such file or directory");
	assert_int_equal(fd_read_file(AT_FDCWD, "/dev/zero", 5, &b, &e), -EINVAL);
}

static void opens_nothing_outside_or_through_links(void **state)
{
	int fd = fd_open_dir(dir, "sub", 0700);

	(void)state;
	assert_true(fd >= 0);
	util_close(&fd);
	put("sub/f", "x");
	assert_int_equal(symlinkat("f", dir, "sub/up"), 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, "sub/abs"), 0);
	fd = fd_open_beneath(dir, "sub/f", O_RDONLY, 0);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	util_close(&fd);
	assert_int_equal(fd_open_beneath(dir, "sub/up", O_RDONLY, 0), -ELOOP);
	assert_int_equal(fd_open_beneath(dir, "sub/abs", O_RDONLY, 0), -ELOOP);
	assert_int_equal(fd_open_beneath(dir, "../etc", O_RDONLY, 0), -EXDEV);
	assert_int_equal(fd_open_beneath(dir, "/etc/passwd", O_RDONLY, 0), -EXDEV);
	assert_int_equal(fd_open_beneath(dir, "none", O_RDONLY, 0600), -ENOENT);
	fd = fd_open_beneath(dir, "f", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	util_close(&fd);
}

static void open_dir_makes_and_opens(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd = fd_open_dir(dir, "sub", 0700);

		assert_true(fd >= 0);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		util_close(&fd);
	}
	put("f", "");
	assert_int_equal(fd_open_dir(dir, "f", 0700), -ENOTDIR);
	assert_int_equal(fd_open_dir(dir, "none/sub", 0700), -ENOENT);
}

static void *slow_reader(void *arg)
{
	static char got[400000];
	size_t n = 0;
	ssize_t k;

	while ((k = read(*(int *)arg, got + n, sizeof got - n)) > 0)
		n += (size_t)k;
	return n == sizeof got ? got : NULL;
}

static void writes_all_to_a_full_nonblocking_pipe(void **state)
{
	static char data[400000];
	pthread_t t;
	void *ok;
	int p[2];

	(void)state;
	memset(data, 'x', sizeof data);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_set_nonblock(p[1], true), 0);
	assert_int_equal(pthread_create(&t, NULL, slow_reader, &p[0]), 0);
	assert_int_equal(fd_write_full(p[1], data, sizeof data), 0);
	util_close(&p[1]);
	assert_int_equal(pthread_join(t, &ok), 0);
	assert_non_null(ok);
	util_close(&p[0]);
}

static void read_full_tells_an_early_end(void **state)
{
	char got[4] = "";
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_write_full(p[1], "abcde", 5), 0);
	util_close(&p[1]);
	assert_int_equal(fd_read_full(p[0], got, 4), 0);
	assert_memory_equal(got, "abcd", 4);
	assert_int_equal(fd_read_full(p[0], got, 4), -ENODATA);
	util_close(&p[0]);
	assert_int_equal(fd_read_full(-1, got, 4), -EBADF);
	assert_int_equal(fd_write_full(-1, got, 4), -EBADF);
}

static void flags_go_on_and_off(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(fd_set_nonblock(fd, true), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_nonblock(fd, false), 0);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_cloexec(fd, false), 0);
	assert_false(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fd_set_cloexec(fd, true), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	util_close(&fd);
	assert_int_equal(fd_set_nonblock(-1, true), -EBADF);
	assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
}

static void a_pair_keeps_records_apart(void **state)
{
	char got[8];
	int p[2];

	(void)state;
	assert_int_equal(fd_seqpacket_pair(p), 0);
	assert_int_equal(send(p[0], "ab", 2, 0), 2);
	assert_int_equal(send(p[0], "c", 1, 0), 1);
	assert_int_equal(recv(p[1], got, sizeof got, 0), 2);
	assert_int_equal(recv(p[1], got, sizeof got, 0), 1);
	assert_int_equal(recv(p[1], got, sizeof got, 0), -1); /* non-blocking */
	assert_int_equal(errno, EAGAIN);
	assert_true(fcntl(p[0], F_GETFD) & FD_CLOEXEC);
	util_close(&p[0]);
	util_close(&p[1]);
}

static void a_pidfd_tells_the_end(void **state)
{
	pid_t pid = fork();
	struct pollfd p = {-1, POLLIN, 0};

	(void)state;
	if (pid == 0)
		_exit(0);
	p.fd = fd_pidfd_open(pid);
	assert_true(p.fd >= 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	util_close(&p.fd);
	assert_int_equal(fd_pidfd_open(pid), -ESRCH);
}

static void random_fills_every_byte(void **state)
{
	static uint8_t a[1000], ored[1000];

	(void)state;
	for (int i = 0; i < 16; i++) {
		fd_random(a, sizeof a);
		for (size_t k = 0; k < sizeof a; k++)
			ored[k] |= a[k];
	}
	for (size_t k = 0; k < sizeof a; k++)
		assert_int_not_equal(ored[k], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes_a_file_whole_and_reads_it_back),
	    cmocka_unit_test(replaces_a_leftover_and_follows_no_link_there),
	    cmocka_unit_test(a_failed_write_leaves_the_old_file),
	    cmocka_unit_test(refuses_names_too_long_and_missing_directories),
	    cmocka_unit_test(reads_nothing_beyond_max),
	    cmocka_unit_test(reads_regular_files_only),
	    cmocka_unit_test(opens_nothing_outside_or_through_links),
	    cmocka_unit_test(open_dir_makes_and_opens),
	    cmocka_unit_test(writes_all_to_a_full_nonblocking_pipe),
	    cmocka_unit_test(read_full_tells_an_early_end),
	    cmocka_unit_test(flags_go_on_and_off),
	    cmocka_unit_test(a_pair_keeps_records_apart),
	    cmocka_unit_test(a_pidfd_tells_the_end),
	    cmocka_unit_test(random_fills_every_byte),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
