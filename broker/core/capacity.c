#include "broker/core/capacity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/config.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define PROC_MAX 8192

/* ---- what there is ---- */

/* The first number behind `label` in the file. UINT64_MAX: none. */
static uint64_t read_number(int proc_fd, const char *path, const char *label)
{
	cleanup_buf struct buf b;
	const char *text, *at;
	uint64_t v = UINT64_MAX;
	char digits[24];
	size_t n;

	buf_init(&b, PROC_MAX);
	if (fd_read_file(proc_fd, path, PROC_MAX, &b, NULL) < 0 || !(text = buf_cstr(&b)) ||
	    !(at = strstr(text, label)))
		return UINT64_MAX;
	at += strlen(label);
	at += strspn(at, " \t");
	n = strspn(at, "0123456789");
	if (n == 0 || n >= sizeof digits)
		return UINT64_MAX;
	memcpy(digits, at, n);
	digits[n] = '\0';
	return str_to_u64(digits, 0, UINT64_MAX, &v) < 0 ? UINT64_MAX : v;
}

void capacity_read(int proc_fd, struct host_capacity *ret)
{
	uint64_t kib = read_number(proc_fd, "meminfo", "MemTotal:");
	uint64_t threads = read_number(proc_fd, "sys/kernel/threads-max", "");

	ret->memory = kib > UINT64_MAX >> 10 ? UINT64_MAX : kib << 10;
	ret->pids = read_number(proc_fd, "sys/kernel/pid_max", "");
	if (threads < ret->pids)
		ret->pids = threads;
	ret->files = read_number(proc_fd, "sys/fs/file-max", "");
	ret->mounts = read_number(proc_fd, "sys/fs/mount-max", "");
}

/* ---- what is promised ---- */

enum what { MEMORY, PIDS, FILES, MOUNTS, WHATS };

struct sums {
	uint64_t v[WHATS];
};

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
	return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct sums of_host(const struct host_capacity *h)
{
	return (struct sums){{h->memory, h->pids, h->files, h->mounts}};
}

/* What one session of each template that the tenant's roles reach takes at most. */
static struct sums largest(const struct config *c, const struct tenant *t)
{
	struct sums s = {{0}};

	for (size_t i = 0; i < t->nroles; i++) {
		const struct template *m = config_template(c, t->name, t->role[i].template_name);

		if (!m)
			continue;
		s.v[MEMORY] = most(s.v[MEMORY], m->limits.group.memory_bytes);
		s.v[PIDS] = most(s.v[PIDS], m->limits.group.pids + CAPACITY_OWN_PIDS);
		s.v[FILES] = most(s.v[FILES], times(m->limits.group.pids, m->limits.open_files));
		s.v[MOUNTS] = most(s.v[MOUNTS], CAPACITY_MOUNTS + m->nmounts);
	}
	return s;
}

struct totals {
	struct sums promised; /* limits that tenants have */
	struct sums possible; /* all that sessions could take */
};

static void add_tenant(
    const struct config *c, const struct tenant *t, struct sums *biggest, struct totals *all)
{
	struct sums one = largest(c, t);
	uint64_t limit[WHATS] = {
	    [MEMORY] = t->limits.group.memory_bytes, [PIDS] = t->limits.group.pids};

	for (unsigned i = 0; i < WHATS; i++) {
		uint64_t v = times(one.v[i], t->sessions);

		biggest->v[i] = most(biggest->v[i], one.v[i]);
		if (limit[i]) {
			all->promised.v[i] = add(all->promised.v[i], limit[i]);
			v = limit[i] < v ? limit[i] : v;
		}
		all->possible.v[i] = add(all->possible.v[i], v);
	}
}

static struct totals sum(const struct config *c)
{
	struct sums biggest = {{0}};
	struct totals all = {{{0}}, {{0}}};

	for (size_t i = 0; i < c->ntenants; i++)
		add_tenant(c, &c->tenant[i], &biggest, &all);
	/* no more live at once than the host allows */
	for (unsigned i = 0; i < WHATS; i++) {
		uint64_t v = times(biggest.v[i], c->host.sessions);

		if (v < all.possible.v[i])
			all.possible.v[i] = v;
	}
	return all;
}

static const char *shown(unsigned what, uint64_t v, char dst[32])
{
	if (what == MEMORY)
		(void)snprintf(dst, 32, "%lluM", (unsigned long long)(v >> 20));
	else
		(void)snprintf(dst, 32, "%llu", (unsigned long long)v);
	return dst;
}

int capacity_check(const struct config *c, const struct host_capacity *host, struct err *e)
{
	static const char *const keys[WHATS] = {"memory", "pids", "files", "mounts"};
	struct sums there = of_host(host), reserve = of_host(&c->host.reserve);
	struct sums over = of_host(&c->host.overcommit);
	struct totals all = sum(c);
	char want[32], has[32], kept[32];

	if (reserve.v[MEMORY] == UINT64_MAX) {
		reserve.v[MEMORY] = there.v[MEMORY] / 8;
		if (reserve.v[MEMORY] > CAPACITY_RESERVE_MAX)
			reserve.v[MEMORY] = CAPACITY_RESERVE_MAX;
	}
	for (unsigned i = 0; i < WHATS; i++) {
		uint64_t left = there.v[i] > reserve.v[i] ? there.v[i] - reserve.v[i] : 0;

		if (there.v[i] == UINT64_MAX)
			continue;
		if (all.promised.v[i] > left)
			return err_set(e, -EINVAL,
			    HOST_FILE
			    ": the tenants' limits.%s come to %s, and this host has %s less "
			    "reserve.%s of %s",
			    keys[i], shown(i, all.promised.v[i], want), shown(i, there.v[i], has),
			    keys[i], shown(i, reserve.v[i], kept));
		if (all.possible.v[i] > times(left, over.v[i]))
			return err_set(e, -EINVAL,
			    HOST_FILE ": sessions may take %s of %s, and this host has %s less "
			              "reserve.%s of %s, %llu times over (overcommit.%s): lower "
			              "sessions or limits",
			    shown(i, all.possible.v[i], want), keys[i], shown(i, there.v[i], has),
			    keys[i], shown(i, reserve.v[i], kept), (unsigned long long)over.v[i],
			    keys[i]);
	}
	return 0;
}
