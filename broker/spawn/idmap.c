#include "broker/spawn/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/defence.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

struct idmap {
	uint32_t base;
	unsigned blocks, next, taken, kept;
	uint8_t busy[IDMAP_BLOCKS_MAX];
};

struct idmap *idmap_new(uint32_t base, uint32_t count)
{
	unsigned blocks = count / IDMAP_BLOCK;
	struct idmap *m;

	if (blocks < 2 || base == 0 || (uint64_t)base + count > UINT32_MAX) {
		errno = EINVAL;
		return NULL;
	}
	m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->base = base;
	m->blocks = blocks < IDMAP_BLOCKS_MAX ? blocks : IDMAP_BLOCKS_MAX;
	m->next = 1;
	return m;
}

void idmap_free(struct idmap *m)
{
	free(m);
}

int idmap_take(struct idmap *m)
{
	for (unsigned i = 1; i < m->blocks; i++) {
		unsigned b = m->next;

		m->next = b + 1 < m->blocks ? b + 1 : 1;
		if (!m->busy[b]) {
			m->busy[b] = 1;
			m->taken++;
			return (int)b;
		}
	}
	return -EAGAIN;
}

void idmap_return(struct idmap *m, int block)
{
	if (block <= 0 || (unsigned)block >= m->blocks || !m->busy[block])
		return;
	m->busy[block] = 0;
	m->taken--;
}

int idmap_keep(struct idmap *m)
{
	for (unsigned b = m->blocks - 1; b > 0 && m->kept < m->blocks / 2; b--)
		if (!m->busy[b]) {
			m->busy[b] = 1;
			m->kept++;
			return (int)b;
		}
	return -EAGAIN;
}

void idmap_keep_base(struct idmap *m, uint32_t base)
{
	for (unsigned b = 1; b < m->blocks; b++) {
		uint32_t at = idmap_base(m, (int)b);

		/* when the range was moved, it may lie across two of today's */
		if (m->busy[b] || at >= base + IDMAP_BLOCK || base >= at + IDMAP_BLOCK)
			continue;
		m->busy[b] = 1;
		m->kept++;
	}
}

uint32_t idmap_base(const struct idmap *m, int block)
{
	return m->base + (uint32_t)block * IDMAP_BLOCK;
}

unsigned idmap_taken(const struct idmap *m)
{
	return m->taken;
}

unsigned idmap_blocks(const struct idmap *m)
{
	return m->blocks;
}

static int write_file(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}

/* The first process of the namespace: waits for its map, closes the door behind it, and leaves a
 * descriptor of the namespace in the table that it shares with us. (Opening it from outside would
 * need CAP_SYS_PTRACE.) */
static __attribute__((noreturn)) void child(int from_parent, int to_parent)
{
	char go = '-';
	int ns;

	if (read(from_parent, &go, 1) == 1 && go == '+' &&
	    (!DEFENCE("userns-limit") ||
	        write_file("/proc/sys/user/max_user_namespaces", "0") == 0) &&
	    (ns = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC)) >= 0)
		(void)!write(to_parent, &ns, sizeof ns);
	_exit(0);
}

static int write_maps(pid_t pid, uint32_t from, uint32_t base)
{
	static const char *const maps[] = {"uid_map", "gid_map"};
	char path[64], line[64];
	int r = 0;

	(void)snprintf(line, sizeof line, "%u %u %u\n", from, base, IDMAP_BLOCK);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(maps); i++) {
		(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, maps[i]);
		r = write_file(path, line);
	}
	return r;
}

/* A plain fork with CLONE_NEWUSER, but for the descriptors. What a namespace uses of inotify,
 * queued signals and locked memory counts as its maker's too (namespaces(7), /proc/sys/user): as
 * root's, one sandbox could take all that root and every other sandbox may have. So its maker is a
 * uid of its own block, the one that nobody runs as; the raw call, for there are no threads to
 * change with us. */
static pid_t clone_as(uint32_t uid)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];
	pid_t pid = -1;
	int saved;

	if (syscall(SYS_capget, &h, d) < 0 || syscall(SYS_setresuid, -1, uid, -1) < 0)
		return -1;
	/* a change of the effective uid takes the effective set away (capabilities(7)) */
	if (syscall(SYS_capset, &h, d) == 0)
		pid = (pid_t)syscall(SYS_clone,
		    (unsigned long)(CLONE_NEWUSER | CLONE_FILES) | SIGCHLD, NULL, NULL, NULL, 0);
	if (pid == 0)
		return 0;
	saved = errno;
	if (syscall(SYS_setresuid, -1, 0, -1) < 0 || syscall(SYS_capset, &h, d) < 0)
		abort(); /* as somebody else spawn can do nothing any more */
	errno = saved;
	return pid;
}

/* The pipes' four ends stay open on both sides, so everybody always says something. */
static int make_userns(uint32_t from, uint32_t base, const int down[2], const int up[2])
{
	pid_t pid = clone_as(base);
	int r, ns = -1;

	if (pid == 0)
		child(down[0], up[1]);
	if (pid < 0)
		return -errno;
	r = write_maps(pid, from, base);
	if (write(down[1], r == 0 ? "+" : "-", 1) != 1)
		(void)kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) < 0)
		return -errno;
	if (r < 0)
		return r;
	return read(up[0], &ns, sizeof ns) == (ssize_t)sizeof ns ? ns : -EPROTO;
}

int idmap_shift(uint32_t from, uint32_t to, struct err *e)
{
	int down[2] = {-1, -1}, up[2] = {-1, -1}, r;

	if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC | O_NONBLOCK) < 0)
		r = -errno;
	else
		r = make_userns(from, to, down, up);
	for (size_t i = 0; i < 2; i++) {
		util_close(&down[i]);
		util_close(&up[i]);
	}
	return r < 0 ? err_set(e, r, "user namespace: %s", strerror(-r)) : r;
}

int idmap_userns(const struct idmap *m, int block, struct err *e)
{
	return idmap_shift(0, idmap_base(m, block), e);
}
