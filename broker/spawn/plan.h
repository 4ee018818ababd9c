/*
 * The plan: everything that spawn needs to build one sandbox, fully resolved by the core. Spawn
 * looks nothing up: what is not in the plan does not happen. JSON, version 1, strict; written by
 * plan_pack() in the core and read again by plan_parse() in spawn, which trusts no field.
 *
 * Descriptors travel beside it (the slots of sandbox.start), never paths that a tenant chose: the
 * one path is the template's root directory, which only the host's configuration can name.
 */
#ifndef POSTERN_SPAWN_PLAN_H
#define POSTERN_SPAWN_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/str.h"

struct err;

#define PLAN_VERSION  1
#define PLAN_PATH_MAX 1024

enum plan_root { PLAN_ROOT_HOST, PLAN_ROOT_DIRECTORY };

struct plan {
	char tenant[NAME_MAX_LEN + 1];
	char role[NAME_MAX_LEN + 1]; /* the agent's user name and the host name inside */
	char template_name[NAME_MAX_LEN + 1];
	enum plan_root root;
	char root_path[PLAN_PATH_MAX]; /* absolute, only for PLAN_ROOT_DIRECTORY */
	uint64_t memory_bytes;         /* 0 in a limit: the plan does not ask for it */
	uint64_t pids;
	uint64_t cpu_percent; /* of one processor */
	uint64_t disk_bytes;  /* of the writable layer, /tmp and /dev/shm together */
	uint64_t disk_inodes;
	uint64_t open_files; /* RLIMIT_NOFILE */
	bool credentials;    /* open the session's credential listener */
};

#define PLAN_CRED_PORT 4712 /* on 127.0.0.1 inside */

/* A new object; NULL without memory. */
json_t *plan_pack(const struct plan *p);
/* -EBADMSG with the field that is wrong. */
int plan_parse(const json_t *o, struct plan *ret, struct err *e);

#endif
