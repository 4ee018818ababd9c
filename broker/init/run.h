/*
 * One command: from init, which has four capabilities, to the agent's program, which has none (or,
 * as root, those that INIT_ROOT_CAPS names).
 *
 * The child shares init's memory until it runs the program (vfork), so it makes system calls only.
 * Init is not dumpable, and stays so, which keeps the agent's other processes out of that memory.
 */
#ifndef POSTERN_INIT_RUN_H
#define POSTERN_INIT_RUN_H

#include <sys/types.h>

#define AGENT_UID 1000
#define AGENT_GID 1000
/* The word in init's argv for an agent that is uid 0 of its own namespace, with these capabilities:
 * PLAN_ROOT_CAPS of broker/spawn/plan.h. */
#define INIT_WORD_ROOT "root"
#define INIT_ROOT_CAPS 0xfbu

struct init_request;

/* Once, before anything runs: signals, umask, and what every command is to be rid of. Done here it
 * costs no command its time. */
void run_prepare(void);
/* Before the first command: it is run as root. */
void run_as_root(void);

/* fds: stdin, stdout, stderr, or with INIT_PTY the slave alone. Returns the process, or -errno. If
 * the program could not be run, *ret_error is why (0: it runs); the process then ends with 126 or
 * 127, having said so on its stderr. */
pid_t run_command(const struct init_request *q, const int *fds, int *ret_error);

#endif
