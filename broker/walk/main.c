/*
 * postern-walk uid=N gid=N ids=N link=FD tree=FD [low=FD ...]
 * postern-walk uid=N gid=N ids=N out=FD more=N tree=FD low=FD ...
 * postern-walk uid=N gid=N ids=N out=FD link=FD allow=MASK tree=FD low=FD ...
 *
 * The first reads what a session left in its private layer: tree is the directory with `u` (above
 * the layers low, uppermost first) and `shm`. Tells the core by the link. The second tells an
 * operator, by the pipe out, what the layer tree and the first `more` of low change in the others
 * (diff.h). The third hands out a tar of them all (export.h). All read a hostile tree, so it takes
 * an id of its own and locks itself in first: it can read, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/walk/changes.h"
#include "broker/walk/diff.h"
#include "broker/walk/export.h"
#include "broker/walk/line.h"
#include "broker/walk/opaque.h"
#include "filters.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define LOWER_MAX  CHANGES_LAYERS
#define CAP(c)     (UINT64_C(1) << (c))
#define TIME_NS    (8 * NSEC_PER_SEC) /* spawn waits a little longer */
#define CHANGES    4096               /* on record; the others are counted */
#define FILE_BYTES (64u << 20)
#define HASH_BYTES (512u << 20)
#define BATCH      (40u * 1024) /* a record holds it */
#define SEND_MS    5000

#ifdef POSTERN_SAN
#define MEMORY_MAX 0
#else
#define MEMORY_MAX (256u << 20)
#endif

struct args {
	uint64_t uid, gid, ids, link, tree, out, more, allow;
	int low[LOWER_MAX];
	size_t nlow;
};

struct teller {
	struct chan *core;
	const char *layer;
	json_t *files;
	size_t bytes;
	uint32_t ids;
	int tree;
	struct changes *c;
	uint64_t own[4]; /* by change_kind: what is spawn's doing */
	int opaque;      /* link to the process beside; -1: none */
};

static int parse(int argc, char **argv, struct args *a)
{
	const struct {
		const char *name;
		uint64_t *value, max;
	} numbers[] = {{"uid", &a->uid, UINT32_MAX - 1}, {"gid", &a->gid, UINT32_MAX - 1},
	    {"ids", &a->ids, UINT32_MAX}, {"link", &a->link, 255}, {"tree", &a->tree, 255},
	    {"out", &a->out, 255}, {"more", &a->more, LOWER_MAX}, {"allow", &a->allow, UINT32_MAX}};

	for (int i = 1; i < argc; i++) {
		const char *v = strchr(argv[i], '=');
		size_t n = v ? (size_t)(v - argv[i]) : 0, k = 0;
		uint64_t fd;

		if (!v)
			return -EINVAL;
		if (n == 3 && strncmp(argv[i], "low", 3) == 0) {
			if (a->nlow == LOWER_MAX || str_to_u64(v + 1, 3, 255, &fd) < 0)
				return -EINVAL;
			a->low[a->nlow++] = (int)fd;
			continue;
		}
		while (k < ARRAY_LEN(numbers) &&
		       (strlen(numbers[k].name) != n || strncmp(argv[i], numbers[k].name, n) != 0))
			k++;
		if (k == ARRAY_LEN(numbers) ||
		    str_to_u64(v + 1, 0, numbers[k].max, numbers[k].value) < 0)
			return -EINVAL;
	}
	return a->uid && a->gid && (a->link || a->out) && a->tree && a->more <= a->nlow ? 0
	                                                                                : -EINVAL;
}

/* A directory of each layer for each that it is in; as far as the host lets us. */
static uint64_t open_files(const struct args *a)
{
	uint64_t n = 64 + CHANGES_DEPTH * (1 + a->nlow);
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_max < n ? l.rlim_max : n;
}

/* Everything but the one capability. parent: with whose death it dies; 0: nobody's. */
static int become(
    const struct args *a, pid_t parent, uint64_t keep, const struct confine_path *paths, size_t n)
{
	const struct confine_limits limits = {
	    .open_files = open_files(a), .memory = MEMORY_MAX, .processes = 0, .file_bytes = 0};
	int abi, r;

	if ((r = confine_caps(CAP(CAP_SETUID) | CAP(CAP_SETGID) | keep)) < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if ((r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0 || (r = confine_caps(keep)) < 0)
		return r;
	/* a change of ids takes it back (prctl(2)) */
	if (parent && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
		return -ESRCH;
	if ((r = confine_basics()) < 0 || (r = confine_limits(&limits)) < 0 ||
	    (r = confine_landlock(paths, n, &abi)) < 0)
		return r;
	return confine_seccomp(filter_walk, ARRAY_LEN(filter_walk));
}

/* opaque.h */
static int start_beside(const struct args *a)
{
	int pair[2];
	pid_t parent = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if ((pid = fork()) < 0)
		return -errno;
	if (pid > 0) {
		(void)close(pair[1]);
		return pair[0];
	}
	if (confine_fds(&pair[1], 1) < 0 || become(a, parent, CAP(CAP_SYS_ADMIN), NULL, 0) < 0)
		_exit(1);
	opaque_serve(pair[1]);
	_exit(0);
}

static int confine(const struct args *a)
{
	struct confine_path paths[1 + LOWER_MAX] = {{(int)a->tree, 0}};

	for (size_t i = 0; i < a->nlow; i++)
		paths[1 + i] = (struct confine_path){a->low[i], 0};
	return become(a, 0, CAP(CAP_DAC_READ_SEARCH), paths, 1 + a->nlow);
}

/* ---- telling ---- */

static int flush(struct chan *c)
{
	while (chan_wants_write(c)) {
		struct pollfd p = {chan_fd(c), POLLOUT, 0};
		int r;

		if (p.fd < 0 || poll(&p, 1, SEND_MS) <= 0)
			return -EPIPE;
		if ((r = chan_flush(c)) < 0)
			return r;
	}
	return chan_fd(c) < 0 ? -EPIPE : 0;
}

static int send_batch(struct teller *t)
{
	int r;

	if (json_array_size(t->files) == 0)
		return 0;
	r = chan_send(t->core, "walk.changed", 0,
	    json_pack("{s:s, s:o}", "layer", t->layer, "files", t->files), NULL, 0);
	t->files = json_array();
	t->bytes = 0;
	return r < 0 ? r : flush(t->core);
}

/* spawn's own (name_machine() of broker/spawn/rootfs.c), written before the overlay was mounted and
 * not touched since. */
static bool machine_id(const struct teller *t, const struct change *x)
{
	struct statx id, work;
	const unsigned want = STATX_CTIME | STATX_BTIME;

	if (strcmp(x->path, "etc/machine-id") != 0 || strcmp(t->layer, "u") != 0 ||
	    statx(x->dir, x->name, AT_SYMLINK_NOFOLLOW, want, &id) < 0 ||
	    statx(t->tree, "w/work", AT_SYMLINK_NOFOLLOW, want, &work) < 0 ||
	    !(work.stx_mask & STATX_BTIME))
		return false;
	return id.stx_ctime.tv_sec < work.stx_btime.tv_sec ||
	       (id.stx_ctime.tv_sec == work.stx_btime.tv_sec &&
	           id.stx_ctime.tv_nsec <= work.stx_btime.tv_nsec);
}

static int take(void *arg, const struct change *x)
{
	struct teller *t = arg;
	json_t *o;
	size_t len;
	int r;

	if (x->dir >= 0 && machine_id(t, x)) {
		t->own[x->what]++;
		t->c->max++;
		return 0;
	}
	o = line_of(x, t->ids);
	len = o ? json_dumpb(o, NULL, 0, JSON_COMPACT) + 1 : 0;
	if (!o)
		return -ENOMEM;
	if (t->bytes + len > BATCH && (r = send_batch(t)) < 0) {
		json_decref(o);
		return r;
	}
	t->bytes += len;
	return json_array_append_new(t->files, o) < 0 ? -ENOMEM : 0;
}

static int opaque(void *arg, int fd)
{
	const struct teller *t = arg;

	return t->opaque < 0 ? 0 : opaque_ask(t->opaque, fd);
}

static int walk_layer(struct teller *t, const struct args *a, const char *name, struct changes *c)
{
	cleanup_close int top =
	    openat((int)a->tree, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (top < 0)
		return -errno;
	t->layer = name;
	c->top = top;
	if ((r = changes_walk(c)) < 0)
		return r;
	return send_batch(t);
}

static int walk(struct teller *t, const struct args *a)
{
	struct changes c = {.lower = a->low,
	    .nlower = a->nlow,
	    .opaque = opaque,
	    .take = take,
	    .arg = t,
	    .max = CHANGES,
	    .file_bytes = FILE_BYTES,
	    .hash_bytes = HASH_BYTES,
	    .deadline_ns = clock_mono_ns() + TIME_NS};
	int r;

	t->c = &c;
	r = walk_layer(t, a, "u", &c);

	c.nlower = 0;
	if (r == 0)
		r = walk_layer(t, a, "shm", &c);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(t->own); i++)
		c.count[i] -= t->own[i];
	r = chan_send(t->core, "walk.done", 0,
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "added",
	        (json_int_t)c.count[CHANGE_ADDED], "changed", (json_int_t)c.count[CHANGE_CHANGED],
	        "deleted", (json_int_t)c.count[CHANGE_DELETED], "metadata",
	        (json_int_t)c.count[CHANGE_METADATA], "left_out", (json_int_t)c.left_out,
	        "unreadable", (json_int_t)c.unreadable, "incomplete", (int)c.incomplete),
	    NULL, 0);
	return r < 0 ? r : flush(t->core);
}

/* ---- for an operator ---- */

static int operate(const struct teller *t, const struct args *a)
{
	int layers[1 + LOWER_MAX] = {(int)a->tree};
	const struct export_walk x = {.out = (int)a->out,
	    .core = t->core,
	    .layer = layers,
	    .nlayers = 1 + a->nlow,
	    .ids = (uint32_t)a->ids,
	    .allow = (unsigned)a->allow,
	    .opaque = opaque,
	    .arg = (void *)(uintptr_t)t};
	const struct diff d = {.out = (int)a->out,
	    .layer = layers,
	    .nlayers = 1 + a->nlow,
	    .changed = 1 + (size_t)a->more,
	    .ids = (uint32_t)a->ids,
	    .opaque = opaque,
	    .arg = (void *)(uintptr_t)t};

	memcpy(layers + 1, a->low, a->nlow * sizeof *layers);
	return t->core ? export_run(&x) : diff_tell(&d);
}

int main(int argc, char **argv)
{
	struct teller t = {.opaque = -1};
	struct args a = {0};
	int keep[4 + LOWER_MAX], r;
	size_t n = 0;

	log_open("postern-walk", LOG_INFO);
	if (parse(argc, argv, &a) < 0) {
		log_error("usage: postern-walk uid=N gid=N ids=N link=FD|out=FD [more=N] tree=FD "
		          "[low=FD ...] "
		          "(started by postern-spawn)");
		return 2;
	}
	json_object_seed(0); /* reads /dev/urandom; later nothing else can be opened */
	if (a.link)
		keep[n++] = (int)a.link;
	if (a.out)
		keep[n++] = (int)a.out;
	keep[n++] = (int)a.tree;
	for (size_t i = 0; i < a.nlow; i++)
		keep[n++] = a.low[i];
	if ((r = confine_fds(keep, n)) == 0 && a.nlow > 0)
		r = t.opaque = start_beside(&a);
	if (r < 0 || (a.link && !(t.core = chan_new((int)a.link, MSG_WALK, MSG_CORE))) ||
	    (r = confine(&a)) < 0) {
		log_error("cannot confine itself: %s", strerror(r < 0 ? -r : errno));
		return 1;
	}
	t.ids = (uint32_t)a.ids;
	t.tree = (int)a.tree;
	t.files = json_array();
	if ((r = a.out ? operate(&t, &a) : walk(&t, &a)) < 0)
		log_error("the walk: %s", strerror(-r));
	json_decref(t.files);
	chan_free(t.core); /* NULL is fine */
	return r < 0 ? 1 : 0;
}
