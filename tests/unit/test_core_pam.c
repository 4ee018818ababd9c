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
 * A stock sshd in front: the login is judged like any other, tied to a cgroup, and postern-run is
 * known by that.
 */

static struct rig_end *pam;

static int setup(void **state)
{
	*state = geteuid() == 0 ? core_rig_new(false, NULL) : NULL;
	if (*state) {
		rig_listen(*state, "pam");
		rig_listen(*state, "run");
	}
	pam = *state ? rig_connect(*state, "pam", MSG_PAM) : NULL;
	return 0;
}

static int teardown(void **state)
{
	rig_end_free(pam);
	if (*state)
		core_rig_free(*state);
	return 0;
}

#define NEED_ROOT(r)                                                                               \
	do {                                                                                       \
		if (!(r))                                                                          \
			skip();                                                                    \
	} while (0)

static const struct rig_cert good = {
    .principal = "agent", .from_s = -60, .to_s = 300, .permit = CERT_PERMIT_PTY};

static void open_login(struct rig *r, const struct rig_cert *c, const char *user)
{
	rig_send(pam, "pam.open", 1,
	    json_pack("{s:o, s:o, s:s}", "user", msg_json_bytes(user, strlen(user)), "key",
	        rig_cert(r, c), "peer", "192.0.2.7"));
}

/* The whole way in; the session's id in dst. */
static void let_in(struct rig *r, char dst[CORE_ID_MAX + 1])
{
	struct msg m = MSG_INIT;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	open_login(r, &good, "agent");
	rig_expect(r->spawn, "tie.make", &m);
	(void)snprintf(dst, CORE_ID_MAX + 1, "%s", msg_str(&m, "session"));
	assert_int_equal(
	    chan_send(r->spawn->chan, "tie.made", m.id,
	        json_pack("{s:s, s:s}", "session", dst, "path", "/postern/tie-1"), &fd, 1),
	    0);
	msg_done(&m);
	(void)close(fd);
	rig_expect(pam, "pam.opened", &m);
	assert_string_equal(msg_str(&m, "session"), dst);
	assert_int_equal(m.nfds, 1);
	msg_done(&m);
}

static void a_login_is_tied_before_it_is_let_in(void **state)
{
	struct rig *r = *state;
	char id[CORE_ID_MAX + 1];

	NEED_ROOT(r);
	let_in(r, id);
	assert_int_equal(record_memory_count(r->log, "grant"), 1);
	assert_int_equal(record_memory_count(r->log, "session.start"), 1);
	rig_expect_nothing(r->spawn); /* the sandbox is made when it is needed */
	rig_send(pam, "pam.close", 0, json_object());
	rig_expect(r->spawn, "sandbox.end", NULL);
	rig_send(r->spawn, "sandbox.ended", 0,
	    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", id, "reason", "ended", "cpu_us", 0,
	        "memory_peak", 0, "oom_kills", 0));
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "session.end"), 1);
	assert_null(r->core->sessions);
}

static void a_login_without_a_grant_is_refused(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = good;
	struct msg m = MSG_INIT;

	NEED_ROOT(r);
	c.to_s = -1;
	c.from_s = -100;
	open_login(r, &c, "agent");
	rig_expect(pam, "pam.denied", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "expired"));
	assert_true(msg_int(&m, "record", 0) > 0);
	msg_done(&m);
	rig_expect_closed(pam);
	assert_int_equal(record_memory_count(r->log, "auth.refused"), 1);
	rig_expect_nothing(r->spawn);
}

static void a_log_that_fails_lets_nobody_in(void **state)
{
	struct rig *r = *state;
	struct msg m = MSG_INIT;

	NEED_ROOT(r);
	rig_turns(r);
	record_memory_mode(r->log, RECORD_FAILS);
	open_login(r, &good, "agent");
	rig_expect(pam, "pam.denied", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "log cannot be written"));
	msg_done(&m);
	rig_expect_nothing(r->spawn);
}

static void no_tie_no_login(void **state)
{
	struct rig *r = *state;
	struct msg m = MSG_INIT;

	NEED_ROOT(r);
	open_login(r, &good, "agent");
	rig_expect(r->spawn, "tie.make", &m);
	rig_send(r->spawn, "sandbox.failed", m.id,
	    json_pack("{s:s, s:s, s:s}", "session", msg_str(&m, "session"), "step", "tie", "reason",
	        "no cgroups"));
	msg_done(&m);
	rig_expect(pam, "pam.denied", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "no cgroups"));
	msg_done(&m);
}

static void postern_run_is_known_by_its_cgroup(void **state)
{
	struct rig *r = *state;
	struct rig_end *run;
	struct msg m = MSG_INIT;
	char id[CORE_ID_MAX + 1];
	int init;

	NEED_ROOT(r);
	let_in(r, id);
	rig_cgroup(r, "/postern/tie-1");
	run = rig_connect(r, "run", MSG_RUN);
	rig_exec(run, 0, "true", false);
	rig_expect(r->spawn, "sandbox.start", &m);
	assert_string_equal(msg_str(&m, "session"), id);
	init = msg_take_fd(&m, 0);
	msg_done(&m);
	rig_expect(run, "channel.started", &m);
	assert_int_equal(m.nfds, 4);
	msg_done(&m);
	rig_end_free(run);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "channel.end"), 1);
	/* a second one, below the tie, in the same sandbox */
	rig_cgroup(r, "/postern/tie-1/below");
	run = rig_connect(r, "run", MSG_RUN);
	rig_exec(run, 0, "true", false);
	rig_expect(run, "channel.started", NULL);
	rig_expect_nothing(r->spawn);
	/* the login ends, and with it everything */
	rig_end_free(pam);
	pam = NULL;
	rig_expect_closed(run);
	rig_expect(r->spawn, "sandbox.end", NULL);
	(void)close(init);
	rig_end_free(run);
}

static void anybody_else_hears_no(void **state)
{
	static const char *const elsewhere[] = {"/", "/postern/tie-10", "/postern", "/user.slice"};
	struct rig *r = *state;
	struct msg m = MSG_INIT;
	char id[CORE_ID_MAX + 1];

	NEED_ROOT(r);
	let_in(r, id);
	for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
		struct rig_end *run;

		rig_cgroup(r, elsewhere[i]);
		run = rig_connect(r, "run", MSG_RUN);
		rig_exec(run, 0, "true", false);
		rig_expect(run, "channel.denied", &m);
		assert_non_null(strstr(msg_str(&m, "reason"), "does not belong"));
		msg_done(&m);
		rig_end_free(run);
	}
	rig_expect_nothing(r->spawn);
}

static void one_question_for_a_login(void **state)
{
	struct rig *r = *state;

	NEED_ROOT(r);
	open_login(r, &good, "agent");
	open_login(r, &good, "agent");
	rig_expect_closed(pam);
	assert_int_equal(record_memory_count(r->log, "peer.dropped"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_login_is_tied_before_it_is_let_in, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_login_without_a_grant_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_log_that_fails_lets_nobody_in, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_tie_no_login, setup, teardown),
	    cmocka_unit_test_setup_teardown(postern_run_is_known_by_its_cgroup, setup, teardown),
	    cmocka_unit_test_setup_teardown(anybody_else_hears_no, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_question_for_a_login, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
