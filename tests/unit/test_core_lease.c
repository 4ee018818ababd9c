#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include "creds/cert.h"
#include "lib/chan.h"
#include "lib/fdio.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * A session's credentials: decided, recorded, minted, handed out in this order, and dead with the
 * session.
 */

struct fix {
	struct rig *r;
	struct rig_end *w, *lease;
	char session[CORE_ID_MAX + 1];
	int init;
};

/* A live session, and its lease process. */
static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);
	int pair[2];

	f->r = core_rig_new(false, NULL);
	f->w = rig_agent(f->r);
	f->init = rig_session(f->r, f->w, f->session);
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	assert_int_equal(chan_send(f->r->spawn->chan, "lease.up", 0,
	                     json_pack("{s:s}", "session", f->session), &pair[1], 1),
	    0);
	(void)close(pair[1]);
	f->lease = rig_end_new(f->r, pair[0], MSG_LEASE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_end_free(f->w);
	rig_end_free(f->lease);
	(void)close(f->init);
	core_rig_free(f->r);
	free(f);
	return 0;
}

static void get(struct fix *f, const char *kind, const char *audience)
{
	rig_send(
	    f->lease, "lease.get", 5, json_pack("{s:s, s:s}", "kind", kind, "audience", audience));
}

static void sign(struct fix *f, struct msg *ret)
{
	rig_expect(f->r->signer, "jwt.sign", ret);
	rig_send(f->r->signer, "jwt.signed", ret->id, json_pack("{s:s}", "token", "a.b.c"));
}

static void denied(struct fix *f, const char *reason)
{
	struct msg m = MSG_INIT;

	rig_expect(f->lease, "lease.denied", &m);
	if (!strstr(msg_str(&m, "reason"), reason))
		fail_msg("%s", msg_str(&m, "reason"));
	msg_done(&m);
}

static void lends_what_the_grant_lists(void **state)
{
	struct fix *f = *state;
	struct msg ask = MSG_INIT, m = MSG_INIT;

	rig_send(f->lease, "lease.list", 4, json_object());
	rig_expect(f->lease, "lease.listing", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "credentials")), 1);
	msg_done(&m);
	get(f, "jwt", "https://api.example.com");
	sign(f, &ask);
	assert_string_equal(msg_str(&ask, "tenant"), "demo");
	assert_string_equal(msg_str(&ask, "role"), "agent");
	assert_string_equal(msg_str(&ask, "session"), f->session);
	assert_string_equal(msg_str(&ask, "person"), "alice");
	assert_string_equal(msg_str(&ask, "issuer"), "https://postern.invalid/demo");
	/* never past the session, which ends with its certificate in five minutes */
	assert_in_range(msg_int(&ask, "expires_s", 0) - msg_int(&ask, "issued_s", 0), 280, 300);
	rig_expect(f->lease, "lease.granted", &m);
	assert_int_equal(m.id, 5);
	assert_string_equal(msg_str(&m, "value"), "a.b.c");
	assert_string_equal(msg_str(&m, "lease"), msg_str(&ask, "lease"));
	assert_int_equal(record_memory_count(f->r->log, "lease.granted"), 1);
	assert_string_equal(record_memory_text(f->r->log, "lease.granted", "decision"), "allow");
	assert_non_null(
	    strstr(record_memory_text(f->r->log, "lease.granted", "rule"), "credentials"));
	/* the value is nobody's business */
	{
		char *text = json_dumps(record_memory_last(f->r->log, "lease.granted"), 0);

		assert_null(strstr(text, "a.b.c"));
		free(text);
	}
	rig_send(f->lease, "lease.release", 6, json_pack("{s:s}", "lease", msg_str(&m, "lease")));
	rig_expect(f->lease, "lease.released", NULL);
	rig_send(f->lease, "lease.release", 6, json_pack("{s:s}", "lease", msg_str(&m, "lease")));
	denied(f, "no such lease");
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "lease.end"), 1);
	msg_done(&ask);
	msg_done(&m);
}

static void ten_minutes_at_most(void **state)
{
	struct fix *f = *state;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 7200};
	struct msg m = MSG_INIT;

	rig_end_free(f->w);
	rig_end_free(f->lease);
	(void)close(f->init);
	f->w = rig_worker(f->r, "192.0.2.7");
	rig_auth(f->w, "agent", rig_cert(f->r, &c), true);
	rig_expect(f->w, "auth.verdict", NULL);
	rig_expect(f->r->spawn, "sandbox.end", NULL);
	f->init = rig_session(f->r, f->w, f->session);
	{
		int pair[2];

		assert_int_equal(fd_seqpacket_pair(pair), 0);
		assert_int_equal(chan_send(f->r->spawn->chan, "lease.up", 0,
		                     json_pack("{s:s}", "session", f->session), &pair[1], 1),
		    0);
		(void)close(pair[1]);
		f->lease = rig_end_new(f->r, pair[0], MSG_LEASE);
	}
	get(f, "jwt", "https://api.example.com");
	sign(f, &m);
	assert_int_equal(msg_int(&m, "expires_s", 0) - msg_int(&m, "issued_s", 0), 600);
	msg_done(&m);
	rig_expect(f->lease, "lease.granted", NULL);
}

static void denies_what_the_grant_does_not_list(void **state)
{
	struct fix *f = *state;

	get(f, "jwt", "https://api.example.com.evil");
	denied(f, "not allowed");
	get(f, "aws", "https://api.example.com");
	denied(f, "kind");
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "lease.denied"), 2);
	assert_int_equal(record_memory_count(f->r->log, "lease.granted"), 0);
	rig_expect_nothing(f->r->signer);
}

static void nothing_is_minted_before_it_is_recorded(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	record_memory_mode(f->r->log, RECORD_HOLDS);
	get(f, "jwt", "https://api.example.com");
	rig_expect_nothing(f->r->signer);
	record_memory_release(f->r->log);
	sign(f, &m);
	msg_done(&m);
	rig_expect(f->lease, "lease.granted", NULL);
}

static void a_log_that_fails_lends_nothing(void **state)
{
	struct fix *f = *state;

	record_memory_mode(f->r->log, RECORD_FAILS);
	get(f, "jwt", "https://api.example.com");
	denied(f, "log cannot be written");
	rig_expect_nothing(f->r->signer);
}

static void a_signer_that_refuses_is_heard(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	get(f, "jwt", "https://api.example.com");
	rig_expect(f->r->signer, "jwt.sign", &m);
	rig_send(f->r->signer, "sign.refused", m.id, json_pack("{s:s}", "reason", "too many"));
	msg_done(&m);
	denied(f, "too many");
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "lease.end"), 1);
}

static void a_signer_that_is_gone_is_said(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	get(f, "jwt", "https://api.example.com");
	rig_expect(f->r->signer, "jwt.sign", &m);
	msg_done(&m);
	rig_end_free(f->r->signer);
	f->r->signer = NULL;
	rig_expect(f->lease, "lease.denied", NULL);
	get(f, "jwt", "https://api.example.com");
	rig_expect(f->lease, "lease.denied", NULL);
}

static void leases_die_with_the_session(void **state)
{
	struct fix *f = *state;
	struct msg ask = MSG_INIT;

	get(f, "jwt", "https://api.example.com");
	sign(f, &ask);
	rig_expect(f->lease, "lease.granted", NULL);
	/* another one is being minted when the connection ends */
	get(f, "jwt", "https://api.example.com");
	msg_done(&ask);
	rig_expect(f->r->signer, "jwt.sign", &ask);
	rig_send(f->w, "conn.ended", 0, json_pack("{s:s}", "reason", "bye"));
	rig_expect(f->r->spawn, "sandbox.end", NULL);
	denied(f, "ended");
	rig_send(f->r->signer, "jwt.signed", ask.id, json_pack("{s:s}", "token", "late"));
	msg_done(&ask);
	rig_expect_nothing(f->lease);
	assert_int_equal(record_memory_count(f->r->log, "lease.end"), 2);
	/* and while its sandbox still runs it gets no more */
	get(f, "jwt", "https://api.example.com");
	denied(f, "ended");
}

static void only_so_many_questions_at_once(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 9; i++)
		get(f, "jwt", "https://api.example.com");
	denied(f, "too many");
	for (int i = 0; i < 8; i++)
		rig_expect(f->r->signer, "jwt.sign", NULL);
	rig_expect_nothing(f->r->signer);
}

static void a_sandbox_cannot_fill_the_log(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	size_t said;

	for (int i = 0; i < 200; i++) {
		get(f, "jwt", "https://nope");
		rig_expect(f->lease, "lease.denied", &m);
		msg_done(&m);
	}
	rig_turns(f->r);
	said = record_memory_count(f->r->log, "lease.denied");
	assert_in_range(said, 100, 110);
}

static void the_link_says_who_asks(void **state)
{
	struct fix *f = *state;

	/* a lease process may say nothing but its three questions */
	rig_send(f->lease, "lease.release", 6, json_pack("{s:s}", "lease", "l-0"));
	denied(f, "no such lease");
	assert_int_equal(write(chan_fd(f->lease->chan), "{}", 2), 2);
	rig_expect_closed(f->lease);
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "peer.dropped"), 1);
	assert_non_null(f->r->core->sessions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lends_what_the_grant_lists, setup, teardown),
	    cmocka_unit_test_setup_teardown(ten_minutes_at_most, setup, teardown),
	    cmocka_unit_test_setup_teardown(denies_what_the_grant_does_not_list, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        nothing_is_minted_before_it_is_recorded, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_log_that_fails_lends_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_signer_that_refuses_is_heard, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_signer_that_is_gone_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(leases_die_with_the_session, setup, teardown),
	    cmocka_unit_test_setup_teardown(only_so_many_questions_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_sandbox_cannot_fill_the_log, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_link_says_who_asks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
