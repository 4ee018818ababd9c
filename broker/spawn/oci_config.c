#include "broker/spawn/oci_config.h"

#include <stdint.h>
#include <stdio.h>

#include "broker/init/seal.h"
#include "broker/spawn/enter.h"
#include "broker/spawn/host.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/skeleton_etc.h"
#include "lib/util.h"

#define OOM_SCORE 900

static json_t *strings(const char *const *list, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(a, json_string(list[i]));
	return a;
}

/* init, and where it lets the agent write. */
static json_t *arguments(const struct skeleton *s)
{
	json_t *a = json_pack("[s,s]", SKELETON_INIT, SEAL_WORD);

	for (unsigned i = 0; i < s->writables; i++)
		(void)json_array_append_new(a, json_string(s->writable[i]));
	return a;
}

static json_t *capabilities(void)
{
	static const char *const sets[] = {
	    "bounding", "effective", "permitted", "inheritable", "ambient"};
	static const char *const of_init[] = {
	    "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_SETPCAP"};
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		(void)json_object_set_new(o, sets[i], strings(of_init, ARRAY_LEN(of_init)));
	return o;
}

static json_t *process(const struct enter *n)
{
	return json_pack("{s:b,s:{s:i,s:i},s:o,s:s,s:o,s:b,s:i}", "terminal", 0, "user", "uid",
	    INIT_ID, "gid", INIT_ID, "args", arguments(n->skeleton), "cwd", "/", "capabilities",
	    capabilities(), "noNewPrivileges", 1, "oomScoreAdj", OOM_SCORE);
}

/* What lies in the root already (/usr, /dev) comes with it. */
static json_t *mounts(void)
{
	return json_pack("[{s:s,s:s,s:s,s:[s,s,s]}]", "destination", "/proc", "type", "proc",
	    "source", "proc", "options", "nosuid", "nodev", "noexec");
}

/* The network is the runtime's own: it was started in the session's (runc would join one only after
 * the user namespace, to which it does not belong). */
static json_t *namespaces(pid_t holder, int userns)
{
	static const char *const made[] = {"pid", "mount", "ipc", "uts", "cgroup"};
	json_t *a = json_array();
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)holder, userns);
	(void)json_array_append_new(a, json_pack("{s:s,s:s}", "type", "user", "path", path));
	for (size_t i = 0; i < ARRAY_LEN(made); i++)
		(void)json_array_append_new(a, json_pack("{s:s}", "type", made[i]));
	return a;
}

static json_t *masked(const struct host *h)
{
	json_t *a = json_array();
	char path[64];

	for (size_t i = 0; h->mask_files[i]; i++) {
		(void)snprintf(path, sizeof path, "/proc/%s", h->mask_files[i]);
		(void)json_array_append_new(a, json_string(path));
	}
	for (size_t i = 0; h->mask_dirs[i]; i++) {
		(void)snprintf(path, sizeof path, "/proc/%s", h->mask_dirs[i]);
		(void)json_array_append_new(a, json_string(path));
	}
	return a;
}

/* What the namespace to be joined has already: runc wants to be told. */
static json_t *mapping(uint32_t base)
{
	return json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID", (json_int_t)base, "size",
	    (int)IDMAP_BLOCK);
}

json_t *oci_config(const struct enter *n, pid_t holder, int userns)
{
	return json_pack("{s:s,s:o,s:{s:s,s:b},s:s,s:o,s:{s:o,s:o,s:o,s:o,s:[s,s]}}", "ociVersion",
	    "1.0.2", "process", process(n), "root", "path", "rootfs", "readonly", 0, "hostname",
	    n->hostname, "mounts", mounts(), "linux", "namespaces", namespaces(holder, userns),
	    "uidMappings", mapping(n->idbase), "gidMappings", mapping(n->idbase), "maskedPaths",
	    masked(n->host), "readonlyPaths", "/proc/sys", "/dev");
}
