#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/supervisor/launch.h"
#include "broker/supervisor/supervisor.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/util.h"

struct worker {
	pid_t pid; /* 0: the slot is free */
	bool used; /* has a client, or belongs to a listener that is gone */
	bool told; /* the listener that runs knows it */
	int64_t started_boot_ns;
};

struct workers {
	struct supervisor *sup;
	struct worker slot[ID_WORKERS]; /* slot N has uid base + ID_WORKER_FIRST + N */
	size_t next, count, spare;
	unsigned failures; /* spare workers that died in a row */
	struct loop_source *again;
};

static void on_again(struct loop *l, void *arg)
{
	(void)l;
	workers_fill(arg);
}

struct workers *workers_new(struct supervisor *s)
{
	struct workers *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->sup = s;
	if (!(w->again = loop_timer(s->loop, -1, on_again, w))) {
		free(w);
		return NULL;
	}
	return w;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	loop_remove(w->again);
	free(w);
}

/* The next free slot in turn, so that an id rests for as long as possible; -1 if all are taken. */
static int64_t next_slot(struct workers *w)
{
	for (size_t i = 0; i < ID_WORKERS; i++) {
		size_t at = (w->next + i) % ID_WORKERS;

		if (w->slot[at].pid == 0) {
			w->next = (at + 1) % ID_WORKERS;
			return (int64_t)at;
		}
	}
	return -1;
}

static int start(struct workers *w, struct err *e)
{
	struct supervisor *s = w->sup;
	int64_t slot = next_slot(w);
	cleanup_close int theirs = -1;
	cleanup_close int ours = -1;
	struct launch l;
	int pair[2], r;
	unsigned id;
	pid_t pid;

	if (slot < 0)
		return err_set(e, -EAGAIN, "all %d worker ids are in use", ID_WORKERS);
	if ((r = fd_seqpacket_pair(pair)) < 0)
		return err_set(e, r, "cannot make a socket pair: %s", strerror(-r));
	ours = pair[0];
	theirs = pair[1];
	id = (unsigned)(s->set.ids_base + ID_WORKER_FIRST + slot);
	launch_init(&l, s->dirs.libexec, "postern-gateway");
	l.oom = LAUNCH_OOM_WORKER;
	launch_arg(&l, "worker");
	launch_arg(&l, "uid=%u", id);
	launch_arg(&l, "gid=%u", id);
	launch_fd(&l, NULL, theirs);
	launch_fd(&l, "hostkeys", s->dirs.hostkeys);
	launch_fd(&l, "config", s->dirs.config);
	launch_arg(&l, "slot=%lld", (long long)slot);
	if ((pid = launch_run(&l, e)) < 0)
		return (int)pid;
	w->slot[slot] = (struct worker){pid, false, true, clock_boot_ns()};
	w->count++;
	w->spare++;
	child_send(&s->child[CHILD_LISTENER], "worker.spare", 0,
	    json_pack("{s:I, s:i}", "slot", (json_int_t)slot, "pid", (int)pid), ours);
	return 0;
}

void workers_fill(struct workers *w)
{
	struct supervisor *s = w->sup;
	struct err e = ERR_INIT;

	while (s->stage == 0 && s->child[CHILD_LISTENER].link &&
	       w->spare < (size_t)s->set.spare_workers) {
		if (start(w, &e) == 0)
			continue;
		log_warn("no spare worker: %s", err_text(&e));
		loop_timer_set(w->again, RESTART_PAUSE_MAX_MS * (NSEC_PER_SEC / 1000));
		return;
	}
}

void workers_listener_gone(struct workers *w)
{
	for (size_t i = 0; i < ID_WORKERS; i++) {
		if (w->slot[i].pid == 0)
			continue;
		if (!w->slot[i].used) /* its link has closed; it ends */
			(void)kill(w->slot[i].pid, SIGTERM);
		w->slot[i].used = true;
		w->slot[i].told = false;
	}
	w->spare = 0;
}

void workers_used(struct workers *w, int64_t slot)
{
	if (slot < 0 || slot >= ID_WORKERS || w->slot[slot].pid == 0 || w->slot[slot].used)
		return; /* it has just ended */
	w->slot[slot].used = true;
	w->spare--;
	w->failures = 0;
	workers_fill(w);
}

static void gone(struct workers *w, size_t slot, int status)
{
	struct worker was = w->slot[slot];

	w->slot[slot] = (struct worker){0};
	w->count--;
	if (was.told)
		child_send(&w->sup->child[CHILD_LISTENER], "worker.gone", 0,
		    json_pack("{s:I, s:i, s:i}", "slot", (json_int_t)slot, "status",
		        WIFEXITED(status) ? WEXITSTATUS(status) : 0, "signal",
		        WIFSIGNALED(status) ? WTERMSIG(status) : 0),
		    -1);
	if (was.used) {
		workers_fill(w); /* where all ids were taken */
		return;
	}
	w->spare--;
	w->failures++;
	loop_timer_set(w->again, child_pause_ms(w->failures) * (NSEC_PER_SEC / 1000));
}

bool workers_exited(struct workers *w, pid_t pid, int status)
{
	char text[64];

	for (size_t i = 0; i < ID_WORKERS; i++) {
		if (w->slot[i].pid != pid)
			continue;
		if (WIFSIGNALED(status) && w->sup->stage == 0 &&
		    (w->slot[i].told || WTERMSIG(status) != SIGTERM))
			log_warn("worker %zu (pid %d) ended with %s", i, (int)pid,
			    child_status_text(text, sizeof text, status));
		gone(w, i, status);
		return true;
	}
	return false;
}

void workers_kill(struct workers *w, int signo)
{
	for (size_t i = 0; i < ID_WORKERS; i++)
		if (w->slot[i].pid > 0)
			(void)kill(w->slot[i].pid, signo);
}

size_t workers_count(const struct workers *w)
{
	return w->count;
}

void workers_tell(const struct workers *w, json_t *processes)
{
	const struct settings *set = &w->sup->set;

	for (size_t i = 0; i < ID_WORKERS && json_array_size(processes) < 64; i++) {
		const struct worker *at = &w->slot[i];

		if (at->pid > 0)
			(void)json_array_append_new(processes,
			    supervisor_process(at->used ? "worker" : "spare worker", at->pid,
			        (uid_t)(set->ids_base + ID_WORKER_FIRST + (int64_t)i),
			        at->started_boot_ns, 0));
	}
}
