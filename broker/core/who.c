#include "broker/core/who.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/buf.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define PASSWD_MAX (1u << 20)
#define PROC_MAX   (16u * 1024)
#define GROUPS_MAX 1024

/* Cuts the next line off *rest. */
static char *next_line(char **rest)
{
	char *line = *rest, *end;

	if (!line || !*line)
		return NULL;
	end = strchr(line, '\n');
	if (end)
		*end++ = '\0';
	*rest = end;
	return line;
}

bool who_name(int etc_fd, uid_t uid, char *dst, size_t size)
{
	cleanup_buf struct buf b;
	char wanted[16], *rest, *line;

	(void)snprintf(dst, size, "%u", uid);
	(void)snprintf(wanted, sizeof wanted, "%u", uid);
	buf_init(&b, PASSWD_MAX + 1);
	if (etc_fd < 0 || fd_read_file(etc_fd, "passwd", PASSWD_MAX, &b, NULL) < 0 || !buf_cstr(&b))
		return false;
	rest = (char *)b.data;
	while ((line = next_line(&rest))) {
		char *password = strchr(line, ':');
		char *id = password ? strchr(password + 1, ':') : NULL;
		size_t n = id ? strcspn(id + 1, ":") : 0;

		if (n == strlen(wanted) && strncmp(id + 1, wanted, n) == 0) {
			str_escape(dst, size, line, (size_t)(password - line));
			return true;
		}
	}
	return false;
}

static int read_proc(int proc_fd, pid_t pid, const char *file, struct buf *b)
{
	char path[64];
	int r;

	if (proc_fd < 0)
		return -ENOENT;
	(void)snprintf(path, sizeof path, "%d/%s", (int)pid, file);
	if ((r = fd_read_file(proc_fd, path, PROC_MAX, b, NULL)) < 0)
		return r;
	return buf_cstr(b) ? 0 : -ENOMEM;
}

long who_login(int proc_fd, pid_t pid)
{
	cleanup_buf struct buf b;
	uint64_t uid;

	buf_init(&b, PROC_MAX + 1);
	if (read_proc(proc_fd, pid, "loginuid", &b) < 0)
		return -1;
	/* (uid_t)-1: nobody has logged in */
	return str_to_u64((const char *)b.data, 0, UINT32_MAX - 1, &uid) < 0 ? -1 : (long)uid;
}

/* The line of a file in /proc/PID that begins with this, without it: cut out of b. */
static int find_line(
    int proc_fd, pid_t pid, const char *file, const char *begin, struct buf *b, const char **ret)
{
	char *rest, *line;
	int r;

	if ((r = read_proc(proc_fd, pid, file, b)) < 0)
		return r;
	rest = (char *)b->data;
	while ((line = next_line(&rest)))
		if (strncmp(line, begin, strlen(begin)) == 0) {
			*ret = line + strlen(begin);
			return 0;
		}
	return -ENOENT;
}

/* proc(5): the real, effective, saved and file system's uid;
 * SO_PEERCRED tells the effective one. */
static int check_uid(int proc_fd, pid_t pid, uid_t uid)
{
	cleanup_buf struct buf b;
	const char *line;
	unsigned effective;
	int r;

	buf_init(&b, PROC_MAX + 1);
	if ((r = find_line(proc_fd, pid, "status", "Uid:\t", &b, &line)) < 0)
		return r;
	return sscanf(line, "%*u %u", &effective) == 1 && effective == uid ? 0 : -ESRCH;
}

int who_cgroup(int proc_fd, pid_t pid, uid_t uid, char dst[WHO_CGROUP_MAX])
{
	cleanup_buf struct buf b;
	const char *line;
	int r;

	buf_init(&b, PROC_MAX + 1);
	/* the uid last: whoever had the cgroup still has it, or has gone */
	if ((r = find_line(proc_fd, pid, "cgroup", "0::", &b, &line)) < 0 ||
	    (r = check_uid(proc_fd, pid, uid)) < 0)
		return r;
	return str_copy(dst, WHO_CGROUP_MAX, line) ? 0 : -ENAMETOOLONG;
}

bool who_cgroup_within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return n > 1 && strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool who_in_group(int fd, gid_t gid)
{
	cleanup_free gid_t *groups = calloc(GROUPS_MAX, sizeof *groups);
	socklen_t size = GROUPS_MAX * sizeof *groups, cred_size = sizeof(struct ucred);
	struct ucred u;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &cred_size) == 0 && u.gid == gid)
		return true;
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof *groups; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

json_t *who_json(int proc_fd, int etc_fd, uid_t uid, pid_t pid)
{
	long login = who_login(proc_fd, pid);
	char name[64];
	json_t *o;

	(void)who_name(etc_fd, uid, name, sizeof name);
	o = json_pack(
	    "{s:I, s:s, s:I}", "uid", (json_int_t)uid, "user", name, "pid", (json_int_t)pid);
	if (o && login >= 0) {
		(void)who_name(etc_fd, (uid_t)login, name, sizeof name);
		(void)json_object_set_new(o, "login_uid", json_integer(login));
		(void)json_object_set_new(o, "login_user", json_string(name));
	}
	return o;
}
