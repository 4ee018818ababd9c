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
#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/note.h"
#include "creds/sealer.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "tests/support/exporter_rig.h"

/*
 * What witnesses sign, by way of an exporter that may be taken over: only what holds over our own
 * note counts, and neither cosignatures nor alarms make the log feed itself.
 */

static const uint8_t log_seed[NOTE_KEY_LEN] = {77};

/* ---- witnesses ---- */

static void put_checkpoint(struct xr *f, uint64_t size)
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
	xr_commit(f);
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
	xr_witness_key(i, &k);
	xr_seed(i, seed);
	assert_int_equal(note_sign((const char *)text.data, text.len, &k, seed,
	                     1000 + (int64_t)size, line, NULL),
	    0);
}

static void send_line(struct xr *f, size_t named, uint64_t size, const struct buf *line)
{
	struct note_key k;

	xr_witness_key(named, &k);
	rig_send(f->x, "witness.signed", 6,
	    json_pack("{s:s, s:I, s:s, s:o}", "log", "host", "size", (json_int_t)size, "witness",
	        k.name, "line", msg_json_bytes(line->data, line->len)));
}

static void cosign(struct xr *f, size_t i, uint64_t size)
{
	cleanup_buf struct buf line;

	buf_init(&line, 1024);
	line_of(i, size, true, &line);
	send_line(f, i, size, &line);
	rig_turns(f->r);
	xr_commit(f);
}

/* How many witnesses have signed the stored checkpoint. */
static size_t cosigned(struct xr *f, uint64_t size, size_t *ret_signatures)
{
	cleanup_buf struct buf b;
	struct note_key k;
	struct note n;
	size_t good = 0;

	buf_init(&b, NOTE_MAX);
	assert_int_equal(logs_checkpoint_get(f->r->store, LOG_HOST_NUMBER, size, &b), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	for (size_t i = 0; i < WITNESSES; i++) {
		xr_witness_key(i, &k);
		good += note_verify(&n, &k, NULL, NULL) == 1;
	}
	*ret_signatures = n.nsignatures;
	note_done(&n);
	return good;
}

static void a_quorum_makes_a_checkpoint_witnessed(void **state)
{
	struct xr *f = *state;
	uint64_t size;
	size_t n;

	xr_configure(f, WITNESSES, 2);
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
	assert_int_equal(xr_records_with(f, "\"class\":\"log.witnessed\""), 1);
	size = xr_size(f, 0);
	put_checkpoint(f, 3);
	cosign(f, 0, 3);
	cosign(f, 1, 3);
	assert_int_equal(export_witnessed(f->r->core, "host"), 3);
	assert_int_equal(xr_size(f, 0), size);
	xr_restart(f);
	assert_int_equal(export_witnessed(f->r->core, "host"), 3);
	xr_configure(f, WITNESSES, 3); /* by the quorum of now */
	assert_int_equal(export_witnessed(f->r->core, "host"), 2);
}

static void two_signatures_of_one_turn_are_both_kept(void **state)
{
	struct xr *f = *state;
	cleanup_buf struct buf a, b, c;
	size_t n;

	buf_init(&a, 1024);
	buf_init(&b, 1024);
	buf_init(&c, 1024);
	xr_configure(f, WITNESSES, 2);
	put_checkpoint(f, 1);
	put_checkpoint(f, 2);
	line_of(0, 2, true, &a);
	line_of(1, 1, true, &b);
	line_of(2, 2, true, &c);
	send_line(f, 0, 2, &a);
	send_line(f, 1, 1, &b);
	send_line(f, 2, 2, &c);
	rig_turns(f->r);
	xr_commit(f);
	assert_int_equal(cosigned(f, 2, &n), 2);
	assert_int_equal(cosigned(f, 1, &n), 1);
}

static void a_cosignature_has_to_hold(void **state)
{
	struct xr *f = *state;
	cleanup_buf struct buf line, two;
	size_t n;

	buf_init(&line, 1024);
	buf_init(&two, 1024);
	xr_configure(f, 2, 1);
	put_checkpoint(f, 2);
	line_of(0, 2, false, &line); /* of another root */
	send_line(f, 0, 2, &line);
	xr_refused(f, "does not hold");
	buf_reset(&line);
	line_of(1, 2, true, &line); /* by another witness */
	send_line(f, 0, 2, &line);
	xr_refused(f, "another key");
	send_line(f, 2, 2, &line); /* by one that is not configured */
	xr_refused(f, "no such witness");
	send_line(f, 1, 1, &line); /* of a checkpoint that is not there */
	xr_refused(f, "no such checkpoint");
	buf_put(&two, line.data, line.len);
	buf_put(&two, line.data, line.len);
	send_line(f, 1, 2, &two);
	xr_refused(f, "one signature");
	buf_reset(&two);
	buf_printf(&two, "more text\n\n");
	buf_put(&two, line.data, line.len);
	send_line(f, 1, 2, &two);
	xr_refused(f, "");
	buf_reset(&two);
	buf_printf(&two, "not a signature\n");
	send_line(f, 1, 2, &two);
	xr_refused(f, "");
	assert_int_equal(cosigned(f, 2, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(export_witnessed(f->r->core, "host"), 0);
}

static void a_witness_gets_a_proof_and_the_note(void **state)
{
	struct xr *f = *state;
	uint64_t size;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;

	buf_init(&b, NOTE_MAX);
	rig_send(f->x, "witness.ask", 8,
	    json_pack("{s:s, s:i, s:i}", "log", "host", "old", 0, "size", 1));
	xr_refused(f, "no such log"); /* there are no witnesses */
	xr_configure(f, 1, 1);
	size = xr_size(f, 0);
	assert_true(size > 2);
	put_checkpoint(f, size);
	rig_send(f->x, "witness.ask", 8,
	    json_pack("{s:s, s:i, s:I}", "log", "host", "old", 0, "size", (json_int_t)size));
	xr_expect(f, "witness.proof", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "proof")), 0);
	assert_int_equal(msg_bytes(&m, "note", &b), 0);
	assert_memory_equal(b.data, "log.example.com/h\n", 18);
	msg_done(&m);
	rig_send(f->x, "witness.ask", 9,
	    json_pack("{s:s, s:i, s:I}", "log", "host", "old", 1, "size", (json_int_t)size));
	xr_expect(f, "witness.proof", &m);
	assert_true(json_array_size(msg_obj(&m, "proof")) > 0);
	msg_done(&m);
	rig_send(f->x, "witness.ask", 10,
	    json_pack("{s:s, s:I, s:I}", "log", "host", "old", (json_int_t)size + 1, "size",
	        (json_int_t)size));
	xr_refused(f, "no such checkpoint");
}

static void say_conflict(struct xr *f, size_t i, uint64_t size)
{
	struct note_key k;

	xr_witness_key(i, &k);
	rig_send(f->x, "witness.conflict", 0,
	    json_pack("{s:s, s:I, s:s, s:s}", "log", "host", "size", (json_int_t)size, "witness",
	        k.name, "reason", "409\x1b[2J"));
	rig_turns(f->r);
}

static void a_conflict_is_recorded_once_and_shown(void **state)
{
	struct xr *f = *state;

	xr_configure(f, 2, 1);
	put_checkpoint(f, 2);
	for (uint64_t i = 0; i < 20; i++)
		say_conflict(f, 0, 10 + i);
	say_conflict(f, 2, 10); /* not a witness of ours */
	assert_int_equal(xr_records_with(f, "\"class\":\"log.conflict\""), 1);
	assert_int_equal(xr_alarms(f, "w0.example.com has seen another log host"), 1);
	cosign(f, 0, 2); /* less than what it said: not enough */
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	put_checkpoint(f, 10);
	cosign(f, 0, 10);
	assert_int_equal(xr_alarms(f, "has seen another log"), 0);
	say_conflict(f, 0, 100);
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	xr_configure(f, 0, 0);
	assert_int_equal(xr_alarms(f, "has seen another log"), 0);
}

/* ---- a conflict stops what is new ---- */

static bool may_start(struct xr *f)
{
	char why[256] = "";
	bool ok = core_may_start(f->r->core, why, sizeof why);

	if (!ok)
		assert_non_null(strstr(why, "an operator has to accept it"));
	return ok;
}

static void a_conflict_refuses_sessions_until_it_is_accepted(void **state)
{
	struct xr *f = *state;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 300};
	struct msg m = MSG_INIT;
	struct rig_end *w;

	xr_configure(f, 2, 1);
	put_checkpoint(f, 2);
	say_conflict(f, 2, 10); /* not a witness of ours */
	assert_true(may_start(f));
	say_conflict(f, 0, 10);
	assert_false(may_start(f));
	w = rig_worker(f->r, "192.0.2.8");
	rig_auth(w, "agent", rig_cert(f->r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
	assert_int_equal(xr_alarms(f, "nothing new starts until postern audit ack"), 1);
	assert_int_equal(export_accept(f->r->core), 0);
	assert_true(may_start(f));
	assert_int_equal(xr_records_with(f, "\"class\":\"log.conflict.accepted\""), 1);
	/* shown until the witness agrees, though it stops nothing */
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	assert_int_equal(xr_alarms(f, "nothing new starts"), 0);
	say_conflict(f, 0, 10);
	assert_true(may_start(f));
	assert_int_equal(export_accept(f->r->core), 0);
	assert_int_equal(xr_records_with(f, "\"class\":\"log.conflict.accepted\""), 1);
	say_conflict(f, 0, 11); /* more than was accepted */
	assert_false(may_start(f));
}

static void a_conflict_and_its_acceptance_outlive_the_core(void **state)
{
	struct xr *f = *state;

	xr_configure(f, 1, 1);
	put_checkpoint(f, 2);
	say_conflict(f, 0, 10);
	xr_restart(f);
	assert_false(may_start(f));
	assert_int_equal(export_accept(f->r->core), 0);
	/* it is on the disk: nothing is written at the end */
	rig_stop(f->r);
	rig_start(f->r, NULL);
	rig_ready(f->r);
	xr_link(f);
	assert_true(may_start(f));
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	put_checkpoint(f, 10);
	cosign(f, 0, 10);
	xr_restart(f);
	assert_int_equal(xr_alarms(f, "has seen another log"), 0);
}

static void a_conflict_only_warns_if_so_configured(void **state)
{
	struct xr *f = *state;

	xr_configure(f, 1, 1);
	put_checkpoint(f, 2);
	say_conflict(f, 0, 10);
	assert_false(may_start(f));
	f->r->core->config->export.conflict_warn = true;
	assert_true(may_start(f));
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	assert_int_equal(xr_alarms(f, "nothing new starts"), 0);
	f->r->core->config->export.conflict_warn = false;
	assert_false(may_start(f));
	xr_configure(f, 0, 0); /* it is no witness any more */
	assert_true(may_start(f));
	xr_configure(f, 1, 1);
	assert_true(may_start(f));
}

/* The log was set back and an operator knows: it says in a signed note how far it had come. */
static void a_break_accepts_what_the_witness_has_seen_before(void **state)
{
	struct xr *f = *state;
	uint8_t public[NOTE_KEY_LEN];
	cleanup_buf struct buf text, out;
	struct note_key k, epoch;

	buf_init(&text, NOTE_MAX);
	buf_init(&out, NOTE_MAX);
	xr_configure(f, 1, 1);
	put_checkpoint(f, 2);
	say_conflict(f, 0, 10);
	assert_false(may_start(f));
	assert_int_equal(note_public(log_seed, public), 0);
	assert_int_equal(note_key_init(&k, "log.example.com/h", NOTE_ED25519, public, NULL), 0);
	assert_int_equal(sealer_epoch_key("log.example.com/h", 0, public, &epoch, NULL), 0);
	buf_printf(&text, SEALER_BREAK_TEXT
	    "\nlog.example.com/h\n1\n10\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n2\n"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n0\n");
	note_key_format(&epoch, &text);
	buf_printf(&text, "\n1700000000\n");
	buf_put(&out, text.data, text.len);
	buf_put_u8(&out, '\n');
	assert_int_equal(
	    note_sign((const char *)text.data, text.len, &k, log_seed, 0, &out, NULL), 0);
	assert_int_equal(logs_break_put(f->r->store, LOG_HOST_NUMBER, 1, out.data, out.len), 0);
	xr_commit(f);
	assert_true(may_start(f));
	say_conflict(f, 0, 11);
	assert_false(may_start(f));
}

/* Told and taken back in turn, as fast as it can be said. */
static void conflicts_do_not_fill_the_log(void **state)
{
	struct xr *f = *state;
	cleanup_buf struct buf line;

	buf_init(&line, 1024);
	xr_configure(f, 2, 1);
	put_checkpoint(f, 2);
	line_of(0, 2, true, &line);
	send_line(f, 0, 2, &line);
	rig_turns(f->r);
	xr_commit(f);
	say_conflict(f, 0, 1);
	send_line(f, 0, 2, &line); /* what is there already proves nothing new */
	rig_turns(f->r);
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
	for (int64_t i = 0; i < 100; i++) {
		struct checkpoint c = {.origin = "log.example.com/h", .size = 2};
		uint8_t seed[NOTE_KEY_LEN];
		cleanup_buf struct buf text;
		struct note_key k;

		buf_init(&text, NOTE_MAX);
		memset(c.root, 2, sizeof c.root);
		checkpoint_text(&c, &text);
		xr_witness_key(0, &k);
		xr_seed(0, seed);
		buf_reset(&line);
		assert_int_equal(
		    note_sign((const char *)text.data, text.len, &k, seed, 2000 + i, &line, NULL),
		    0);
		send_line(f, 0, 2, &line);
		say_conflict(f, 0, 1);
	}
	assert_in_range(xr_records_with(f, "\"class\":\"log.conflict\""), 2, 40);
	assert_int_equal(xr_alarms(f, "has seen another log"), 1);
}

static void a_lag_is_an_alarm_and_two_records(void **state)
{
	struct xr *f = *state;
	struct exporter *x;
	uint64_t size;

	xr_configure(f, 1, 1);
	put_checkpoint(f, 2);
	x = f->r->core->exporting;
	assert_int_equal(xr_alarms(f, "is witnessed"), 0);
	clock_override(100 * NSEC_PER_SEC);
	assert_int_equal(xr_alarms(f, "is witnessed yet, for 10"), 1);
	export_lag_check(x); /* the core has only just begun to look */
	assert_int_equal(xr_records_with(f, "\"class\":\"log.unwitnessed\""), 0);
	x->since_boot_ns -= 100 * NSEC_PER_SEC;
	for (int i = 0; i < 5; i++)
		export_lag_check(x);
	assert_int_equal(xr_records_with(f, "\"class\":\"log.unwitnessed\""), 1);
	cosign(f, 0, 2);
	assert_int_equal(xr_alarms(f, "is witnessed"), 0);
	size = xr_size(f, 0);
	for (int i = 0; i < 5; i++)
		export_lag_check(x);
	xr_commit(f);
	assert_int_equal(xr_size(f, 0), size);
	clock_override(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xr_setup, xr_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_quorum_makes_a_checkpoint_witnessed),
	    TEST(two_signatures_of_one_turn_are_both_kept),
	    TEST(a_cosignature_has_to_hold),
	    TEST(a_witness_gets_a_proof_and_the_note),
	    TEST(a_conflict_is_recorded_once_and_shown),
	    TEST(a_conflict_refuses_sessions_until_it_is_accepted),
	    TEST(a_conflict_and_its_acceptance_outlive_the_core),
	    TEST(a_conflict_only_warns_if_so_configured),
	    TEST(a_break_accepts_what_the_witness_has_seen_before),
	    TEST(conflicts_do_not_fill_the_log),
	    TEST(a_lag_is_an_alarm_and_two_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
