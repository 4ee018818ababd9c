/*
 * The agent's seccomp programs: which one a plan asks for, and the digest by which it is told and
 * recorded (SHA-256 of the program as the kernel gets it).
 */
#ifndef POSTERN_SPAWN_FILTER_H
#define POSTERN_SPAWN_FILTER_H

#include "broker/spawn/plan.h"
#include "lib/digest.h"

struct sock_filter;

struct filter_program {
	const struct sock_filter *insns; /* static */
	unsigned short len;
};

const struct filter_program *filter_for(enum plan_seccomp profile);
void filter_digest(enum plan_seccomp profile, char ret[DIGEST_HEX_LEN + 1]);

#endif
