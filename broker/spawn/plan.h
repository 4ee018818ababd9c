/*
 * The plan: everything that spawn needs to build one sandbox, fully resolved by the core. Spawn
 * looks nothing up: what is not in the plan does not happen. JSON, version 2, strict; written by
 * plan_pack() in the core and read again by plan_parse() in spawn, which trusts no field.
 *
 * Descriptors travel beside it (the slots of sandbox.start), never paths that a tenant chose: a
 * path of the host (the root, the sources of mounts, the OCI runtime) can only come from the
 * host's own templates, and an image is named by the digest of what was unpacked.
 */
#ifndef POSTERN_SPAWN_PLAN_H
#define POSTERN_SPAWN_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/str.h"

struct err;

#define PLAN_VERSION       2
#define PLAN_PATH_MAX      1024
#define PLAN_INSIDE_MAX    128 /* a path inside the sandbox, with its NUL */
#define PLAN_MOUNTS_MAX    16
#define PLAN_PROGRAMS_MAX  64
#define PLAN_LANDLOCK_MAX  32
#define PLAN_IMAGE_HEX_LEN 64

enum plan_root { PLAN_ROOT_HOST, PLAN_ROOT_DIRECTORY, PLAN_ROOT_IMAGE };
enum plan_tier { PLAN_TIER_NAMESPACES, PLAN_TIER_OCI, PLAN_TIER_MICROVM };
/* default: what development needs; strict: no sockets but UNIX ones, no tracing */
enum plan_seccomp { PLAN_SECCOMP_DEFAULT, PLAN_SECCOMP_STRICT };
enum plan_landlock {
	PLAN_LANDLOCK_NONE,
	PLAN_LANDLOCK_READ,
	PLAN_LANDLOCK_EXEC,
	PLAN_LANDLOCK_WRITE
};
enum plan_workspace { PLAN_WORKSPACE_NONE, PLAN_WORKSPACE_RO, PLAN_WORKSPACE_RW };

/* What a cgroup can hold its members to; 0: not asked for. */
struct plan_limits {
	uint64_t memory_bytes;
	uint64_t swap_bytes; /* beyond memory; 0: none at all wherever memory is limited */
	uint64_t pids;
	uint64_t cpu_percent; /* of one processor, at most */
	uint64_t cpu_weight;  /* 1..10000, 100 is everybody's (cgroup v2's cpu.weight) */
	uint64_t io_read_bps, io_write_bps, io_read_iops, io_write_iops;
};

struct plan_mount {                 /* read-only, nosuid, nodev */
	char source[PLAN_PATH_MAX]; /* of the host */
	char target[PLAN_INSIDE_MAX];
};

/* What holds below a path instead of the usual: reading, also running, also writing, or nothing. */
struct plan_rule {
	char path[PLAN_INSIDE_MAX];
	enum plan_landlock access;
};

struct plan {
	char tenant[NAME_MAX_LEN + 1];
	char role[NAME_MAX_LEN + 1]; /* the agent's user name and the host name inside */
	char template_name[NAME_MAX_LEN + 1];
	enum plan_tier tier;
	enum plan_root root;
	char root_path[PLAN_PATH_MAX];      /* absolute, only for PLAN_ROOT_DIRECTORY */
	char image[PLAN_IMAGE_HEX_LEN + 1]; /* STATE/images/HEX, only for PLAN_ROOT_IMAGE */
	struct plan_limits limits;          /* of the session */
	struct plan_limits tenant_limits;   /* of all of the tenant's sessions together */
	uint64_t disk_bytes;                /* of the writable layer, /tmp and /dev/shm together */
	uint64_t disk_inodes;
	uint64_t open_files; /* RLIMIT_NOFILE */
	bool root_user;   /* the agent is uid 0 inside, with PLAN_ROOT_CAPS of its own namespace */
	bool credentials; /* open the session's credential listener */
	enum plan_seccomp seccomp;
	bool watch;         /* programs are recorded */
	unsigned nprograms; /* 0: any program may be run */
	char programs[PLAN_PROGRAMS_MAX][PLAN_INSIDE_MAX];
	unsigned nmounts;
	struct plan_mount mounts[PLAN_MOUNTS_MAX];
	unsigned nrules;
	struct plan_rule rules[PLAN_LANDLOCK_MAX];
	enum plan_workspace workspace_mode;
	char workspace[NAME_MAX_LEN + 1]; /* the tenant's, by name; "" with PLAN_WORKSPACE_NONE */
	char runtime[PLAN_PATH_MAX];      /* PLAN_TIER_OCI: the OCI runtime's program */
	bool emulate;                     /* PLAN_TIER_MICROVM: without KVM if there is none */
	uint32_t warm;                    /* how many prepared ones to keep of this plan */
};

#define PLAN_CRED_PORT 4712 /* on 127.0.0.1 inside */
/* CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID: what apt and pip need */
#define PLAN_ROOT_CAPS 0xfbu

/* The words for the enums, in their order, NULL at the end; and the place of a word, -1. */
extern const char *const plan_roots[],
    *const plan_tiers[], *const plan_seccomps[], *const plan_landlocks[], *const plan_workspaces[];
int plan_word(const char *const *words, const char *word);
/* Absolute, in its shortest form, printable, not "/" itself. */
bool plan_path_valid(const char *path);

/* What is asked for, by name (new). */
json_t *plan_limits_json(const struct plan_limits *l);
/* A new object; NULL without memory. */
json_t *plan_pack(const struct plan *p);
/* -EBADMSG with the field that is wrong. */
int plan_parse(const json_t *o, struct plan *ret, struct err *e);

#endif
