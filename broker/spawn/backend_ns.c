#include "broker/spawn/backend_ns.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/backend_ns_internal.h"
#include "broker/spawn/binds.h"
#include "broker/spawn/enter.h"
#include "broker/spawn/filter.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/pool.h"
#include "broker/spawn/oci_enter.h"
#include "broker/spawn/programs.h"
#include "broker/spawn/rootfs.h"
#include "broker/spawn/rules.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/skeleton_etc.h"
#include "broker/spawn/workspace.h"
#include "broker/workspace/store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/util.h"

static struct ns_backend *ns_of(struct backend *b)
{
	return (struct ns_backend *)(void *)b;
}

static json_t *ns_probe(struct backend *b)
{
	json_t *o = ns_tell_host(ns_of(b));

	(void)json_object_set_new(o, "pool", ns_pool_tell(ns_of(b)));
	return o;
}

/* ---- a sandbox ---- */

#define SEARCH_ID 5 /* of block 0: ARCHITECTURE.md, "Ids" */

static int get_programs(struct ns_backend *b, const struct skeleton *s, const struct plan *p,
    const struct programs **ret, struct err *e)
{
	if (p->nprograms && b->landlock <= 0)
		return err_set(e, -ENOTSUP, "a list of programs needs Landlock");
	return programs_get(
	    &b->programs, &b->host, s, p, idmap_base(b->ids, 0) + SEARCH_ID, ret, e);
}

static int ns_prepare(
    struct backend *base, const struct plan *p, struct backend_failure *f, struct err *e)
{
	struct ns_backend *b = ns_of(base);
	const struct skeleton *s;

	f->step = "template";
	const struct programs *g;
	int r = skeleton_get(b->skeletons, p, &s, e);

	if (r < 0)
		return r;
	f->step = "programs";
	if ((r = get_programs(b, s, p, &g, e)) == 0)
		pool_want(b->pool, p, clock_mono_ns());
	return r;
}

static int start_watch(struct ns_backend *b, struct sandbox *s, struct err *e)
{
	int r;

	if ((r = watched_start(&b->host, s->spare.userns, &s->watched, e)) < 0)
		return r;
	if ((r = cgroup_charge(b->cgroups, &s->cgroup, s->watched.pid)) < 0)
		return err_set(e, r, "the tenant's cgroup: %s", strerror(-r));
	return 0;
}

static void ns_forget(struct backend *base)
{
	pool_forget(ns_of(base)->pool, clock_mono_ns());
}

static int build(struct ns_backend *b, const char *session, const struct plan *p, int init_fd,
    struct sandbox *s, struct backend_failure *f, struct err *e)
{
	const struct programs *programs;
	const struct skeleton *skeleton;
	struct rootfs root = ROOTFS_NONE;
	uint64_t own_inodes;
	struct workspace work = WORKSPACE_NONE;
	struct binds binds = BINDS_NONE;
	uint32_t base;
	int r;

	f->step = "template";
	if ((r = skeleton_get(b->skeletons, p, &skeleton, e)) < 0)
		return r;
	f->step = "programs";
	if ((r = get_programs(b, skeleton, p, &programs, e)) < 0)
		return r;
	s->programs = p->nprograms;
	s->strength = programs ? (int)programs->strength : PROGRAMS_ANY;
	f->step = "landlock";
	cleanup_free struct rules *rules = NULL;
	if ((r = rules_make(&b->host, skeleton, p, programs, &rules, e)) < 0)
		return r;
	f->step = "namespaces";
	if ((r = spare_take(&b->spares, &b->host, b->ids, &s->spare, e)) < 0)
		return r;
	f->step = "cgroup";
	if ((r = cgroup_make(b->cgroups, session, p, &s->cgroup, e)) < 0)
		return r;
	f->step = "watch";
	if (p->watch && (r = start_watch(b, s, e)) < 0)
		return r;
	f->step = "rootfs";
	if ((r = rootfs_make(
	         skeleton, p, s->spare.userns, idmap_base(b->ids, s->spare.block), &root, e)) < 0)
		return r;
	base = idmap_base(b->ids, s->spare.block);
	f->step = "mounts";
	if ((r = binds_make(&b->host, skeleton, p, root.up, base, &binds, e)) < 0) {
		rootfs_done(&root);
		return r;
	}
	/* and what each overlay more makes for itself */
	own_inodes = ns_inodes(root.up) + (root.own_usr ? 1 : 0) + (root.dpkg >= 0 ? 1 : 0);
	f->step = "workspace";
	(void)str_copy(s->session, sizeof s->session, session);
	if ((r = workspace_make(b->work, session, p, base, root.up, b->landlock, &work, e)) < 0) {
		binds_done(&binds);
		rootfs_done(&root);
		return r;
	}

	struct enter n = {.plan = p,
	    .host = &b->host,
	    .skeleton = skeleton,
	    .programs = programs,
	    .rules = rules,
	    .rootfs = &root,
	    .workspace = &work,
	    .binds = &binds,
	    .cgroup = &s->cgroup,
	    .ns = &s->spare.ns,
	    .userns = s->spare.userns,
	    .idbase = idmap_base(b->ids, s->spare.block),
	    .filter = filter_for(p->seccomp),
	    .init_fd = init_fd,
	    .watch = s->watched.control,
	    .hostname = p->role,
	    .open_files = p->open_files,
	    .landlock_abi = b->landlock};

	s->by_runtime = p->tier == PLAN_TIER_OCI;
	r = s->by_runtime ? oci_enter(&n) : enter(&n);
	workspace_done(&work);
	binds_done(&binds);
	cgroup_joined(&s->cgroup);
	s->usr_mapped = root.usr_mapped;
	if (r < 0) {
		rootfs_done(&root);
		f->step = n.step;
		return err_set(e, r, "%s", strerror(-r));
	}
	s->pid = n.pid;
	s->pidfd = n.pidfd;
	s->pts = root.pts;
	s->own_inodes = own_inodes;
	ns_layers_keep(s, &root);
	rootfs_moved(&root);
	/* they live on in the sandbox; the listener and the block stay ours */
	util_close(&s->spare.ns.net);
	util_close(&s->spare.ns.ipc);
	util_close(&s->spare.ns.uts);
	util_close(&s->spare.userns);
	if (!p->credentials)
		util_close(&s->spare.ns.listener);
	return 0;
}

/* All but the process, which must have been waited for. */
static int release(struct sandbox *s)
{
	int r;

	util_close(&s->pts);
	ns_layers_done(s);
	util_close(&s->spare.ns.listener);
	watched_end(&s->watched);
	if ((s->by_runtime && (r = oci_leave(&s->cgroup)) < 0) ||
	    (r = cgroup_remove(s->b->cgroups, &s->cgroup)) < 0)
		return r;
	/* the last of its mounts went with its last process */
	if (s->b->work)
		(void)work_release(s->b->work, s->session);
	spare_done(&s->spare, s->b->ids);
	return 0;
}

int ns_make(struct ns_backend *b, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, struct backend_failure *f, struct err *e)
{
	struct sandbox *s = calloc(1, sizeof *s);
	int r;

	f->step = "memory";
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	*s = (struct sandbox){.b = b,
	    .cgroup = CGROUP_NONE,
	    .spare = SPARE_NONE,
	    .watched = WATCHED_NONE,
	    .pts = -1,
	    .pidfd = -1,
	    .up = -1,
	    .low = {-1, -1}};
	r = build(b, session, p, init_fd, s, f, e);
	if (r < 0) {
		(void)release(s);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int ns_start(struct backend *base, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e)
{
	struct ns_backend *b = ns_of(base);
	struct sandbox *s = pool_take(b->pool, p, init_fd, clock_mono_ns());
	bool warm = s != NULL;
	json_t *told;
	int r;

	if (!s) {
		r = ns_make(b, session, p, init_fd, &s, f, e);
		/* without a free block of ids: a member of the pool has one */
		if (r == -EAGAIN && pool_shed(b->pool))
			r = ns_make(b, session, p, init_fd, &s, f, e);
		if (r < 0)
			return r;
	}
	told = ns_tell_session(b, p, s);
	if (!told || json_object_set_new(told, "start", json_string(warm ? "warm" : "cold")) < 0) {
		json_decref(told);
		s->b->base.ops->kill(s);
		(void)waitid(P_PIDFD, (id_t)s->pidfd, NULL, WEXITED);
		(void)release(s);
		util_close(&s->pidfd);
		free(s);
		return err_set(e, -ENOMEM, "no memory");
	}
	*ret_enforced = told;
	*ret = s;
	return 0;
}

static pid_t ns_pid(const struct sandbox *s)
{
	return s->pid;
}

static int ns_pidfd(const struct sandbox *s)
{
	return s->pidfd;
}

static int ns_cred_listener(const struct sandbox *s)
{
	return s->spare.ns.listener;
}

/* By descriptor all the way: the slave is opened through its master (TIOCGPTPEER), on the mount
 * that the sandbox sees as /dev/pts, so `tty` inside has a name to print (CVE-2025-52565: no path
 * is opened twice). */
static int ns_open_pty(struct sandbox *s, int *ret_master, int *ret_slave, struct err *e)
{
	cleanup_close int master = openat(s->pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	cleanup_close int slave = -1;
	uint32_t base = idmap_base(s->b->ids, s->spare.block);
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_set(e, -errno, "ptmx: %m");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || fchown(slave, base + AGENT_ID, base + TTY_ID) < 0)
		return err_set(e, -errno, "the slave: %m");
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

static int ns_freeze(struct sandbox *s, int on, struct err *e)
{
	int r = cgroup_freeze(&s->cgroup, on);

	return r < 0 ? err_set(e, r, "cgroup.freeze: %s", strerror(-r)) : 0;
}

static void ns_stat(struct sandbox *s, struct backend_usage *ret)
{
	cgroup_usage(s->b->cgroups, &s->cgroup, ret);
}

static int ns_charge(struct sandbox *s, pid_t pid)
{
	return cgroup_charge(s->b->cgroups, &s->cgroup, pid);
}

static bool ns_watch(const struct sandbox *s, struct backend_watch *ret)
{
	*ret = (struct backend_watch){
	    .pidfd = s->watched.pidfd, .link = s->watched.link, .control = s->watched.control};
	return ret->pidfd >= 0;
}

/* Killing pid 1 ends the pid namespace; the cgroup also holds whatever might have come in
 * otherwise. */
static void ns_kill(struct sandbox *s)
{
	if (s->cgroup.dir >= 0)
		(void)cgroup_kill(&s->cgroup);
	if (s->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}

static int ns_reap(struct sandbox *s, struct backend_usage *ret)
{
	siginfo_t info = {0};
	int r;

	if (!s->reaped) {
		if (waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG) < 0 &&
		    errno != ECHILD)
			return -EAGAIN;
		if (info.si_pid == 0 && errno != ECHILD)
			return -EAGAIN;
		s->reaped = true;
		if (ret)
			ns_stat(s, ret);
	}
	if ((r = release(s)) < 0)
		return r;
	util_close(&s->pidfd);
	free(s);
	return 0;
}

static int refill(struct backend *base)
{
	struct ns_backend *b = ns_of(base);
	int r = spare_refill(&b->spares, &b->host, b->ids, NULL);

	if (r <= 0)
		r = cgroups_refill(b->cgroups);
	return r > 0 ? 1 : b->work ? work_idle(b->work) : 0;
}

static int ns_event_fd(struct backend *base)
{
	return cgroups_event_fd(ns_of(base)->cgroups);
}

static void ns_event(struct backend *base)
{
	cgroups_event(ns_of(base)->cgroups);
}

static int ns_idle(struct backend *base)
{
	int r = refill(base);

	return r > 0 ? r : pool_step(ns_of(base)->pool, clock_mono_ns());
}

static void ns_free(struct backend *base)
{
	struct ns_backend *b = ns_of(base);

	pool_free(b->pool);
	if (b->ids)
		spares_done(&b->spares, b->ids);
	programs_drop(b->programs);
	skeletons_free(b->skeletons);
	work_close(b->work);
	cgroups_free(b->cgroups);
	idmap_free(b->ids);
	host_leave(&b->host);
	free(b);
}

const struct backend_ops ns_ops = {
    .name = "namespaces",
    .probe = ns_probe,
    .prepare = ns_prepare,
    .forget = ns_forget,
    .start = ns_start,
    .pid = ns_pid,
    .pidfd = ns_pidfd,
    .cred_listener = ns_cred_listener,
    .open_pty = ns_open_pty,
    .freeze = ns_freeze,
    .stat = ns_stat,
    .watch = ns_watch,
    .charge = ns_charge,
    .layers = ns_layers,
    .kill = ns_kill,
    .idle = ns_idle,
    .event_fd = ns_event_fd,
    .event = ns_event,
    .reap = ns_reap,
    .free = ns_free,
};
