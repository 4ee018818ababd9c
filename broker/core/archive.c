#include "broker/core/archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/record.h"
#include "broker/audit/segment_file.h"
#include "broker/audit/tree.h"
#include "broker/core/archive_internal.h"
#include "broker/core/export_config.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"

#define STEP_NS (2 * 1000 * 1000) /* between two steps of a prune: others have their turn */
#define LLU(x)  ((unsigned long long)(x))

static const struct export_config *config_of(const struct archive *a)
{
	return a->env.config(a->env.arg);
}

/* ---- a segment that was not written ---- */

static void failed(struct archive *a, const char *why)
{
	a->cutting = false;
	a->retry_ns = clock_boot_ns() + ARCHIVE_RETRY_S * NSEC_PER_SEC;
	loop_timer_set(a->late, -1);
	if (strcmp(a->failed, why) == 0)
		return;
	(void)snprintf(a->failed, sizeof a->failed, "%s", why);
	log_error("records %llu to %llu of log %s are not in the archive: %s", LLU(a->cut.from),
	    LLU(a->cut.to), a->cut.log, why);
	(void)record_append(a->env.log, "log.unarchived",
	    a->cut.number == LOG_HOST_NUMBER ? NULL : a->cut.log, NULL,
	    json_pack("{s:I, s:I, s:s}", "from", (json_int_t)a->cut.from, "to",
	        (json_int_t)a->cut.to, "reason", why),
	    false, NULL, NULL);
}

static void on_late(struct loop *l, void *arg)
{
	(void)l;
	failed(arg, "the exporter does not answer");
}

/* ---- cut ---- */

static json_t *edge_before(struct archive *a, const struct cut *c, struct err *e)
{
	uint8_t data[DIGEST_LEN + MERKLE_PACKED_MAX];
	struct merkle tree;

	if (tree_range(a->env.store, c->number, c->from - 1, &tree, data, e) < 0)
		return NULL;
	return msg_json_bytes(data, DIGEST_LEN + merkle_pack(&tree, data + DIGEST_LEN));
}

static void cut(struct archive *a, const struct cut *c)
{
	json_t *body = json_pack(
	    "{s:s, s:I, s:I}", "log", c->log, "from", (json_int_t)c->from, "to", (json_int_t)c->to);
	struct err e = ERR_INIT;

	a->cut = *c;
	a->read = 0;
	if (body && c->from > 1) {
		json_t *edge = edge_before(a, c, &e);

		if (!edge || json_object_set_new(body, "edge", edge) < 0) {
			json_decref(body);
			failed(a, *e.text ? err_text(&e) : "no memory");
			return;
		}
	}
	if (!body || a->env.ask(a->env.arg, body, &a->asked) < 0)
		return; /* it will be there again */
	a->cutting = true;
	loop_timer_set(a->late, a->patience_ns);
}

/* ---- recorded, then done ---- */

static void on_archived(int r, uint64_t seq, void *arg)
{
	struct archive *a = arg;
	struct err e = ERR_INIT;

	(void)seq;
	if (r == -ECANCELED) /* everything ends */
		return;
	a->recording = false;
	if (r < 0) {
		failed(a, "the log cannot be written");
		return;
	}
	a->segments++;
	a->last = a->cut;
	a->last_ns = clock_wall_ns();
	if (log_edge_archived(a->env.store, a->cut.number, a->cut.to, a->bytes, &e) < 0)
		failed(a, err_text(&e));
	else
		*a->failed = '\0';
	archive_soon(a);
}

/* What the exporter says that it wrote, against what we have. */
static bool checks(struct archive *a, const struct msg *m, const char **ret_why)
{
	char file[SEGMENT_NAME_MAX];
	uint8_t root[DIGEST_LEN];
	cleanup_buf struct buf b;

	buf_init(&b, DIGEST_LEN);
	if (strcmp(msg_str(m, "log"), a->cut.log) != 0 ||
	    (uint64_t)msg_int(m, "from", 0) != a->cut.from ||
	    (uint64_t)msg_int(m, "to", 0) != a->cut.to ||
	    segment_name(a->cut.log, a->cut.from, a->cut.to, file) < 0 ||
	    strcmp(msg_str(m, "file"), file) != 0)
		*ret_why = "the exporter wrote another segment than was asked for";
	else if (tree_root(a->env.store, a->cut.number, a->cut.to, root, NULL) < 0)
		*ret_why = "the log's tree cannot be read";
	else if (msg_bytes(m, "root", &b) < 0 || b.len != DIGEST_LEN ||
	         memcmp(b.data, root, DIGEST_LEN) != 0)
		*ret_why = "what the exporter wrote is not this log";
	else
		return true;
	return false;
}

static void written(struct archive *a, const struct msg *m)
{
	const char *why = NULL;
	struct log_head head;
	struct log_edge g;
	json_t *body;

	if (!checks(a, m, &why)) {
		failed(a, why);
		return;
	}
	loop_timer_set(a->late, -1);
	a->cutting = false;
	/* only of use for when the next one is due: nobody is believed more than there is */
	a->bytes = (uint64_t)msg_int(m, "bytes", 0);
	if (logs_head(a->env.store, a->cut.number, &head, NULL) < 0 ||
	    log_edge_get(a->env.store, a->cut.number, &g, NULL) < 0)
		head.bytes = g.bytes = 0;
	if (a->bytes > head.bytes - (g.bytes < head.bytes ? g.bytes : head.bytes))
		a->bytes = head.bytes - (g.bytes < head.bytes ? g.bytes : head.bytes);
	body = json_pack("{s:s, s:I, s:I, s:I, s:O, s:O}", "file", msg_str(m, "file"), "from",
	    (json_int_t)a->cut.from, "to", (json_int_t)a->cut.to, "bytes", msg_int(m, "bytes", 0),
	    "digest", msg_obj(m, "digest"), "root", msg_obj(m, "root"));
	/* somebody has taken them out of the store, or changed them */
	if (body && msg_int(m, "bodies_lost", 0) > 0)
		(void)json_object_set_new(
		    body, "bodies_lost", json_integer(msg_int(m, "bodies_lost", 0)));
	a->recording = true;
	if (record_append(a->env.log, "log.archived",
	        a->cut.number == LOG_HOST_NUMBER ? NULL : a->cut.log, NULL, body, true, on_archived,
	        a) < 0) {
		a->recording = false;
		failed(a, "the log cannot be written");
	}
}

void archive_read(struct archive *a, const char *log, uint64_t seq)
{
	/* the same one again is no progress */
	if (!a->cutting || seq <= a->read || seq > a->cut.to || strcmp(log, a->cut.log) != 0)
		return;
	a->read = seq;
	loop_timer_set(a->late, a->patience_ns);
}

bool archive_answer(struct archive *a, const struct msg *m)
{
	char why[ARCHIVE_WHY_MAX];

	if (!a->cutting || m->id != a->asked)
		return false;
	if (msg_is(m, "archive.written")) {
		written(a, m);
		return true;
	}
	(void)snprintf(why, sizeof why, "%s", msg_str(m, "reason"));
	failed(a, why);
	return true;
}

/* ---- prune ---- */

static void on_forced(int r, uint64_t seq, void *arg)
{
	struct archive *a = arg;

	(void)seq;
	if (r == -ECANCELED)
		return;
	a->recording = false;
	if (r == 0)
		a->forced_to = a->pruned_to;
	archive_soon(a);
}

/* Somebody wants it still, and there is no more room: that is recorded first. */
static void force(struct archive *a, const struct log_info *l, uint64_t to, const char *why)
{
	a->forced = l->number;
	a->forced_to = 0;
	a->pruned_to = to;
	a->recording = true;
	log_error("the store is full: records up to %llu of log %s leave it, though %s", LLU(to),
	    l->name, why);
	if (record_append(a->env.log, "log.pruned", l->number == LOG_HOST_NUMBER ? NULL : l->name,
	        NULL, json_pack("{s:I, s:s}", "to", (json_int_t)to, "reason", why), true, on_forced,
	        a) < 0)
		a->recording = false;
}

/* Whether something was done, and there may be more. */
static bool prune(struct archive *a, const struct export_config *c, size_t i)
{
	const struct log_info *l = &a->logs[i];
	char *why = a->held[i];
	struct err e = ERR_INIT;
	struct log_edge g;
	uint64_t most, edge;
	int r;

	*why = '\0';
	if (log_edge_get(a->env.store, l->number, &g, NULL) < 0 || g.to - g.seq < TREE_TILE_WIDTH)
		return false;
	most = archive_most(a, c, l, &g, why);
	if (a->forced == l->number && a->forced_to > most)
		most = a->forced_to < g.to ? a->forced_to : g.to;
	if (*why && most < g.seq + TREE_TILE_WIDTH && archive_full(a)) {
		force(a, l, g.to, why);
		return true;
	}
	edge = g.seq;
	r = log_prune_step(a->env.store, a->env.log, l->number, most, &edge, &e);
	if (r < 0 && r != -EAGAIN)
		log_error("log %s cannot be pruned: %s", l->name, err_text(&e));
	if (a->forced == l->number && edge + TREE_TILE_WIDTH > a->forced_to)
		a->forced_to = 0;
	return r == -EAGAIN || edge > g.seq;
}

/* ---- the schedule ---- */

static int on_log(const struct log_info *l, void *arg)
{
	struct archive *a = arg;

	a->logs[a->nlogs++] = *l;
	return a->nlogs == LOGS_MAX;
}

static void list(struct archive *a)
{
	a->nlogs = 0;
	if (logs_list(a->env.store, on_log, a) < 0)
		a->nlogs = 0;
}

/* One thing at a time: what may leave first, then what is due, the logs in turn. */
static void on_tick(struct loop *loop, void *arg)
{
	struct archive *a = arg;
	const struct export_config *c = config_of(a);
	struct cut next;

	(void)loop;
	loop_timer_set(a->tick, ARCHIVE_TICK_S * NSEC_PER_SEC);
	if (!c || !c->archive || a->recording)
		return;
	/* what was archived last has to be there before anything is asked for again */
	if (store_waiting(a->env.store) &&
	    (a->env.log->ops->flush(a->env.log) < 0 || store_waiting(a->env.store)))
		return;
	list(a);
	for (size_t i = 0; i < a->nlogs; i++)
		if (prune(a, c, i)) {
			loop_timer_set(a->tick, STEP_NS);
			return;
		}
	if (a->cutting || !a->linked || (a->retry_ns && clock_boot_ns() < a->retry_ns))
		return;
	a->retry_ns = 0;
	for (size_t i = 0; i < a->nlogs; i++) {
		size_t at = (a->turn + i) % a->nlogs;

		if (archive_due(a, c, &a->logs[at], &next, a->held[at])) {
			a->turn = (a->turn + i + 1) % a->nlogs;
			cut(a, &next);
			return;
		}
	}
}

void archive_soon(struct archive *a)
{
	loop_timer_set(a->tick, 0);
}

void archive_linked(struct archive *a)
{
	a->linked = true;
	a->retry_ns = 0;
	archive_soon(a);
}

void archive_lost(struct archive *a)
{
	a->linked = a->cutting = false;
	loop_timer_set(a->late, -1);
}

struct archive *archive_new(const struct archive_env *env)
{
	struct archive *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->env = *env;
	a->patience_ns = ARCHIVE_CUT_S * NSEC_PER_SEC;
	a->tick = loop_timer(env->loop, ARCHIVE_TICK_S * NSEC_PER_SEC, on_tick, a);
	a->late = loop_timer(env->loop, -1, on_late, a);
	if (!a->tick || !a->late) {
		archive_free(a);
		return NULL;
	}
	return a;
}

void archive_free(struct archive *a)
{
	if (!a)
		return;
	loop_remove(a->tick);
	loop_remove(a->late);
	free(a);
}

json_t *archive_status(struct archive *a)
{
	const struct export_config *c = config_of(a);
	json_t *logs = json_array(), *last = json_null();
	bool more = false;

	list(a);
	for (size_t i = 0; i < a->nlogs; i++) {
		struct log_edge g;

		if (log_edge_get(a->env.store, a->logs[i].number, &g, NULL) < 0 ||
		    (g.to == 0 && *a->held[i] == '\0'))
			continue;
		if ((more = json_array_size(logs) == ARCHIVE_SHOWN_MAX))
			break;
		(void)json_array_append_new(
		    logs, json_pack("{s:s, s:I, s:I, s:s}", "log", a->logs[i].name, "archived",
		              (json_int_t)g.to, "pruned", (json_int_t)g.seq, "held", a->held[i]));
	}
	if (a->segments > 0)
		last = json_pack("{s:s, s:I, s:I, s:I}", "log", a->last.log, "from",
		    (json_int_t)a->last.from, "to", (json_int_t)a->last.to, "ago_s",
		    (json_int_t)((clock_wall_ns() - a->last_ns) / NSEC_PER_SEC));
	return json_pack("{s:b, s:o, s:b, s:s, s:I, s:o, s:s}", "on", c && c->archive, "logs", logs,
	    "more", more, "cutting", a->cutting ? a->cut.log : "", "segments",
	    (json_int_t)a->segments, "last", last, "failed", a->failed);
}
