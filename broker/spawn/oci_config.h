/*
 * The config.json of an OCI bundle (runtime-spec 1.0, config.md and config-linux.md) for one
 * sandbox. It asks the runtime for the namespaces, the ids, the capabilities, the limits of
 * processes and the mounts that enter.h makes otherwise; the cgroup we make ourselves, and Landlock
 * and seccomp init gives itself (broker/init/seal.h), so that all tiers have the same.
 */
#ifndef POSTERN_SPAWN_OCI_CONFIG_H
#define POSTERN_SPAWN_OCI_CONFIG_H

#include <jansson.h>
#include <sys/types.h>

struct enter;

/* Where things lie in the runtime's own mount namespace. */
#define OCI_BASE   "/tmp" /* an existing directory, covered by a tmpfs that nobody else sees */
#define OCI_BUNDLE OCI_BASE "/bundle"
#define OCI_ROOTFS OCI_BUNDLE "/rootfs"

/* holder: a process whose descriptor userns is the user namespace to be joined. A new object, NULL
 * without memory. */
json_t *oci_config(const struct enter *n, pid_t holder, int userns);

#endif
