/*
 * Who reads a workspace for an operator: postern-walk, confined, with a pipe whose other end the
 * operator gets. The workspace is held like by a session that reads, so that what is read stays as
 * it is; whoever does not take what is told loses it after LOOK_NS.
 */
#include "broker/spawn/serve_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/walk/gate.h"
#include "broker/workspace/store.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

#define LOOK_NS    (120 * NSEC_PER_SEC)
#define EXPORT_NS  (600 * NSEC_PER_SEC)
#define LOOKS_MAX  4
#define LAYERS_MAX (WORK_CHAIN_MAX + 2)

struct look {
	struct look *next;
	struct serve *serve;
	int pidfd;
	struct loop_source *exit, *timer;
	bool export;
	unsigned allow;              /* broker/walk/gate.h */
	char hold[WORK_SESSION + 1]; /* instead of a session's id */
};

/* Kills it, if it is still there, and waits: it holds nothing that could make its death wait. */
static void look_free(struct look *k)
{
	for (struct look **at = &k->serve->looks; *at; at = &(*at)->next)
		if (*at == k) {
			*at = k->next;
			break;
		}
	loop_remove(k->exit);
	loop_remove(k->timer);
	if (k->pidfd >= 0)
		walk_kill(&k->pidfd);
	(void)work_release(k->serve->c->work, k->hold);
	free(k);
}

void look_stop_all(struct serve *s)
{
	while (s->looks)
		look_free(s->looks);
}

static void on_over(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l;
	(void)fd;
	(void)what;
	look_free(arg);
}

static void on_late(struct loop *l, void *arg)
{
	(void)l;
	log_warn("a workspace was not read in time");
	look_free(arg);
}

static struct look *look_new(struct serve *s)
{
	struct look *k;
	size_t n = 0;

	for (k = s->looks; k; k = k->next)
		n++;
	if (n >= LOOKS_MAX || !(k = calloc(1, sizeof *k)))
		return NULL;
	k->serve = s;
	k->pidfd = -1;
	(void)snprintf(k->hold, sizeof k->hold, "operator-%u", ++s->look_next);
	k->next = s->looks;
	s->looks = k;
	return k;
}

static int open_layers(const struct work_view *v, int *fds, size_t *ret_n, struct err *e)
{
	for (unsigned i = 0; i < v->nlower; i++) {
		char path[32];

		(void)snprintf(path, sizeof path, "%u/d", v->lower[i]);
		fds[i] = openat(v->layers, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fds[i] < 0)
			return err_set(e, -errno, "layer %u: %m", v->lower[i]);
		(*ret_n)++;
	}
	return 0;
}

/* to[0]: the operator's end of the pipe; to[1]: of an export the core's end of the link. */
static int start(
    struct look *k, const struct work_view *v, unsigned changed, int to[2], struct err *e)
{
	const struct serve_config *c = k->serve->c;
	int fds[LAYERS_MAX], pair[2], link[2] = {-1, -1}, r;
	size_t n = 0;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set(e, -errno, "pipe: %m");
	if ((r = open_layers(v, fds, &n, e)) == 0 && k->export && (r = fd_seqpacket_pair(link)) < 0)
		(void)err_set(e, r, "socketpair: %s", strerror(-r));
	if (r == 0 && k->export)
		r = k->pidfd =
		    c->export_start(c->arg, pair[1], link[1], fds, n, k->allow, v->ids, e);
	else if (r == 0)
		r = k->pidfd = c->diff_start(c->arg, pair[1], fds, n, changed, v->ids, e);
	while (n > 0)
		(void)close(fds[--n]);
	(void)close(pair[1]);
	util_close(&link[1]);
	if (r < 0) {
		(void)close(pair[0]);
		util_close(&link[0]);
		return r;
	}
	to[0] = pair[0];
	to[1] = link[0];
	return 0;
}

static int begin(struct look *k, const char *tenant, const char *name, const char *snapshot,
    int to[2], struct err *e)
{
	struct work_store *w = k->serve->c->work;
	struct work_view v = {.layers = -1};
	unsigned changed = 0;
	int r;

	if ((r = work_acquire(w, tenant, name, false, k->hold, &v, e)) < 0)
		return r;
	work_view_done(&v);
	if ((r = work_look(w, tenant, name, snapshot, &v, &changed, e)) < 0)
		return r;
	if (changed < 1 || v.nlower > LAYERS_MAX)
		r = err_set(e, -EMLINK, "workspace %s has too many layers", name);
	else
		r = start(k, &v, changed, to, e);
	work_view_done(&v);
	if (r < 0)
		return r;
	k->exit = loop_fd(k->serve->loop, k->pidfd, LOOP_READ, on_over, k);
	k->timer = loop_timer(k->serve->loop, k->export ? EXPORT_NS : LOOK_NS, on_late, k);
	if (k->exit && k->timer)
		return 0;
	util_close(&to[0]);
	util_close(&to[1]);
	return err_set(e, -ENOMEM, "no memory");
}

static int allowed(const struct msg *m, unsigned *ret, struct err *e)
{
	const json_t *list = json_object_get(m->body, "allow"), *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		unsigned flag = gate_find(json_string_value(v));

		if (!flag)
			return err_set(e, -EINVAL, "the gate has no flag %s", json_string_value(v));
		*ret |= flag;
	}
	return 0;
}

int look_begin(struct serve *s, struct msg *m, struct err *e)
{
	const char *tenant = msg_str(m, "tenant"), *name = msg_str(m, "workspace");
	struct look *k;
	bool export = strcmp(msg_str(m, "op"), "export") == 0;
	unsigned allow = 0;
	int to[2] = {-1, -1}, r;

	if (!tenant || !name)
		return err_set(e, -EINVAL, "which workspace?");
	if ((r = allowed(m, &allow, e)) < 0)
		return r;
	if (export ? !s->c->export_start : !s->c->diff_start)
		return err_set(e, -ENOTSUP, "this spawn cannot read workspaces");
	if (!(k = look_new(s)))
		return err_set(e, -EBUSY, "%d workspaces are being read already", LOOKS_MAX);
	k->export = export;
	k->allow = allow;
	if ((r = begin(k, tenant, name, msg_str(m, "snapshot"), to, e)) < 0) {
		look_free(k);
		return r;
	}
	serve_tell(s, "workspace.stream", m->id, NULL, to, export ? 2 : 1);
	util_close(&to[0]);
	util_close(&to[1]);
	return 0;
}
