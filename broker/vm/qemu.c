#include "broker/vm/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/confine.h"
#include "lib/err.h"
#include "lib/landlock_abi.h"
#include "lib/util.h"

#define ARGS_MAX 64
#define TEXT_MAX 4096
#define MIB      (UINT64_C(1) << 20)
#define CMDLINE  "quiet loglevel=0 panic=-1 reboot=t no_timer_check random.trust_cpu=on -- serial"

struct line {
	char *argv[ARGS_MAX], text[TEXT_MAX];
	size_t n, used;
};

static void add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->used, TEXT_MAX - l->used, fmt, ap);
	va_end(ap);
	l->argv[l->n++] = l->text + l->used;
	l->used += (size_t)n + 1;
}

static void compose(struct line *l, const struct qemu *q)
{
	static const char *const fixed[] = {"-nodefaults", "-no-user-config", "-no-reboot",
	    "-display", "none", "-serial", "none", "-monitor", "none", "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"};

	add(l, "qemu-system-x86_64");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		add(l, "%s", fixed[i]);
	add(l, "-machine");
	add(l, "q35,usb=off,sata=off,smbus=off,vmport=off");
	add(l, "-accel");
	add(l, "%s", q->kvm ? "kvm" : "tcg,thread=multi,tb-size=64");
	add(l, "-cpu");
	add(l, "%s", q->kvm ? "host" : "max");
	add(l, "-m");
	add(l, "%lluM", (unsigned long long)(q->memory / MIB));
	add(l, "-smp");
	add(l, "%u", q->smp);
	add(l, "-kernel");
	add(l, "/proc/self/fd/%d", q->kernel);
	add(l, "-initrd");
	add(l, "/proc/self/fd/%d", q->initramfs);
	add(l, "-append");
	add(l, CMDLINE);
	add(l, "-device");
	add(l, "virtio-serial-pci");
	add(l, "-chardev");
	add(l, "socket,id=port,fd=%d", q->port);
	add(l, "-device");
	add(l, "virtserialport,chardev=port,name=postern");
	if (q->root < 0)
		return;
	add(l, "-add-fd");
	add(l, "fd=%d,set=1", q->root);
	add(l, "-drive");
	add(l, "if=none,id=root,format=raw,readonly=on,file.locking=off,file=/dev/fdset/1");
	add(l, "-device");
	add(l, "virtio-blk-pci,drive=root");
}

/* Reading and running below /usr, and reading the files that it opens by /proc/self/fd. */
static int restrict_files(const struct qemu *q)
{
	struct ll_ruleset_attr attr = {LL_FS_ABI1, 0, 0};
	struct landlock_path_beneath_attr rule = {0};
	int abi = confine_landlock_abi(), kvm = -1, usr, set;

	if (abi < 0)
		return abi == -ENOSYS ? 0 : abi;
	if (abi >= 2)
		attr.handled_access_fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LL_FS_TRUNCATE;
	if (abi >= 4)
		attr.handled_access_net = LL_NET_BIND_TCP | LL_NET_CONNECT_TCP;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL;
	set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	usr = open("/usr", O_PATH | O_CLOEXEC);
	if (set < 0 || usr < 0)
		return -errno;
	if (q->kvm && (kvm = open("/dev/kvm", O_PATH | O_CLOEXEC)) < 0)
		return -errno;

	const struct {
		int fd;
		uint64_t rights;
	} all[] = {{usr, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
	                     LANDLOCK_ACCESS_FS_EXECUTE},
	    {q->kernel, LANDLOCK_ACCESS_FS_READ_FILE}, {q->initramfs, LANDLOCK_ACCESS_FS_READ_FILE},
	    {kvm, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE}};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (all[i].fd < 0)
			continue;
		rule.parent_fd = all[i].fd;
		rule.allowed_access = all[i].rights;
		if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			return -errno;
	}
	return syscall(SYS_landlock_restrict_self, set, 0) < 0 ? -errno : 0;
}

/* /dev/kvm belongs to a group. */
static int take_ids(const struct qemu *q)
{
	struct stat st;
	gid_t kvm;
	size_t n = 0;

	if (q->kvm && stat("/dev/kvm", &st) == 0) {
		kvm = st.st_gid;
		n = 1;
	}
	if (setgroups(n, n ? &kvm : NULL) < 0 || setresgid(q->uid, q->uid, q->uid) < 0 ||
	    setresuid(q->uid, q->uid, q->uid) < 0)
		return -errno;
	return 0;
}

static int confine(const struct qemu *q)
{
	const int keep[] = {q->kernel, q->initramfs, q->root, q->port};
	int r;

	for (size_t i = 0; i < ARRAY_LEN(keep); i++)
		if (keep[i] >= 0 && fcntl(keep[i], F_SETFD, 0) < 0)
			return -errno;
	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0 || (r = take_ids(q)) < 0 ||
	    (r = restrict_files(q)) < 0)
		return r;
	/* after the ids, as their change forgets it (prctl(2)) */
	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
}

pid_t qemu_start(const struct qemu *q, struct err *e)
{
	static struct line l;
	char *envp[] = {NULL};
	pid_t pid;
	int r;

	memset(&l, 0, sizeof l);
	compose(&l, q);
	if (access(QEMU_PROGRAM, X_OK) < 0)
		return err_set(e, -errno, "%s: %m", QEMU_PROGRAM);
	if ((pid = fork()) < 0)
		return err_set(e, -errno, "fork: %m");
	if (pid > 0)
		return pid;
	if ((r = confine(q)) < 0)
		(void)fprintf(stderr, "postern-vm: qemu: %s\n", strerror(-r));
	else
		(void)execve(QEMU_PROGRAM, l.argv, envp);
	_exit(127);
}
