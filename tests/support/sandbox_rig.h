/*
 * Sandboxes for tests and benchmarks, without a core: a back end on a state directory of its own,
 * the core's end of a request socket, and commands run through it to their end.
 *
 * rig_new() moves the calling process into a mount namespace of its own, for good.
 */
#ifndef POSTERN_TESTS_SANDBOX_RIG_H
#define POSTERN_TESTS_SANDBOX_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/spawn/backend.h"
#include "lib/err.h"

#define RIG_OUTPUT_MAX (256 * 1024)

struct rig {
	struct backend *b;
	int parent_fd; /* where the state directory lies */
	char dir[64], workspaces[64];
	char instance[32];
};

struct box {
	struct sandbox *s;
	json_t *enforced;
	int request; /* the core's end */
	char session[37];
};

struct ran {
	bool finished; /* an exit or a signal was reported */
	int exit, signal, error;
	char out[RIG_OUTPUT_MAX], err[RIG_OUTPUT_MAX];
	size_t out_len, err_len;
};

/* The directory that the build made ($BUILD, or where the running program lies). */
const char *rig_build_dir(void);
/* libexec: NULL for the built one. 0, or -1 with the reason in e. idbase:
 * 0 for the usual one. */
int rig_new(struct rig *r, const char *libexec, uint32_t idbase, struct err *e);
void rig_free(struct rig *r);

void rig_plan(struct plan *p); /* tenant demo, role agent, the host's /usr, no limits */

/* Starts a sandbox; 0, or the back end's -errno with the step in f. */
int box_start(
    struct rig *r, struct box *x, const struct plan *p, struct backend_failure *f, struct err *e);
/* The same in two steps, with a request queued in between, as the core does it: a session and its
 * socket pair
 * (*ret_inner is init's end), then the sandbox (inner stays the caller's). */
int box_open(struct box *x, int *ret_inner);
int box_enter(struct rig *r, struct box *x, const struct plan *p, int inner,
    struct backend_failure *f, struct err *e);
/* Ends it and waits until nothing is left; false if that takes more than five seconds. */
bool box_end(struct box *x, struct backend_usage *u);

/* Queues one command. fds as broker/init/proto.h has them. 0 or -errno. */
int box_send_exec(struct box *x, uint32_t channel, uint8_t flags, const char *const *argv,
    const int *fds, size_t nfds);
/* Runs a command, feeding it stdin, to its end; at most timeout_ms. */
int box_run(struct box *x, uint32_t channel, const char *const *argv, const void *in, size_t in_len,
    int timeout_ms, struct ran *ret);
/* The same for `sh -c script`. */
int box_sh(struct box *x, const char *script, struct ran *ret);
/* Copies the running program into the sandbox as /tmp/probe. */
int box_install_self(struct box *x);

#endif
