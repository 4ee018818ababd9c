/*
 * One command: from init, which has four capabilities, to the agent's program, which has none.
 *
 * The child shares init's memory until it runs the program (vfork), so it makes system calls only.
 * Init is not dumpable, and stays so, which keeps the agent's other processes out of that memory.
 */
#ifndef POSTERN_INIT_RUN_H
#define POSTERN_INIT_RUN_H

#include <sys/types.h>

#define AGENT_UID 1000
#define AGENT_GID 1000

struct init_request;

/* fds: stdin, stdout, stderr, or with INIT_PTY the slave alone. Returns the process, or -errno. If
 * the program could not be run, *ret_error is why (0: it runs); the process then ends with 126 or
 * 127, having said so on its stderr. */
pid_t run_command(const struct init_request *q, const int *fds, int *ret_error);

#endif
