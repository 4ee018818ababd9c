#include "broker/core/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/util.h"

/*
 * Pipe memory of one user is limited (pipe-user-pages-soft, 16384 pages): beyond it the kernel
 * makes pipes of two pages only. So the status pipe, which carries a few bytes, is cut to a page,
 * and only the first channels get large ones.
 */
#define STREAM_SIZE (256 * 1024)
#define STATUS_SIZE 4096

static int make(int *ret_read, int *ret_write, int size)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (size > 0)
		(void)fcntl(fds[0], F_SETPIPE_SZ, size);
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

static void clear(struct pipes *p, size_t n)
{
	p->n = n;
	for (size_t i = 0; i < PIPES_MAX; i++)
		p->inner[i] = p->outer[i] = -1;
}

int pipes_make(struct pipes *p, bool roomy)
{
	int r;

	clear(p, 4);
	if ((r = make(&p->inner[0], &p->outer[0], 0)) < 0 ||
	    (r = make(&p->outer[1], &p->inner[1], roomy ? STREAM_SIZE : 0)) < 0 ||
	    (r = make(&p->outer[2], &p->inner[2], 0)) < 0 ||
	    (r = make(&p->outer[3], &p->inner[3], STATUS_SIZE)) < 0) {
		pipes_close(p);
		return r;
	}
	return 0;
}

int pipes_make_pty(struct pipes *p, int master, int slave)
{
	int r;

	clear(p, 2);
	p->inner[0] = slave;
	p->outer[0] = master;
	if ((r = make(&p->outer[1], &p->inner[1], STATUS_SIZE)) < 0) {
		pipes_close(p);
		return r;
	}
	return 0;
}

void pipes_close(struct pipes *p)
{
	for (size_t i = 0; i < PIPES_MAX; i++) {
		util_close(&p->inner[i]);
		util_close(&p->outer[i]);
	}
}
