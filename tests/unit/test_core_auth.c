#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "creds/cert.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * auth.check against a whole core: who gets in, who does not and why, and what is recorded first.
 */

static int setup(void **state)
{
	*state = core_rig_new(false, NULL);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

static const struct rig_cert good = {
    .principal = "agent", .from_s = -60, .to_s = 300, .permit = CERT_PERMIT_PTY};

/* One attempt from this address; the verdict is "no" with this reason recorded, told to the client
 * or not. */
static void refused(
    struct rig *r, const char *peer, const char *user, json_t *key, const char *reason, bool told)
{
	struct rig_end *w = rig_worker(r, peer);
	size_t before = record_memory_count(r->log, "auth.refused");
	struct msg m = MSG_INIT;

	rig_auth(w, user, key, true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	if (told) {
		assert_non_null(msg_str(&m, "banner"));
		assert_non_null(strstr(msg_str(&m, "banner"), reason));
	} else {
		assert_null(msg_str(&m, "banner"));
	}
	msg_done(&m);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "auth.refused"), before + 1);
	if (!strstr(record_memory_text(r->log, "auth.refused", "reason"), reason))
		fail_msg("%s", record_memory_text(r->log, "auth.refused", "reason"));
	assert_int_equal(record_memory_count(r->log, "grant"), 0);
	rig_end_free(w);
	rig_turns(r);
}

static void lets_a_good_certificate_in(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;
	const json_t *grant;

	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	grant = msg_obj(&m, "grant");
	assert_string_equal(json_string_value(json_object_get(grant, "tenant")), "demo");
	assert_string_equal(json_string_value(json_object_get(grant, "role")), "agent");
	assert_true(json_is_true(json_object_get(grant, "pty")));
	assert_in_range(json_integer_value(json_object_get(grant, "expires_in_s")), 290, 300);
	msg_done(&m);
	assert_int_equal(record_memory_count(r->log, "conn.accepted"), 1);
	assert_int_equal(record_memory_count(r->log, "grant"), 1);
	assert_string_equal(
	    json_string_value(json_object_get(record_memory_last(r->log, "grant"), "tenant")),
	    "demo");
	rig_end_free(w);
}

static void a_probe_grants_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	rig_auth(w, "agent", rig_cert(r, &good), false);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	assert_null(msg_obj(&m, "grant"));
	msg_done(&m);
	assert_int_equal(record_memory_count(r->log, "grant"), 0);
	/* and the channel of a connection without a grant costs the worker its link */
	rig_exec(w, 1, "true", false);
	rig_expect_closed(w);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 1);
	rig_end_free(w);
}

static void refuses_the_expired_and_the_early(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;

	c.from_s = -600;
	c.to_s = -1;
	refused(r, "192.0.2.7", "agent", rig_cert(r, &c), "expired", true);
	c.from_s = 100;
	c.to_s = 600;
	refused(r, "192.0.2.7", "agent", rig_cert(r, &c), "valid", true);
}

static void refuses_a_wrong_login_name(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;

	refused(r, "192.0.2.7", "narrow", rig_cert(r, &good), "principal narrow", true);
	c.principal = "nobody";
	refused(r, "192.0.2.7", "nobody", rig_cert(r, &c), "no role nobody", true);
	refused(r, "192.0.2.7", "../x", rig_cert(r, &good), "name", true);
	refused(r, "192.0.2.7", "a+b", rig_cert(r, &good), "name", true);
	refused(r, "192.0.2.7", "", rig_cert(r, &good), "name", true);
}

static void the_ca_says_whose_it_is(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct rig_cert c = good;
	struct msg m = MSG_INIT;

	c.ca = r->other_ca;
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_string_equal(
	    json_string_value(json_object_get(msg_obj(&m, "grant"), "tenant")), "other");
	msg_done(&m);
	rig_end_free(w);
	/* other has no role narrow */
	c.principal = "narrow";
	rig_turns(r);
	w = rig_worker(r, "192.0.2.7");
	rig_auth(w, "narrow", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
}

static void tells_a_stranger_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct key_private *ca;
	cleanup_buf struct buf b;

	assert_int_equal(key_private_generate(KEY_ED25519, 0, &ca, NULL), 0);
	c.ca = ca;
	refused(r, "192.0.2.7", "agent", rig_cert(r, &c), "unknown CA", false);
	key_private_free(ca);
	buf_init(&b, 4096);
	{
		size_t len;
		const uint8_t *blob = key_blob(key_private_public(r->subject), &len);

		refused(r, "192.0.2.7", "agent", msg_json_bytes(blob, len), "plain key", false);
	}
	refused(r, "192.0.2.7", "agent", msg_json_bytes("rubbish", 7), "neither", false);
	refused(r, "192.0.2.7", "agent", NULL, "password is not offered", false);
}

static void keeps_to_the_source_addresses(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct rig_end *w;
	struct msg m = MSG_INIT;

	c.source = "192.0.2.0/24,2001:db8::/32";
	refused(r, "198.51.100.1", "agent", rig_cert(r, &c), "198.51.100.1", true);
	w = rig_worker(r, "[2001:db8::5]:4711");
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
}

static void a_scope_only_narrows(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	const json_t *grant;
	struct msg m = MSG_INIT;

	c.scope = "{\"v\":1,\"template\":\"other\"}";
	refused(r, "192.0.2.7", "agent", rig_cert(r, &c), "template", true);
	c.scope = "{\"v\":1,\"allow\":[\"exec\",\"forward\"],\"credentials\":[],\"lifetime_s\":60,"
	          "\"person\":\"bob\"}";
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	grant =
	    json_object_get(json_object_get(record_memory_last(r->log, "grant"), "body"), "grant");
	assert_int_equal(json_array_size(json_object_get(grant, "actions")), 1);
	assert_int_equal(json_array_size(json_object_get(grant, "credentials")), 0);
	assert_int_equal(json_integer_value(json_object_get(grant, "lifetime_s")), 60);
	assert_string_equal(json_string_value(json_object_get(grant, "person")), "bob");
	rig_end_free(w);
}

static void the_login_name_is_fixed_by_the_first(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct rig_cert c = good;
	struct msg m = MSG_INIT;

	rig_auth(w, "narrow", rig_cert(r, &good), true);
	rig_expect(w, "auth.verdict", NULL);
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_turns(r);
	assert_string_equal(
	    record_memory_text(r->log, "auth.refused", "reason"), "the login name was changed");
	rig_end_free(w);
}

static void after_six_refusals_nothing_is_judged(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	for (int i = 0; i < 6; i++) {
		rig_auth(w, "agent", NULL, false);
		rig_expect(w, "auth.verdict", NULL);
	}
	for (int i = 0; i < 4; i++) {
		rig_auth(w, "agent", rig_cert(r, &good), true);
		rig_expect(w, "auth.verdict", &m);
		assert_false(msg_bool(&m, "ok"));
		msg_done(&m);
	}
	rig_turns(r);
	assert_string_equal(
	    record_memory_text(r->log, "auth.refused", "reason"), "too many attempts");
	assert_in_range(record_memory_count(r->log, "auth.refused"), 7, 8);
	rig_end_free(w);
}

/* A client offers every key it has before the right one. */
static void eight_other_keys_may_be_offered_first(void **state)
{
	static const struct rig_cert other = {
	    .principal = "other", .from_s = -60, .to_s = 300, .permit = CERT_PERMIT_PTY};
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	for (int i = 0; i < 8; i++) {
		rig_auth(w, "agent", rig_cert(r, &other), false);
		rig_expect(w, "auth.verdict", NULL);
	}
	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
}

static void one_success_for_a_socketpair(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect_closed(w);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 1);
	assert_int_equal(record_memory_count(r->log, "conn.end"), 1);
	rig_end_free(w);
}

static void the_grant_is_durable_before_the_answer(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	rig_turns(r);
	record_memory_mode(r->log, RECORD_HOLDS);
	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect_nothing(w);
	record_memory_release(r->log);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
}

static void a_log_that_fails_lets_nobody_in(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	rig_turns(r);
	record_memory_mode(r->log, RECORD_FAILS);
	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	assert_non_null(strstr(msg_str(&m, "banner"), "log cannot be written"));
	msg_done(&m);
	rig_end_free(w);
}

static void a_clock_that_stepped_back_lets_nobody_in(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	c.to_s = 86400;
	record_memory_behind(r->log, 3600);
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	assert_non_null(strstr(msg_str(&m, "banner"), "clock"));
	msg_done(&m);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "clock.stepped"), 1);
	rig_end_free(w);
}

/* Time never runs behind the newest record: a certificate that has expired by it stays so. */
static void an_expired_certificate_is_not_revived(void **state)
{
	struct rig *r = *state;

	record_memory_behind(r->log, 3600);
	refused(r, "192.0.2.7", "agent", rig_cert(r, &good), "expired", true);
}

static void a_tenant_has_only_so_many_connections(void **state)
{
	struct rig *r = *state;
	struct rig_end *w[4];
	struct msg m = MSG_INIT;

	for (int i = 0; i < 3; i++)
		w[i] = rig_agent(r);
	w[3] = rig_worker(r, "192.0.2.7");
	rig_auth(w[3], "agent", rig_cert(r, &good), true);
	rig_expect(w[3], "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	assert_non_null(strstr(msg_str(&m, "banner"), "connections"));
	msg_done(&m);
	for (int i = 0; i < 4; i++)
		rig_end_free(w[i]);
}

static void the_listener_is_heard_before_the_worker(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, NULL);
	struct msg m = MSG_INIT;

	/* both are waiting when the core looks; the worker's came first */
	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_send(r->listener, "conn.accepted", 0,
	    json_pack("{s:s, s:s, s:s}", "conn", w->conn, "peer", "192.0.2.7", "local", "x"));
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w);
}

static void a_spare_worker_may_say_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, NULL);

	rig_auth(w, "agent", rig_cert(r, &good), true);
	rig_expect_closed(w);
	rig_end_free(w);
}

static void a_grant_ends_with_its_certificate(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	c.to_s = 2;
	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_expect(w, "conn.end", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "expired"));
	msg_done(&m);
	rig_expect_closed(w);
	rig_end_free(w);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(lets_a_good_certificate_in),
	    T(a_probe_grants_nothing),
	    T(refuses_the_expired_and_the_early),
	    T(refuses_a_wrong_login_name),
	    T(the_ca_says_whose_it_is),
	    T(tells_a_stranger_nothing),
	    T(keeps_to_the_source_addresses),
	    T(a_scope_only_narrows),
	    T(the_login_name_is_fixed_by_the_first),
	    T(after_six_refusals_nothing_is_judged),
	    T(eight_other_keys_may_be_offered_first),
	    T(one_success_for_a_socketpair),
	    T(the_grant_is_durable_before_the_answer),
	    T(a_log_that_fails_lets_nobody_in),
	    T(a_clock_that_stepped_back_lets_nobody_in),
	    T(an_expired_certificate_is_not_revived),
	    T(a_tenant_has_only_so_many_connections),
	    T(the_listener_is_heard_before_the_worker),
	    T(a_spare_worker_may_say_nothing),
	    T(a_grant_ends_with_its_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
