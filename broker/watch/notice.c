#include "broker/watch/notice.h"

#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define PAGE 4096u /* the smallest that there is: a boundary too many costs one more call */

ssize_t notice_read_memory(void *arg, uint64_t at, void *dst, size_t n)
{
	struct iovec local = {dst, n};
	union {
		uint64_t number;
		void *address;
	} where = {.number = at};
	struct iovec remote = {where.address, n};

	return process_vm_readv(*(pid_t *)arg, &local, 1, &remote, 1, 0);
}

/* All n bytes or what there is of them: a call ends at a page that is not there. */
static size_t get(notice_read_fn read, void *arg, uint64_t at, void *dst, size_t n)
{
	char *to = dst;
	size_t done = 0;

	while (done < n) {
		uint64_t from = at + done;
		size_t part = PAGE - (size_t)(from % PAGE);
		ssize_t got;

		if (from < at)
			break;
		if (part > n - done)
			part = n - done;
		got = read(arg, from, to + done, part);
		if (got <= 0)
			break;
		done += (size_t)got;
		if ((size_t)got < part || memchr(to + done - (size_t)got, '\0', (size_t)got))
			break;
	}
	return done;
}

/* A text without its NUL; *cut if its end is not in it. */
static size_t get_text(
    notice_read_fn read, void *arg, uint64_t at, char *dst, size_t size, bool *cut)
{
	size_t n = at ? get(read, arg, at, dst, size) : 0;
	const char *end = n ? memchr(dst, '\0', n) : NULL;

	if (end)
		return (size_t)(end - dst);
	*cut = true;
	return n;
}

/* Byte by byte where it may cross a page's end; a whole one lies in one page. */
static bool get_pointer(notice_read_fn read, void *arg, uint64_t at, uint64_t *ret)
{
	char bytes[sizeof *ret];
	size_t n = 0;

	while (n < sizeof bytes) {
		size_t part = at % sizeof bytes == 0 ? sizeof bytes - n : 1;
		ssize_t got = read(arg, at + n, bytes + n, part);

		if (got <= 0 || (part > 1 && (size_t)got < part))
			return false;
		n += (size_t)got;
	}
	memcpy(ret, bytes, sizeof *ret);
	return true;
}

static void take_args(notice_read_fn read, void *arg, uint64_t list, struct notice *n)
{
	for (; list; list += sizeof(uint64_t)) {
		size_t left = sizeof n->text - n->text_len;
		uint64_t at;

		if (!get_pointer(read, arg, list, &at)) {
			n->cut = true;
			return;
		}
		if (!at)
			return;
		if (n->nargs == NOTICE_ARGS_MAX || left == 0) {
			n->cut = true;
			return;
		}
		n->arg[n->nargs] = n->text_len;
		n->arg_len[n->nargs] =
		    get_text(read, arg, at, n->text + n->text_len, left, &n->cut);
		n->text_len += n->arg_len[n->nargs];
		n->nargs++;
	}
}

void notice_take(const struct seccomp_notif *q, notice_read_fn read, void *arg, struct notice *ret)
{
	bool at = q->data.nr == SYS_execveat;

	memset(ret, 0, sizeof *ret);
	ret->pid = (pid_t)q->pid;
	/* an execveat(2) of a descriptor has an empty path */
	ret->path_len =
	    get_text(read, arg, q->data.args[at ? 1 : 0], ret->path, sizeof ret->path, &ret->cut);
	take_args(read, arg, q->data.args[at ? 2 : 1], ret);
}
