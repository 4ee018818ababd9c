/*
 * One notified execve(2) or execveat(2): who, which path, which arguments, as the caller's memory
 * has them at this moment. The caller's other threads may change them before the kernel reads them,
 * so this is evidence of what was tried and never the ground of a decision (seccomp_unotify(2)).
 *
 * Everything is bounded: a path or an argument that is longer is cut, as is a list of arguments.
 * What cannot be read is empty, and said to be cut. Bytes are as they are: who shows them escapes.
 */
#ifndef POSTERN_WATCH_NOTICE_H
#define POSTERN_WATCH_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seccomp_notif;

#define NOTICE_PATH_MAX 512
#define NOTICE_ARGS_MAX 32
#define NOTICE_TEXT_MAX 2048 /* of all arguments together, each with its NUL */

struct notice {
	pid_t pid; /* as the reader's pid namespace has it */
	char path[NOTICE_PATH_MAX];
	size_t path_len;
	unsigned nargs;
	size_t arg[NOTICE_ARGS_MAX], arg_len[NOTICE_ARGS_MAX]; /* where in text */
	char text[NOTICE_TEXT_MAX];
	size_t text_len;
	bool cut; /* something of it is not here */
};

/* How bytes of another process are had: as many of n as can be read in one go from its address on,
 * at most up to the next page's end; 0 or less: none. */
typedef ssize_t (*notice_read_fn)(void *arg, uint64_t at, void *dst, size_t n);

/* Always fills *ret. */
void notice_take(const struct seccomp_notif *q, notice_read_fn read, void *arg, struct notice *ret);
/* By process_vm_readv(2); arg points to the pid_t. */
ssize_t notice_read_memory(void *arg, uint64_t at, void *dst, size_t n);

#endif
