#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/host_config.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/keyfile.h"
#include "broker/ctl/libexec.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

/* A throwaway Postern: everything below one directory, then the supervisor in our place. */

static const char *const tenants[] = {"demo", "other"};

static const char tenant_yaml[] = "# A throwaway tenant of `postern up`.\n"
                                  "ca:\n"
                                  "  - \"%s\"\n"
                                  "roles:\n"
                                  "  agent:\n"
                                  "    template: default\n"
                                  "    allow: [exec, shell, pty, sftp, credential]\n"
                                  "    credentials: [\"jwt:https://api.example.com\"]\n"
                                  "    env: [LANG, \"LC_*\", TERM, \"GIT_*\"]\n"
                                  "    lifetime: 8h\n";

static const char template_yaml[] = "# The default sandbox of `postern up`.\n"
                                    "root: host\n"
                                    "limits:\n"
                                    "  memory: 512M\n"
                                    "  pids: 128\n"
                                    "  cpu: 100\n"
                                    "  disk: 256M\n";

/* Writes a file below dir unless it is there. */
static int file(int dir, const char *name, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int file(int dir, const char *name, struct err *e, const char *fmt, ...)
{
	struct stat st;
	char text[12288];
	va_list ap;
	int n;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof text)
		return err_set(e, -ENAMETOOLONG, "%s is too long", name);
	return fd_write_file(dir, name, text, (size_t)n, 0644, e);
}

static int directory(int at, const char *name, mode_t mode, int *ret, struct err *e)
{
	int fd = fd_open_dir(at, name, mode);

	if (fd < 0)
		return err_set(e, fd, "cannot make or open %s: %s", name, strerror(-fd));
	*ret = fd;
	return 0;
}

static int make_tenant(const char *state, int etc, const char *name, struct err *e)
{
	cleanup_close int dir = -1;
	cleanup_buf struct buf line;
	char path[PATH_MAX], yaml[64];
	int r;

	buf_init(&line, 16384);
	if (snprintf(path, sizeof path, "%s/ca/%s", state, name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the state directory's path is too long");
	(void)snprintf(yaml, sizeof yaml, "%s.yaml", name);
	if ((r = keyfile_make(path, "ed25519", name, true, e)) < 0 ||
	    (r = keyfile_public(path, &line, e)) < 0 ||
	    (r = directory(etc, "tenants", 0755, &dir, e)) < 0)
		return r;
	if (!buf_cstr(&line))
		return err_set(e, -ENOMEM, "no memory");
	return file(dir, yaml, e, tenant_yaml, (const char *)line.data);
}

/* The range of an existing postern.yaml must be the one asked for. */
static int check_ids(int etc, const char *ids, uint64_t base, struct err *e)
{
	struct host_config host;
	int r = host_config_load(etc, &host, e);

	if (r < 0)
		return r;
	if (ids && host.ids_base != base)
		return err_set(e, -EINVAL, "etc/postern.yaml says ids.base %u; change it there",
		    host.ids_base);
	return 0;
}

static int make_files(const char *state, int dir, const char *ids, struct err *e)
{
	cleanup_close int etc = -1;
	cleanup_close int ca = -1;
	cleanup_close int templates = -1;
	uint64_t base = HOST_IDS_BASE;
	int r;

	if (ids &&
	    (str_to_u64(ids, HOST_IDS_BLOCK, UINT32_MAX, &base) < 0 || base % HOST_IDS_BLOCK != 0))
		return err_set(e, -EINVAL, "--ids must be a multiple of %d", HOST_IDS_BLOCK);
	if ((r = directory(dir, "etc", 0755, &etc, e)) < 0 ||
	    (r = directory(dir, "ca", 0700, &ca, e)) < 0 ||
	    (r = directory(etc, "templates", 0755, &templates, e)) < 0 ||
	    (r = file(etc, HOST_FILE, e,
	         "# A throwaway Postern; postern.yaml(5).\nids:\n  base: %u\n  count: %u\n",
	         (unsigned)base, HOST_IDS_COUNT)) < 0 ||
	    (r = check_ids(etc, ids, base, e)) < 0 ||
	    (r = file(templates, "default.yaml", e, "%s", template_yaml)) < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(tenants); i++)
		if ((r = make_tenant(state, etc, tenants[i], e)) < 0)
			return r;
	return 0;
}

/* Held by us, then by the supervisor that takes our place: the descriptor goes through exec. */
static int lock(int dir, const char *state, int *ret, struct err *e)
{
	cleanup_close int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, -errno, "cannot open %s/lock: %m", state);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(e, -EBUSY, "another Postern runs on %s", state);
		return err_set(e, -errno, "cannot lock %s: %m", state);
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int become(const char *state, const char *listen, int lock_fd, struct err *e)
{
	char exe[PATH_MAX], a_state[PATH_MAX + 8], a_listen[160], a_lock[24], a_instance[32],
	    hex[65];
	char foreground[] = "foreground", name[] = "postern-supervisor";
	char *argv[] = {name, a_state, a_listen, a_lock, a_instance, foreground, NULL};
	uint8_t digest[DIGEST_LEN];
	int r;

	if ((r = ctl_libexec("postern-supervisor", exe, e)) < 0)
		return r;
	/* a name that two throwaway instances on one host do not share: it is in their cgroups'
	 * names */
	digest_sha256(state, strlen(state), digest);
	hex_encode(hex, digest, DIGEST_LEN);
	(void)snprintf(a_instance, sizeof a_instance, "instance=up-%.8s", hex);
	(void)snprintf(a_state, sizeof a_state, "state=%s", state);
	if (snprintf(a_listen, sizeof a_listen, "listen=%s", listen) >= (int)sizeof a_listen)
		return err_set(e, -EINVAL, "--listen is too long");
	(void)snprintf(a_lock, sizeof a_lock, "lock=%d", lock_fd);
	if ((r = fd_set_cloexec(lock_fd, false)) < 0)
		return err_set(e, r, "cannot keep the lock");
	(void)execv(exe, argv);
	return err_set(e, -errno, "cannot start %s: %m", exe);
}

int ctl_up(struct ctl *c)
{
	const char *listen = ctl_opt(c, "listen") ? ctl_opt(c, "listen") : "127.0.0.1:2222";
	cleanup_close int dir = -1;
	cleanup_close int lock_fd = -1;
	struct err e = ERR_INIT;
	char state[PATH_MAX];

	if (!c->state)
		return ctl_fail(
		    EXIT_USAGE, "up needs --state DIR: everything it makes is below it");
	if (geteuid() != 0)
		return ctl_fail(EXIT_DENIED, "up must be started as root: it gives each process "
		                             "and each sandbox ids of its own");
	(void)umask(022);
	if (directory(AT_FDCWD, c->state, 0755, &dir, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	if (!realpath(c->state, state))
		return ctl_fail(EXIT_FAILED, "%s: %m", c->state);
	if (lock(dir, state, &lock_fd, &e) < 0 || make_files(state, dir, ctl_opt(c, "ids"), &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	(void)become(state, listen, lock_fd, &e);
	return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
}
