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
#include <sys/socket.h>
#include "lib/chan.h"
#include "lib/fdio.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * A peer that breaks a rule loses its own link, a record says which rule, and nobody else notices.
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

/* Somebody sends these bytes, with so many descriptors; only that one is gone. */
static void costs_only(struct rig *r, struct rig_end *bad, const void *data, size_t len)
{
	struct rig_end *good = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	size_t before = record_memory_count(r->log, "peer.dropped");

	assert_int_equal(send(chan_fd(bad->chan), data, len, MSG_NOSIGNAL), len);
	rig_expect_closed(bad);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), before + 1);
	(void)close(rig_session(r, good, id));
	rig_end_free(good);
	rig_end_free(bad);
	rig_expect(r->spawn, "sandbox.end", NULL);
	rig_send(r->spawn, "sandbox.ended", 0,
	    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", id, "reason", "ended", "cpu_us", 0,
	        "memory_peak", 0, "oom_kills", 0));
	rig_turns(r);
	assert_null(r->core->sessions);
	assert_null(r->core->conns);
}

static void rubbish_costs_the_worker_its_link(void **state)
{
	static const char *const bad[] = {
	    "x",
	    "{}",
	    "[]",
	    "{\"v\":1}",
	    "{\"v\":1,\"id\":1,\"type\":\"auth.check\",\"body\":{}}",
	    "{\"v\":2,\"id\":1,\"type\":\"conn.ended\",\"body\":{\"reason\":\"x\"}}",
	    "{\"v\":1,\"id\":1,\"type\":\"no.such\",\"body\":{}}",
	    "{\"v\":1,\"id\":1,\"type\":\"conn.ended\",\"body\":{\"reason\":\"x\",\"more\":1}}",
	    /* what others may say */
	    "{\"v\":1,\"id\":1,\"type\":\"ctl.status\",\"body\":{}}",
	    "{\"v\":1,\"id\":1,\"type\":\"shutdown\",\"body\":{}}",
	    "{\"v\":1,\"id\":1,\"type\":\"worker.pair\",\"body\":{\"slot\":1}}",
	    "{\"v\":1,\"id\":1,\"type\":\"conn.accepted\",\"body\":{\"conn\":\"c\",\"peer\":\"x\","
	    "\"local\":\"y\"}}",
	    /* what it may not say yet */
	    "{\"v\":1,\"id\":1,\"type\":\"channel.exec\",\"body\":{\"channel\":1,\"kind\":"
	    "\"shell\"}}",
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		costs_only(r, rig_worker(r, "192.0.2.9"), bad[i], strlen(bad[i]));
}

static void a_descriptor_nobody_asked_for_costs_the_link(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.9");
	const char text[] =
	    "{\"v\":1,\"id\":1,\"type\":\"conn.ended\",\"body\":{\"reason\":\"x\"}}";
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	char copy[sizeof text];
	struct iovec iov = {copy, sizeof text - 1};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof control};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&h);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	memcpy(copy, text, sizeof text);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof fd);
	/* where the kernel can, it refuses the descriptor itself (SO_PASSRIGHTS) */
	if (sendmsg(chan_fd(w->chan), &h, MSG_NOSIGNAL) < 0) {
		(void)close(fd);
		rig_end_free(w);
		return;
	}
	(void)close(fd);
	rig_expect_closed(w);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 1);
	rig_end_free(w);
}

static void an_answer_nobody_waits_for_is_nothing(void **state)
{
	struct rig *r = *state;

	rig_send(r->spawn, "sandbox.ended", 9,
	    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", "s-0", "reason", "x", "cpu_us", 0,
	        "memory_peak", 0, "oom_kills", 0));
	rig_send(r->spawn, "sandbox.started", 9,
	    json_pack("{s:s, s:i, s:{}}", "session", "s-0", "pid", 1, "enforced"));
	rig_send(r->signer, "jwt.signed", 9, json_pack("{s:s}", "token", "x"));
	rig_send(r->listener, "conn.accepted", 0,
	    json_pack("{s:s, s:s, s:s}", "conn", "c-0", "peer", "x", "local", "y"));
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 0);
}

static void a_connection_is_accepted_once(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_worker(r, "192.0.2.7");

	rig_send(r->listener, "conn.accepted", 0,
	    json_pack("{s:s, s:s, s:s}", "conn", w->conn, "peer", "203.0.113.1", "local", "y"));
	rig_expect_closed(r->listener);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 1);
	rig_end_free(w);
}

static void what_the_listener_refused_is_recorded(void **state)
{
	struct rig *r = *state;

	rig_send(r->listener, "conn.refused", 0,
	    json_pack("{s:s, s:s, s:i}", "peer", "192.0.2.9", "reason", "too many", "count", 17));
	rig_turns(r);
	assert_string_equal(record_memory_text(r->log, "conn.refused", "reason"), "too many");
}

static void events_of_a_connection_are_recorded_up_to_a_limit(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	for (int i = 0; i < 100; i++)
		rig_send(w, "conn.event", 0,
		    json_pack(
		        "{s:s, s:o}", "what", "forward", "detail", msg_json_bytes("\x1b[x", 3)));
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "conn.event"), 64);
	assert_string_equal(record_memory_text(r->log, "conn.event", "detail"), "\\x1b[x");
	rig_end_free(w);
}

static void a_clean_stop_ends_every_session_first(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id);

	rig_send(r->supervisor, "shutdown", 0, json_object());
	rig_expect(w, "conn.end", NULL);
	rig_expect(r->spawn, "sandbox.end", NULL);
	assert_int_equal(record_memory_count(r->log, "host.stop"), 0);
	rig_send(r->spawn, "sandbox.ended", 0,
	    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", id, "reason", "ended", "cpu_us", 0,
	        "memory_peak", 0, "oom_kills", 0));
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "session.end"), 1);
	assert_int_equal(record_memory_count(r->log, "host.stop"), 1);
	assert_true(r->core->quit);
	assert_int_equal(r->core->status, 0);
	(void)close(init);
	rig_end_free(w);
}

static void nobody_outlives_the_supervisor(void **state)
{
	struct rig *r = *state;

	rig_end_free(r->supervisor);
	r->supervisor = NULL;
	rig_turns(r);
	assert_true(r->core->quit);
	assert_int_equal(r->core->status, 1);
}

static void a_new_link_replaces_the_old(void **state)
{
	struct rig *r = *state;
	int pair[2];

	assert_int_equal(fd_seqpacket_pair(pair), 0);
	assert_int_equal(chan_send(r->supervisor->chan, "link", 0,
	                     json_pack("{s:s}", "role", "spawn"), &pair[1], 1),
	    0);
	(void)close(pair[1]);
	rig_expect_closed(r->spawn);
	rig_end_free(r->spawn);
	r->spawn = rig_end_new(r, pair[0], MSG_SPAWN);
	rig_expect(r->spawn, "probe", NULL);
	assert_int_equal(record_memory_count(r->log, "spawn.lost"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(rubbish_costs_the_worker_its_link, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_descriptor_nobody_asked_for_costs_the_link, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_answer_nobody_waits_for_is_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_is_accepted_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_the_listener_refused_is_recorded, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        events_of_a_connection_are_recorded_up_to_a_limit, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_clean_stop_ends_every_session_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(nobody_outlives_the_supervisor, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_new_link_replaces_the_old, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
