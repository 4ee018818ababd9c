/*
 * The inside of a virtual machine, from the kernel's first process to a confined init: modules,
 * the root (a read-only image with a layer of memory above it), names, limits, and then the same
 * identity, capabilities and filter as in a sandbox of namespaces.
 *
 * The configuration comes in a CONFIG frame: string role, u64 disk bytes, u64 disk inodes, u32
 * pids, u32 open files, u8 credentials, string seed (GUEST_SEED bytes).
 */
#ifndef POSTERN_INIT_GUEST_H
#define POSTERN_INIT_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_NAME_MAX  32
#define GUEST_SEED      32
#define GUEST_INIT_ID   65534u
#define GUEST_CRED_PORT 4712

struct reader;

struct guest_config {
	char role[GUEST_NAME_MAX];
	uint64_t disk_bytes, disk_inodes; /* 0: what the kernel gives */
	uint32_t pids, open_files;        /* 0: no limit */
	bool credentials;
	uint8_t seed[GUEST_SEED];
};

/* Modules, /dev, the port: its descriptor, or -1 with what failed in *ret_step. */
int guest_boot(const char **ret_step);
/* 0 or -EBADMSG. */
int guest_config(struct guest_config *ret, struct reader *r);
/* All the rest. NULL, or the step that failed (errno says how). *ret_listener: where the agent asks
 * for credentials, -1 without. Irreversible. */
const char *guest_enter(const struct guest_config *c, int *ret_listener);

#endif
