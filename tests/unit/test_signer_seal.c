#include "creds/signer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "creds/note.h"
#include "creds/sealer.h"
#include "creds/signer_seal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/merkle.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

#define ORIGIN "log.example/1"

static int keys_fd = -1;

static int setup(void **state)
{
	return keygen_enter(state);
}

static int fresh(void **state)
{
	(void)state;
	util_close(&keys_fd);
	(void)unlink("keys/" SEALER_FILE);
	(void)mkdir("keys", 0700);
	keys_fd = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return keys_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	util_close(&keys_fd);
	return keygen_leave(state);
}

static struct signer *make(void)
{
	const struct signer_config c = {keys_fd, "https://postern.example", 50, 200};
	struct signer *s = signer_new(&c, NULL);

	assert_non_null(s);
	return s;
}

/* Through the table both ways; the body is taken over. The answer's type. */
static const char *ask(struct signer *s, const char *type, json_t *body, json_t **ret)
{
	struct msg m = MSG_INIT, told = MSG_INIT;
	struct err e = ERR_INIT;
	struct buf wire, answer;
	const char *kind = NULL;

	buf_init(&wire, MSG_MAX);
	buf_init(&answer, MSG_MAX);
	if (msg_encode(&wire, type, 9, body, 0, &e) < 0 ||
	    msg_decode(&m, MSG_CORE, MSG_SIGNER, MSG_PHASE_OPEN, wire.data, wire.len, NULL, 0, &e) <
	        0)
		fail_msg("%s", e.text);
	json_decref(body);
	assert_int_equal(signer_handle(s, &m, &kind, ret), 0);
	assert_int_equal(msg_encode(&answer, kind, 9, *ret, 0, NULL), 0);
	assert_int_equal(msg_decode(&told, MSG_SIGNER, MSG_CORE, MSG_PHASE_OPEN, answer.data,
	                     answer.len, NULL, 0, &e),
	    0);
	msg_done(&m);
	msg_done(&told);
	buf_done(&wire);
	buf_done(&answer);
	return kind;
}

static json_t *point(
    const char *log, const char *origin, uint64_t size, const uint8_t *root, size_t len)
{
	return json_pack("{s:s, s:s, s:I, s:o, s:[]}", "log", log, "origin", origin, "size",
	    (json_int_t)size, "root", msg_json_bytes(root, len), "proof");
}

static void refused(struct signer *s, const char *type, json_t *body, const char *why)
{
	json_t *answer = NULL;
	const char *reason;

	assert_string_equal(ask(s, type, body, &answer), "sign.refused");
	reason = json_string_value(json_object_get(answer, "reason"));
	if (!strstr(reason, why))
		fail_msg("reason: %s", reason);
	json_decref(answer);
}

static void granted(struct signer *s, const char *type, json_t *body, const char *expected)
{
	json_t *answer = NULL;

	assert_string_equal(ask(s, type, body, &answer), expected);
	json_decref(answer);
}

static void seals_and_turns_an_epoch(void **state)
{
	struct signer *s = make();
	uint8_t root[DIGEST_LEN] = {1}, key[NOTE_KEY_LEN];
	json_t *answer = NULL, *keys = NULL;
	cleanup_buf struct buf b;
	struct note_key k;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	granted(
	    s, "checkpoint.sign", point("host", ORIGIN, 1, root, DIGEST_LEN), "checkpoint.signed");
	assert_string_equal(ask(s, "checkpoint.sign",
	                        point("demo", ORIGIN "/t/demo", 1, root, DIGEST_LEN), &answer),
	    "checkpoint.signed");
	assert_int_equal(msg_json_decode(json_object_get(answer, "note"), &b), 0);
	assert_string_equal(ask(s, "seal.keys", json_object(), &keys), "seal.keys.tell");
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	buf_reset(&b);
	assert_int_equal(msg_json_decode(json_object_get(keys, "log_key"), &b), 0);
	memcpy(key, b.data, NOTE_KEY_LEN);
	assert_int_equal(note_key_init(&k, ORIGIN "/t/demo", NOTE_ED25519, key, NULL), 0);
	assert_int_equal(note_verify(&n, &k, NULL, NULL), 1);
	assert_int_equal(json_array_size(json_object_get(keys, "logs")), 2);
	assert_string_equal(json_string_value(json_object_get(keys, "origin")), ORIGIN);
	granted(s, "epoch.note", json_pack("{s:s}", "log", "host"), "epoch.noted");
	refused(s, "epoch.next", json_pack("{s:i}", "epoch", 1), "log demo has no note");
	granted(s, "epoch.note", json_pack("{s:s}", "log", "demo"), "epoch.noted");
	granted(s, "epoch.next", json_pack("{s:i}", "epoch", 1), "epoch.turned");
	note_done(&n);
	json_decref(answer);
	json_decref(keys);
	signer_free(s);
}

static void fields_are_checked_strictly(void **state)
{
	struct signer *s = make();
	uint8_t root[DIGEST_LEN] = {1};
	json_t *o = point("host", ORIGIN, 1, root, DIGEST_LEN);

	(void)state;
	refused(s, "checkpoint.sign", point("host", ORIGIN, 1, root, DIGEST_LEN - 1), "bytes");
	json_array_append_new(json_object_get(o, "proof"), msg_json_bytes(root, 31));
	refused(s, "checkpoint.sign", o, "bytes");
	refused(s, "checkpoint.sign", point("host", ORIGIN, 0, root, DIGEST_LEN), "empty");
	refused(
	    s, "checkpoint.sign", point("root", ORIGIN "/t/root", 1, root, DIGEST_LEN), "origin");
	refused(s, "checkpoint.sign", point("host", "a b", 1, root, DIGEST_LEN), "name");
	signer_free(s);
}

/* An origin that cannot name a key must not be fixed for ever either. */
static void a_refused_origin_is_not_kept(void **state)
{
	struct signer *s = make();
	uint8_t root[DIGEST_LEN] = {1};

	(void)state;
	refused(s, "checkpoint.sign", point("host", "a b", 1, root, DIGEST_LEN), "name");
	granted(
	    s, "checkpoint.sign", point("host", ORIGIN, 1, root, DIGEST_LEN), "checkpoint.signed");
	signer_free(s);
}

static void seals_and_epochs_have_a_rate(void **state)
{
	struct signer *s = make();
	uint8_t root[DIGEST_LEN] = {1};
	json_t *answer = NULL;
	unsigned n = 0;

	(void)state;
	for (; n < 4 * SEAL_BURST; n++) {
		bool ok = strcmp(ask(s, "checkpoint.sign",
		                     point("host", ORIGIN, 1, root, DIGEST_LEN), &answer),
		              "checkpoint.signed") == 0;

		json_decref(answer);
		if (!ok)
			break;
	}
	assert_true(n >= SEAL_BURST && n < 4 * SEAL_BURST);
	signer_free(s);
	s = make();
	for (unsigned i = 1; i <= EPOCH_BURST; i++) {
		granted(s, "epoch.note", json_pack("{s:s}", "log", "host"), "epoch.noted");
		granted(s, "epoch.next", json_pack("{s:i}", "epoch", (int)i), "epoch.turned");
	}
	granted(s, "epoch.note", json_pack("{s:s}", "log", "host"), "epoch.noted");
	refused(s, "epoch.next", json_pack("{s:i}", "epoch", EPOCH_BURST + 1), "too many epochs");
	signer_free(s);
}

static void a_damaged_state_seals_nothing(void **state)
{
	struct signer *s = make();
	uint8_t root[DIGEST_LEN] = {1};

	(void)state;
	assert_int_equal(close(openat(keys_fd, SEALER_FILE, O_CREAT | O_WRONLY, 0600)), 0);
	refused(s, "checkpoint.sign", point("host", ORIGIN, 1, root, DIGEST_LEN), SEALER_FILE);
	refused(s, "seal.keys", json_object(), SEALER_FILE);
	granted(s, "jwks.ask", json_pack("{s:s}", "tenant", "demo"), "jwks.tell"); /* other keys */
	signer_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(seals_and_turns_an_epoch, fresh),
	    cmocka_unit_test_setup(fields_are_checked_strictly, fresh),
	    cmocka_unit_test_setup(a_refused_origin_is_not_kept, fresh),
	    cmocka_unit_test_setup(seals_and_epochs_have_a_rate, fresh),
	    cmocka_unit_test_setup(a_damaged_state_seals_nothing, fresh),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
