#include "broker/export/pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/pull_internal.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/reader.h"
#include "lib/util.h"

struct question {
	struct question *next;
	uint64_t id;
	pull_fn fn;
	void *arg;
};

struct pull {
	struct loop *loop;
	pull_said_fn said;
	void *said_arg;
	struct chan *core;
	struct loop_source *src;
	struct question *first; /* few; the newest first */
	size_t questions;
};

struct pull *pull_new(struct loop *l, pull_said_fn said, void *arg)
{
	struct pull *p = calloc(1, sizeof *p);

	if (p) {
		p->loop = l;
		p->said = said;
		p->said_arg = arg;
	}
	return p;
}

static struct question *cut(struct pull *p, struct question **at)
{
	struct question *q = *at;

	*at = q->next;
	p->questions--;
	return q;
}

void pull_free(struct pull *p)
{
	if (!p)
		return;
	while (p->first) {
		struct question *q = cut(p, &p->first);

		if (pull_is_walk(q->fn))
			pull_walk_free(q->arg);
		free(q);
	}
	loop_remove(p->src);
	chan_free(p->core);
	free(p);
}

bool pull_up(const struct pull *p)
{
	return p->core != NULL;
}

struct loop *pull_loop(const struct pull *p)
{
	return p->loop;
}

static void gone(struct pull *p)
{
	loop_remove(p->src);
	p->src = NULL;
	chan_free(p->core);
	p->core = NULL;
	while (p->first) { /* without a link nobody can ask anew meanwhile */
		struct question *q = cut(p, &p->first);

		q->fn(-ECONNRESET, NULL, q->arg);
		free(q);
	}
	p->said(NULL, false, p->said_arg);
}

static void watch(struct pull *p)
{
	if (p->core)
		chan_watch(p->core, p->src);
}

static void answered(struct pull *p, const struct msg *m)
{
	for (struct question **at = &p->first; *at; at = &(*at)->next) {
		struct question *q;

		if ((*at)->id != m->id)
			continue;
		q = cut(p, at);
		q->fn(msg_is(m, "export.refused") ? -EREMOTEIO : 0, m, q->arg);
		free(q);
		return;
	}
}

static bool is_answer(const struct msg *m)
{
	static const char *const types[] = {"export.at", "export.batch", "export.bodypart",
	    "export.notelist", "export.refused", "witness.proof"};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (msg_is(m, types[i]))
			return true;
	return false;
}

static void on_core(struct loop *l, int fd, unsigned what, void *arg)
{
	struct pull *p = arg;

	(void)l;
	if ((what & LOOP_WRITE) != 0 && chan_flush(p->core) < 0) {
		gone(p);
		return;
	}
	while (p->core && chan_fd(p->core) == fd) {
		struct err e = ERR_INIT;
		struct msg m = MSG_INIT;
		int r = chan_recv(p->core, &m, &e);

		if (r == -EAGAIN)
			break;
		if (r <= 0) {
			if (r < 0)
				log_warn("the core broke a rule: %s", err_text(&e));
			gone(p);
			return;
		}
		if (is_answer(&m))
			answered(p, &m);
		else
			p->said(&m, true, p->said_arg);
		msg_done(&m);
	}
	watch(p);
}

int pull_link(struct pull *p, int fd)
{
	if (p->core)
		gone(p);
	p->core = chan_new(fd, MSG_EXPORT, MSG_CORE);
	if (!p->core)
		return -errno;
	p->src = loop_fd(p->loop, chan_fd(p->core), LOOP_READ, on_core, p);
	if (!p->src) {
		int r = -errno;

		chan_free(steal_ptr(&p->core));
		return r;
	}
	p->said(NULL, true, p->said_arg);
	return 0;
}

/* A link that takes nothing more reads as closed, and is found to be gone there. */
static int send_to(struct pull *p, const char *type, uint64_t id, json_t *body)
{
	int r;

	if (!p->core) {
		json_decref(body);
		return -ENOTCONN;
	}
	r = chan_send(p->core, type, id, body, NULL, 0);
	if (r == -EINVAL)
		log_error("%s: %s", type, chan_why(p->core));
	if (chan_fd(p->core) >= 0)
		watch(p);
	return r;
}

int pull_ask(struct pull *p, const char *type, json_t *body, pull_fn fn, void *arg)
{
	struct question *q = NULL;
	int r;

	if (!p->core || p->questions >= PULL_QUESTIONS_MAX || !(q = calloc(1, sizeof *q))) {
		r = !p->core ? -ENOTCONN : -ENOBUFS;
		json_decref(body);
		return r;
	}
	q->id = chan_next_id(p->core);
	q->fn = fn;
	q->arg = arg;
	if ((r = send_to(p, type, q->id, body)) < 0) {
		free(q);
		return r;
	}
	q->next = p->first;
	p->first = q;
	p->questions++;
	return 0;
}

void pull_forget(struct pull *p, const void *arg)
{
	struct question **at = &p->first;

	while (*at) {
		struct question *q = *at;

		if (pull_is_walk(q->fn))
			(void)pull_walk_of(q->arg, arg);
		else if (q->arg == arg) {
			free(cut(p, at));
			continue;
		}
		at = &q->next;
	}
}

int pull_tell(struct pull *p, const char *type, json_t *body)
{
	return send_to(p, type, 0, body);
}

int pull_answer(struct pull *p, uint64_t id, const char *type, json_t *body)
{
	return send_to(p, type, id, body);
}

int pull_note(const void *data, size_t len, uint64_t *ret_number, const void **ret, size_t *ret_len)
{
	struct reader rd;
	uint64_t number;

	reader_init(&rd, data, len);
	if (reader_u64(&rd, &number) < 0 || rd.left == 0)
		return -EBADMSG;
	*ret_number = number;
	*ret = rd.p;
	*ret_len = rd.left;
	return 0;
}
