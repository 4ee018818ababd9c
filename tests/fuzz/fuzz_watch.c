/* What a watched program's memory holds when it calls execve(2): pages that are there or not, and
 * pointers to anywhere. */
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "broker/watch/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	const uint8_t *data;
	size_t size;
};

/* The input is mapped at 4000, so that it has a page boundary in it. */
#define BASE 4000u

static ssize_t read_memory(void *arg, uint64_t at, void *dst, size_t n)
{
	const struct memory *m = arg;
	uint64_t in = at - BASE;

	if (n == 0 || at % 4096 + n > 4096)
		abort(); /* never across a page's end, never nothing */
	if (at < BASE || in >= m->size)
		return -1;
	if (n > m->size - in)
		n = (size_t)(m->size - in);
	memcpy(dst, m->data + in, n);
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seccomp_notif q = {.pid = 7, .data = {.nr = SYS_execve}};
	struct memory m = {data, size};
	static struct notice n;

	if (size < 17)
		return 0;
	q.data.nr = data[0] & 1 ? SYS_execveat : SYS_execve;
	memcpy(&q.data.args[data[0] & 1 ? 1 : 0], data + 1, 8);
	memcpy(&q.data.args[data[0] & 1 ? 2 : 1], data + 9, 8);
	notice_take(&q, read_memory, &m, &n);
	if (n.path_len > sizeof n.path || n.nargs > NOTICE_ARGS_MAX || n.text_len > sizeof n.text)
		abort();
	for (unsigned i = 0; i < n.nargs; i++)
		if (n.arg[i] + n.arg_len[i] > n.text_len ||
		    memchr(n.text + n.arg[i], 0, n.arg_len[i]))
			abort();
	return 0;
}
