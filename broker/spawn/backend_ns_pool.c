#include "broker/spawn/backend_ns_internal.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/claim.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/pool.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/tight.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/util.h"

static int make(void *arg, const struct plan *p, const char *name, struct sandbox **ret)
{
	struct ns_backend *b = arg;
	struct backend_failure f = {"template"};
	const struct skeleton *skeleton;
	struct err e = ERR_INIT;
	cleanup_close int ours = -1, inits = -1;
	struct sandbox *s;
	int r;

	if ((r = claim_pair(&ours, &inits)) < 0)
		return r;
	if ((r = skeleton_get(b->skeletons, p, &skeleton, &e)) < 0 ||
	    (r = ns_make(b, name, p, inits, &s, &f, &e)) < 0) {
		log_warn("warm pool, %s: %s", f.step, err_text(&e));
		return r;
	}
	s->claim = steal_fd(&ours);
	s->skeleton = skeleton;
	*ret = s;
	return 0;
}

/* What the template was made of may have been replaced; a start would notice. */
static bool good(void *arg, const struct plan *p, struct sandbox *s)
{
	struct ns_backend *b = arg;
	const struct skeleton *now;
	struct err e = ERR_INIT;
	siginfo_t info = {0};

	return waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0 && skeleton_get(b->skeletons, p, &now, &e) == 0 &&
	       now == s->skeleton;
}

static void close_claim(struct sandbox *s)
{
	if (s->claim > 0)
		(void)close(s->claim);
	s->claim = 0;
}

static int claim(void *arg, struct sandbox *s, int init_fd)
{
	int r = claim_send(s->claim, init_fd);

	(void)arg;
	if (r == 0)
		close_claim(s);
	return r;
}

/* Nothing but init runs there, so that its end does not keep anybody waiting. */
static int drop(void *arg, struct sandbox *s)
{
	struct ns_backend *b = arg;
	siginfo_t info;

	close_claim(s);
	if (!s->reaped) {
		b->base.ops->kill(s);
		(void)waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOWAIT);
	}
	return b->base.ops->reap(s, NULL);
}

/* Sessions come first: half of the blocks are never a member's. */
static bool room(void *arg)
{
	const struct ns_backend *b = arg;

	return idmap_taken(b->ids) < idmap_blocks(b->ids) / 2;
}

static bool tight(void *arg)
{
	(void)arg;
	return tight_now();
}

struct pool *ns_pool_new(struct ns_backend *b)
{
	const struct pool_ops ops = {make, good, claim, drop, room, tight, b};

	return pool_new(&ops);
}

json_t *ns_pool_tell(const struct ns_backend *b)
{
	struct pool_counts c = pool_counts(b->pool);

	return json_pack("{s:i,s:i,s:i,s:I,s:I,s:I}", "shelves", (int)c.shelves, "ready",
	    (int)c.ready, "wanted", (int)c.wanted, "claimed", (json_int_t)c.claimed, "missed",
	    (json_int_t)c.missed, "lost", (json_int_t)c.lost);
}
