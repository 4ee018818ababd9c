/* postern-supervisor: see supervisor.h, and postern-supervisor(8). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/supervisor/fdstore.h"
#include "broker/supervisor/hostkey.h"
#include "broker/supervisor/idrange.h"
#include "broker/supervisor/notify.h"
#include "broker/supervisor/orphans.h"
#include "broker/supervisor/supervisor.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/util.h"

#define ID_WAIT_MS 3000 /* for sandboxes of a supervisor that was killed */

json_t *supervisor_process(
    const char *role, pid_t pid, uid_t uid, int64_t started, unsigned restarts)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I}", "role", role, "pid", (int)pid, "uid",
	    (json_int_t)uid, "started_boot_ns", (json_int_t)started, "restarts",
	    (json_int_t)restarts);
}

void supervisor_status(struct supervisor *s, uint64_t id)
{
	json_t *list = json_array();

	(void)json_array_append_new(list, supervisor_process("supervisor", getpid(), 0, 0, 0));
	for (size_t i = 0; i < CHILD_ROLES; i++) {
		const struct child *c = &s->child[i];

		if (c->pid > 0)
			(void)json_array_append_new(
			    list, supervisor_process(child_name(c->role), c->pid,
			              child_uid(s, c->role), c->started_boot_ns, c->restarts));
	}
	workers_tell(s->workers, list);
	child_send(
	    &s->child[CHILD_CORE], "status.tell", id, json_pack("{s:o}", "processes", list), -1);
}

void supervisor_ready(struct supervisor *s)
{
	for (size_t i = 0; i < CHILD_ROLES; i++)
		if (!s->child[i].ready && !child_optional((enum child_role)i))
			return;
	if (s->announced)
		return;
	s->announced = true;
	notify_ready(s->listen_shown);
	log_info("ready at %s", s->listen_shown);
	if (s->set.foreground) {
		printf("ready %s\n", s->listen_shown);
		(void)fflush(stdout);
	}
}

static void on_stop(struct loop *l, int signo, void *arg)
{
	(void)l;
	log_info("%s: stopping", signo == SIGTERM ? "SIGTERM" : "SIGINT");
	notify_stopping();
	stop_begin(arg, 0);
}

static void on_reload(struct loop *l, int signo, void *arg)
{
	struct supervisor *s = arg;
	struct err e = ERR_INIT;

	(void)l;
	(void)signo;
	notify_reloading();
	if (settings_load(&s->set, s->dirs.config, true, &e) < 0)
		log_error("nothing is reloaded: %s", err_text(&e));
	child_send(&s->child[CHILD_CORE], "reload", 0, NULL, -1);
	child_send(&s->child[CHILD_LISTENER], "reload", 0, NULL, -1);
	child_send(&s->child[CHILD_EXPORT], "reload", 0, NULL, -1);
	workers_fill(s->workers);
	if (s->announced)
		notify_ready(s->listen_shown);
}

static void on_child(struct loop *l, int signo, void *arg)
{
	struct supervisor *s = arg;
	int status;
	pid_t pid;

	(void)l;
	(void)signo;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < CHILD_ROLES; i++)
			if (s->child[i].pid == pid)
				child_exited(&s->child[i], status);
		(void)workers_exited(s->workers, pid, status);
	}
	stop_progress(s);
}

static void on_store_timer(struct loop *l, void *arg)
{
	struct supervisor *s = arg;
	size_t n = fdstore_clear(s->store);

	(void)l;
	s->restoring = false;
	log_error("the core has not been ready for ten seconds; %zu descriptors closed", n);
	if (s->child[CHILD_CORE]
	        .link) /* it starts, but has not got all of them: it goes on without */
		child_send(&s->child[CHILD_CORE], "store.done", 0, NULL, -1);
}

/* One supervisor for a state directory. The lock lives as long as the process. */
static int lock_state(struct supervisor *s, struct err *e)
{
	if (s->set.lock_fd >= 0)
		return fd_set_cloexec(s->set.lock_fd, true);
	s->set.lock_fd =
	    openat(s->dirs.state, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->set.lock_fd < 0)
		return err_set(e, -errno, "cannot open %s/lock: %m", s->set.state);
	if (flock(s->set.lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -errno,
		    errno == EWOULDBLOCK ? "another Postern runs on %s" : "cannot lock %s/lock: %m",
		    s->set.state);
	return 0;
}

static int make_sockets(struct supervisor *s, struct err *e)
{
	gid_t admin = sockets_admin_group();
	int r;

	if ((r = sockets_tcp(s->set.listen, &s->listen_fd, s->listen_shown, e)) < 0 ||
	    (r = sockets_unix(s->dirs.run, "control.sock", admin, 0660, &s->ctl_fd, e)) < 0 ||
	    (r = sockets_unix(s->dirs.run, "pam.sock", 0, 0600, &s->pam_fd, e)) < 0)
		return r;
	return sockets_unix(s->dirs.run, "run.sock", 0, 0666, &s->run_fd, e);
}

/* What this process asks of its host for itself. None of it is worth refusing to start for. */
static void settle(void)
{
	struct rlimit nofile;
	int fd;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("no subreaper: %m");
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &nofile);
	}
	if ((fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)) < 0 ||
	    write(fd, "-900", 4) != 4)
		log_warn("the daemons are not protected from the OOM killer (oom_score_adj): %m");
	util_close(&fd);
}

static int watch_signals(struct supervisor *s)
{
	const struct {
		int signo;
		loop_signal_fn fn;
	} rows[SUPERVISOR_SIGNALS] = {
	    {SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}, {SIGCHLD, on_child}};

	for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++)
		if (!(s->signals[i] = loop_on_signal(s->loop, rows[i].signo, rows[i].fn, s)))
			return -ENOMEM;
	return 0;
}

static int prepare(struct supervisor *s, struct err *e)
{
	int r;

	if (geteuid() != 0)
		return err_set(e, -EPERM, "must be started as root");
	if ((r = dirs_open(&s->dirs, &s->set, e)) < 0 ||
	    (r = settings_load(&s->set, s->dirs.config, false, e)) < 0 ||
	    (r = dirs_make(&s->dirs, &s->set, e)) < 0 || (r = lock_state(s, e)) < 0 ||
	    (r = idrange_wait("", s->set.ids_base, s->set.ids_count, ID_WAIT_MS, e)) < 0 ||
	    (r = hostkey_ensure(s->dirs.hostkeys, e)) < 0 || (r = make_sockets(s, e)) < 0)
		return r;
	settle();
	(void)signal(SIGPIPE, SIG_IGN);
	if (!(s->loop = loop_new()) || !(s->store = fdstore_new()) ||
	    !(s->workers = workers_new(s)) ||
	    !(s->store_timer = loop_timer(s->loop, -1, on_store_timer, s)) || watch_signals(s) < 0)
		return err_set(e, -ENOMEM, "no memory");
	for (size_t i = 0; i < CHILD_ROLES; i++)
		child_init(s, (enum child_role)i);
	return 0;
}

static void finish(struct supervisor *s)
{
	static const char *const sockets[] = {"control.sock", "pam.sock", "run.sock"};

	for (size_t i = 0; i < CHILD_ROLES; i++)
		child_done(&s->child[i]);
	orphans_end();
	for (size_t i = 0; i < ARRAY_LEN(sockets); i++)
		(void)unlinkat(s->dirs.run, sockets[i], 0);
	for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++)
		loop_remove(s->signals[i]);
	loop_remove(s->store_timer);
	loop_remove(s->stage_timer);
	workers_free(s->workers);
	fdstore_free(s->store);
	loop_free(s->loop);
	dirs_done(&s->dirs);
}

int main(int argc, char **argv)
{
	static struct supervisor s = {.listen_fd = -1, .ctl_fd = -1, .pam_fd = -1, .run_fd = -1};
	struct err e = ERR_INIT;

	log_open("postern-supervisor", LOG_INFO);
	dirs_init(&s.dirs);
	if (settings_args(&s.set, argc, argv, &e) < 0) {
		log_error("%s", err_text(&e));
		return 2;
	}
	if (prepare(&s, &e) < 0) {
		log_error("%s", err_text(&e));
		return 1;
	}
	for (size_t i = 0; i < CHILD_ROLES && s.stage == 0; i++)
		child_start(&s.child[i]);
	if (!stop_done(&s) && loop_run(s.loop) < 0)
		s.exit_status = 1;
	finish(&s);
	log_info("stopped");
	return s.exit_status;
}
