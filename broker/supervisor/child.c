#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/supervisor/hostkey.h"
#include "broker/supervisor/launch.h"
#include "broker/supervisor/supervisor.h"
#include "creds/key.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

#define STEADY_NS (10 * NSEC_PER_SEC) /* who ran for so long starts again at once */

static const struct {
	const char *name, *program;
	unsigned role;
	int64_t id; /* offset in block 0; 0: root */
} roles[CHILD_ROLES] = {
    [CHILD_SPAWN] = {"spawn", "postern-spawn", MSG_SPAWN, 0},
    [CHILD_SIGNER] = {"signer", "postern-signer", MSG_SIGNER, ID_SIGNER},
    [CHILD_CORE] = {"core", "postern-core", MSG_CORE, ID_CORE},
    [CHILD_EXPORT] = {"export", "postern-export", MSG_EXPORT, ID_EXPORT},
    [CHILD_LISTENER] = {"listener", "postern-gateway", MSG_LISTENER, ID_LISTENER},
};

const char *child_name(enum child_role role)
{
	return roles[role].name;
}

const char *child_program(enum child_role role)
{
	return roles[role].program;
}

uid_t child_uid(const struct supervisor *s, enum child_role role)
{
	return roles[role].id ? (uid_t)(s->set.ids_base + roles[role].id) : 0;
}

bool child_optional(enum child_role role)
{
	return role == CHILD_EXPORT;
}

int64_t child_pause_ms(unsigned failures)
{
	if (failures == 0)
		return 0;
	return failures > 5 ? RESTART_PAUSE_MAX_MS : INT64_C(50) << (failures - 1);
}

static int64_t pause_ns(const struct child *c, unsigned failures)
{
	int64_t ms = child_pause_ms(failures) * (child_optional(c->role) ? RESTART_PAUSE_TIMES : 1);

	return ms * (NSEC_PER_SEC / 1000);
}

char *child_status_text(char *dst, size_t size, int status)
{
	if (WIFSIGNALED(status))
		(void)snprintf(
		    dst, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(dst, size, "status %d", WEXITSTATUS(status));
	return dst;
}

static void unlink_chan(struct child *c)
{
	loop_remove(c->source);
	c->source = NULL;
	chan_free(c->link);
	c->link = NULL;
}

/* It broke the rules of its link, or hung: it is ended; child_exited() starts it again. */
static void expel(struct child *c, const char *why)
{
	log_error("%s (pid %d): %s; it is ended", child_program(c->role), (int)c->pid, why);
	unlink_chan(c);
	if (c->pid > 0)
		(void)kill(c->pid, SIGKILL);
}

static void watch(struct child *c)
{
	if (c->source)
		chan_watch(c->link, c->source);
}

void child_send(struct child *c, const char *type, uint64_t id, json_t *body, int fd)
{
	int r;

	if (!c->link) {
		json_decref(body);
		return;
	}
	r = chan_send(c->link, type, id, body, &fd, fd >= 0 ? 1 : 0);
	if (r == -EPIPE) /* it is ending; SIGCHLD follows */
		return;
	if (r < 0)
		expel(c, *chan_why(c->link) ? chan_why(c->link) : "does not read its messages");
	else
		watch(c);
}

static void handle(struct child *c, struct msg *m)
{
	struct supervisor *s = c->sup;

	if (msg_is(m, "ready")) {
		c->ready = true;
		loop_timer_set(c->late, -1);
		if (c->role == CHILD_CORE)
			links_core_ready(s);
		supervisor_ready(s);
	} else if (msg_is(m, "store.put") || msg_is(m, "store.drop")) {
		links_store(s, m);
	} else if (msg_is(m, "status.ask")) {
		supervisor_status(s, m->id);
	} else if (msg_is(m, "worker.used")) {
		workers_used(s->workers, msg_int(m, "slot", -1));
	}
}

static void on_link(struct loop *l, int fd, unsigned what, void *arg)
{
	struct child *c = arg;
	struct err e = ERR_INIT;
	struct msg m = MSG_INIT;
	int r;

	(void)l;
	(void)fd;
	if ((what & LOOP_WRITE) && chan_flush(c->link) == 0)
		links_flushed(c);
	while (c->link && (r = chan_recv(c->link, &m, &e)) != -EAGAIN) {
		if (r == 0) { /* closed; SIGCHLD follows */
			unlink_chan(c);
			return;
		}
		if (r < 0) {
			expel(c, err_text(&e));
			return;
		}
		handle(c, &m);
		msg_done(&m);
	}
	if (c->link)
		watch(c);
}

static void on_late(struct loop *l, void *arg)
{
	(void)l;
	expel(arg, "was not ready in time");
}

static void on_restart(struct loop *l, void *arg)
{
	struct child *c = arg;

	(void)l;
	if (c->pid == 0 && c->sup->stage == 0)
		child_start(c);
}

void child_init(struct supervisor *s, enum child_role role)
{
	struct child *c = &s->child[role];

	*c = (struct child){.sup = s, .role = role};
	c->restart = loop_timer(s->loop, -1, on_restart, c);
	c->late = loop_timer(s->loop, -1, on_late, c);
}

void child_done(struct child *c)
{
	unlink_chan(c);
	loop_remove(c->restart);
	loop_remove(c->late);
	c->restart = c->late = NULL;
}

/* The arguments of ARCHITECTURE.md, "How a process starts". */
static void arguments(const struct child *c, struct launch *l, int link)
{
	const struct supervisor *s = c->sup;
	unsigned id = child_uid(s, c->role);
	char hostkey[KEY_FINGERPRINT_LEN];

	launch_fd(l, NULL, link);
	if (c->role == CHILD_LISTENER)
		launch_arg(l, "listener");
	if (id)
		launch_arg(l, "uid=%u", id), launch_arg(l, "gid=%u", id);
	switch (c->role) {
	case CHILD_CORE:
		launch_fd(l, "config", s->dirs.config);
		launch_fd(l, "state", s->dirs.core);
		hostkey_fingerprint(s->dirs.hostkeys, hostkey);
		if (*hostkey)
			launch_arg(l, "hostkey=%s", hostkey);
		break;
	case CHILD_SIGNER:
		launch_fd(l, "keys", s->dirs.keys);
		break;
	case CHILD_EXPORT:
		launch_fd(l, "config", s->dirs.config);
		launch_fd(l, "export", s->dirs.export);
		launch_fd(l, "archive", s->dirs.archive);
		break;
	case CHILD_SPAWN:
		launch_fd(l, "state", s->dirs.spawn);
		launch_fd(l, "libexec", s->dirs.libexec);
		launch_fd(l, "workspaces", s->dirs.workspaces);
		break;
	default:
		launch_fd(l, "config", s->dirs.config);
	}
	if (c->role == CHILD_CORE || c->role == CHILD_SPAWN) {
		launch_arg(l, "instance=%s", s->set.instance);
		launch_arg(l, "idbase=%lld", (long long)s->set.ids_base);
		launch_arg(l, "idcount=%lld", (long long)s->set.ids_count);
	}
}

static int start(struct child *c, struct err *e)
{
	struct supervisor *s = c->sup;
	struct launch l;
	int pair[2], r;
	pid_t pid;

	if ((r = fd_seqpacket_pair(pair)) < 0)
		return err_set(e, r, "cannot make a socket pair: %s", strerror(-r));
	launch_init(&l, s->dirs.libexec, child_program(c->role));
	if (child_optional(c->role))
		l.oom = LAUNCH_OOM_WORKER;
	arguments(c, &l, pair[1]);
	pid = launch_run(&l, e);
	util_close(&pair[1]);
	if (pid < 0) {
		util_close(&pair[0]);
		return (int)pid;
	}
	c->pid = pid;
	c->ready = false;
	c->started_boot_ns = clock_boot_ns();
	if (!(c->link = chan_new(pair[0], MSG_SUPERVISOR, roles[c->role].role)) ||
	    !(c->source = loop_fd(s->loop, chan_fd(c->link), LOOP_READ, on_link, c))) {
		r = -errno;
		expel(c, "no memory for its link");
		return err_set(e, r, "no memory");
	}
	return 0;
}

void child_start(struct child *c)
{
	struct err e = ERR_INIT;

	if (start(c, &e) < 0) {
		log_error("%s: %s", child_program(c->role), err_text(&e));
		if (c->pid == 0)
			loop_timer_set(c->restart, pause_ns(c, UINT_MAX));
		return;
	}
	loop_timer_set(c->late, READY_PATIENCE_NS);
	links_started(c);
}

/* Before everybody was ready for the first time, a daemon that refuses to run stops the whole: what
 * it said is the reason. */
static bool gives_up(const struct child *c, int status)
{
	return !c->sup->announced && !child_optional(c->role) &&
	       (WIFEXITED(status) || c->failures >= FIRST_TRIES);
}

void child_exited(struct child *c, int status)
{
	struct supervisor *s = c->sup;
	char text[64];

	unlink_chan(c);
	c->pid = 0;
	c->ready = false;
	loop_timer_set(c->late, -1);
	if (c->role == CHILD_CORE)
		links_core_gone(s);
	if (c->role == CHILD_LISTENER)
		workers_listener_gone(s->workers);
	if (s->stage != 0)
		return;
	child_status_text(text, sizeof text, status);
	if (clock_boot_ns() - c->started_boot_ns >= STEADY_NS)
		c->failures = 0;
	c->failures++;
	if (gives_up(c, status)) {
		log_error("%s ended with %s before Postern was ready; stopping",
		    child_program(c->role), text);
		stop_begin(s, 1);
		return;
	}
	log_error("%s ended with %s; it is started again", child_program(c->role), text);
	c->restarts++;
	loop_timer_set(c->restart, pause_ns(c, c->failures - 1));
}
