/*
 * postern-spawn state=FD libexec=FD workspaces=FD idbase=N idcount=N instance=NAME; fd 3 is the
 * link to the supervisor.
 *
 * The one privileged process: builds sandboxes from resolved plans, and holds no secret.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/backend_ns.h"
#include "broker/spawn/backend_oci.h"
#include "broker/spawn/backend_tiers.h"
#include "broker/spawn/backend_vm.h"
#include "broker/spawn/host.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/serve.h"
#include "broker/supervisor/idrange.h"
#include "broker/supervisor/launch.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/util.h"

#define LINK_FD      3
#define LEASE_FIRST  8192u /* ARCHITECTURE.md, "Ids" */
#define LEASE_COUNT  4096u
#define WALK_FIRST   12288u
#define WALK_COUNT   4096u
#define WORKER_FIRST 4096u
#define WORKER_COUNT 4096u
#define IDS_WAIT_MS  2000
#define CAP(c)       (UINT64_C(1) << (c))

/* Mounts and namespaces; ids; files of ids that are not ours (overlay's copies, owners of mounts);
 * lo; other ids' processes: kill, processor affinity; reading all, for
 * who walks a sandbox's files. Not: ptrace, raw sockets, modules, time, nodes. */
#define CAPS                                                                                       \
	(CAP(CAP_SYS_ADMIN) | CAP(CAP_SYS_CHROOT) | CAP(CAP_SETUID) | CAP(CAP_SETGID) |            \
	    CAP(CAP_SETPCAP) | CAP(CAP_CHOWN) | CAP(CAP_FOWNER) | CAP(CAP_FSETID) |                \
	    CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) | CAP(CAP_NET_ADMIN) |                \
	    CAP(CAP_KILL) | CAP(CAP_SYS_NICE))
/* Kept where it is held: for limits above our own. */
#define CAPS_WISHED CAP(CAP_SYS_RESOURCE)

struct args {
	struct backend_ns_config b;
	char instance[NAME_MAX_LEN + 1];
};

/* ---- arguments ---- */

static const char *value_of(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static int parse(int argc, char **argv, struct args *ret)
{
	uint64_t state = 0, libexec = 0, work = 0, base = 0, count = 0;
	const struct {
		const char *name;
		uint64_t *value, max;
	} numbers[] = {{"state", &state, 65535}, {"libexec", &libexec, 65535},
	    {"workspaces", &work, 65535}, {"idbase", &base, UINT32_MAX},
	    {"idcount", &count, UINT32_MAX}};

	for (int i = 1; i < argc; i++) {
		const char *v = value_of(argv[i], "instance");
		bool known = v && name_valid(v, strlen(v)) &&
		             str_copy(ret->instance, sizeof ret->instance, v);

		for (size_t k = 0; !known && k < ARRAY_LEN(numbers); k++)
			if ((v = value_of(argv[i], numbers[k].name)))
				known = str_to_u64(
				            v, LINK_FD + 1, numbers[k].max, numbers[k].value) == 0;
		if (!known)
			return -EINVAL;
	}
	if (!state || !libexec || !work || !base || !count || !ret->instance[0])
		return -EINVAL;
	ret->b = (struct backend_ns_config){.state_fd = (int)state,
	    .libexec_fd = (int)libexec,
	    .workspaces_fd = (int)work,
	    .instance = ret->instance,
	    .idbase = (uint32_t)base,
	    .idcount = (uint32_t)count};
	return 0;
}

/* ---- confinement ---- */

/* confine_caps() empties the bounding set, but the lease processes that we start must be able to
 * take an id of their own. */
static int trim_caps(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];
	uint64_t keep;

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	keep = CAPS | (CAPS_WISHED & (d[0].permitted | (uint64_t)d[1].permitted << 32));
	for (unsigned long c = 0; c < 64; c++) {
		int have = prctl(PR_CAPBSET_READ, c, 0, 0, 0);

		if (have < 0)
			break; /* the last one that this kernel knows */
		if (have && !(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return -errno;
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	d[0].effective = d[0].permitted = (uint32_t)keep;
	d[1].effective = d[1].permitted = (uint32_t)(keep >> 32);
	d[0].inheritable = d[1].inheritable = 0;
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

/* A handful for each sandbox: as many as the service's hard limit allows. */
static void raise_open_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Keyrings are no namespace: what a sandbox inherits shall be an empty one. (The call may not
 * exist.) */
static void drop_keyring(void)
{
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
}

/* ---- what serve asks beside the back end ---- */

struct beside {
	struct backend *b; /* the namespaces' */
	uint32_t lease_base, lease_next, walk_base, walk_next;
};

static int tie(void *arg, const char *session, char *path, size_t size, struct err *e)
{
	struct beside *x = arg;

	return backend_ns_tie(x->b, session, path, size, e);
}

static int untie(void *arg, const char *session)
{
	struct beside *x = arg;

	return backend_ns_untie(x->b, session);
}

struct lease {
	struct launch l;
	struct err *e;
};

static int launch(void *arg)
{
	struct lease *t = arg;

	return launch_run(&t->l, t->e);
}

static int lease_start(void *arg, int link, int listener, pid_t *ret_pid, struct err *e)
{
	struct beside *x = arg;
	struct host *h = backend_ns_host(x->b);
	uint32_t id = x->lease_base + x->lease_next++ % LEASE_COUNT;
	struct lease t = {.e = e};
	int pid, pidfd;

	launch_init(&t.l, h->libexec_fd, "postern-lease");
	t.l.oom = LAUNCH_OOM_SESSION;
	launch_arg(&t.l, "uid=%u", id);
	launch_arg(&t.l, "gid=%u", id);
	launch_fd(&t.l, NULL, link);
	launch_fd(&t.l, NULL, listener);
	/* it sees the host's files, as every other of our daemons; until it locks itself in */
	if ((pid = host_visit(h, launch, &t)) < 0)
		return pid;
	*ret_pid = pid;
	pidfd = fd_pidfd_open(pid);
	return pidfd < 0 ? err_set(e, pidfd, "pidfd: %s", strerror(-pidfd)) : pidfd;
}

/* Who reads what a sandbox has written (broker/walk/main.c). */
static int walk_start(void *arg, int link, const struct backend_layers *w, struct err *e)
{
	struct beside *x = arg;
	struct host *h = backend_ns_host(x->b);
	uint32_t id = x->walk_base + x->walk_next++ % WALK_COUNT;
	struct lease t = {.e = e};
	int pid, pidfd;

	launch_init(&t.l, h->libexec_fd, "postern-walk");
	t.l.oom = LAUNCH_OOM_SESSION;
	launch_arg(&t.l, "uid=%u", id);
	launch_arg(&t.l, "gid=%u", id);
	launch_arg(&t.l, "ids=%u", w->ids);
	launch_fd(&t.l, "link", link);
	launch_fd(&t.l, "tree", w->tree);
	for (size_t i = 0; i < w->nlow; i++)
		launch_fd(&t.l, "low", w->low[i]);
	if ((pid = host_visit(h, launch, &t)) < 0)
		return pid;
	pidfd = fd_pidfd_open(pid);
	return pidfd < 0 ? err_set(e, pidfd, "pidfd: %s", strerror(-pidfd)) : pidfd;
}

/* The same program, for an operator. */
static int look_start(struct beside *x, int out, int link, const int *layers, size_t n,
    const char *what, size_t value, uint32_t ids, struct err *e)
{
	struct host *h = backend_ns_host(x->b);
	uint32_t id = x->walk_base + x->walk_next++ % WALK_COUNT;
	struct lease t = {.e = e};
	int pid, pidfd;

	launch_init(&t.l, h->libexec_fd, "postern-walk");
	t.l.oom = LAUNCH_OOM_SESSION;
	launch_arg(&t.l, "uid=%u", id);
	launch_arg(&t.l, "gid=%u", id);
	launch_arg(&t.l, "ids=%u", ids);
	launch_arg(&t.l, "%s=%zu", what, value);
	launch_fd(&t.l, "out", out);
	if (link >= 0)
		launch_fd(&t.l, "link", link);
	for (size_t i = 0; i < n; i++)
		launch_fd(&t.l, i == 0 ? "tree" : "low", layers[i]);
	if ((pid = host_visit(h, launch, &t)) < 0)
		return pid;
	pidfd = fd_pidfd_open(pid);
	return pidfd < 0 ? err_set(e, pidfd, "pidfd: %s", strerror(-pidfd)) : pidfd;
}

static int diff_start(
    void *arg, int out, const int *layers, size_t n, size_t changed, uint32_t ids, struct err *e)
{
	return look_start(arg, out, -1, layers, n, "more", changed - 1, ids, e);
}

static int export_start(void *arg, int out, int link, const int *layers, size_t n, unsigned allow,
    uint32_t ids, struct err *e)
{
	return look_start(arg, out, link, layers, n, "allow", allow, ids, e);
}

/* ---- tiers ---- */

/* Takes ns over. NULL without memory. */
static struct backend *tiers(struct backend *ns)
{
	struct backend *vm;
	char why[256];
	struct backend *t = backend_tiers_new(), *oci;

	if (!t) {
		ns->ops->free(ns);
		return NULL;
	}
	backend_tiers_have(t, PLAN_TIER_NAMESPACES, ns);
	if ((vm = backend_vm_new(ns, why, sizeof why)))
		backend_tiers_have(t, PLAN_TIER_MICROVM, vm);
	else
		backend_tiers_lack(t, PLAN_TIER_MICROVM, why);
	if ((oci = backend_oci_new(ns)))
		backend_tiers_have(t, PLAN_TIER_OCI, oci);
	return t;
}

/* ---- main ---- */

struct check {
	const struct args *a;
	struct err *e;
};

/* In the host's mount namespace, for its /etc. Block 0 is where our own daemons already run. */
static int check_ids(void *arg)
{
	struct check *k = arg;

	return idrange_wait("/", (int64_t)k->a->b.idbase + IDMAP_BLOCK,
	    (int64_t)k->a->b.idcount - IDMAP_BLOCK, IDS_WAIT_MS, k->e);
}

int main(int argc, char **argv)
{
	struct beside beside = {0};
	struct err e = ERR_INIT;
	struct backend *b = NULL;
	struct args a = {0};
	struct check check = {&a, &e};
	int r;

	log_open("postern-spawn", LOG_INFO);
	if (parse(argc, argv, &a) < 0) {
		log_error(
		    "usage: postern-spawn state=FD idbase=N idcount=N instance=NAME libexec=FD "
		    "workspaces=FD "
		    "(started by postern-supervisor)");
		return 2;
	}
	const int keep[] = {LINK_FD, a.b.state_fd, a.b.libexec_fd, a.b.workspaces_fd};

	(void)umask(022);
	drop_keyring();
	raise_open_files();
	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0 ||
	    (r = fd_set_cloexec(a.b.state_fd, true)) < 0 ||
	    (r = fd_set_cloexec(a.b.libexec_fd, true)) < 0 ||
	    (r = fd_set_cloexec(a.b.workspaces_fd, true)) < 0 || (r = confine_basics()) < 0)
		(void)err_set(&e, r, "cannot confine itself: %s", strerror(-r));
	else if (!(b = backend_ns_new(&a.b, &e)))
		r = e.code;
	else if ((r = host_visit(backend_ns_host(b), check_ids, &check)) == 0 &&
	         (r = trim_caps()) < 0)
		(void)err_set(&e, r, "cannot drop capabilities: %s", strerror(-r));
	if (r < 0) {
		log_error("%s", err_text(&e));
		if (b)
			b->ops->free(b);
		return 1;
	}
	beside.b = b;
	struct work_store *workspaces = backend_ns_work(b);
	if (!(b = tiers(b))) {
		log_error("no memory");
		return 1;
	}
	beside.lease_base = a.b.idbase + LEASE_FIRST;
	beside.walk_base = a.b.idbase + WALK_FIRST;
	const struct serve_config c = {.b = b,
	    .supervisor = LINK_FD,
	    .work = workspaces,
	    .workers = a.b.idbase + WORKER_FIRST,
	    .nworkers = WORKER_COUNT,
	    .lease_start = lease_start,
	    .walk_start = walk_start,
	    .diff_start = diff_start,
	    .export_start = export_start,
	    .tie = tie,
	    .untie = untie,
	    .arg = &beside};

	if ((r = serve_run(&c)) < 0)
		log_error("the loop: %s", strerror(-r));
	b->ops->free(b);
	return r < 0 ? 1 : 0;
}
