#include "broker/spawn/vm_image.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/plan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define NOBODY 65534

int vm_file(int dir, const char *path, struct err *e)
{
	cleanup_close int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m (microvm-image makes it)", path);
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
		return err_set(
		    e, -EPERM, "%s must be a file of root's that nobody else can write", path);
	return steal_fd(&fd);
}

int vm_image_open(const struct host *h, const struct plan *p, struct err *e)
{
	char path[PLAN_PATH_MAX + 8];

	if (p->root == PLAN_ROOT_DIRECTORY) {
		(void)snprintf(path, sizeof path, "%s.img", p->root_path + 1);
		return vm_file(h->root_fd, path, e);
	}
	(void)snprintf(
	    path, sizeof path, "microvm/%s.img", p->root == PLAN_ROOT_IMAGE ? p->image : "host");
	return vm_file(h->state_fd, path, e);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

/* ---- who reads ---- */

/* Nothing but the two descriptors, and nobody: it reads, and writes one line. */
static int shed(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    (low > 0 && syscall(SYS_close_range, 0, low - 1, 0) < 0) ||
	    (high > low + 1 && syscall(SYS_close_range, low + 1, high - 1, 0) < 0) ||
	    syscall(SYS_close_range, high + 1, ~0u, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

static __attribute__((noreturn)) void reader(int fd, int answer)
{
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t data[65536], sum[DIGEST_LEN];
	struct digest *d = shed(fd, answer) < 0 ? NULL : digest_new();
	off_t at = 0;
	ssize_t n;

	if (!d)
		_exit(1);
	while ((n = pread(fd, data, sizeof data, at)) > 0) {
		digest_update(d, data, (size_t)n);
		at += n;
	}
	if (n < 0)
		_exit(1);
	digest_final(d, sum);
	hex_encode(hex, sum, sizeof sum);
	_exit(write(answer, hex, DIGEST_HEX_LEN) == DIGEST_HEX_LEN ? 0 : 1);
}

void vm_image_stop(struct vm_image *m)
{
	if (m->reader >= 0) {
		(void)syscall(SYS_pidfd_send_signal, m->reader, SIGKILL, NULL, 0);
		(void)waitid(P_PIDFD, (id_t)m->reader, NULL, WEXITED);
	}
	util_close(&m->reader);
	util_close(&m->answer);
}

int vm_image_begin(struct vm_image *m, int fd, struct err *e)
{
	int pair[2];
	struct stat st;
	pid_t pid;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "the root image: %m");
	if ((m->digest[0] && same(&st, &m->of)) || (m->reader >= 0 && same(&st, &m->reading)))
		return 0;
	vm_image_stop(m);
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set(e, -errno, "the root image: %m");
	if ((pid = fork()) == 0)
		reader(fd, pair[1]);
	(void)close(pair[1]);
	m->answer = pair[0];
	m->reader = pid < 0 ? -errno : fd_pidfd_open(pid);
	if (m->reader < 0) {
		int r = m->reader;

		if (pid > 0) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
		}
		m->reader = -1;
		util_close(&m->answer);
		return err_set(e, r, "the root image: %s", strerror(-r));
	}
	m->reading = st;
	return 0;
}

int vm_image_digest(struct vm_image *m, int fd, struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1] = "";
	struct pollfd p;
	struct stat st;
	ssize_t n;
	int r;

	if ((r = vm_image_begin(m, fd, e)) < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "the root image: %m");
	if (m->digest[0] && same(&st, &m->of))
		return 0;
	p = (struct pollfd){.fd = m->answer, .events = POLLIN};
	if (poll(&p, 1, VM_IMAGE_WAIT_MS) <= 0)
		return err_set(e, -EAGAIN, "the root image is still being read for its digest");
	n = read(m->answer, hex, DIGEST_HEX_LEN);
	vm_image_stop(m);
	if (n != DIGEST_HEX_LEN)
		return err_set(e, -EIO, "the root image could not be read");
	memcpy(m->digest, hex, sizeof hex);
	m->of = st;
	return 0;
}
