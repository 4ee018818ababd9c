/*
 * postern-watch; fd 3 is the link to the core, fd 4 the control socket to spawn, fd 5 the session's
 * user namespace.
 *
 * One process for each session whose template says `watch: true`. The kernel holds every execve(2)
 * and execveat(2) of the sandbox until it is answered here; the answer is always to go on. What was
 * to be run is read and told to the core, in batches, as evidence: who has threads can change it
 * between our look and the kernel's.
 *
 * It lives in the session's user namespace with an id that nothing else there has, and with one
 * capability over that namespace alone, to read its memory. No Landlock: a process in a Landlock
 * domain may only read those within it. The filter leaves it no file, no socket and no program.
 */
#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/watch/notice.h"
#include "filters.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define CORE_FD    3
#define CONTROL_FD 4
#define USERNS_FD  5
#define WATCH_ID   65533 /* in the session's block; 65534 is init's */

#define BATCH_MAX   64
#define BATCH_BYTES (24u * 1024) /* a program more still fits into a message */
#define BATCH_NS    (NSEC_PER_SEC / 5)
#define RATE        256 /* programs a second that are told; the others are counted */
#define TURN_MAX    32  /* answers before somebody else is heard */

#ifdef POSTERN_SAN
#define MEMORY_MAX 0 /* the sanitizer's shadow is larger than any limit */
#else
#define MEMORY_MAX (256u << 20)
#endif

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0) /* Linux 6.6 */
#endif

struct watch {
	struct loop *loop;
	struct chan *core;
	struct loop_source *core_src, *control_src, *source, *timer;
	int listener;
	json_t *batch;
	size_t bytes;
	uint64_t dropped;
	int64_t window_ns;
	unsigned in_window;
};

/* ---- what is told ---- */

static void flush(struct watch *w)
{
	size_t n = json_array_size(w->batch);

	loop_timer_set(w->timer, -1);
	w->bytes = 0;
	if (n == 0 && w->dropped == 0)
		return;
	/* the core does not read: it is being started again, or has more to do than it can */
	if (chan_wants_write(w->core)) {
		w->dropped += n;
		(void)json_array_clear(w->batch);
		loop_timer_set(w->timer, BATCH_NS);
		return;
	}
	if (chan_send(w->core, "watch.programs", 0,
	        json_pack("{s:o,s:I}", "programs", w->batch, "dropped", (json_int_t)w->dropped),
	        NULL, 0) < 0)
		log_warn("cannot tell the core: %s", chan_why(w->core));
	w->dropped = 0;
	w->batch = json_array();
	chan_watch(w->core, w->core_src);
}

static void on_timer(struct loop *l, void *arg)
{
	(void)l;
	flush(arg);
}

static json_t *escaped(struct watch *w, const char *p, size_t len)
{
	static char text[4 * NOTICE_TEXT_MAX + 16];

	(void)str_escape(text, sizeof text, p, len);
	w->bytes += 2 * strlen(text) + 8; /* a backslash is two in JSON */
	return json_string(text);
}

static void put(struct watch *w, const struct notice *n)
{
	json_t *argv = json_array();

	for (unsigned i = 0; i < n->nargs; i++)
		(void)json_array_append_new(argv, escaped(w, n->text + n->arg[i], n->arg_len[i]));
	w->bytes += 64;
	if (json_array_append_new(w->batch,
	        json_pack("{s:I,s:o,s:o,s:b}", "pid", (json_int_t)n->pid, "path",
	            escaped(w, n->path, n->path_len), "argv", argv, "cut", (int)n->cut)) < 0)
		w->dropped++;
	if (json_array_size(w->batch) == BATCH_MAX || w->bytes >= BATCH_BYTES)
		flush(w);
	else if (json_array_size(w->batch) == 1)
		loop_timer_set(w->timer, BATCH_NS);
}

static bool within_rate(struct watch *w)
{
	int64_t now = clock_mono_ns();

	if (now - w->window_ns >= NSEC_PER_SEC) {
		w->window_ns = now;
		w->in_window = 0;
	}
	if (w->in_window++ < RATE)
		return true;
	if (w->dropped++ == 0)
		loop_timer_set(w->timer, BATCH_NS);
	return false;
}

/* ---- what is notified ---- */

/* One, which is there. The answer comes before anything that takes time, and whatever was read. */
static void answer(struct watch *w)
{
	static struct notice n;
	struct seccomp_notif q = {0};
	struct seccomp_notif_resp a = {0};
	bool tell, read = false;
	pid_t pid;

	if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_RECV, &q) < 0)
		return; /* it was killed meanwhile */
	pid = (pid_t)q.pid;
	if ((tell = within_rate(w))) {
		notice_take(&q, notice_read_memory, &pid, &n);
		/* else it may be another process's memory that we have read */
		read = ioctl(w->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &q.id) == 0;
	}
	a.id = q.id;
	a.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	(void)ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, &a);
	if (tell && read)
		put(w, &n);
}

static void forget_listener(struct watch *w)
{
	loop_remove(w->source);
	w->source = NULL;
	util_close(&w->listener);
}

/* To receive waits for the next one if there is none, so we look first. */
static void on_listener(struct loop *l, int fd, unsigned what, void *arg)
{
	struct watch *w = arg;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	(void)l;
	(void)what;
	for (int i = 0; i < TURN_MAX && poll(&p, 1, 0) > 0; i++) {
		if (!(p.revents & POLLIN)) { /* nobody is left; spawn will say so */
			forget_listener(w);
			return;
		}
		answer(w);
	}
}

/* ---- control ---- */

/* Exactly one descriptor. -1: none. */
static int take_listener(int control)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} c;
	char byte;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
	    .msg_iovlen = 1,
	    .msg_control = c.space,
	    .msg_controllen = sizeof c.space};
	struct cmsghdr *h;
	int fd = -1;

	if (recvmsg(control, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1 ||
	    !(h = CMSG_FIRSTHDR(&m)) || h->cmsg_type != SCM_RIGHTS ||
	    h->cmsg_len != CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, CMSG_DATA(h), sizeof fd);
	return fd;
}

static void on_control(struct loop *l, int fd, unsigned what, void *arg)
{
	uint64_t sync = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
	struct watch *w = arg;

	(void)what;
	if (w->listener < 0 && !w->source && (w->listener = take_listener(fd)) >= 0) {
		(void)ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, sync);
		if ((w->source = loop_fd(l, w->listener, LOOP_READ, on_listener, w)))
			return;
	}
	loop_stop(l); /* the session is over */
}

static int from_core(struct msg *m, void *arg)
{
	(void)m;
	(void)arg;
	return 1; /* it has nothing to say */
}

static void on_core(struct loop *l, int fd, unsigned what, void *arg)
{
	struct watch *w = arg;
	struct err e = ERR_INIT;

	(void)fd;
	if (chan_serve(w->core, w->core_src, what, from_core, w, &e) != 1)
		loop_stop(l);
}

/* ---- main ---- */

#define CAP(c) (UINT64_C(1) << (c))

/* confine_ids() wants the way back closed, but whoever enters a user namespace holds its
 * capabilities over a change of ids: it is closed by the second confine_caps() here. */
static int take_id(void)
{
	int r = confine_caps(CAP(CAP_SYS_PTRACE) | CAP(CAP_SETUID) | CAP(CAP_SETGID));

	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(WATCH_ID, WATCH_ID, WATCH_ID) < 0 ||
	    setresuid(WATCH_ID, WATCH_ID, WATCH_ID) < 0)
		return -errno;
	if ((r = confine_caps(CAP(CAP_SYS_PTRACE))) < 0)
		return r;
	if (getuid() != WATCH_ID || getgid() != WATCH_ID || getgroups(0, NULL) != 0 ||
	    setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)
		return -EPERM;
	return 0;
}

static int confine(void)
{
	const struct confine_limits limits = {
	    .open_files = 32, .memory = MEMORY_MAX, .processes = 0, .file_bytes = UINT64_MAX};
	int r;

	if (setns(USERNS_FD, CLONE_NEWUSER) < 0 || close(USERNS_FD) < 0)
		return -errno;
	/* the ids' change may make it dumpable (prctl(2)), so the basics come after it */
	if ((r = take_id()) < 0 || (r = confine_basics()) < 0 || (r = confine_limits(&limits)) < 0)
		return r;
	return confine_seccomp(filter_watch, ARRAY_LEN(filter_watch));
}

static int serve(struct watch *w)
{
	w->core_src = loop_fd(w->loop, CORE_FD, LOOP_READ, on_core, w);
	w->control_src = loop_fd(w->loop, CONTROL_FD, LOOP_READ, on_control, w);
	w->timer = loop_timer(w->loop, -1, on_timer, w);
	w->batch = json_array();
	if (!w->core_src || !w->control_src || !w->timer || !w->batch)
		return -ENOMEM;
	if (send(CONTROL_FD, "r", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	return loop_run(w->loop);
}

int main(int argc, char **argv)
{
	const int keep[] = {CORE_FD, CONTROL_FD, USERNS_FD};
	struct watch w = {.listener = -1};
	int r;

	(void)argv;
	log_open("postern-watch", LOG_INFO);
	if (argc != 1) {
		log_error("usage: postern-watch (started by postern-spawn)");
		return 2;
	}
	json_object_seed(0); /* reads /dev/urandom; later nothing can be opened */
	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0 || !(w.loop = loop_new()) ||
	    !(w.core = chan_new(CORE_FD, MSG_WATCH, MSG_CORE)) || (r = confine()) < 0) {
		log_error("cannot confine itself: %s", strerror(r < 0 ? -r : errno));
		return 1;
	}
	if ((r = serve(&w)) < 0)
		log_error("cannot serve: %s", strerror(-r));
	else
		flush(&w);
	forget_listener(&w);
	loop_remove(w.core_src);
	loop_remove(w.control_src);
	loop_remove(w.timer);
	json_decref(w.batch);
	chan_free(w.core);
	loop_free(w.loop);
	return r < 0 ? 1 : 0;
}
