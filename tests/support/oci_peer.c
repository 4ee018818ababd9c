#include "tests/support/oci_peer.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"

#define MOUNT(to, type, options)                                                                   \
	"{\"destination\": \"" to "\", \"type\": \"" type "\", \"source\": \"" type                \
	"\", \"options\": [" options "]}"

static const char config[] =
    "{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": 0, \"gid\": 0}, \"cwd\": \"/\", "
    "\"args\": [\"%s\"], \"env\": [\"PATH=/usr/bin\"], \"noNewPrivileges\": true}, "
    "\"root\": {\"path\": \"rootfs\", \"readonly\": true}, \"hostname\": \"peer\", \"mounts\": "
    "[" MOUNT("/proc", "proc", "\"nosuid\"") ", " MOUNT(
        "/dev", "tmpfs", "\"nosuid\", \"mode=755\", \"size=65536k\"") ", " MOUNT("/dev/pts",
        "devpts", "\"nosuid\", \"noexec\", \"newinstance\"") ", " MOUNT("/dev/shm", "tmpfs",
        "\"nosuid\", \"nodev\"") ", {\"destination\": \"/usr\", \"type\": \"bind\", "
                                 "\"source\": \"/usr\", \"options\": [\"bind\", \"ro\"]}], "
                                 "\"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": "
                                 "\"network\"}, {\"type\": \"ipc\"}, "
                                 "{\"type\": \"uts\"}, {\"type\": \"mount\"}]}}";

static char dir[] = "/tmp/postern-peer-XXXXXX", run_dir[64];

static const char *const crun[] = {"/usr/bin/crun", "--root", run_dir, "--cgroup-manager=disabled",
    "run", "--bundle", dir, "peer", NULL};
static const char *const runc[] = {
    "/usr/sbin/runc", "--root", run_dir, "run", "--bundle", dir, "peer", NULL};

const char *const *oci_peer_crun(void)
{
	return crun;
}

const char *const *oci_peer_runc(void)
{
	return runc;
}

static const char *at(const char *name)
{
	static char path[96];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static const char *const dirs[] = {"rootfs", "rootfs/usr", "rootfs/proc", "rootfs/dev", "run"};
static const char *const links[][2] = {
    {"usr/bin", "rootfs/bin"}, {"usr/lib", "rootfs/lib"}, {"usr/lib64", "rootfs/lib64"}};

int oci_peer_new(const char *command)
{
	FILE *f;

	if (!mkdtemp(dir) || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	/* crun 1.8 refuses a hybrid host while version 2 shows controllers there */
	(void)mount("/dev/null", "/sys/fs/cgroup/unified/cgroup.controllers", NULL, MS_BIND, NULL);
	(void)snprintf(run_dir, sizeof run_dir, "%s/run", dir);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (mkdir(at(dirs[i]), 0755) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlink(links[i][0], at(links[i][1])) < 0)
			return -errno;
	if (!(f = fopen(at("config.json"), "we")))
		return -errno;
	(void)fprintf(f, config, command);
	return fclose(f) == 0 ? 0 : -errno;
}

void oci_peer_free(void)
{
	(void)unlink(at("config.json"));
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		(void)unlink(at(links[i][1]));
	for (size_t i = ARRAY_LEN(dirs); i > 0; i--)
		(void)rmdir(at(dirs[i - 1]));
	(void)rmdir(dir);
}
