#include "lib/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

static struct err why;

/* A worker speaks to the core after authentication. */
static int from_worker(const char *text)
{
	struct msg m = MSG_INIT;
	int r;

	why = (struct err)ERR_INIT;
	r = msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, text, strlen(text), NULL, 0, &why);
	if (r < 0) {
		assert_int_equal(why.code, r);
		assert_true(why.text[0] != '\0');
		assert_null(m.body); /* untouched */
		assert_null(m.type);
	}
	msg_done(&m);
	return r;
}

#define SIGNAL(body) "{\"v\":1,\"id\":7,\"type\":\"channel.signal\",\"body\":" body "}"
#define GOOD         SIGNAL("{\"channel\":3,\"signal\":\"TERM\"}")

static void decodes_a_permitted_message(void **state)
{
	struct msg m = MSG_INIT;

	(void)state;
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, GOOD, strlen(GOOD), NULL, 0, NULL),
	    0);
	assert_true(msg_is(&m, "channel.signal"));
	assert_false(msg_is(&m, "channel.exec"));
	assert_int_equal(m.id, 7);
	assert_string_equal(msg_str(&m, "signal"), "TERM");
	assert_int_equal(msg_int(&m, "channel", -1), 3);
	assert_null(msg_str(&m, "none"));
	assert_int_equal(msg_int(&m, "none", -1), -1);
	assert_false(msg_bool(&m, "none"));
	assert_null(msg_obj(&m, "none"));
	assert_int_equal(msg_take_fd(&m, 0), -1);
	assert_int_equal(msg_take_fd(&m, 99), -1);
	msg_done(&m);
	msg_done(&m);
	assert_false(msg_is(&m, "channel.signal"));
}

static void refuses_a_sender_that_may_not(void **state)
{
	struct msg m = MSG_INIT;

	(void)state;
	assert_int_equal(
	    msg_decode(&m, MSG_LEASE, MSG_CORE, MSG_PHASE_OPEN, GOOD, strlen(GOOD), NULL, 0, &why),
	    -EPERM);
	assert_int_equal(msg_decode(&m, MSG_WORKER, MSG_SPAWN, MSG_PHASE_OPEN, GOOD, strlen(GOOD),
	                     NULL, 0, &why),
	    -EPERM);
	assert_int_equal(
	    from_worker("{\"v\":1,\"id\":0,\"type\":\"ctl.status\",\"body\":{}}"), -EPERM);
	assert_int_equal(
	    from_worker("{\"v\":1,\"id\":0,\"type\":\"no.such\",\"body\":{}}"), -EPERM);
	assert_int_equal(from_worker("{\"v\":1,\"id\":0,\"type\":\"\",\"body\":{}}"), -EPERM);
}

static void refuses_the_wrong_phase(void **state)
{
	static const unsigned wrong[] = {MSG_PHASE_SPARE, MSG_PHASE_AUTH, MSG_PHASE_ENDED, 0};
	struct msg m = MSG_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(msg_decode(&m, MSG_WORKER, MSG_CORE, wrong[i], GOOD, strlen(GOOD),
		                     NULL, 0, &why),
		    -EPERM);
}

/* Whoever may not speak learns nothing about what would have been right. */
static void asks_who_and_when_before_what(void **state)
{
	const char *bad = SIGNAL("{\"nonsense\":[]}");
	struct msg m = MSG_INIT;

	(void)state;
	assert_int_equal(from_worker(bad), -EBADMSG);
	assert_int_equal(
	    msg_decode(&m, MSG_LEASE, MSG_CORE, MSG_PHASE_OPEN, bad, strlen(bad), NULL, 0, &why),
	    -EPERM);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_AUTH, bad, strlen(bad), NULL, 0, &why),
	    -EPERM);
}

static void refuses_every_truncation(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(GOOD); len++) {
		struct msg m = MSG_INIT;
		char *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, GOOD, len);
		assert_int_equal(
		    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, copy, len, NULL, 0, &why),
		    -EBADMSG);
		free(copy);
	}
}

static void refuses_what_is_not_the_envelope(void **state)
{
	static const char *const bad[] = {
	    "[]",
	    "null",
	    "{}",
	    "{\"v\":1,\"id\":7,\"type\":\"channel.signal\"}",
	    "{\"v\":2,\"id\":7,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":\"1\",\"id\":7,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":1.0,\"id\":7,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":1,\"id\":-1,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":1,\"id\":1.5,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":1,\"id\":9223372036854775808,\"type\":\"channel.signal\",\"body\":{}}",
	    "{\"v\":1,\"id\":7,\"type\":5,\"body\":{}}",
	    "{\"v\":1,\"id\":7,\"type\":\"channel.signal\",\"body\":[]}",
	    "{\"v\":1,\"id\":7,\"type\":\"channel.signal\",\"body\":null}",
	    "{\"v\":1,\"id\":7,\"type\":\"channel.signal\",\"body\":{\"channel\":3,\"signal\":"
	    "\"TERM\"},\"x\":1}",
	    "{\"v\":1,\"id\":7,\"type\":\"channel.signal\",\"Body\":{\"channel\":3,\"signal\":"
	    "\"TERM\"}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(from_worker(bad[i]), -EBADMSG);
}

static void rejects_trailing_bytes(void **state)
{
	struct msg m = MSG_INIT;

	(void)state;
	assert_int_equal(from_worker(GOOD), 0);
	assert_int_equal(from_worker(GOOD "x"), -EBADMSG);
	assert_int_equal(from_worker(GOOD "{}"), -EBADMSG);
	assert_int_equal(from_worker(GOOD GOOD), -EBADMSG);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, GOOD, sizeof GOOD, NULL, 0, &why),
	    -EBADMSG); /* a NUL at the end */
}

static void refuses_bad_bodies(void **state)
{
	static const char *const bad[] = {
	    SIGNAL("{}"),
	    SIGNAL("{\"channel\":3}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"TERM\",\"more\":1}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"TERM\",\"signal\":\"KILL\"}"), /* twice */
	    SIGNAL("{\"channel\":-1,\"signal\":\"TERM\"}"),
	    SIGNAL("{\"channel\":2147483648,\"signal\":\"TERM\"}"),
	    SIGNAL("{\"channel\":3.0,\"signal\":\"TERM\"}"),
	    SIGNAL("{\"channel\":\"3\",\"signal\":\"TERM\"}"),
	    SIGNAL("{\"channel\":null,\"signal\":\"TERM\"}"),
	    SIGNAL("{\"channel\":3,\"signal\":7}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"12345678901234567\"}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"TE\\u0000RM\"}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"TE\xffRM\"}"),
	    SIGNAL("{\"channel\":3,\"signal\":\"\\ud800\"}"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(from_worker(bad[i]), -EBADMSG);
	assert_int_equal(
	    from_worker(SIGNAL("{\"channel\":2147483647,\"signal\":\"1234567890123456\"}")), 0);
	assert_int_equal(from_worker(SIGNAL("{\"channel\":0,\"signal\":\"\"}")), 0);
}

static void an_unknown_key_is_named_escaped(void **state)
{
	(void)state;
	assert_int_equal(
	    from_worker(SIGNAL("{\"channel\":3,\"signal\":\"TERM\",\"\\u001b[2J\":1}")), -EBADMSG);
	assert_string_equal(why.text, "channel.signal: \\x1b[2J: unknown key");
}

static void refuses_deep_nesting_before_parsing(void **state)
{
	static char text[100000];

	(void)state;
	memset(text, '[', sizeof text - 1);
	assert_int_equal(from_worker(text), -EBADMSG);
	assert_non_null(strstr(why.text, "nested"));
	memset(text, '{', sizeof text - 1);
	assert_int_equal(from_worker(text), -EBADMSG);
	assert_non_null(strstr(why.text, "nested"));
}

static void depth_has_its_limit_at_16(void **state)
{
	struct err e = ERR_INIT;
	json_t *o;

	(void)state;
	const char *deep = "{\"a\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}"; /* 1 + 15 */
	assert_int_equal(msg_json_parse(deep, strlen(deep), &o, &e), 0);
	json_decref(o);
	deep = "{\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}";
	assert_int_equal(msg_json_parse(deep, strlen(deep), &o, &e), -EBADMSG);
	/* brackets within strings do not count, whatever the quoting */
	const char *quoted = "{\"a\":\"\\\\\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\"}";
	assert_int_equal(msg_json_parse(quoted, strlen(quoted), &o, &e), 0);
	json_decref(o);
}

static void refuses_records_beyond_their_size(void **state)
{
	static char big[MSG_MAX + 2];
	struct msg m = MSG_INIT;
	size_t n = strlen(GOOD);

	(void)state;
	/* white space makes a record long without making it wrong */
	memset(big, ' ', sizeof big);
	memcpy(big, GOOD, n);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, big, 4096, NULL, 0, &why), 0);
	msg_done(&m);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, big, 4097, NULL, 0, &why),
	    -EMSGSIZE);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, big, MSG_MAX + 1, NULL, 0, &why),
	    -EMSGSIZE);
	/* and that before anything tries to parse it */
	memset(big, '[', sizeof big);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, big, MSG_MAX + 1, NULL, 0, &why),
	    -EMSGSIZE);
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void closes_unexpected_descriptors(void **state)
{
	int fds[2] = {open_null(), open_null()};
	struct msg m = MSG_INIT;

	(void)state;
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, GOOD, strlen(GOOD), fds, 2, &why),
	    -EPROTO);
	assert_false(is_open(fds[0]) || is_open(fds[1]));
}

#define PTY "{\"v\":1,\"id\":1,\"type\":\"sandbox.pty.opened\",\"body\":{\"session\":\"s\"}}"

static int pty(size_t nfds, int *fds)
{
	struct msg m = MSG_INIT;
	int r;

	for (size_t i = 0; i < nfds; i++)
		fds[i] = open_null();
	r = msg_decode(&m, MSG_SPAWN, MSG_CORE, MSG_PHASE_OPEN, PTY, strlen(PTY), fds, nfds, &why);
	if (r == 0) {
		assert_int_equal(m.nfds, nfds);
		assert_int_equal(msg_take_fd(&m, 0), fds[0]);
		assert_int_equal(msg_take_fd(&m, 0), -1);
		msg_done(&m);
		assert_true(is_open(fds[0])); /* taken: ours */
		assert_false(is_open(fds[1]));
		util_close(&fds[0]);
	}
	return r;
}

static void counts_descriptors(void **state)
{
	int fds[3];

	(void)state;
	assert_int_equal(pty(0, fds), -EPROTO);
	assert_int_equal(pty(1, fds), -EPROTO);
	assert_false(is_open(fds[0]));
	assert_int_equal(pty(2, fds), 0);
	assert_int_equal(pty(3, fds), -EPROTO);
	assert_false(is_open(fds[0]) || is_open(fds[1]) || is_open(fds[2]));
}

/* ---- writing ---- */

static int encode(const char *type, json_t *body, size_t nfds, struct buf *b)
{
	int r;

	why = (struct err)ERR_INIT;
	r = msg_encode(b, type, 5, body, nfds, &why);
	json_decref(body);
	return r;
}

static void what_it_writes_it_reads(void **state)
{
	cleanup_buf struct buf b, key;
	struct msg m = MSG_INIT;

	(void)state;
	buf_init(&b, MSG_MAX);
	buf_init(&key, 100);
	assert_int_equal(encode("auth.check",
	                     json_pack("{s:o,s:s,s:o,s:b}", "user", msg_json_bytes("a\0b", 3),
	                         "method", "publickey", "key", msg_json_bytes("", 0), "proved", 1),
	                     0, &b),
	    0);
	assert_int_equal(
	    msg_decode(&m, MSG_WORKER, MSG_CORE, MSG_PHASE_AUTH, b.data, b.len, NULL, 0, &why), 0);
	assert_int_equal(m.id, 5);
	assert_true(msg_bool(&m, "proved"));
	assert_int_equal(msg_bytes(&m, "user", &key), 0);
	assert_int_equal(key.len, 3);
	assert_memory_equal(key.data, "a\0b", 3);
	assert_int_equal(msg_bytes(&m, "client", &key), -ENOENT);
	buf_done(&key);
	buf_init(&key, 2);
	assert_int_equal(msg_bytes(&m, "user", &key), -ENOBUFS);
	msg_done(&m);
}

static void writes_nothing_against_the_table(void **state)
{
	static char big[5000];
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, MSG_MAX);
	buf_put_u8(&b, 'x');
	memset(big, 'a', sizeof big - 1);
	assert_int_equal(encode("no.such", json_object(), 0, &b), -EPERM);
	assert_int_equal(encode("ready", json_pack("{s:i}", "x", 1), 0, &b), -EBADMSG);
	assert_int_equal(encode("ready", json_object(), 1, &b), -EPROTO);
	assert_int_equal(encode("core.link", json_object(), 0, &b), -EPROTO);
	assert_int_equal(encode("sandbox.started",
	                     json_pack("{s:s,s:i,s:{s:s,s:s,s:s,s:s}}", "session", "s", "pid", 1,
	                         "enforced", "a", big, "b", big, "c", big, "d", big),
	                     0, &b),
	    -EMSGSIZE);
	assert_int_equal(msg_encode(&b, "ready", UINT64_MAX, NULL, 0, NULL), -EBADMSG);
	assert_int_equal(msg_encode(&b, "ready", 1, NULL, 0, NULL), -EBADMSG);
	assert_int_equal(b.len, 1); /* each left the buffer as it was */
}

static void writes_no_deeper_than_it_reads(void **state)
{
	cleanup_buf struct buf b;
	json_t *deep = json_object();

	(void)state;
	for (int i = 0; i < 14; i++)
		deep = json_pack("{s:o}", "x", deep);
	buf_init(&b, MSG_MAX);
	/* envelope, body, data: 17 levels in all, then 16 */
	assert_int_equal(encode("ctl.answer", json_pack("{s:O}", "data", deep), 0, &b), -EBADMSG);
	assert_int_equal(
	    encode("ctl.answer", json_pack("{s:O}", "data", json_object_get(deep, "x")), 0, &b), 0);
	json_decref(deep);
}

static void a_small_buffer_is_an_error(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 20);
	assert_int_equal(encode("ready", json_object(), 0, &b), -EMSGSIZE);
	assert_int_equal(b.len, 0);
}

/* ---- the table itself ---- */

static void the_table_is_sound(void **state)
{
	(void)state;
	for (const struct msg_type *t = msg_types; t->name; t++) {
		size_t n = 0;

		assert_ptr_equal(msg_type_find(t->name), t); /* no name twice */
		assert_true(t->from && t->to && t->phases);
		assert_true(t->max > 0 && t->max <= MSG_MAX);
		assert_true(t->fds_min <= t->fds_max && t->fds_max <= MSG_FDS_MAX);
		while (t->fields[n].name) {
			for (size_t i = 0; i < n; i++)
				assert_string_not_equal(t->fields[i].name, t->fields[n].name);
			assert_true(t->fields[n].max > 0 || t->fields[n].kind == MSG_BOOL);
			n++;
		}
		assert_true(n <= MSG_FIELDS_MAX);
	}
	assert_null(msg_type_find("no.such"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decodes_a_permitted_message),
	    cmocka_unit_test(refuses_a_sender_that_may_not),
	    cmocka_unit_test(refuses_the_wrong_phase),
	    cmocka_unit_test(asks_who_and_when_before_what),
	    cmocka_unit_test(refuses_every_truncation),
	    cmocka_unit_test(refuses_what_is_not_the_envelope),
	    cmocka_unit_test(rejects_trailing_bytes),
	    cmocka_unit_test(refuses_bad_bodies),
	    cmocka_unit_test(an_unknown_key_is_named_escaped),
	    cmocka_unit_test(refuses_deep_nesting_before_parsing),
	    cmocka_unit_test(depth_has_its_limit_at_16),
	    cmocka_unit_test(refuses_records_beyond_their_size),
	    cmocka_unit_test(closes_unexpected_descriptors),
	    cmocka_unit_test(counts_descriptors),
	    cmocka_unit_test(what_it_writes_it_reads),
	    cmocka_unit_test(writes_nothing_against_the_table),
	    cmocka_unit_test(writes_no_deeper_than_it_reads),
	    cmocka_unit_test(a_small_buffer_is_an_error),
	    cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
