#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/export_file.h"
#include "broker/audit/logs.h"
#include "broker/audit/ranges.h"
#include "broker/audit/segment_file.h"
#include "broker/audit/verify.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/audit_origin.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/audit_told.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * audit verify: every log, or one, judged; and the tenants' logs held against what the host's log
 * says of them.
 */

#define LLU(x) ((unsigned long long)(x))
#define MOVES  8 /* times that a log is read anew because its records were being archived */

struct run {
	struct ctl *c;
	struct audit_log *source;
	struct audit_keys keys;
	struct buf anchor; /* of --from-checkpoint */
	json_t *results;   /* with --json */
	int code;          /* the worst so far */
	enum verdict worst;
	struct audit_told told;
	bool whole;  /* all logs are looked at */
	bool chain;  /* seals are not asked for */
	int keep_fd; /* of --keep, or -1 */
};

static const struct {
	enum verdict verdict;
	int code;
} codes[] = {
    {VERDICT_GOOD, EXIT_OK},
    {VERDICT_EMPTY, EXIT_MISSING},
    {VERDICT_TAIL, EXIT_TAIL},
    {VERDICT_ARCHIVED, EXIT_ARCHIVED},
    {VERDICT_NO_KEY, EXIT_NO_KEY},
    {VERDICT_UNSEALED, EXIT_UNSEALED},
    {VERDICT_RESTORED, EXIT_RESTORED},
    {VERDICT_MISSING, EXIT_LOST},
    {VERDICT_EPOCH, EXIT_EPOCH},
    {VERDICT_SIGNATURE, EXIT_SIGNATURE},
    {VERDICT_ROLLED_BACK, EXIT_ROLLED_BACK},
    {VERDICT_BROKEN, EXIT_BROKEN},
    {VERDICT_RESIGNED, EXIT_RESIGNED},
    {VERDICT_FORK, EXIT_FORK},
};

/* With --chain nobody asks for seals. */
static int code_of(const struct run *run, enum verdict v, bool archived)
{
	if (run->chain && (v == VERDICT_TAIL || v == VERDICT_NO_KEY || v == VERDICT_UNSEALED))
		return archived ? EXIT_ARCHIVED : EXIT_OK;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].verdict == v)
			return codes[i].code;
	return EXIT_FAILED;
}

/* ---- what the host's log says of the others ---- */

struct listening {
	struct log_ranges to;
	struct run *run;
};

static int hear_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct listening *l = arg;
	int r = audit_told_record(&l->run->told, data, len);

	return r < 0 ? r : log_ranges_sink.record(&l->to, seq, data, len);
}

/* ---- the answer ---- */

static json_t *result_json(const struct run *run, const char *log, const struct ranges_result *r)
{
	json_t *ranges = json_array(), *findings = json_array(), *o;
	char root[DIGEST_HEX_LEN + 1];

	for (size_t i = 0; i < r->nranges; i++)
		(void)json_array_append_new(ranges,
		    json_pack("{s:I, s:I, s:s}", "from", (json_int_t)r->ranges[i].from, "to",
		        (json_int_t)r->ranges[i].to, "state", range_word(r->ranges[i].state)));
	for (size_t i = 0; i < r->nfindings; i++)
		(void)json_array_append_new(findings,
		    json_pack("{s:s, s:I, s:I, s:s}", "word", verdict_word(r->findings[i].verdict),
		        "from", (json_int_t)r->findings[i].from, "to",
		        (json_int_t)r->findings[i].to, "text", r->findings[i].text));
	hex_encode(root, r->root, DIGEST_LEN);
	o = json_pack(
	    "{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b, s:o, s:o, s:I}",
	    "log", log, "source", audit_log_where(run->source), "verdict", verdict_word(r->verdict),
	    "exit", code_of(run, r->verdict, r->archived > 0), "records", (json_int_t)r->records,
	    "archived", (json_int_t)r->archived, "sealed", (json_int_t)r->sealed, "witnessed",
	    (json_int_t)r->witnessed, "checkpoints", (json_int_t)r->checkpoints, "epoch",
	    (json_int_t)r->epochs, "newest", r->newest, "root", r->sealed ? root : "", "keys",
	    run->keys.from ? run->keys.from : "", "keys_told", run->keys.told, "ranges", ranges,
	    "findings", findings, "more_findings", (json_int_t)r->more_findings);
	if (o)
		(void)json_object_set_new(
		    o, "bodies_missing", json_integer((json_int_t)r->bodies_missing));
	if (o && r->stranger)
		(void)json_object_set_new(o, "cosigned_by_unknown", json_string(r->stranger));
	return o;
}

static void result_text(const struct run *run, const char *log, const struct ranges_result *r)
{
	char text[128];

	(void)printf("log %s: %s\n", log, verdict_word(r->verdict));
	for (size_t i = 0; i < r->nranges; i++) {
		(void)snprintf(text, sizeof text, "%llu to %llu", LLU(r->ranges[i].from),
		    LLU(r->ranges[i].to));
		(void)printf("  %-24s %s\n", text, range_word(r->ranges[i].state));
	}
	for (size_t i = 0; i < r->nfindings; i++) {
		(void)printf(
		    "  %s: %s\n", verdict_word(r->findings[i].verdict), r->findings[i].text);
	}
	if (r->more_findings)
		(void)printf("  and %zu more\n", r->more_findings);
	if (r->stranger) {
		char name[NOTE_NAME_MAX + 1];

		str_escape(name, sizeof name, r->stranger, strlen(r->stranger));
		(void)printf("  cosigned by %s, whose key is not among yours\n", name);
	}
	if (r->records)
		(void)printf("  newest record %s, epoch %llu, %llu checkpoints\n", r->newest,
		    LLU(r->epochs), LLU(r->checkpoints));
	(void)run;
}

static int keep(struct run *run, const struct ranges_result *r)
{
	if (run->keep_fd < 0 || !r->note ||
	    (r->verdict > VERDICT_ARCHIVED && r->verdict != VERDICT_RESTORED))
		return EXIT_OK;
	return audit_put(run->keep_fd, ctl_opt(run->c, "keep"), r->note, r->note_len);
}

static void answer(struct run *run, const char *log, const struct ranges_result *r)
{
	int code = code_of(run, r->verdict, r->archived > 0);

	/* what --chain lets pass hides nothing */
	if (code != EXIT_OK && (r->verdict >= run->worst || run->code == EXIT_OK))
		run->code = code;
	if (r->verdict > run->worst)
		run->worst = r->verdict;
	if (run->results)
		(void)json_array_append_new(run->results, result_json(run, log, r));
	else
		result_text(run, log, r);
}

/* ---- one log ---- */

/* The host's log holds this log's checkpoints, and nobody can take one out of it. */
static struct told *anchor_of(struct run *run, const char *log)
{
	struct told *t = audit_told_of(&run->told, log);

	if (t)
		t->met = true;
	return t;
}

static int new_ranges(struct run *run, const char *log, struct ranges **ret)
{
	const struct told *told = run->whole ? anchor_of(run, log) : NULL;
	struct ranges_keys keys;
	const char *quorum = ctl_opt(run->c, "quorum");
	struct err e = ERR_INIT;
	uint64_t n;

	if (ranges_keys(run->keys.key, run->keys.n, log, &keys, &e) < 0)
		return ctl_fail(EXIT_USAGE, "%s", err_text(&e));
	if (quorum && (str_to_u64(quorum, 1, RANGES_WITNESSES_MAX, &n) < 0 || n > keys.nwitnesses))
		return ctl_fail(EXIT_USAGE, "--quorum: there are keys of %zu witness%s",
		    keys.nwitnesses, keys.nwitnesses == 1 ? "" : "es");
	if (quorum)
		keys.quorum = (size_t)n;
	if (told && ranges_new(log, &keys, told->note, strlen(told->note), ret, NULL) == 0) {
		ranges_told(*ret);
		return audit_told_give(told, *ret) < 0 ? ctl_fail(EXIT_FAILED, "no memory")
		                                       : EXIT_OK;
	}
	if (ranges_new(log, &keys, run->anchor.len ? run->anchor.data : NULL, run->anchor.len, ret,
	        &e) < 0)
		return ctl_fail(EXIT_SIGNATURE, "log %s: %s%s%s", log, err_text(&e),
		    run->anchor.len ? ": " : "",
		    run->anchor.len ? ctl_opt(run->c, "from-checkpoint") : "");
	if (ctl_opt(run->c, "accept-break"))
		ranges_accept_break(*ret);
	return EXIT_OK;
}

/* *ret_moved: records went into the archive meanwhile. */
static int judge(struct run *run, const char *log, bool last, bool *ret_moved)
{
	struct listening l = {.run = run};
	cleanup_ranges struct ranges *v = NULL;
	struct log_sink sink = log_ranges_sink;
	struct ranges_result result;
	bool complete;
	int code;

	if ((code = new_ranges(run, log, &v)) != EXIT_OK)
		return code;
	l.to.ranges = v;
	if (audit_log_archived(run->source, log))
		ranges_whole(v);
	if (run->whole && strcmp(log, LOG_HOST) == 0)
		sink.record = hear_record;
	if ((code = audit_log_feed(run->source, log, &sink, &l, &complete)) != EXIT_OK)
		return code;
	*ret_moved = !last && audit_log_moved(run->source, log);
	if (*ret_moved)
		return EXIT_OK;
	ranges_end(v, l.to.head, complete);
	ranges_result(v, &result);
	answer(run, log, &result);
	return keep(run, &result);
}

static int verify_one(const char *log, void *arg)
{
	const struct run *run = arg;
	const char *asked = ctl_opt(run->c, "log"), *file = ctl_opt(run->c, "file");
	bool moved = true;
	int code = EXIT_OK;

	if (asked && strcmp(asked, log) != 0)
		return ctl_fail(EXIT_NOT_FOUND, "%s is of the log %s", file ? file : "it", log);
	for (int i = 1; i <= MOVES && moved && code == EXIT_OK; i++)
		code = judge(arg, log, i == MOVES, &moved);
	return code;
}

/* Logs that the host's log names and that are not there. */
static int dropped(struct run *run)
{
	for (size_t i = 0; i < run->told.n; i++) {
		char text[160], name[64];

		if (run->told.list[i].met)
			continue;
		str_escape(name, sizeof name, run->told.list[i].log, strlen(run->told.list[i].log));
		(void)snprintf(text, sizeof text, "the host's log tells of %llu records of it",
		    LLU(run->told.list[i].size));
		if (run->results)
			(void)json_array_append_new(run->results,
			    json_pack("{s:s, s:s, s:i, s:s}", "log", run->told.list[i].log,
			        "verdict", "dropped", "exit", EXIT_DROPPED, "text", text));
		else
			(void)printf("log %s: dropped\n  %s\n", name, text);
		if (run->worst < VERDICT_BROKEN)
			run->code = EXIT_DROPPED;
	}
	return run->code;
}

/* Whose it is, and who signed it, is another question. */
static bool is_checkpoint(const struct buf *b)
{
	struct checkpoint c;
	struct note n;
	bool fine;

	if (note_parse(b->data, b->len, &n, NULL) < 0)
		return false;
	fine = checkpoint_parse(n.text, n.text_len, &c, NULL) == 0;
	note_done(&n);
	return fine;
}

static int load_anchor(struct run *run)
{
	const char *path = ctl_opt(run->c, "from-checkpoint");
	struct err e = ERR_INIT;

	buf_init(&run->anchor, NOTE_MAX);
	if (path && fd_read_file(AT_FDCWD, path, NOTE_MAX, &run->anchor, &e) < 0)
		return ctl_fail(EXIT_USAGE, "%s", err_text(&e));
	if (path && !is_checkpoint(&run->anchor))
		return ctl_fail(EXIT_USAGE, "%s: %s", path,
		    run->anchor.len ? "it is no checkpoint" : "it is empty");
	return EXIT_OK;
}

static int verify_all(struct run *run)
{
	const char *log = ctl_opt(run->c, "log");
	int code;

	run->whole = !log && !ctl_opt(run->c, "file");
	if (run->whole && (run->anchor.len || ctl_opt(run->c, "keep")))
		return ctl_fail(EXIT_USAGE, "a checkpoint is of one log: say --log NAME");
	code = log && !ctl_opt(run->c, "file") ? verify_one(log, run)
	                                       : audit_log_list(run->source, verify_one, run);
	if (code != EXIT_OK)
		return code;
	if (run->whole)
		(void)dropped(run);
	if (run->results)
		(void)ctl_json(run->results);
	else if (run->keys.told)
		(void)puts(
		    "The keys are those that this Postern tells. Keep them elsewhere (postern "
		    "audit keys), and give them with --keys.");
	return run->code;
}

/* Records without seals, one a line of JSON. */
static int verify_lines(struct ctl *c, const char *path)
{
	cleanup_audit struct audit_source *source = NULL;
	struct verify v;
	int code = audit_open(c, path, false, &source);

	if (code != EXIT_OK || (code = audit_prove(source, &v)) != EXIT_OK)
		return code;
	if (c->json)
		(void)printf("{\"source\": \"lines\", \"records\": %llu}\n", LLU(v.seq));
	else
		(void)printf("unbroken: %llu records, chained only\n", LLU(v.seq));
	return ctl_opt(c, "chain")
	           ? EXIT_OK
	           : ctl_fail(EXIT_UNSEALED, "nothing in such a file is sealed: export "
	                                     "with --log NAME");
}

static bool is_bundle(const char *path)
{
	char head[EXPORT_MAGIC_LEN];
	cleanup_close int fd = audit_open_regular(path);
	ssize_t n;

	if (fd < 0)
		return true; /* and will be said */
	n = pread(fd, head, sizeof head, 0);
	return n > 0 && (segment_magic(head, (size_t)n) ||
	                    (n == sizeof head && memcmp(head, EXPORT_MAGIC, sizeof head) == 0));
}

int ctl_audit_verify(struct ctl *c)
{
	const char *file = ctl_opt(c, "file");
	struct run *run = calloc(1, sizeof *run);
	int code;

	if (!run)
		return ctl_fail(EXIT_FAILED, "no memory");
	if (file && !is_bundle(file)) {
		free(run);
		return verify_lines(c, file);
	}
	run->c = c;
	run->code = EXIT_OK;
	run->keep_fd = -1;
	run->chain = ctl_opt(c, "chain") != NULL;
	run->results = c->json ? json_array() : NULL;
	/* files first: whoever reads the core's store is not root any more */
	if ((code = load_anchor(run)) == EXIT_OK &&
	    (code = audit_keys_load(c, &run->keys)) == EXIT_OK &&
	    (code = audit_create(ctl_opt(c, "keep"), &run->keep_fd)) == EXIT_OK &&
	    (code = audit_log_open(c, &run->source)) == EXIT_OK &&
	    (code = audit_keys_ask(run->source, &run->keys)) == EXIT_OK)
		code = verify_all(run);
	buf_done(&run->anchor);
	util_close(&run->keep_fd);
	audit_log_close(run->source);
	json_decref(run->results);
	audit_told_done(&run->told);
	free(run);
	return code;
}
