#include "creds/sealer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "creds/sealer_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/merkle.h"
#include "lib/util.h"
#include "tests/support/sealer_rig.h"

/* ---- what is signed ---- */

static void both_keys_sign_a_checkpoint(void **state)
{
	struct sealer *s = sealer_rig_open();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	struct note_key log_key, epoch_key;
	struct checkpoint c;
	cleanup_buf struct buf b;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 3), 0);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN "/t/demo", 5, &b), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	assert_int_equal(n.nsignatures, 2);
	sealer_keys(s, log, epoch, first);
	assert_memory_equal(epoch, first, NOTE_KEY_LEN);
	assert_int_equal(note_key_init(&log_key, ORIGIN "/t/demo", NOTE_ED25519, log, NULL), 0);
	assert_int_equal(sealer_epoch_key(ORIGIN, 0, epoch, &epoch_key, NULL), 0);
	assert_string_equal(epoch_key.name, ORIGIN "/epoch/0");
	assert_int_equal(note_verify(&n, &log_key, NULL, NULL), 1);
	assert_int_equal(note_verify(&n, &epoch_key, NULL, NULL), 1);
	assert_int_equal(checkpoint_parse(n.text, n.text_len, &c, NULL), 0);
	assert_string_equal(c.origin, ORIGIN "/t/demo");
	assert_int_equal(c.size, 5);
	note_done(&n);
	sealer_free(s);
}

static void a_log_only_grows(void **state)
{
	struct sealer *s = sealer_rig_open();
	struct checkpoint last;

	(void)state;
	for (uint64_t size = 1; size <= LEAVES; size += 1 + size % 7)
		assert_int_equal(sealer_rig_seal(s, "host", size), 0);
	sealer_last(s, "host", &last);
	assert_int_equal(sealer_rig_seal(s, "host", last.size), 0); /* again the same */
	assert_int_equal(sealer_rig_seal(s, "host", last.size - 1), -EPERM);
	assert_int_equal(sealer_rig_seal(s, "host", 1), -EPERM);
	assert_int_equal(sealer_rig_seal(s, "host", 0), -EPERM);
	sealer_free(s);
	s = sealer_rig_open();
	assert_int_equal(sealer_rig_seal(s, "host", 1), -EPERM); /* and it is not forgotten */
	sealer_free(s);
}

static void what_is_not_proved_is_not_signed(void **state)
{
	struct sealer *s = sealer_rig_open();
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], other[DIGEST_LEN] = {1};
	struct checkpoint c = {.size = 20, .origin = ORIGIN};
	cleanup_buf struct buf b;
	size_t n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 9), 0);
	sealer_rig_root(0, 20, c.root);
	n = sealer_rig_proof(9, 0, 20, true, proof);
	assert_int_equal(sealer_seal(s, "host", &c, proof, n - 1, &b, NULL), -EPERM);
	assert_int_equal(sealer_seal(s, "host", &c, NULL, 0, &b, NULL), -EPERM);
	proof[0][0] ^= 1;
	assert_int_equal(sealer_seal(s, "host", &c, proof, n, &b, NULL), -EPERM);
	proof[0][0] ^= 1;
	c.root[31] ^= 1;
	assert_int_equal(sealer_seal(s, "host", &c, proof, n, &b, NULL), -EPERM);
	c.size = 9; /* the same size, another root */
	memcpy(c.root, other, DIGEST_LEN);
	assert_int_equal(sealer_seal(s, "host", &c, NULL, 0, &b, NULL), -EPERM);
	assert_int_equal(b.len, 0);
	assert_int_equal(sealer_rig_seal(s, "host", 20), 0);
	sealer_free(s);
}

static void a_foreign_origin_is_refused(void **state)
{
	static const struct {
		const char *log, *origin;
	} bad[] = {{"host", "log.example/2"}, {"host", ORIGIN "/t/demo"}, {"host", ""},
	    {"demo", ORIGIN}, {"demo", ORIGIN "/t/other"}, {"demo", "log.example/2/t/demo"},
	    {"demo", "/t/demo"}, {"Demo", ORIGIN "/t/Demo"}, {"", ORIGIN "/t/"},
	    {"root", ORIGIN "/t/root"}, {"a/b", ORIGIN "/t/a/b"}};
	struct sealer *s = sealer_rig_open();

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 1), 0);
	assert_string_equal(sealer_origin(s), ORIGIN);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(sealer_rig_seal_as(s, bad[i].log, bad[i].origin, 2, NULL), -EPERM);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN "/t/demo", 2, NULL), 0);
	sealer_free(s);
}

static void so_many_logs_and_no_more(void **state)
{
	struct sealer *s = sealer_rig_open();
	char name[32];

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 1), 0);
	for (unsigned i = 1; i < SEALER_LOGS_MAX; i++) {
		(void)snprintf(name, sizeof name, "a123456789012345678901234567%03u", i % 1000);
		assert_int_equal(strlen(name), NAME_MAX_LEN);
		assert_int_equal(sealer_rig_seal(s, name, 1), 0);
	}
	assert_int_equal(sealer_rig_seal(s, "one-more", 1), -ENOBUFS);
	sealer_rig_turn(s);
	sealer_free(s);
	s = sealer_rig_open(); /* the fullest state can be read again */
	assert_int_equal(sealer_rig_seal(s, name, 2), 0);
	assert_int_equal(sealer_epoch(s), 1);
	sealer_free(s);
}

/* ---- epochs ---- */

static void epochs_chain_from_the_first_key(void **state)
{
	struct sealer *s = sealer_rig_open();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	struct note_key k;
	struct epoch_note en;
	struct note n;

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	sealer_keys(s, log, epoch, first);
	assert_int_equal(sealer_epoch_key(ORIGIN, 0, first, &k, NULL), 0);
	for (uint64_t i = 1; i <= 4; i++) {
		cleanup_buf struct buf b;

		buf_init(&b, NOTE_MAX);
		assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
		assert_int_equal(sealer_next_epoch(s, i, NULL), 0);
		assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
		assert_int_equal(note_verify(&n, &k, NULL, NULL), 1);
		assert_int_equal(epoch_note_parse(n.text, n.text_len, &en, NULL), 0);
		assert_int_equal(en.epoch, i);
		assert_int_equal(en.last.size, 6 + i);
		k = en.key;
		note_done(&n);
		/* and that key signs from now on */
		buf_reset(&b);
		assert_int_equal(sealer_rig_seal_as(s, "host", ORIGIN, 7 + i, &b), 0);
		assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
		assert_int_equal(note_verify(&n, &k, NULL, NULL), 1);
		note_done(&n);
	}
	sealer_keys(s, log, epoch, first);
	assert_memory_equal(k.key, epoch, NOTE_KEY_LEN);
	assert_memory_not_equal(first, epoch, NOTE_KEY_LEN);
	sealer_free(s);
}

static void an_epoch_note_is_strict(void **state)
{
	struct sealer *s = sealer_rig_open();
	cleanup_buf struct buf b;
	struct epoch_note en;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	assert_int_equal(sealer_rig_seal(s, "demo", 3), 0);
	assert_int_equal(sealer_epoch_note(s, "nobody", &b, NULL), -ENOENT);
	assert_int_equal(sealer_epoch_note(s, "demo", &b, NULL), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	assert_int_equal(epoch_note_parse(n.text, n.text_len, &en, NULL), 0);
	assert_string_equal(en.last.origin, ORIGIN "/t/demo");
	assert_string_equal(en.key.name, ORIGIN "/epoch/1");
	for (size_t i = 0; i < n.text_len; i++) {
		char kept = n.text[i];

		assert_int_equal(epoch_note_parse(n.text, i, &en, NULL), -EBADMSG);
		n.text[i] = '\0';
		assert_int_equal(epoch_note_parse(n.text, n.text_len, &en, NULL), -EBADMSG);
		n.text[i] = kept;
	}
	n.text[n.text_len] = '\n';
	assert_int_equal(epoch_note_parse(n.text, n.text_len + 1, &en, NULL), -EBADMSG);
	note_done(&n);
	sealer_free(s);
}

static void no_epoch_without_every_logs_note(void **state)
{
	struct sealer *s = sealer_rig_open();
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 4 * NOTE_MAX);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EAGAIN); /* nothing sealed */
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	assert_int_equal(sealer_rig_seal(s, "demo", 3), 0);
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EAGAIN);
	assert_int_equal(sealer_epoch_note(s, "demo", &b, NULL), 0);
	assert_int_equal(sealer_rig_seal(s, "host", 8), 0); /* its note is out of date */
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EAGAIN);
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 2, NULL), -EPERM);
	assert_int_equal(sealer_next_epoch(s, 0, NULL), -EPERM);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 2, NULL), -EAGAIN);
	sealer_free(s);
}

static void the_old_seed_is_nowhere_in_the_file(void **state)
{
	struct sealer *s = sealer_rig_open();
	uint8_t old[SEED_LEN], sign[SEED_LEN];

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	for (int i = 0; i < 3; i++) {
		memcpy(old, sealer_epoch_seed(s), SEED_LEN);
		assert_int_equal(sealer_derive(old, "postern sign", sign), 0);
		assert_true(sealer_rig_in_file(old, SEED_LEN)); /* so that the test can see it */
		sealer_rig_turn(s);
		for (size_t at = 0; at + 8 <= SEED_LEN; at++) {
			assert_false(sealer_rig_in_file(old + at, 8)); /* nor a part of it */
			assert_false(sealer_rig_in_file(sign + at, 8));
		}
		assert_true(sealer_rig_in_file(sealer_epoch_seed(s), SEED_LEN));
	}
	assert_int_equal(access("keys/" SEALER_FILE ".new", F_OK), -1);
	sealer_free(s);
}

/* Who has everything that the signer has today cannot sign for yesterday. */
static void a_thief_cannot_sign_for_a_past_epoch(void **state)
{
	struct sealer *s = sealer_rig_open();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
	uint8_t image[SEALER_FILE_BYTES], derived[SEED_LEN];
	cleanup_buf struct buf b;
	struct note_key past;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	sealer_rig_turn(s);
	sealer_keys(s, log, epoch, first);
	assert_int_equal(sealer_epoch_key(ORIGIN, 0, first, &past, NULL), 0);
	sealer_free(s);
	sealer_rig_save(image); /* stolen */
	/* no 32 bytes of it are the past key, nor lead to it by either derivation */
	for (size_t at = 0; at + SEED_LEN <= sizeof image; at++) {
		static const uint8_t zero[SEED_LEN];

		if (memcmp(image + at, zero, SEED_LEN) == 0)
			continue;
		assert_int_equal(note_public(image + at, public), 0);
		assert_memory_not_equal(public, first, NOTE_KEY_LEN);
		assert_int_equal(sealer_derive(image + at, "postern sign", derived), 0);
		assert_int_equal(note_public(derived, public), 0);
		assert_memory_not_equal(public, first, NOTE_KEY_LEN);
	}
	/* what the stolen state makes is never of the past epoch */
	s = sealer_rig_open();
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	assert_int_equal(note_verify(&n, &past, NULL, NULL), 0);
	note_done(&n);
	sealer_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, sealer_rig_fresh)
	    T(both_keys_sign_a_checkpoint),
	    T(a_log_only_grows),
	    T(what_is_not_proved_is_not_signed),
	    T(a_foreign_origin_is_refused),
	    T(so_many_logs_and_no_more),
	    T(epochs_chain_from_the_first_key),
	    T(an_epoch_note_is_strict),
	    T(no_epoch_without_every_logs_note),
	    T(the_old_seed_is_nowhere_in_the_file),
	    T(a_thief_cannot_sign_for_a_past_epoch),
	};

	return cmocka_run_group_tests(tests, sealer_rig_enter, sealer_rig_leave);
}
