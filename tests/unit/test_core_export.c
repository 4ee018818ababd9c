#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/audit/logs.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "tests/support/core_rig.h"

/*
 * The exporter as the core sees it: somebody who may be taken over. It gets what its sinks are to
 * have, moves cursors forward only, and can make the log say little.
 */

#define WITNESSES 3

struct fix {
	struct rig *r;
	struct rig_end *x;
};

static const uint8_t log_seed[NOTE_KEY_LEN] = {77};

static void seed_of(size_t i, uint8_t ret[NOTE_KEY_LEN])
{
	memset(ret, (int)i + 1, NOTE_KEY_LEN);
}

static void witness_key(size_t i, struct note_key *ret)
{
	uint8_t seed[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
	char name[32];

	seed_of(i, seed);
	(void)snprintf(name, sizeof name, "w%zu.example.com", i);
	assert_int_equal(note_public(seed, public), 0);
	assert_int_equal(note_key_init(ret, name, NOTE_COSIGNATURE, public, NULL), 0);
}

static void configure(struct fix *f, size_t witnesses, size_t quorum)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;

	buf_init(&b, 8192);
	buf_printf(&b, "export:\n"
	               "  - {name: all, kind: jsonl}\n"
	               "  - {name: people, kind: jsonl, logs: [host], personal: true}\n"
	               "  - {name: demos, kind: jsonl, logs: [demo]}\n");
	if (witnesses > 0)
		buf_printf(&b, "witnesses:\n  quorum: %zu\n  list:\n", quorum);
	for (size_t i = 0; i < witnesses; i++) {
		struct note_key k;

		witness_key(i, &k);
		buf_printf(&b, "    - {url: \"http://127.0.0.1/\", key: \"");
		note_key_format(&k, &b);
		buf_printf(&b, "\"}\n");
	}
	assert_int_equal(buf_status(&b), 0);
	assert_int_equal(
	    fd_write_file(f->r->config_fd, "postern.yaml", b.data, b.len, 0600, NULL), 0);
	if (f->r->core && core_reload(f->r->core, "test", &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void link_exporter(struct fix *f)
{
	int pair[2];

	rig_end_free(f->x);
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	f->x = rig_end_new(f->r, pair[0], MSG_EXPORT);
	assert_int_equal(chan_send(f->r->supervisor->chan, "link", 0,
	                     json_pack("{s:s}", "role", "export"), &pair[1], 1),
	    0);
	(void)close(pair[1]);
}

static void commit(struct fix *f)
{
	assert_int_equal(f->r->log->ops->flush(f->r->log), 0);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	f->r = core_rig_new(true, NULL);
	configure(f, 0, 0);
	commit(f);
	link_exporter(f);
	rig_expect(f->x, "export.grown", NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_end_free(f->x);
	core_rig_free(f->r);
	free(f);
	return 0;
}

static void restart(struct fix *f)
{
	rig_end_free(f->x);
	f->x = NULL;
	export_finish(f->r->core);
	commit(f);
	rig_stop(f->r);
	rig_start(f->r, NULL);
	rig_ready(f->r);
	link_exporter(f);
}

static uint64_t size_of(struct fix *f, uint32_t log)
{
	struct log_head head;

	assert_int_equal(logs_head(f->r->store, log, &head, NULL), 0);
	return head.seq;
}

static void write_records(struct fix *f, const char *tenant, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(
		    note(f->r->core, "ctl", tenant, NULL, json_pack("{s:i}", "n", i)), 0);
	commit(f);
}

static bool by_itself(const struct msg *m)
{
	return msg_is(m, "export.grown") || msg_is(m, "export.reload");
}

/* The next message that is an answer. */
static void expect(struct fix *f, const char *type, struct msg *m)
{
	struct msg got = MSG_INIT;

	for (int i = 0; i < 200; i++) {
		int r = chan_recv(f->x->chan, &got, NULL);

		if (r == 1 && !by_itself(&got)) {
			if (!msg_is(&got, type))
				fail_msg("%s was expected, not %s: %s", type, got.type->name,
				    msg_is(&got, "export.refused") ? msg_str(&got, "reason") : "");
			*m = got;
			return;
		}
		if (r == 1)
			msg_done(&got);
		assert_true(r == 1 || r == -EAGAIN);
		rig_turns(f->r);
	}
	fail_msg("%s was expected, and nothing came", type);
}

static void refused(struct fix *f, const char *reason)
{
	struct msg m = MSG_INIT;

	expect(f, "export.refused", &m);
	if (!strstr(msg_str(&m, "reason"), reason))
		fail_msg("\"%s\" was expected, not: %s", reason, msg_str(&m, "reason"));
	msg_done(&m);
}

static void at(struct fix *f, uint64_t seq, uint64_t checkpoint)
{
	struct msg m = MSG_INIT;

	expect(f, "export.at", &m);
	assert_int_equal(msg_int(&m, "seq", -1), seq);
	assert_int_equal(msg_int(&m, "checkpoint", -1), checkpoint);
	msg_done(&m);
}

static void ask_open(struct fix *f, const char *sink, const char *log)
{
	rig_send(f->x, "export.open", 1, json_pack("{s:s, s:s}", "sink", sink, "log", log));
}

static void say_done(struct fix *f, const char *sink, const char *log, uint64_t seq)
{
	rig_send(f->x, "export.done", 2,
	    json_pack("{s:s, s:s, s:I, s:i}", "sink", sink, "log", log, "seq", (json_int_t)seq,
	        "checkpoint", 0));
}

static void pull(struct fix *f, const char *sink, const char *log, uint64_t from)
{
	rig_send(f->x, "export.pull", 3,
	    json_pack("{s:s, s:s, s:I, s:i}", "sink", sink, "log", log, "from", (json_int_t)from,
	        "max", 1024));
}

static void say_skip(struct fix *f, const char *sink, const char *log, uint64_t seq)
{
	rig_send(f->x, "export.skip", 4,
	    json_pack("{s:s, s:s, s:I, s:s}", "sink", sink, "log", log, "seq", (json_int_t)seq,
	        "reason", "400 \"bad\"\n"));
}

/* How many records of the host's log hold this text. */
struct count {
	const char *text;
	int n;
};

static int on_count(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct count *c = arg;

	(void)seq;
	c->n += memmem(data, len, c->text, strlen(c->text)) != NULL;
	return 0;
}

static int records_with(struct fix *f, const char *text)
{
	struct count c = {text, 0};

	commit(f);
	assert_int_equal(
	    logs_walk(f->r->store, LOG_HOST_NUMBER, 1, STORE_WALK_MAX, on_count, &c), 0);
	return c.n;
}

/* ---- what there is ---- */

static void tells_what_has_grown(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	json_t *logs;

	write_records(f, "demo", 3);
	rig_expect(f->x, "export.grown", &m);
	logs = msg_obj(&m, "logs");
	assert_int_equal(json_array_size(logs), 1);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(logs, 0), "log")), "demo");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 0), "size")), 3);
	msg_done(&m);
	write_records(f, "demo", 1);
	rig_expect(f->x, "export.grown", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "logs")), 1);
	msg_done(&m);
	link_exporter(f); /* a new one is told all */
	rig_expect(f->x, "export.grown", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "logs")), 2);
	msg_done(&m);
	rig_expect_nothing(f->x);
}

static void gives_records_in_order(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf want, got;
	json_t *records;

	buf_init(&want, STORE_VALUE_MAX);
	buf_init(&got, STORE_VALUE_MAX);
	write_records(f, "demo", 5);
	pull(f, "demos", "demo", 2);
	expect(f, "export.batch", &m);
	assert_int_equal(msg_int(&m, "from", -1), 2);
	assert_int_equal(msg_int(&m, "size", -1), 5);
	records = msg_obj(&m, "records");
	assert_int_equal(json_array_size(records), 4);
	assert_int_equal(logs_get(f->r->store, 1, 3, &want), 0);
	assert_int_equal(msg_json_decode(json_array_get(records, 1), &got), 0);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, want.len);
	assert_null(msg_obj(&m, "private"));
	msg_done(&m);
	pull(f, "demos", "demo", 6);
	expect(f, "export.batch", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "records")), 0);
	msg_done(&m);
}

static void gives_no_log_that_no_sink_is_to_have(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	write_records(f, "demo", 1);
	pull(f, "demos", "host", 1);
	refused(f, "no sink");
	pull(f, "people", "demo", 1);
	refused(f, "no sink");
	pull(f, "nobody", "host", 1);
	refused(f, "no sink");
	pull(f, "archive", "host", 1); /* there is no archive configured */
	refused(f, "no sink");
	pull(f, "all", "nothing", 1);
	refused(f, "no such log");
	pull(f, "all", "host", 0);
	refused(f, "from 1");
	ask_open(f, "demos", "host");
	refused(f, "no sink");
	rig_send(f->x, "export.notes", 5,
	    json_pack("{s:s, s:s, s:i}", "log", "demo", "kind", "secret", "from", 0));
	refused(f, "three kinds");
	rig_send(f->x, "export.notes", 5,
	    json_pack("{s:s, s:s, s:i}", "log", "demo", "kind", "checkpoint", "from", 0));
	expect(f, "export.notelist", &m);
	msg_done(&m);
}

static void personal_values_go_where_they_may(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	assert_int_equal(note(f->r->core, "conn.refused", NULL,
	                     json_pack("{s:s, s:s}", "conn", "c-1", "peer", "192.0.2.7"), NULL),
	    0);
	commit(f);
	pull(f, "all", "host", size_of(f, 0));
	expect(f, "export.batch", &m);
	assert_null(msg_obj(&m, "private"));
	msg_done(&m);
	pull(f, "people", "host", size_of(f, 0));
	expect(f, "export.batch", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "private")), 1);
	msg_done(&m);
}

/* ---- cursors ---- */

static void a_cursor_goes_forward_only(void **state)
{
	struct fix *f = *state;

	write_records(f, "demo", 5);
	ask_open(f, "demos", "demo");
	at(f, 0, 0);
	say_done(f, "demos", "demo", 4);
	at(f, 4, 0);
	say_done(f, "demos", "demo", 2);
	at(f, 4, 0);
	say_done(f, "demos", "demo", 6);
	refused(f, "come so far");
	ask_open(f, "demos", "demo");
	at(f, 4, 0);
	ask_open(f, "all", "demo");
	at(f, 0, 0);
	say_done(f, "nobody", "demo", 1);
	refused(f, "no sink");
}

static void a_cursor_outlives_the_core(void **state)
{
	struct fix *f = *state;
	uint64_t size;

	write_records(f, "demo", 5);
	say_done(f, "demos", "demo", 3);
	at(f, 3, 0);
	size = size_of(f, 0);
	restart(f);
	ask_open(f, "demos", "demo");
	at(f, 3, 0);
	assert_int_equal(export_taken(f->r->core, "demo"), 0); /* sink all has nothing */
	/* keeping it wrote no record: host.start, config.loaded, and no more */
	commit(f);
	assert_int_equal(size_of(f, 0), size + 2);
}

/* ---- skips ---- */

static void a_skip_is_recorded_before_the_cursor_moves(void **state)
{
	struct fix *f = *state;

	write_records(f, "demo", 3);
	say_skip(f, "demos", "demo", 2);
	refused(f, "only the next");
	say_skip(f, "demos", "demo", 1);
	at(f, 1, 0);
	assert_int_equal(records_with(f, "\"class\":\"export.skipped\""), 1);
	say_skip(f, "demos", "demo", 1);
	refused(f, "only the next");
	say_skip(f, "demos", "demo", 4);
	refused(f, "only the next");
}

/* A sink that refuses everything must not get more to refuse by that. */
static void skips_of_skips_leave_no_record(void **state)
{
	struct fix *f = *state;
	uint64_t size = size_of(f, 0), after;

	for (uint64_t i = 1; i <= size; i++) {
		say_skip(f, "people", "host", i);
		at(f, i, 0);
	}
	after = size_of(f, 0);
	assert_int_equal(after, 2 * size);
	for (uint64_t i = size + 1; i <= after; i++) {
		say_skip(f, "people", "host", i);
		at(f, i, 0);
	}
	commit(f);
	assert_int_equal(size_of(f, 0), after);
}

static void skips_have_a_rate(void **state)
{
	struct fix *f = *state;
	int n = EXPORT_SKIPS_BURST + 20;
	struct msg m = MSG_INIT;
	int good = 0;

	write_records(f, "demo", n);
	for (int i = 0; i < n; i++) {
		struct msg got = MSG_INIT;

		say_skip(f, "demos", "demo", (uint64_t)good + 1);
		for (int turns = 0; turns < 100; turns++) {
			int r = chan_recv(f->x->chan, &got, NULL);

			if (r == 1 && !by_itself(&got))
				break;
			if (r == 1)
				msg_done(&got);
			rig_turns(f->r);
		}
		assert_non_null(got.type);
		good += msg_is(&got, "export.at");
		msg_done(&got);
	}
	assert_in_range(good, EXPORT_SKIPS_BURST - 1, EXPORT_SKIPS_BURST + 10);
	(void)m;
}

/* ---- witnesses ---- */

static void put_checkpoint(struct fix *f, uint64_t size)
{
	struct checkpoint c = {.origin = "log.example.com/h", .size = size};
	uint8_t public[NOTE_KEY_LEN];
	cleanup_buf struct buf text, out;
	struct note_key k;

	buf_init(&text, NOTE_MAX);
	buf_init(&out, NOTE_MAX);
	memset(c.root, (int)size, sizeof c.root);
	checkpoint_text(&c, &text);
	assert_int_equal(note_public(log_seed, public), 0);
	assert_int_equal(note_key_init(&k, c.origin, NOTE_ED25519, public, NULL), 0);
	buf_put(&out, text.data, text.len);
	buf_put_u8(&out, '\n');
	assert_int_equal(
	    note_sign((const char *)text.data, text.len, &k, log_seed, 0, &out, NULL), 0);
	assert_int_equal(
	    logs_checkpoint_put(f->r->store, LOG_HOST_NUMBER, size, out.data, out.len), 0);
	commit(f);
}

/* The line by which witness i signs the checkpoint of this size, or of another root. */
static void line_of(size_t i, uint64_t size, bool good, struct buf *line)
{
	struct checkpoint c = {.origin = "log.example.com/h", .size = size};
	uint8_t seed[NOTE_KEY_LEN];
	cleanup_buf struct buf text;
	struct note_key k;

	buf_init(&text, NOTE_MAX);
	memset(c.root, (int)(good ? size : size + 1), sizeof c.root);
	checkpoint_text(&c, &text);
	witness_key(i, &k);
	seed_of(i, seed);
	assert_int_equal(note_sign((const char *)text.data, text.len, &k, seed,
	                     1000 + (int64_t)size, line, NULL),
	    0);
}

static void send_line(struct fix *f, size_t named, uint64_t size, const struct buf *line)
{
	struct note_key k;

	witness_key(named, &k);
	rig_send(f->x, "witness.signed", 6,
	    json_pack("{s:s, s:I, s:s, s:o}", "log", "host", "size", (json_int_t)size, "witness",
	        k.name, "line", msg_json_bytes(line->data, line->len)));
}

static void cosign(struct fix *f, size_t i, uint64_t size)
{
	cleanup_buf struct buf line;

	buf_init(&line, 1024);
	line_of(i, size, true, &line);
	send_line(f, i, size, &line);
	rig_turns(f->r);
	commit(f);
}

/* How many witnesses have signed the stored checkpoint. */
static size_t cosigned(struct fix *f, uint64_t size, size_t *ret_signatures)
{
	cleanup_buf struct buf b;
	struct note_key k;
	struct note n;
	size_t good = 0;

	buf_init(&b, NOTE_MAX);
	assert_int_equal(logs_checkpoint_get(f->r->store, LOG_HOST_NUMBER, size, &b), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	for (size_t i = 0; i < WITNESSES; i++) {
		witness_key(i, &k);
		good += note_verify(&n, &k, NULL, NULL) == 1;
	}
	*ret_signatures = n.nsignatures;
	note_done(&n);
	return good;
}

static void a_quorum_makes_a_checkpoint_witnessed(void **state)
{
	struct fix *f = *state;
	uint64_t size;
	size_t n;

	configure(f, WITNESSES, 2);
	put_checkpoint(f, 1);
	put_checkpoint(f, 2);
	assert_int_equal(export_witnessed(f->r->core, "host"), 0);
	cosign(f, 0, 2);
	assert_int_equal(export_witnessed(f->r->core, "host"), 0);
	cosign(f, 0, 2); /* again: still one */
	assert_int_equal(cosigned(f, 2, &n), 1);
	assert_int_equal(n, 2);
	assert_int_equal(export_witnessed(f->r->core, "host"), 0);
	cosign(f, 2, 2);
	assert_int_equal(export_witnessed(f->r->core, "host"), 2);
	cosign(f, 1, 1); /* an older one, late */
	cosign(f, 1, 2);
	assert_int_equal(cosigned(f, 2, &n), 3);
	assert_int_equal(n, 4);
	assert_int_equal(export_witnessed(f->r->core, "host"), 2);
	/* the first one is on record; those that follow are not, or the log would feed itself */
	assert_int_equal(records_with(f, "\"class\":\"log.witnessed\""), 1);
	size = size_of(f, 0);
	put_checkpoint(f, 3);
	cosign(f, 0, 3);
	cosign(f, 1, 3);
	assert_int_equal(export_witnessed(f->r->core, "host"), 3);
	assert_int_equal(size_of(f, 0), size);
	restart(f);
	assert_int_equal(export_witnessed(f->r->core, "host"), 3);
	configure(f, WITNESSES, 3); /* by the quorum of now */
	assert_int_equal(export_witnessed(f->r->core, "host"), 2);
}

static void two_signatures_of_one_turn_are_both_kept(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf a, b, c;
	size_t n;

	buf_init(&a, 1024);
	buf_init(&b, 1024);
	buf_init(&c, 1024);
	configure(f, WITNESSES, 2);
	put_checkpoint(f, 1);
	put_checkpoint(f, 2);
	line_of(0, 2, true, &a);
	line_of(1, 1, true, &b);
	line_of(2, 2, true, &c);
	send_line(f, 0, 2, &a);
	send_line(f, 1, 1, &b);
	send_line(f, 2, 2, &c);
	rig_turns(f->r);
	commit(f);
	assert_int_equal(cosigned(f, 2, &n), 2);
	assert_int_equal(cosigned(f, 1, &n), 1);
}

static void a_cosignature_has_to_hold(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf line, two;
	size_t n;

	buf_init(&line, 1024);
	buf_init(&two, 1024);
	configure(f, 2, 1);
	put_checkpoint(f, 2);
	line_of(0, 2, false, &line); /* of another root */
	send_line(f, 0, 2, &line);
	refused(f, "does not hold");
	buf_reset(&line);
	line_of(1, 2, true, &line); /* by another witness */
	send_line(f, 0, 2, &line);
	refused(f, "another key");
	send_line(f, 2, 2, &line); /* by one that is not configured */
	refused(f, "no such witness");
	send_line(f, 1, 1, &line); /* of a checkpoint that is not there */
	refused(f, "no such checkpoint");
	buf_put(&two, line.data, line.len);
	buf_put(&two, line.data, line.len);
	send_line(f, 1, 2, &two);
	refused(f, "one signature");
	buf_reset(&two);
	buf_printf(&two, "more text\n\n");
	buf_put(&two, line.data, line.len);
	send_line(f, 1, 2, &two);
	refused(f, "");
	buf_reset(&two);
	buf_printf(&two, "not a signature\n");
	send_line(f, 1, 2, &two);
	refused(f, "");
	assert_int_equal(cosigned(f, 2, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(export_witnessed(f->r->core, "host"), 0);
}

static void a_witness_gets_a_proof_and_the_note(void **state)
{
	struct fix *f = *state;
	uint64_t size;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;

	buf_init(&b, NOTE_MAX);
	rig_send(f->x, "witness.ask", 8,
	    json_pack("{s:s, s:i, s:i}", "log", "host", "old", 0, "size", 1));
	refused(f, "no such log"); /* there are no witnesses */
	configure(f, 1, 1);
	size = size_of(f, 0);
	assert_true(size > 2);
	put_checkpoint(f, size);
	rig_send(f->x, "witness.ask", 8,
	    json_pack("{s:s, s:i, s:I}", "log", "host", "old", 0, "size", (json_int_t)size));
	expect(f, "witness.proof", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "proof")), 0);
	assert_int_equal(msg_bytes(&m, "note", &b), 0);
	assert_memory_equal(b.data, "log.example.com/h\n", 18);
	msg_done(&m);
	rig_send(f->x, "witness.ask", 9,
	    json_pack("{s:s, s:i, s:I}", "log", "host", "old", 1, "size", (json_int_t)size));
	expect(f, "witness.proof", &m);
	assert_true(json_array_size(msg_obj(&m, "proof")) > 0);
	msg_done(&m);
	rig_send(f->x, "witness.ask", 10,
	    json_pack("{s:s, s:I, s:I}", "log", "host", "old", (json_int_t)size + 1, "size",
	        (json_int_t)size));
	refused(f, "no such checkpoint");
}

static void say_conflict(struct fix *f, size_t i, uint64_t size)
{
	struct note_key k;

	witness_key(i, &k);
	rig_send(f->x, "witness.conflict", 0,
	    json_pack("{s:s, s:I, s:s, s:s}", "log", "host", "size", (json_int_t)size, "witness",
	        k.name, "reason", "409\x1b[2J"));
	rig_turns(f->r);
}

static size_t alarms(struct fix *f, const char *text)
{
	json_auto_t *s = export_status(f->r->core);
	size_t i, n = 0;
	json_t *a;

	json_array_foreach(json_object_get(s, "alarms"), i, a)
	{
		assert_null(strchr(json_string_value(a), '\x1b'));
		n += strstr(json_string_value(a), text) != NULL;
	}
	return n;
}

static void a_conflict_is_recorded_once_and_shown(void **state)
{
	struct fix *f = *state;

	configure(f, 2, 1);
	put_checkpoint(f, 2);
	for (uint64_t i = 0; i < 20; i++)
		say_conflict(f, 0, 10 + i);
	say_conflict(f, 2, 10); /* not a witness of ours */
	assert_int_equal(records_with(f, "\"class\":\"log.conflict\""), 1);
	assert_int_equal(alarms(f, "w0.example.com has seen another log host"), 1);
	cosign(f, 0, 2); /* less than what it said: not enough */
	assert_int_equal(alarms(f, "has seen another log"), 1);
	put_checkpoint(f, 10);
	cosign(f, 0, 10);
	assert_int_equal(alarms(f, "has seen another log"), 0);
	say_conflict(f, 0, 100);
	assert_int_equal(alarms(f, "has seen another log"), 1);
	configure(f, 0, 0);
	assert_int_equal(alarms(f, "has seen another log"), 0);
}

static void a_lag_is_an_alarm_and_two_records(void **state)
{
	struct fix *f = *state;
	struct exporter *x;
	uint64_t size;

	configure(f, 1, 1);
	put_checkpoint(f, 2);
	x = f->r->core->exporting;
	assert_int_equal(alarms(f, "is witnessed"), 0);
	clock_override(100 * NSEC_PER_SEC);
	assert_int_equal(alarms(f, "is witnessed, for 10"), 1);
	export_lag_check(x); /* the core has only just begun to look */
	assert_int_equal(records_with(f, "\"class\":\"log.unwitnessed\""), 0);
	x->since_boot_ns -= 100 * NSEC_PER_SEC;
	for (int i = 0; i < 5; i++)
		export_lag_check(x);
	assert_int_equal(records_with(f, "\"class\":\"log.unwitnessed\""), 1);
	cosign(f, 0, 2);
	assert_int_equal(alarms(f, "is witnessed"), 0);
	size = size_of(f, 0);
	for (int i = 0; i < 5; i++)
		export_lag_check(x);
	commit(f);
	assert_int_equal(size_of(f, 0), size);
	clock_override(0);
}

/* ---- what the exporter says of itself ---- */

static json_t *said(const char *name, const char *state, const char *reason)
{
	return json_pack("{s:[{s:s, s:s, s:s, s:s, s:i, s:i}]}", "sinks", "name", name, "kind",
	    "jsonl", "state", state, "reason", reason, "sent", 5, "since_s", 7);
}

static void shows_what_the_exporter_says_of_sinks(void **state)
{
	struct fix *f = *state;
	json_auto_t *s = NULL;
	json_t *sink;

	write_records(f, "demo", 4);
	say_done(f, "demos", "demo", 1);
	at(f, 1, 0);
	rig_send(f->x, "export.state", 0, said("nobody", "up", ""));
	rig_send(f->x, "export.state", 0, said("demos", "away", "\x1b]0;x\x07"));
	rig_turns(f->r);
	s = export_status(f->r->core);
	assert_true(json_is_true(json_object_get(s, "running")));
	sink = json_array_get(json_object_get(s, "sinks"), 2);
	assert_string_equal(json_string_value(json_object_get(sink, "name")), "demos");
	assert_string_equal(json_string_value(json_object_get(sink, "state")), "away");
	assert_string_equal(json_string_value(json_object_get(sink, "reason")), "\\x1b]0;x\\x07");
	assert_int_equal(json_integer_value(json_object_get(sink, "behind")), 3);
}

static void a_rule_broken_costs_the_link_and_no_more(void **state)
{
	struct fix *f = *state;

	rig_send(f->x, "export.state", 0, json_pack("{s:[{s:s}]}", "sinks", "name", "all"));
	rig_expect_closed(f->x);
	assert_null(f->r->core->exporter);
	assert_int_equal(alarms(f, "exporter is not there"), 1);
	link_exporter(f);
	ask_open(f, "all", "host");
	at(f, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(tells_what_has_grown),
	    TEST(gives_records_in_order),
	    TEST(gives_no_log_that_no_sink_is_to_have),
	    TEST(personal_values_go_where_they_may),
	    TEST(a_cursor_goes_forward_only),
	    TEST(a_cursor_outlives_the_core),
	    TEST(a_skip_is_recorded_before_the_cursor_moves),
	    TEST(skips_of_skips_leave_no_record),
	    TEST(skips_have_a_rate),
	    TEST(a_quorum_makes_a_checkpoint_witnessed),
	    TEST(two_signatures_of_one_turn_are_both_kept),
	    TEST(a_cosignature_has_to_hold),
	    TEST(a_witness_gets_a_proof_and_the_note),
	    TEST(a_conflict_is_recorded_once_and_shown),
	    TEST(a_lag_is_an_alarm_and_two_records),
	    TEST(shows_what_the_exporter_says_of_sinks),
	    TEST(a_rule_broken_costs_the_link_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
