/*
 * What the supervisor tells us in argv: NAME=NUMBER (ARCHITECTURE.md, "How a process starts").
 */
#ifndef POSTERN_GATEWAY_ARGS_H
#define POSTERN_GATEWAY_ARGS_H

#include <stdint.h>

struct err;

#define GATEWAY_LINK_FD 3 /* to the supervisor, or for a worker to the listener */

struct gateway_args {
	int64_t uid, gid; /* -1: not given */
	int config, hostkeys;
	int64_t slot;
};

/* Strict: an unknown or repeated name, or no number, is -EINVAL. */
int gateway_args_parse(struct gateway_args *a, int argc, char *const *argv, struct err *e);

#endif
