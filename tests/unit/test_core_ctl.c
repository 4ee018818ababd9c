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
#include "broker/audit/verify.h"
#include "broker/core/ctl_answers.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * Operators: what they ask is recorded with who they are; what they order is recorded first.
 */

struct fix {
	struct rig *r;
	struct rig_end *op;
};

static int start(void **state, bool stored)
{
	struct fix *f = calloc(1, sizeof *f);

	if (geteuid() != 0) { /* nobody else is an operator of a socket without a group */
		*state = f;
		return 0;
	}
	f->r = core_rig_new(stored, NULL);
	rig_listen(f->r, "ctl");
	f->op = rig_connect(f->r, "ctl", MSG_CTL);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return start(state, false);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	if (f->r) {
		rig_end_free(f->op);
		core_rig_free(f->r);
	}
	free(f);
	return 0;
}

#define NEED_ROOT(f)                                                                               \
	do {                                                                                       \
		if (!(f)->r)                                                                       \
			skip();                                                                    \
	} while (0)

static void expect_error(struct fix *f, int code)
{
	struct msg m = MSG_INIT;

	rig_expect(f->op, "ctl.error", &m);
	assert_int_equal(msg_int(&m, "code", 0), code);
	msg_done(&m);
}

static void lists_sessions(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	struct rig_end *w;
	char id[CORE_ID_MAX + 1];
	const json_t *list, *s;
	int init;

	NEED_ROOT(f);
	w = rig_agent(f->r);
	init = rig_session(f->r, w, id);
	rig_send(f->op, "ctl.sessions", 1, json_object());
	rig_expect(f->op, "ctl.answer", &m);
	list = json_object_get(msg_obj(&m, "data"), "sessions");
	assert_int_equal(json_array_size(list), 1);
	s = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(s, "id")), id);
	assert_string_equal(json_string_value(json_object_get(s, "state")), "live");
	assert_int_equal(json_integer_value(json_object_get(s, "channels")), 1);
	msg_done(&m);
	rig_send(f->op, "ctl.sessions", 2, json_pack("{s:s}", "tenant", "other"));
	rig_expect(f->op, "ctl.answer", &m);
	assert_int_equal(json_array_size(json_object_get(msg_obj(&m, "data"), "sessions")), 0);
	msg_done(&m);
	rig_send(f->op, "ctl.session", 3, json_pack("{s:s}", "session", id));
	rig_expect(f->op, "ctl.answer", &m);
	s = msg_obj(&m, "data");
	assert_int_equal(json_array_size(json_object_get(s, "open")), 1);
	assert_non_null(json_object_get(s, "grant"));
	assert_non_null(json_object_get(s, "enforced"));
	msg_done(&m);
	rig_send(f->op, "ctl.session", 4, json_pack("{s:s}", "session", "s-0"));
	expect_error(f, CTL_NOT_FOUND);
	assert_int_equal(record_memory_count(f->r->log, "ctl"), 4);
	(void)close(init);
	rig_end_free(w);
}

static void kills_after_recording_who(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	const json_t *who;
	struct rig_end *w;
	char id[CORE_ID_MAX + 1];
	int init;

	NEED_ROOT(f);
	w = rig_agent(f->r);
	init = rig_session(f->r, w, id);
	record_memory_mode(f->r->log, RECORD_HOLDS);
	rig_send(f->op, "ctl.kill", 1, json_pack("{s:s, s:s}", "session", id, "reason", "enough"));
	rig_expect_nothing(f->r->spawn);
	rig_expect_nothing(f->op);
	record_memory_release(f->r->log);
	rig_expect(f->r->spawn, "sandbox.end", NULL);
	rig_expect(f->op, "ctl.answer", NULL);
	rig_expect(w, "conn.end", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "enough"));
	msg_done(&m);
	who = json_object_get(record_memory_last(f->r->log, "ctl"), "subject");
	assert_int_equal(json_integer_value(json_object_get(who, "uid")), 0);
	assert_int_equal(json_integer_value(json_object_get(who, "pid")), getpid());
	rig_send(f->op, "ctl.kill", 2, json_pack("{s:s}", "session", "s-0"));
	expect_error(f, CTL_NOT_FOUND);
	(void)close(init);
	rig_end_free(w);
}

static void a_bad_file_changes_nothing_and_says_why(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	NEED_ROOT(f);
	assert_int_equal(
	    fd_write_file(f->r->config_fd, "tenants/bad.yaml", "ca: 7\n", 6, 0600, NULL), 0);
	rig_send(f->op, "ctl.reload", 1, json_object());
	rig_expect(f->op, "ctl.error", &m);
	assert_int_equal(msg_int(&m, "code", 0), CTL_CONFIG);
	assert_non_null(strstr(msg_str(&m, "reason"), "tenants/bad.yaml:1"));
	msg_done(&m);
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "config.refused"), 1);
	rig_end_free(rig_agent(f->r)); /* who was let in before still is */
	assert_int_equal(unlinkat(f->r->config_fd, "tenants/bad.yaml", 0), 0);
	rig_send(f->op, "ctl.reload", 2, json_object());
	rig_expect(f->op, "ctl.answer", NULL);
	rig_turns(f->r);
	assert_int_equal(record_memory_count(f->r->log, "config.loaded"), 2);
}

static void status_waits_for_others_but_not_for_ever(void **state)
{
	struct fix *f = *state;
	struct msg ask = MSG_INIT, m = MSG_INIT;

	NEED_ROOT(f);
	rig_send(f->op, "ctl.status", 1, json_object());
	rig_expect(f->r->supervisor, "status.ask", &ask);
	rig_send(f->r->supervisor, "status.tell", ask.id,
	    json_pack("{s:[{s:s}]}", "processes", "role", "core"));
	msg_done(&ask);
	rig_expect(f->r->spawn, "probe", &ask);
	rig_expect_nothing(f->op);
	rig_send(
	    f->r->spawn, "probe.answer", ask.id, json_pack("{s:{s:s}}", "host", "kernel", "x"));
	msg_done(&ask);
	rig_expect(f->op, "ctl.answer", &m);
	assert_int_equal(json_array_size(json_object_get(msg_obj(&m, "data"), "processes")), 1);
	assert_int_equal(json_array_size(json_object_get(msg_obj(&m, "data"), "tenants")), 2);
	msg_done(&m);
	/* nobody answers */
	rig_send(f->op, "ctl.status", 2, json_object());
	rig_expect(f->op, "ctl.answer", &m);
	assert_int_equal(json_array_size(json_object_get(msg_obj(&m, "data"), "processes")), 0);
	msg_done(&m);
}

static void keys_come_from_the_signer(void **state)
{
	struct fix *f = *state;
	struct msg ask = MSG_INIT;

	NEED_ROOT(f);
	rig_send(f->op, "ctl.jwks", 1, json_pack("{s:s}", "tenant", "demo"));
	rig_expect(f->r->signer, "jwks.ask", &ask);
	rig_send(f->r->signer, "jwks.tell", ask.id, json_pack("{s:{s:[]}}", "jwks", "keys"));
	msg_done(&ask);
	rig_expect(f->op, "ctl.answer", NULL);
	rig_send(f->op, "ctl.jwks", 2, json_pack("{s:s}", "tenant", "nobody"));
	expect_error(f, CTL_NOT_FOUND);
	rig_end_free(f->r->signer);
	f->r->signer = NULL;
	rig_turns(f->r);
	rig_send(f->op, "ctl.jwks", 3, json_pack("{s:s}", "tenant", "demo"));
	expect_error(f, CTL_FAILED);
}

static void a_step_back_is_accepted_by_an_operator(void **state)
{
	struct fix *f = *state;

	NEED_ROOT(f);
	record_memory_behind(f->r->log, 3600);
	rig_send(f->op, "ctl.clock", 1, json_object());
	rig_expect(f->op, "ctl.answer", NULL);
	rig_end_free(rig_agent(f->r));
}

static void pages_of_the_log_verify(void **state)
{
	struct fix *f = *state;
	struct verify v;
	uint64_t size = 1;

	NEED_ROOT(f);
	/* this one needs the real log */
	assert_int_equal(teardown(state), 0);
	assert_int_equal(start(state, true), 0);
	f = *state;
	for (int i = 0; i < 5; i++)
		rig_end_free(rig_agent(f->r));
	rig_turns(f->r);
	verify_init(&v);
	while (v.seq < size) {
		struct msg m = MSG_INIT;
		const json_t *list;

		rig_send(f->op, "ctl.records", 1,
		    json_pack(
		        "{s:I, s:i, s:s}", "from", (json_int_t)v.seq + 1, "max", 4, "log", "demo"));
		rig_expect(f->op, "ctl.page", &m);
		size = (uint64_t)msg_int(&m, "size", 0);
		list = msg_obj(&m, "records");
		assert_in_range(json_array_size(list), 1, 4);
		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *text = json_array_get(list, i);
			uint8_t raw[8192];
			size_t len;

			assert_int_equal(b64_decode(raw, sizeof raw, json_string_value(text),
			                     json_string_length(text), &len),
			    0);
			assert_int_equal(verify_record(&v, v.seq + 1, raw, len, NULL), 0);
		}
		if (v.seq == size) {
			struct buf head;

			buf_init(&head, 64);
			assert_int_equal(msg_bytes(&m, "head", &head), 0);
			assert_int_equal(verify_head(&v, size, head.data, NULL), 0);
			buf_done(&head);
		}
		msg_done(&m);
	}
	assert_true(v.seq > 8);
	/* beyond the end there is nothing, and that is no error */
	rig_send(f->op, "ctl.records", 1, json_pack("{s:i, s:i}", "from", 100000, "max", 4));
	rig_expect(f->op, "ctl.page", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lists_sessions, setup, teardown),
	    cmocka_unit_test_setup_teardown(kills_after_recording_who, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_bad_file_changes_nothing_and_says_why, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        status_waits_for_others_but_not_for_ever, setup, teardown),
	    cmocka_unit_test_setup_teardown(keys_come_from_the_signer, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_step_back_is_accepted_by_an_operator, setup, teardown),
	    cmocka_unit_test_setup_teardown(pages_of_the_log_verify, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
