#include "broker/spawn/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/spawn/plan.h"
#include "lib/clock.h"

#define LEAVING_MAX (2 * POOL_MEMBERS_MAX)

struct shelf {
	struct plan *plan; /* NULL: free */
	struct sandbox *member[POOL_MEMBERS_MAX];
	size_t n;
	int64_t asked;     /* when it was last wanted */
	int64_t forgotten; /* when; 0: it was asked for since */
	int64_t failed;    /* when one could not be made; 0: not */
};

struct pool {
	struct pool_ops ops;
	struct shelf shelf[POOL_SHELVES_MAX];
	struct sandbox *leaving[LEAVING_MAX]; /* killed, not yet gone */
	size_t nleaving;
	int64_t looked; /* at the memory */
	bool tight;
	uint32_t serial;
	struct pool_counts counts;
};

struct pool *pool_new(const struct pool_ops *ops)
{
	struct pool *p = calloc(1, sizeof *p);

	if (p)
		p->ops = *ops;
	return p;
}

bool pool_takes(const struct plan *plan)
{
	return plan->warm > 0 && plan->tier == PLAN_TIER_NAMESPACES && !plan->watch &&
	       plan->workspace_mode == PLAN_WORKSPACE_NONE;
}

/* ---- members go ---- */

static void settle(struct pool *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->nleaving; i++)
		if (p->ops.drop(p->ops.arg, p->leaving[i]) == -EAGAIN)
			p->leaving[kept++] = p->leaving[i];
	p->nleaving = kept;
}

/* False: too many are on their way already. */
static bool drop(struct pool *p, struct sandbox *s)
{
	if (p->ops.drop(p->ops.arg, s) != -EAGAIN)
		return true;
	p->leaving[p->nleaving++] = s;
	return p->nleaving < LEAVING_MAX;
}

static void drop_last(struct pool *p, struct shelf *s)
{
	(void)drop(p, s->member[--s->n]);
}

static void clear(struct pool *p, struct shelf *s)
{
	while (s->n > 0 && p->nleaving < LEAVING_MAX)
		drop_last(p, s);
	if (s->n == 0) {
		free(s->plan);
		s->plan = NULL;
	}
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		while (p->shelf[i].plan) {
			clear(p, &p->shelf[i]);
			settle(p);
		}
	for (int again = 0; p->nleaving > 0 && again < LEAVING_MAX; again++)
		settle(p);
	free(p);
}

/* ---- shelves ---- */

/* The plan has no pointers, and was filled from zeroes; if padding differed nonetheless, a start
 * would be a cold one. */
static bool same(const struct plan *a, const struct plan *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static bool alike(const struct plan *a, const struct plan *b)
{
	return strcmp(a->tenant, b->tenant) == 0 && strcmp(a->role, b->role) == 0 &&
	       strcmp(a->template_name, b->template_name) == 0;
}

static struct shelf *find(struct pool *p, const struct plan *plan)
{
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		if (p->shelf[i].plan && alike(p->shelf[i].plan, plan))
			return &p->shelf[i];
	return NULL;
}

static bool stale(const struct shelf *s, int64_t now)
{
	return now - s->asked >= POOL_STALE_S * NSEC_PER_SEC;
}

/* A free one, or the one that nobody has asked for for the longest time. */
static struct shelf *find_free(struct pool *p, int64_t now)
{
	struct shelf *oldest = NULL;

	for (size_t i = 0; i < POOL_SHELVES_MAX; i++) {
		struct shelf *s = &p->shelf[i];

		if (!s->plan)
			return s;
		if (stale(s, now) && (!oldest || s->asked < oldest->asked))
			oldest = s;
	}
	if (oldest)
		clear(p, oldest);
	return oldest && !oldest->plan ? oldest : NULL;
}

static struct shelf *learn(struct pool *p, const struct plan *plan, bool prepared, int64_t now)
{
	struct shelf *s = find(p, plan);

	if (s && !same(s->plan, plan)) {
		if (!prepared && !stale(s, now))
			return NULL;
		clear(p, s);
		if (s->plan) /* too many are leaving: at the next occasion */
			return NULL;
	} else if (!s && pool_takes(plan)) {
		s = find_free(p, now);
	}
	if (!s || !pool_takes(plan))
		return NULL;
	if (!s->plan) {
		if (!(s->plan = malloc(sizeof *plan)))
			return NULL;
		memcpy(s->plan, plan, sizeof *plan);
		s->failed = 0;
	}
	s->asked = now;
	s->forgotten = 0;
	return s;
}

void pool_want(struct pool *p, const struct plan *plan, int64_t now)
{
	struct shelf *s = learn(p, plan, true, now);

	if (s)
		s->failed = 0;
}

void pool_forget(struct pool *p, int64_t now)
{
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		p->shelf[i].forgotten = now;
}

struct sandbox *pool_take(struct pool *p, const struct plan *plan, int init_fd, int64_t now)
{
	struct shelf *s = learn(p, plan, false, now);

	if (!pool_takes(plan))
		return NULL;
	while (s && s->n > 0 && p->nleaving < LEAVING_MAX) {
		struct sandbox *m = s->member[--s->n];

		if (p->ops.good(p->ops.arg, plan, m) && p->ops.claim(p->ops.arg, m, init_fd) == 0) {
			p->counts.claimed++;
			return m;
		}
		p->counts.lost++;
		(void)drop(p, m);
	}
	p->counts.missed++;
	return NULL;
}

/* ---- what nobody waits for ---- */

static size_t wanted(const struct shelf *s)
{
	return s->plan->warm < POOL_MEMBERS_MAX ? s->plan->warm : POOL_MEMBERS_MAX;
}

static bool make_one(struct pool *p, struct shelf *s, int64_t now)
{
	char name[32];
	int r;

	/* never a session's name: those are UUIDs */
	(void)snprintf(name, sizeof name, "warm-%u", p->serial++);
	r = p->ops.make(p->ops.arg, s->plan, name, &s->member[s->n]);
	if (r < 0)
		s->failed = now;
	else
		s->n++;
	return r == 0;
}

static bool lacks(const struct shelf *s, int64_t now)
{
	return s->plan && !s->forgotten && s->n < wanted(s) &&
	       (!s->failed || now - s->failed >= NSEC_PER_SEC);
}

bool pool_shed(struct pool *p)
{
	if (p->nleaving == LEAVING_MAX)
		return false;
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		if (p->shelf[i].plan && p->shelf[i].n > 0) {
			drop_last(p, &p->shelf[i]);
			return true;
		}
	return false;
}

static void take_down(struct pool *p, int64_t now)
{
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++) {
		struct shelf *s = &p->shelf[i];

		if (s->plan && s->forgotten &&
		    now - s->forgotten >= POOL_FORGET_MS * (NSEC_PER_SEC / 1000))
			clear(p, s);
	}
}

static bool is_empty(const struct pool *p)
{
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		if (p->shelf[i].plan)
			return false;
	return p->nleaving == 0;
}

int pool_step(struct pool *p, int64_t now)
{
	if (is_empty(p))
		return 0;
	settle(p);
	take_down(p, now);
	if (!p->looked || now - p->looked >= POOL_LOOK_MS * (NSEC_PER_SEC / 1000)) {
		p->looked = now;
		p->tight = p->ops.tight(p->ops.arg);
	}
	if (p->tight)
		return pool_shed(p) ? 1 : POOL_LOOK_MS;
	if (!p->ops.room(p->ops.arg))
		return POOL_LOOK_MS;
	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		if (lacks(&p->shelf[i], now) && make_one(p, &p->shelf[i], now))
			return 1;
	return POOL_LOOK_MS;
}

struct pool_counts pool_counts(const struct pool *p)
{
	struct pool_counts c = p->counts;

	for (size_t i = 0; i < POOL_SHELVES_MAX; i++)
		if (p->shelf[i].plan) {
			c.shelves++;
			c.ready += (unsigned)p->shelf[i].n;
			c.wanted += (unsigned)wanted(&p->shelf[i]);
		}
	return c;
}
