#include "broker/spawn/backend_tiers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/spawn/backend.h"
#include "lib/err.h"
#include "lib/util.h"

#define TIERS   (PLAN_TIER_MICROVM + 1)
#define WHY_LEN 256

struct tiers {
	struct backend base;
	struct tier {
		struct backend *b; /* NULL: why */
		char why[WHY_LEN];
	} tier[TIERS];
};

struct sandbox {
	struct backend *tiers; /* as in every back end's */
	struct backend *b;
	struct sandbox *inner;
};

static struct tiers *tiers_of(struct backend *b)
{
	return (struct tiers *)(void *)b;
}

static json_t *tier_probe(struct tier *t, bool first)
{
	json_t *o = !t->b   ? json_pack("{s:s}", "lacks", t->why)
	            : first ? json_object()
	                    : t->b->ops->probe(t->b);

	(void)json_object_set_new(o, "available", json_boolean(t->b != NULL));
	return o;
}

/* What the namespaces' back end says of the host, and each tier below its name. */
static json_t *tiers_probe(struct backend *base)
{
	struct tiers *t = tiers_of(base);
	struct backend *ns = t->tier[PLAN_TIER_NAMESPACES].b;
	json_t *o = ns ? ns->ops->probe(ns) : json_object();
	json_t *all = json_object();

	for (size_t i = 0; i < TIERS; i++)
		(void)json_object_set_new(
		    all, plan_tiers[i], tier_probe(&t->tier[i], i == PLAN_TIER_NAMESPACES));
	(void)json_object_set_new(o, "tiers", all);
	return o;
}

static int choose(struct tiers *t, const struct plan *p, struct backend **ret,
    struct backend_failure *f, struct err *e)
{
	f->step = "tier";
	if ((size_t)p->tier >= TIERS)
		return err_set(e, -EINVAL, "there is no such tier");
	*ret = t->tier[p->tier].b;
	return *ret ? 0
	            : err_set(e, -ENOTSUP, "this host lacks the tier %s: %s", plan_tiers[p->tier],
	                  t->tier[p->tier].why);
}

static int tiers_prepare(
    struct backend *base, const struct plan *p, struct backend_failure *f, struct err *e)
{
	struct backend *b;
	int r = choose(tiers_of(base), p, &b, f, e);

	return r < 0 || !b->ops->prepare ? r : b->ops->prepare(b, p, f, e);
}

static void tiers_forget(struct backend *base)
{
	struct tiers *t = tiers_of(base);

	for (size_t i = 0; i < TIERS; i++)
		if (t->tier[i].b && t->tier[i].b->ops->forget)
			t->tier[i].b->ops->forget(t->tier[i].b);
}

static int tiers_start(struct backend *base, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e)
{
	struct sandbox *s;
	struct backend *b;
	int r;

	if ((r = choose(tiers_of(base), p, &b, f, e)) < 0)
		return r;
	f->step = "memory";
	if (!(s = malloc(sizeof *s)))
		return err_set(e, -ENOMEM, "no memory");
	*s = (struct sandbox){.tiers = base, .b = b};
	if ((r = b->ops->start(b, session, p, init_fd, &s->inner, ret_enforced, f, e)) < 0) {
		util_free(&s);
		return r;
	}
	(void)json_object_set_new(*ret_enforced, "tier", json_string(plan_tiers[p->tier]));
	*ret = s;
	return 0;
}

static pid_t tiers_pid(const struct sandbox *s)
{
	return s->b->ops->pid(s->inner);
}

static int tiers_pidfd(const struct sandbox *s)
{
	return s->b->ops->pidfd(s->inner);
}

static int tiers_cred_listener(const struct sandbox *s)
{
	return s->b->ops->cred_listener(s->inner);
}

static int tiers_open_pty(struct sandbox *s, int *ret_master, int *ret_slave, struct err *e)
{
	return s->b->ops->open_pty(s->inner, ret_master, ret_slave, e);
}

static int tiers_freeze(struct sandbox *s, int on, struct err *e)
{
	return s->b->ops->freeze(s->inner, on, e);
}

static void tiers_stat(struct sandbox *s, struct backend_usage *ret)
{
	s->b->ops->stat(s->inner, ret);
}

static bool tiers_layers(const struct sandbox *s, struct backend_layers *ret)
{
	return s->b->ops->layers && s->b->ops->layers(s->inner, ret);
}

static bool tiers_watch(const struct sandbox *s, struct backend_watch *ret)
{
	return s->b->ops->watch && s->b->ops->watch(s->inner, ret);
}

static int tiers_charge(struct sandbox *s, pid_t pid)
{
	return s->b->ops->charge ? s->b->ops->charge(s->inner, pid) : 0;
}

static void tiers_kill(struct sandbox *s)
{
	s->b->ops->kill(s->inner);
}

static int tiers_reap(struct sandbox *s, struct backend_usage *ret)
{
	int r = s->b->ops->reap(s->inner, ret);

	if (r == 0)
		free(s);
	return r;
}

/* A step of each: none starves another. */
static int tiers_idle(struct backend *base)
{
	struct tiers *t = tiers_of(base);
	int more = 0;

	for (size_t i = 0; i < TIERS; i++)
		if (t->tier[i].b && t->tier[i].b->ops->idle) {
			int r = t->tier[i].b->ops->idle(t->tier[i].b);

			/* whoever wants to be asked first */
			if (r > 0 && (more == 0 || r < more))
				more = r;
		}
	return more;
}

/* One descriptor for all: the first that has news of its own. Every tier's are looked at. */
static int tiers_event_fd(struct backend *base)
{
	struct tiers *t = tiers_of(base);

	for (size_t i = 0; i < TIERS; i++)
		if (t->tier[i].b && t->tier[i].b->ops->event_fd)
			return t->tier[i].b->ops->event_fd(t->tier[i].b);
	return -1;
}

static void tiers_event(struct backend *base)
{
	struct tiers *t = tiers_of(base);

	for (size_t i = 0; i < TIERS; i++)
		if (t->tier[i].b && t->tier[i].b->ops->event)
			t->tier[i].b->ops->event(t->tier[i].b);
}

/* The last first: those after the namespaces' use its ids and cgroups. */
static void tiers_free(struct backend *base)
{
	struct tiers *t = tiers_of(base);

	for (size_t i = TIERS; i-- > 0;)
		if (t->tier[i].b)
			t->tier[i].b->ops->free(t->tier[i].b);
	free(t);
}

static const struct backend_ops ops = {
    .name = "tiers",
    .probe = tiers_probe,
    .prepare = tiers_prepare,
    .forget = tiers_forget,
    .start = tiers_start,
    .pid = tiers_pid,
    .pidfd = tiers_pidfd,
    .cred_listener = tiers_cred_listener,
    .open_pty = tiers_open_pty,
    .freeze = tiers_freeze,
    .stat = tiers_stat,
    .layers = tiers_layers,
    .watch = tiers_watch,
    .charge = tiers_charge,
    .kill = tiers_kill,
    .idle = tiers_idle,
    .event_fd = tiers_event_fd,
    .event = tiers_event,
    .reap = tiers_reap,
    .free = tiers_free,
};

struct backend *backend_tiers_new(void)
{
	struct tiers *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->base.ops = &ops;
	for (size_t i = 0; i < TIERS; i++)
		backend_tiers_lack(&t->base, (enum plan_tier)i, "it is not built in");
	return &t->base;
}

void backend_tiers_have(struct backend *base, enum plan_tier tier, struct backend *b)
{
	tiers_of(base)->tier[tier].b = b;
}

void backend_tiers_lack(struct backend *base, enum plan_tier tier, const char *why)
{
	struct tier *t = &tiers_of(base)->tier[tier];

	(void)snprintf(t->why, sizeof t->why, "%.*s", WHY_LEN - 1, why);
}
