/*
 * Workers that were taken over: they say whatever the table lets a worker say, in any order, with
 * others' numbers and the largest counts. They lose their links at the worst; another one's session
 * goes on.
 */
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

#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/util.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

#define ROGUES 3
#define WORDS  400 /* that the rogues say */
#define SEED   20240229u

static unsigned seed;

static unsigned any(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static int setup(void **state)
{
	seed = SEED;
	*state = core_rig_new(true, NULL);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

static json_t *number(json_int_t most)
{
	return json_integer(any(4) == 0 ? most : (json_int_t)any(6));
}

static const char *text(void)
{
	static const char *const some[] = {"", "\x1b[2J", "TERM", "KILL", "sftp", "shell", "exec",
	    "subsystem", "publickey", "none", "password", "\xc3\xa9\xc3\xa9", "x"};

	return some[any(ARRAY_LEN(some))];
}

static json_t *long_text(void)
{
	char s[512];
	size_t n = any(171);

	/* three bytes each, so that a cut falls into a character */
	for (size_t i = 0; i < n; i++)
		memcpy(s + 3 * i, "\xe2\x80\xae", 3);
	return json_stringn(s, 3 * n);
}

static json_t *exec_body(void)
{
	static const char *const kinds[] = {"exec", "shell", "subsystem", "none"};
	json_t *o = json_pack("{s:o, s:s, s:[s]}", "channel", number(INT32_MAX), "kind",
	    kinds[any(4)], "env", "QT1i");

	if (any(2))
		(void)json_object_set_new(o, "command", json_string(any(8) ? "c2Z0cA==" : "AAAA"));
	if (any(3) == 0)
		(void)json_object_set_new(o, "pty",
		    json_pack("{s:s, s:o, s:i, s:i, s:i}", "term", any(4) ? "xterm" : text(),
		        "cols", number(65535), "rows", 1, "xpixel", 0, "ypixel", 0));
	return o;
}

/* One message, often a wrong one. */
static void say(struct rig_end *w)
{
	const char *type = NULL;
	json_t *o = NULL;

	switch (any(8)) {
	case 0:
		type = "auth.check";
		o = json_pack("{s:s, s:s, s:b, s:s}", "user", "YWdlbnQ=", "method", text(),
		    "proved", any(2), "key", any(2) ? "AAAA" : "");
		break;
	case 1:
	case 2:
	case 3:
		type = "channel.exec";
		o = exec_body();
		break;
	case 4:
		type = "channel.signal";
		o = json_pack("{s:o, s:s}", "channel", number(INT32_MAX), "signal", text());
		break;
	case 5:
		type = "channel.ended";
		o = json_pack("{s:o, s:o, s:o, s:o, s:o}", "channel", number(INT32_MAX), "exit",
		    number(255), "bytes_in", number(INT64_MAX), "bytes_out", number(INT64_MAX),
		    "bytes_err", number(INT64_MAX));
		break;
	case 6:
		type = "conn.event";
		o = json_pack("{s:s, s:s}", "what", text(), "detail", "AAAA");
		break;
	default:
		type = any(20) ? "conn.resume" : "conn.ended";
		o = any(20) ? json_pack("{s:[i, i]}", "channels", 1, 2)
		            : json_pack("{s:o}", "reason", long_text());
		if (strcmp(type, "conn.ended") == 0 && !json_object_get(o, "reason")) {
			json_decref(o);
			o = json_pack("{s:o}", "reason", long_text());
		}
		if (any(4)) { /* mostly it stays within the rules a while */
			json_decref(o);
			return;
		}
	}
	(void)chan_send(w->chan, type, any(3), o, NULL, 0);
}

/* Reads what was said to it. False: its link was closed. */
static bool hear(struct rig_end *w)
{
	struct msg m = MSG_INIT;
	int r;

	while ((r = chan_recv(w->chan, &m, NULL)) == 1)
		msg_done(&m);
	return r == -EAGAIN;
}

/* Spawn, who answers at random or not at all. */
static void play_spawn(struct rig *r, const char *victim)
{
	struct msg m = MSG_INIT;

	while (chan_recv(r->spawn->chan, &m, NULL) == 1) {
		const char *id = msg_str(&m, "session");
		bool mine = id && strcmp(id, victim) == 0;

		if (msg_is(&m, "sandbox.start") && any(2))
			rig_send(r->spawn, "sandbox.started", m.id,
			    json_pack("{s:s, s:i, s:{}}", "session", id, "pid", 7, "enforced"));
		else if (msg_is(&m, "sandbox.start") || (msg_is(&m, "sandbox.pty") && any(2)))
			rig_send(r->spawn, "sandbox.failed", m.id,
			    json_pack(
			        "{s:s, s:s, s:s}", "session", id, "step", "x", "reason", "y"));
		else if (msg_is(&m, "sandbox.end"))
			rig_send(r->spawn, "sandbox.ended", 0,
			    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", id, "reason", "ended",
			        "cpu_us", 1, "memory_peak", 1, "oom_kills", 0));
		assert_false(mine && msg_is(&m, "sandbox.end"));
		msg_done(&m);
	}
}

static void drain(struct rig_end *e)
{
	struct msg m = MSG_INIT;

	while (chan_recv(e->chan, &m, NULL) == 1)
		msg_done(&m);
}

static void what_rogues_say_hurts_nobody_else(void **state)
{
	struct rig *r = *state;
	struct rig_end *victim = rig_agent(r), *w[ROGUES] = {NULL};
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, victim, id);
	struct rig_cert other = {
	    .ca = r->other_ca, .principal = "agent", .from_s = -60, .to_s = 600};
	size_t lost = 0;

	drain(victim);
	for (int n = 0; n < WORDS; n++) {
		struct rig_end **one = &w[any(ROGUES)];

		if (!*one) {
			*one = rig_worker(r, "192.0.2.66");
			if (any(4)) {
				rig_auth(*one, "agent", rig_cert(r, &other), true);
				rig_expect(*one, "auth.verdict", NULL);
			}
		}
		say(*one);
		if (any(4) == 0)
			rig_turns(r);
		play_spawn(r, id);
		drain(r->supervisor);
		drain(r->listener);
		if (!hear(*one) || any(200) == 0) {
			rig_end_free(*one);
			*one = NULL;
			lost++;
			rig_turns(r);
		}
	}
	assert_true(lost > 4);
	for (size_t i = 0; i < ROGUES; i++)
		if (w[i])
			rig_end_free(w[i]);
	for (int i = 0; i < 4; i++) {
		rig_turns(r);
		play_spawn(r, id);
		drain(r->supervisor);
	}
	/* nothing of them is left, and the victim works */
	assert_non_null(r->core->conns);
	assert_null(r->core->leases);
	rig_exec(victim, 9, "true", false);
	rig_expect(victim, "channel.started", NULL);
	(void)close(init);
	rig_end_free(victim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_rogues_say_hurts_nobody_else, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
