#include "broker/core/ctl_erase.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/record_store.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"

/* Recorded with who asked, not of whom, then done. */

#define PERSON_MAX 1024 /* the message's */

struct erasing {
	struct core *core;
	uint64_t peer, question;
	char person[PERSON_MAX + 1];
};

/* ---- rows of what is over ---- */

#define ROWS_MAX 256 /* ids that are kept at a time */

struct rows {
	const char *person;
	size_t n, seen;
	char last[CORE_ID_MAX + 1], id[ROWS_MAX][CORE_ID_MAX + 1];
};

static bool over(const json_t *row)
{
	const char *state = json_string_value(json_object_get(row, "state"));

	return state && strcmp(state, "ended") == 0;
}

static int on_row(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct rows *r = arg;
	json_auto_t *row = NULL;
	const char *person;

	if (klen > CORE_ID_MAX ||
	    (r->seen > 0 && klen == strlen(r->last) && memcmp(key, r->last, klen) == 0))
		return 0;
	r->seen++;
	memcpy(r->last, key, klen);
	r->last[klen] = '\0';
	if (msg_json_parse(value, len, &row, NULL) < 0 || !over(row))
		return 0;
	person = json_string_value(json_object_get(row, "person"));
	if (person && strcmp(person, r->person) == 0) {
		memcpy(r->id[r->n], r->last, klen + 1);
		r->n++;
	}
	return r->n == ROWS_MAX ? 1 : 0;
}

/* A session that has ended is told of in the log; its row is for `session list --all`. */
static size_t forget_sessions(struct store *s, const char *person)
{
	struct rows *r = calloc(1, sizeof *r);
	size_t n = 0;
	int rc;

	if (!r)
		return 0;
	r->person = person;
	do {
		r->n = r->seen = 0;
		rc = store_walk(s, STORE_SESSIONS, r->last, strlen(r->last), ROWS_MAX, on_row, r);
		for (size_t i = 0; i < r->n; i++)
			(void)store_later(s, STORE_SESSIONS, r->id[i], NULL, 0);
		n += r->n;
	} while (rc >= 0 && r->seen > 1);
	free(r);
	return n;
}

/* ---- erasing ---- */

/* As it was said, and as a certificate's name is kept: escaped. */
static int erase(
    struct core *c, const char *person, size_t *ret_values, size_t *ret_rows, struct err *e)
{
	char shown[4 * PERSON_MAX + 8];
	size_t n = 0, more = 0;
	int r = record_erase(c->log, person, &n, e);

	str_escape(shown, sizeof shown, person, strlen(person));
	if (r == 0 && strcmp(shown, person) != 0)
		r = record_erase(c->log, shown, &more, e);
	if (r < 0)
		return r;
	*ret_values = n + more;
	*ret_rows = forget_sessions(c->store, shown);
	return 0;
}

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct erasing *x = arg;
	struct peer *p = peer_find(x->core, x->peer);
	struct err e = ERR_INIT;
	size_t n = 0, rows = 0;

	(void)seq;
	if (r == 0)
		r = erase(x->core, x->person, &n, &rows, &e);
	if (r < 0)
		ctl_error(p, x->question, CTL_FAILED,
		    *err_text(&e) ? err_text(&e) : "the log cannot be written");
	else
		(void)peer_send(p, "ctl.answer", x->question,
		    json_pack("{s:{s:I, s:I}}", "data", "values", (json_int_t)n, "sessions",
		        (json_int_t)rows));
	free(x);
}

int ctl_erase(struct peer *p, struct msg *m, struct err *e)
{
	struct erasing *x;

	(void)e;
	if (!p->core->store) {
		ctl_error(p, m->id, CTL_FAILED, "there is no log");
		return 0;
	}
	if (!(x = calloc(1, sizeof *x))) {
		ctl_error(p, m->id, CTL_FAILED, "no memory");
		return 0;
	}
	x->core = p->core;
	x->peer = p->serial;
	x->question = m->id;
	(void)str_copy(x->person, sizeof x->person, msg_str(m, "person"));
	/* a commitment to what is erased in the same moment tells nobody anything */
	(void)json_object_del(m->body, "person");
	if (ctl_record_then(p, m, on_recorded, x) < 0) {
		free(x);
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be written");
	}
	return 0;
}
