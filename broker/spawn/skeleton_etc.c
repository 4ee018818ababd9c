#include "broker/spawn/skeleton_etc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/plan.h"
#include "broker/spawn/tree.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define PASSWD_MAX (1024 * 1024)

static const char *const copied_files[] = {"ld.so.cache", "ld.so.conf", "mime.types", "magic",
    "services", "protocols", "timezone", "debian_version", "host.conf", "ssl/openssl.cnf",
    "python3/debian_config"};
static const char *const copied_links[] = {"localtime", "os-release", "mtab"};
static const char *const copied_dirs[] = {
    "ld.so.conf.d", "ssl/certs", "alternatives", "terminfo", "python3.11"};

static const char profile[] =
    "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games:/run/postern/bin\n"
    "export PATH\n"
    "umask 022\n";

/* Does a line "NAME:x:ID:..." name this one, or have this id? */
static bool same_entry(const char *line, const char *name, unsigned id)
{
	size_t n = strlen(name);
	const char *field = strchr(line, ':');

	field = field ? strchr(field + 1, ':') : NULL;
	return (strncmp(line, name, n) == 0 && line[n] == ':') ||
	       (field && strtoul(field + 1, NULL, 10) == id);
}

/* The template's own entries but for the agent's: its programs may belong to users of its own. An
 * unpacked image is not trusted: a link there could name a file of the host. */
static int add_entries(int root, const char *name, const char *role, struct buf *b)
{
	cleanup_close int fd = fd_open_beneath(root, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	cleanup_free char *text = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PASSWD_MAX)
		return -ENOENT;
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	if ((r = fd_read_full(fd, text, (size_t)st.st_size)) < 0)
		return r;
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (!same_entry(p, role, AGENT_ID))
			buf_printf(b, "%.*s\n", (int)strcspn(p, "\n"), p);
	return 0;
}

static int write_buf(int at, const char *name, struct buf *b)
{
	const char *text = buf_cstr(b);

	return text ? tree_write(at, name, text) : buf_status(b);
}

/* Packages give their files to the users that every Debian has: that list, not the host's own. */
static const char *const users[] = {"usr/share/base-passwd/passwd.master", "etc/passwd"};
static const char *const groups[] = {"usr/share/base-passwd/group.master", "etc/group"};

static int write_users(int root, const struct plan *p, int at)
{
	bool whole = p->root == PLAN_ROOT_HOST, fixed = whole && !p->root_user;
	const char *role = p->role;
	struct stat st;
	const char *shell = fstatat(root, "usr/bin/bash", &st, 0) == 0 ? "/bin/bash" : "/bin/sh";
	struct buf b;
	int r;

	buf_init(&b, PASSWD_MAX + 4096);
	if (fixed || add_entries(root, users[!whole], role, &b) < 0)
		buf_printf(&b, "root:x:0:0:root:/root:/usr/sbin/nologin\n"
		               "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
	buf_printf(&b, "%s:x:%u:%u:agent:/home/agent:%s\n", role, AGENT_ID, AGENT_ID, shell);
	r = write_buf(at, "etc/passwd", &b);
	buf_reset(&b);
	if (fixed || add_entries(root, groups[!whole], role, &b) < 0)
		buf_printf(&b, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
	buf_printf(&b, "%s:x:%u:\n", role, AGENT_ID);
	if (r == 0)
		r = write_buf(at, "etc/group", &b);
	buf_done(&b);
	return r;
}

static int write_names(int at, const char *role)
{
	char text[256];
	int r;

	(void)snprintf(text, sizeof text, "%s\n", role);
	if ((r = tree_write(at, "etc/hostname", text)) < 0)
		return r;
	(void)snprintf(text, sizeof text,
	    "127.0.0.1 localhost %s\n::1 localhost ip6-localhost ip6-loopback\n", role);
	if ((r = tree_write(at, "etc/hosts", text)) < 0 ||
	    (r = tree_write(at, "etc/resolv.conf", "")) < 0)
		return r;
	return tree_write(at, "etc/nsswitch.conf",
	    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
	    "services: files\nprotocols: files\nrpc: files\nethers: files\n");
}

/* What the host does not have, the sandbox does without. */
static int optional(int r)
{
	return r == -ENOENT || r == -EINVAL || r == -EACCES ? 0 : r;
}

static int copy_all(int root, int at)
{
	char name[64];
	int r = 0;

	if ((r = tree_dir(at, "etc/ssl", 0755, 0)) < 0 ||
	    (r = tree_dir(at, "etc/python3", 0755, 0)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(copied_files); i++) {
		(void)snprintf(name, sizeof name, "etc/%s", copied_files[i]);
		r = optional(tree_copy_file(root, name, at, name, 0644));
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(copied_links); i++) {
		(void)snprintf(name, sizeof name, "etc/%s", copied_links[i]);
		r = optional(tree_copy_link(root, name, at, name));
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(copied_dirs); i++) {
		(void)snprintf(name, sizeof name, "etc/%s", copied_dirs[i]);
		r = optional(tree_copy_dir(root, name, at, name));
	}
	return r == 0 ? tree_write(at, "etc/profile", profile) : r;
}

int skeleton_etc(int root, const struct plan *p, int at, struct err *e)
{
	int r;

	if ((r = write_users(root, p, at)) < 0 || (r = write_names(at, p->role)) < 0 ||
	    (p->root == PLAN_ROOT_HOST && (r = copy_all(root, at)) < 0))
		return err_set(e, r, "synthetic /etc: %s", strerror(-r));
	return 0;
}
