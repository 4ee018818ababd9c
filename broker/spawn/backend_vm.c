#include "broker/spawn/backend_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "broker/spawn/backend_ns_internal.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/vm_image.h"
#include "broker/supervisor/launch.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

/* struct sandbox is the namespaces' in that header; ours is this one, handed out as such. */
#define MIB        (UINT64_C(1) << 20)
#define MEMORY     (512 * MIB) /* of a guest whose plan does not say */
#define MEMORY_MIN (96 * MIB)
#define OVERHEAD   (384 * MIB) /* QEMU itself, translated code, postern-vm's buffers */
#define THREADS    64          /* QEMU's and ours, beside one for each processor */
#define SMP_MAX    8

enum { KERNEL, INITRAMFS, ROOT, FILES };

struct vm_backend {
	struct backend base;
	struct ns_backend *ns;
	bool kvm;  /* a stock kernel boots on it */
	int probe; /* pidfd of the one that finds out, -1 */
	char version[64];
	struct vm_image image; /* the last that was used */
};

struct vm {
	struct backend *b; /* first */
	struct cgroup cgroup;
	struct spare spare;
	int pts, pidfd;
	pid_t pid;
	bool reaped, credentials;
};

static struct vm_backend *vm_backend_of(struct backend *b)
{
	return (struct vm_backend *)(void *)b;
}

static struct vm *vm_of(const struct sandbox *s)
{
	union {
		const struct sandbox *in;
		struct vm *out;
	} u = {.in = s};

	return u.out;
}

/* ---- what this host can do ---- */

static int start_program(void *arg)
{
	struct launch *l = arg;

	return launch_run(l, NULL);
}

/* Whether a stock kernel boots on this /dev/kvm: some answer and do not manage it. Found out once,
 * while nobody waits. */
static void probe_kvm(struct vm_backend *b)
{
	struct host *h = &b->ns->host;
	cleanup_close int kernel = vm_file(h->state_fd, "microvm/vmlinuz", NULL);
	cleanup_close int initramfs = vm_file(h->state_fd, "microvm/initramfs", NULL);
	struct launch l;
	int pid;

	if (kernel < 0 || initramfs < 0 || faccessat(h->root_fd, "dev/kvm", F_OK, 0) < 0)
		return;
	launch_init(&l, h->libexec_fd, "postern-vm");
	l.oom = LAUNCH_OOM_SANDBOX;
	launch_arg(&l, "probe");
	launch_arg(&l, "uid=%u", idmap_base(b->ns->ids, 0) + 16384);
	launch_arg(&l, "memory=%d", 256);
	launch_arg(&l, "smp=1");
	launch_arg(&l, "accel=kvm");
	launch_fd(&l, NULL, kernel);
	launch_fd(&l, NULL, initramfs);
	if ((pid = host_visit(h, start_program, &l)) > 0)
		b->probe = fd_pidfd_open(pid);
}

/* True while it is not known. */
static bool probing(struct vm_backend *b)
{
	siginfo_t info = {0};

	if (b->probe < 0)
		return false;
	if (waitid(P_PIDFD, (id_t)b->probe, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		return true;
	b->kvm = info.si_code == CLD_EXITED && info.si_status == 0;
	util_close(&b->probe);
	return false;
}

static json_t *vm_probe(struct backend *base)
{
	struct vm_backend *b = vm_backend_of(base);
	bool unknown = probing(b);

	return json_pack("{s:s,s:s,s:s}", "backend", base->ops->name, "kernel", b->version, "kvm",
	    unknown  ? "being tried"
	    : b->kvm ? "yes"
	             : "no");
}

/* ---- a session ---- */

static int check_plan(
    struct vm_backend *b, const struct plan *p, struct backend_failure *f, struct err *e)
{
	const struct {
		bool asked;
		const char *step;
	} lacks[] = {{p->watch, "watch"}, {p->nprograms > 0, "programs"},
	    {p->nmounts > 0, "mounts"}, {p->nrules > 0, "landlock"},
	    {p->workspace_mode != PLAN_WORKSPACE_NONE, "workspace"},
	    {p->seccomp != PLAN_SECCOMP_DEFAULT, "seccomp"}, {p->root_user, "root user"}};
	bool unknown = probing(b); /* its end is waited for here */

	for (size_t i = 0; i < ARRAY_LEN(lacks); i++)
		if (lacks[i].asked) {
			f->step = lacks[i].step;
			return err_set(e, -ENOTSUP, "the tier microvm does not have it");
		}
	f->step = "memory";
	if (p->limits.memory_bytes && p->limits.memory_bytes < MEMORY_MIN)
		return err_set(e, -ENOTSUP, "a virtual machine needs %llu MiB of memory",
		    (unsigned long long)(MEMORY_MIN / MIB));
	f->step = "kvm";
	if (!p->emulate && unknown)
		return err_set(e, -EAGAIN, "it is not known yet whether KVM works here");
	if (!p->emulate && !b->kvm)
		return err_set(
		    e, -ENOTSUP, "KVM does not work here, and the template does not say emulate");
	return 0;
}

static unsigned processors(const struct plan *p)
{
	uint64_t n = (p->limits.cpu_percent + 99) / 100;

	return n < 1 ? 1 : n > SMP_MAX ? SMP_MAX : (unsigned)n;
}

static uint64_t guest_memory(const struct plan *p)
{
	return p->limits.memory_bytes ? p->limits.memory_bytes / MIB * MIB : MEMORY;
}

static int make_pts(void)
{
	cleanup_close int fs = fsopen("devpts", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "newinstance", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

static int launch_vm(struct vm_backend *b, const struct plan *p, int init_fd, struct vm *s,
    const int *files, struct err *e)
{
	struct host *h = &b->ns->host;
	struct launch l;
	unsigned tasks = 0;

	launch_init(&l, h->libexec_fd, "postern-vm");
	l.oom = LAUNCH_OOM_SANDBOX;
	launch_arg(&l, "session");
	launch_arg(&l, "uid=%u", idmap_base(b->ns->ids, s->spare.block));
	launch_arg(&l, "memory=%llu", (unsigned long long)(guest_memory(p) / MIB));
	launch_arg(&l, "smp=%u", processors(p));
	launch_arg(&l, "accel=%s", b->kvm ? "kvm" : "tcg");
	launch_arg(&l, "role=%s", p->role);
	launch_arg(&l, "disk=%llu", (unsigned long long)p->disk_bytes);
	launch_arg(&l, "inodes=%llu", (unsigned long long)p->disk_inodes);
	launch_arg(&l, "pids=%llu", (unsigned long long)p->limits.pids);
	launch_arg(&l, "files=%llu", (unsigned long long)p->open_files);
	launch_arg(&l, "credentials=%d", p->credentials);
	launch_fd(&l, NULL, init_fd);
	launch_fd(&l, NULL, s->spare.ns.net);
	launch_fd(&l, NULL, s->cgroup.dir);
	for (size_t i = 0; i < FILES; i++)
		launch_fd(&l, NULL, files[i]);
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (s->cgroup.tasks[k] >= 0) {
			launch_fd(&l, NULL, s->cgroup.tasks[k]);
			tasks++;
		}
	launch_arg(&l, "tasks=%u", tasks);
	if ((s->pid = host_visit(h, start_program, &l)) < 0)
		return err_set(e, s->pid, "%s", strerror(-s->pid));
	s->pidfd = fd_pidfd_open(s->pid);
	return s->pidfd < 0 ? err_set(e, s->pidfd, "pidfd: %s", strerror(-s->pidfd)) : 0;
}

static int build(struct vm_backend *b, const char *session, const struct plan *p, int init_fd,
    struct vm *s, const int *files, struct backend_failure *f, struct err *e)
{
	struct plan outer = *p;
	int r;

	f->step = "namespaces";
	if ((r = spare_take(&b->ns->spares, &b->ns->host, b->ns->ids, &s->spare, e)) < 0)
		return r;
	/* the machine around the guest is the host's to bear, and is not the agent's to use */
	outer.limits.memory_bytes = guest_memory(p) + OVERHEAD;
	if (outer.limits.pids)
		outer.limits.pids = THREADS + processors(p);
	f->step = "cgroup";
	if ((r = cgroup_make(b->ns->cgroups, session, &outer, &s->cgroup, e)) < 0)
		return r;
	f->step = "devpts";
	if ((s->pts = make_pts()) < 0)
		return err_set(e, s->pts, "%s", strerror(-s->pts));
	f->step = "postern-vm";
	r = launch_vm(b, p, init_fd, s, files, e);
	cgroup_joined(&s->cgroup);
	if (r < 0)
		return r;
	util_close(&s->spare.ns.net);
	util_close(&s->spare.ns.ipc);
	util_close(&s->spare.ns.uts);
	util_close(&s->spare.userns);
	if (!p->credentials)
		util_close(&s->spare.ns.listener);
	return 0;
}

static int release(struct vm_backend *b, struct vm *s)
{
	int r;

	util_close(&s->pts);
	util_close(&s->spare.ns.listener);
	if ((r = cgroup_remove(b->ns->cgroups, &s->cgroup)) < 0)
		return r;
	spare_done(&s->spare, b->ns->ids);
	return 0;
}

static json_t *tell(const struct vm_backend *b, const struct plan *p, const struct vm *s)
{
	json_t *limits = plan_limits_json(&p->limits);

	(void)json_object_set_new(
	    limits, "memory_bytes", json_integer((json_int_t)guest_memory(p)));
	(void)json_object_set_new(limits, "overhead_bytes", json_integer((json_int_t)OVERHEAD));
	if (p->disk_bytes)
		(void)json_object_set_new(
		    limits, "disk_bytes", json_integer((json_int_t)p->disk_bytes));
	if (p->disk_inodes)
		(void)json_object_set_new(
		    limits, "disk_inodes", json_integer((json_int_t)p->disk_inodes));
	if (p->open_files)
		(void)json_object_set_new(
		    limits, "open_files", json_integer((json_int_t)p->open_files));
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:o,s:I}", "tier", plan_tiers[p->tier],
	    "backend", b->base.ops->name, "kernel", b->version, "accel", b->kvm ? "kvm" : "tcg",
	    "image", b->image.digest, "seccomp", b->ns->seccomp, "cgroup",
	    cgroups_kind(b->ns->cgroups), "processors", (int)processors(p), "limits", limits,
	    "idbase", (json_int_t)idmap_base(b->ns->ids, s->spare.block));
}

static void kill_vm(struct vm *s)
{
	if (s->cgroup.dir >= 0)
		(void)cgroup_kill(&s->cgroup);
	if (s->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}

static int vm_start(struct backend *base, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e)
{
	struct vm_backend *b = vm_backend_of(base);
	cleanup_close int kernel = -1;
	cleanup_close int initramfs = -1;
	cleanup_close int root = -1;
	cleanup_free struct vm *s = NULL;
	json_t *told;
	int r;

	if ((r = check_plan(b, p, f, e)) < 0)
		return r;
	f->step = "image";
	if ((r = kernel = vm_file(b->ns->host.state_fd, "microvm/vmlinuz", e)) < 0 ||
	    (r = initramfs = vm_file(b->ns->host.state_fd, "microvm/initramfs", e)) < 0 ||
	    (r = root = vm_image_open(&b->ns->host, p, e)) < 0 ||
	    (r = vm_image_digest(&b->image, root, e)) < 0)
		return r;
	f->step = "memory";
	if (!(s = calloc(1, sizeof *s)))
		return err_set(e, -ENOMEM, "no memory");
	*s = (struct vm){.b = base,
	    .cgroup = {.dir = -1, .tasks = {-1, -1, -1}},
	    .spare = SPARE_NONE,
	    .pts = -1,
	    .pidfd = -1,
	    .credentials = p->credentials};

	const int files[FILES] = {kernel, initramfs, root};

	r = build(b, session, p, init_fd, s, files, f, e);
	told = r < 0 ? NULL : tell(b, p, s);
	if (!told) {
		kill_vm(s);
		if (s->pidfd >= 0)
			(void)waitid(P_PIDFD, (id_t)s->pidfd, NULL, WEXITED);
		util_close(&s->pidfd);
		(void)release(b, s);
		return r < 0 ? r : err_set(e, -ENOMEM, "no memory");
	}
	*ret_enforced = told;
	*ret = (struct sandbox *)(void *)steal_ptr(&s);
	return 0;
}

static int vm_prepare(
    struct backend *base, const struct plan *p, struct backend_failure *f, struct err *e)
{
	struct vm_backend *b = vm_backend_of(base);
	cleanup_close int root = -1;

	f->step = "image";
	if ((root = vm_image_open(&b->ns->host, p, e)) < 0)
		return root;
	return vm_image_begin(&b->image, root, e);
}

static pid_t vm_pid(const struct sandbox *s)
{
	return vm_of(s)->pid;
}

static int vm_pidfd(const struct sandbox *s)
{
	return vm_of(s)->pidfd;
}

static int vm_cred_listener(const struct sandbox *s)
{
	return vm_of(s)->spare.ns.listener;
}

/* A pair of ours that does nothing to the bytes: the terminal that counts is the guest's, and
 * postern-vm carries bytes and sizes between them. */
static int vm_open_pty(struct sandbox *s, int *ret_master, int *ret_slave, struct err *e)
{
	cleanup_close int master = openat(vm_of(s)->pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	cleanup_close int slave = -1;
	struct termios raw;
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_set(e, -errno, "ptmx: %m");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &raw) < 0)
		return err_set(e, -errno, "the slave: %m");
	cfmakeraw(&raw);
	if (tcsetattr(slave, TCSANOW, &raw) < 0)
		return err_set(e, -errno, "the slave: %m");
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

static int vm_freeze(struct sandbox *s, int on, struct err *e)
{
	int r = cgroup_freeze(&vm_of(s)->cgroup, on);

	return r < 0 ? err_set(e, r, "cgroup.freeze: %s", strerror(-r)) : 0;
}

static void vm_stat(struct sandbox *s, struct backend_usage *ret)
{
	struct vm *v = vm_of(s);

	cgroup_usage(vm_backend_of(v->b)->ns->cgroups, &v->cgroup, ret);
}

static void vm_kill(struct sandbox *s)
{
	kill_vm(vm_of(s));
}

static int vm_reap(struct sandbox *sandbox, struct backend_usage *ret)
{
	struct vm *s = vm_of(sandbox);
	siginfo_t info = {0};
	int r;

	if (!s->reaped) {
		if (waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG) < 0 &&
		    errno != ECHILD)
			return -EAGAIN;
		if (info.si_pid == 0 && errno != ECHILD)
			return -EAGAIN;
		s->reaped = true;
		kill_vm(s); /* QEMU, if it has outlived the bridge */
		if (ret)
			vm_stat(sandbox, ret);
	}
	if ((r = release(vm_backend_of(s->b), s)) < 0)
		return r;
	util_close(&s->pidfd);
	free(s);
	return 0;
}

static void vm_free(struct backend *base)
{
	struct vm_backend *b = vm_backend_of(base);

	if (b->probe >= 0) {
		(void)syscall(SYS_pidfd_send_signal, b->probe, SIGKILL, NULL, 0);
		(void)waitid(P_PIDFD, (id_t)b->probe, NULL, WEXITED);
		util_close(&b->probe);
	}
	vm_image_stop(&b->image);
	free(b);
}

static int vm_charge(struct sandbox *s, pid_t pid)
{
	struct vm *v = vm_of(s);

	return cgroup_charge(vm_backend_of(v->b)->ns->cgroups, &v->cgroup, pid);
}

static const struct backend_ops ops = {
    .name = "microvm",
    .probe = vm_probe,
    .prepare = vm_prepare,
    .start = vm_start,
    .pid = vm_pid,
    .pidfd = vm_pidfd,
    .cred_listener = vm_cred_listener,
    .open_pty = vm_open_pty,
    .freeze = vm_freeze,
    .stat = vm_stat,
    .charge = vm_charge,
    .kill = vm_kill,
    .reap = vm_reap,
    .free = vm_free,
};

struct backend *backend_vm_new(struct backend *ns, char *why, size_t size)
{
	struct vm_backend *b = calloc(1, sizeof *b);
	struct err e = ERR_INIT;
	cleanup_close int version = -1;

	if (!b) {
		(void)snprintf(why, size, "no memory");
		return NULL;
	}
	b->base.ops = &ops;
	b->ns = (struct ns_backend *)(void *)ns;
	b->probe = -1;
	b->image = (struct vm_image)VM_IMAGE_NONE;
	version = vm_file(b->ns->host.state_fd, "microvm/version", &e);
	if (version < 0 || read(version, b->version, sizeof b->version - 1) <= 0) {
		(void)snprintf(why, size, "%s", version < 0 ? err_text(&e) : "no kernel version");
		free(b);
		return NULL;
	}
	b->version[strcspn(b->version, "\n")] = '\0';
	if (faccessat(b->ns->host.root_fd, "usr/bin/qemu-system-x86_64", X_OK, 0) < 0) {
		(void)snprintf(why, size, "qemu-system-x86 is not installed");
		free(b);
		return NULL;
	}
	probe_kvm(b);
	return &b->base;
}
