#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/verify.h"
#include "broker/ctl/audit_source_internal.h"
#include "broker/ctl/ctl.h"
#include "lib/err.h"
#include "lib/util.h"

/* Whether every log of a source is an unbroken chain. */

struct prove {
	struct verify v[AUDIT_LOGS];
	size_t n;
	uint64_t total;
	struct err e;
};

static int prove_one(const struct audit_record *r, void *arg)
{
	struct prove *p = arg;
	size_t i = 0;

	while (i < p->n && strcmp(p->v[i].log, r->log) != 0)
		i++;
	if (i == p->n) {
		if (p->n == AUDIT_LOGS)
			return EXIT_BROKEN;
		verify_init(&p->v[i]);
		(void)str_copy(p->v[i].log, sizeof p->v[i].log, r->log);
		p->n++;
	}
	if (verify_record(&p->v[i], r->seq, r->data, r->len, &p->e) < 0)
		return EXIT_BROKEN;
	p->total++;
	return EXIT_OK;
}

int audit_prove(struct audit_source *s, struct verify *v)
{
	cleanup_free struct prove *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return ctl_fail(EXIT_FAILED, "no memory");
	verify_init(v);
	if (s->from.store) {
		r = verify_store(s->from.store, v, &p->e);
		r = r == 0 ? EXIT_OK : r == -EBADMSG ? EXIT_BROKEN : EXIT_UNREADABLE;
	} else if ((r = audit_walk(s, true, prove_one, p)) != EXIT_OK && r != EXIT_BROKEN) {
		return r; /* said */
	} else if (r == EXIT_OK && p->n > 0) {
		*v = p->v[p->n - 1];
		v->seq = p->total;
	}
	if (r != EXIT_OK)
		return ctl_fail(r, "%s", err_text(&p->e));
	if (v->seq == 0)
		return ctl_fail(EXIT_MISSING, "there is no record in %s", s->from.where);
	return EXIT_OK;
}
