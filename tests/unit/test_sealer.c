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
#include "tests/support/keygen.h"

#define ORIGIN "log.example/1"
#define LEAVES 64

static int keys_fd = -1;

/* A tree of up to LEAVES leaves, and its roots. */
static uint8_t leaves[LEAVES][DIGEST_LEN];

static int setup(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	for (uint8_t i = 0; i < LEAVES; i++)
		merkle_leaf(&i, 1, leaves[i]);
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	if (keys_fd >= 0)
		(void)unlinkat(keys_fd, SEALER_FILE, 0);
	(void)mkdir("keys", 0700);
	util_close(&keys_fd);
	keys_fd = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return keys_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	util_close(&keys_fd);
	return keygen_leave(state);
}

static void root_of(uint64_t from, uint64_t to, uint8_t ret[DIGEST_LEN])
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(merkle_append(&m, leaves[i]), 0);
	merkle_root(&m, ret);
}

/* RFC 6962 section 2.1.2, as it is written there: SUBPROOF(m, D[from:to], whole). */
static size_t subproof(
    uint64_t m, uint64_t from, uint64_t to, bool whole, uint8_t (*out)[DIGEST_LEN])
{
	uint64_t k = 1;
	size_t n;

	if (m == to - from) {
		if (whole)
			return 0;
		root_of(from, to, out[0]);
		return 1;
	}
	while (k * 2 < to - from)
		k *= 2;
	if (m <= k) {
		n = subproof(m, from, from + k, whole, out);
		root_of(from + k, to, out[n]);
	} else {
		n = subproof(m - k, from + k, to, false, out);
		root_of(from, from + k, out[n]);
	}
	return n + 1;
}

static struct sealer *open_sealer(void)
{
	struct sealer *s = NULL;
	struct err e = ERR_INIT;

	if (sealer_open(keys_fd, &s, &e) < 0)
		fail_msg("%s", err_text(&e));
	return s;
}

/* Seals the first `size` leaves with the right proof. note may be NULL. */
static int seal_as(
    struct sealer *s, const char *log, const char *origin, uint64_t size, struct buf *note)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct checkpoint last, c = {.size = size};
	cleanup_buf struct buf own;
	size_t n = 0;

	buf_init(&own, NOTE_MAX);
	(void)str_copy(c.origin, sizeof c.origin, origin);
	root_of(0, size, c.root);
	sealer_last(s, log, &last);
	if (last.size > 0 && last.size < size)
		n = subproof(last.size, 0, size, true, proof);
	return sealer_seal(s, log, &c, proof, n, note ? note : &own, NULL);
}

static int seal(struct sealer *s, const char *log, uint64_t size)
{
	char origin[NOTE_NAME_MAX + 1];

	assert_int_equal(sealer_origin_of(ORIGIN, log, origin, sizeof origin), 0);
	return seal_as(s, log, origin, size, NULL);
}

static void turn(struct sealer *s)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024u * 1024);
	for (size_t i = 0; sealer_log(s, i); i++)
		assert_int_equal(sealer_epoch_note(s, sealer_log(s, i), &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, sealer_epoch(s) + 1, NULL), 0);
}

static bool in_file(const void *what, size_t len)
{
	cleanup_buf struct buf b;

	buf_init(&b, 2u * SEALER_FILE_BYTES);
	assert_int_equal(fd_read_file(keys_fd, SEALER_FILE, 2u * SEALER_FILE_BYTES, &b, NULL), 0);
	assert_int_equal(b.len, SEALER_FILE_BYTES);
	return memmem(b.data, b.len, what, len) != NULL;
}

static void save(uint8_t *image)
{
	int fd = openat(keys_fd, SEALER_FILE, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_read_full(fd, image, SEALER_FILE_BYTES), 0);
	util_close(&fd);
}

static void put(const uint8_t *image)
{
	int fd = openat(keys_fd, SEALER_FILE, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, image, SEALER_FILE_BYTES), 0);
	util_close(&fd);
}

/* ---- what is signed ---- */

static void both_keys_sign_a_checkpoint(void **state)
{
	struct sealer *s = open_sealer();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	struct note_key log_key, epoch_key;
	struct checkpoint c;
	cleanup_buf struct buf b;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(seal(s, "host", 3), 0);
	assert_int_equal(seal_as(s, "demo", ORIGIN "/t/demo", 5, &b), 0);
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
	struct sealer *s = open_sealer();
	struct checkpoint last;

	(void)state;
	for (uint64_t size = 1; size <= LEAVES; size += 1 + size % 7)
		assert_int_equal(seal(s, "host", size), 0);
	sealer_last(s, "host", &last);
	assert_int_equal(seal(s, "host", last.size), 0); /* again the same */
	assert_int_equal(seal(s, "host", last.size - 1), -EPERM);
	assert_int_equal(seal(s, "host", 1), -EPERM);
	assert_int_equal(seal(s, "host", 0), -EPERM);
	sealer_free(s);
	s = open_sealer();
	assert_int_equal(seal(s, "host", 1), -EPERM); /* and it is not forgotten */
	sealer_free(s);
}

static void what_is_not_proved_is_not_signed(void **state)
{
	struct sealer *s = open_sealer();
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], other[DIGEST_LEN] = {1};
	struct checkpoint c = {.size = 20, .origin = ORIGIN};
	cleanup_buf struct buf b;
	size_t n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(seal(s, "host", 9), 0);
	root_of(0, 20, c.root);
	n = subproof(9, 0, 20, true, proof);
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
	assert_int_equal(seal(s, "host", 20), 0);
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
	struct sealer *s = open_sealer();

	(void)state;
	assert_int_equal(seal(s, "host", 1), 0);
	assert_string_equal(sealer_origin(s), ORIGIN);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(seal_as(s, bad[i].log, bad[i].origin, 2, NULL), -EPERM);
	assert_int_equal(seal_as(s, "demo", ORIGIN "/t/demo", 2, NULL), 0);
	sealer_free(s);
}

static void so_many_logs_and_no_more(void **state)
{
	struct sealer *s = open_sealer();
	char name[32];

	(void)state;
	assert_int_equal(seal(s, "host", 1), 0);
	for (int i = 1; i < SEALER_LOGS_MAX; i++) {
		(void)snprintf(name, sizeof name, "a123456789012345678901234567%03d", i);
		assert_int_equal(strlen(name), NAME_MAX_LEN);
		assert_int_equal(seal(s, name, 1), 0);
	}
	assert_int_equal(seal(s, "one-more", 1), -ENOBUFS);
	turn(s);
	sealer_free(s);
	s = open_sealer(); /* the fullest state can be read again */
	assert_int_equal(seal(s, name, 2), 0);
	assert_int_equal(sealer_epoch(s), 1);
	sealer_free(s);
}

/* ---- epochs ---- */

static void epochs_chain_from_the_first_key(void **state)
{
	struct sealer *s = open_sealer();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	struct note_key k;
	struct epoch_note en;
	struct note n;

	(void)state;
	assert_int_equal(seal(s, "host", 7), 0);
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
		assert_int_equal(seal_as(s, "host", ORIGIN, 7 + i, &b), 0);
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
	struct sealer *s = open_sealer();
	cleanup_buf struct buf b;
	struct epoch_note en;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(seal(s, "host", 7), 0);
	assert_int_equal(seal(s, "demo", 3), 0);
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
	struct sealer *s = open_sealer();
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 4 * NOTE_MAX);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EAGAIN); /* nothing sealed */
	assert_int_equal(seal(s, "host", 7), 0);
	assert_int_equal(seal(s, "demo", 3), 0);
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EAGAIN);
	assert_int_equal(sealer_epoch_note(s, "demo", &b, NULL), 0);
	assert_int_equal(seal(s, "host", 8), 0); /* its note is out of date */
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
	struct sealer *s = open_sealer();
	uint8_t old[SEED_LEN], sign[SEED_LEN];

	(void)state;
	assert_int_equal(seal(s, "host", 7), 0);
	for (int i = 0; i < 3; i++) {
		memcpy(old, sealer_epoch_seed(s), SEED_LEN);
		assert_int_equal(sealer_derive(old, "postern sign", sign), 0);
		assert_true(in_file(old, SEED_LEN)); /* so that the test can see it */
		turn(s);
		for (size_t at = 0; at + 8 <= SEED_LEN; at++) {
			assert_false(in_file(old + at, 8)); /* nor a part of it */
			assert_false(in_file(sign + at, 8));
		}
		assert_true(in_file(sealer_epoch_seed(s), SEED_LEN));
	}
	assert_int_equal(access("keys/" SEALER_FILE ".new", F_OK), -1);
	sealer_free(s);
}

/* Who has everything that the signer has today cannot sign for yesterday. */
static void a_thief_cannot_sign_for_a_past_epoch(void **state)
{
	struct sealer *s = open_sealer();
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
	uint8_t image[SEALER_FILE_BYTES], derived[SEED_LEN];
	cleanup_buf struct buf b;
	struct note_key past;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(seal(s, "host", 7), 0);
	turn(s);
	sealer_keys(s, log, epoch, first);
	assert_int_equal(sealer_epoch_key(ORIGIN, 0, first, &past, NULL), 0);
	sealer_free(s);
	save(image); /* stolen */
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
	s = open_sealer();
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	assert_int_equal(note_verify(&n, &past, NULL, NULL), 0);
	note_done(&n);
	sealer_free(s);
}

/* ---- the file ---- */

static void the_file_is_private_and_never_grows(void **state)
{
	struct sealer *s = open_sealer();
	struct stat before, after;

	(void)state;
	assert_int_equal(fstatat(keys_fd, SEALER_FILE, &before, 0), 0);
	assert_int_equal(before.st_mode & 07777, 0600);
	assert_int_equal(before.st_size, SEALER_FILE_BYTES);
	assert_true(before.st_blocks * 512 >= SEALER_FILE_BYTES);
	for (uint64_t i = 1; i < 20; i++)
		assert_int_equal(seal(s, i % 2 ? "host" : "demo", i), 0);
	turn(s);
	assert_int_equal(fstatat(keys_fd, SEALER_FILE, &after, 0), 0);
	assert_int_equal(after.st_ino, before.st_ino); /* overwritten in place */
	assert_int_equal(after.st_size, before.st_size);
	sealer_free(s);
	assert_int_equal(fchmodat(keys_fd, SEALER_FILE, 0640, 0), 0);
	assert_int_equal(sealer_open(keys_fd, &s, NULL), -EACCES);
}

/* Which half was written first by the ratchet between the two images. */
static unsigned first_written(const uint8_t *before, const uint8_t *after)
{
	/* the counter lies behind magic and version, big endian */
	(void)before;
	return memcmp(after + 12, after + SEALER_SLOT + 12, 8) < 0 ? 0 : 1;
}

static void a_ratchet_cut_between_its_halves_is_finished(void **state)
{
	uint8_t before[SEALER_FILE_BYTES], after[SEALER_FILE_BYTES], mix[SEALER_FILE_BYTES];
	uint8_t old[SEED_LEN];
	struct sealer *s = open_sealer();
	unsigned half;

	(void)state;
	assert_int_equal(seal(s, "host", 7), 0);
	memcpy(old, sealer_epoch_seed(s), SEED_LEN);
	save(before);
	turn(s);
	sealer_free(s);
	save(after);
	half = first_written(before, after);
	memcpy(mix, before, sizeof mix);
	memcpy(mix + half * SEALER_SLOT, after + half * SEALER_SLOT, SEALER_SLOT);
	put(mix);
	assert_true(in_file(old, SEED_LEN));
	s = open_sealer();
	assert_int_equal(sealer_epoch(s), 1);
	assert_false(in_file(old, SEED_LEN));
	assert_int_equal(seal(s, "host", 8), 0);
	sealer_free(s);
}

static void a_half_torn_anywhere_loses_nothing(void **state)
{
	uint8_t before[SEALER_FILE_BYTES], after[SEALER_FILE_BYTES], mix[SEALER_FILE_BYTES];
	struct checkpoint last;
	struct sealer *s = open_sealer();
	unsigned half;

	(void)state;
	assert_int_equal(seal(s, "host", 7), 0);
	save(before);
	assert_int_equal(seal(s, "host", 9), 0);
	sealer_free(s);
	save(after);
	half = memcmp(before, after, SEALER_SLOT) != 0 ? 0 : 1;
	for (size_t cut = 0; cut <= SEALER_SLOT; cut += cut < 600 ? 1 : 512) {
		memcpy(mix, before, sizeof mix);
		memcpy(mix + half * SEALER_SLOT, after + half * SEALER_SLOT, cut);
		put(mix);
		s = open_sealer();
		sealer_last(s, "host", &last);
		assert_true(last.size == 7 || last.size == 9);
		assert_int_equal(seal(s, "host", 9), 0);
		sealer_free(s);
	}
}

static void a_file_with_no_whole_half_is_not_replaced(void **state)
{
	uint8_t image[SEALER_FILE_BYTES];
	struct sealer *s = open_sealer();

	(void)state;
	sealer_free(s);
	save(image);
	image[40] ^= 1;
	image[SEALER_SLOT + 40] ^= 1;
	put(image);
	assert_int_equal(sealer_open(keys_fd, &s, NULL), -EUCLEAN);
	assert_int_equal(truncate("keys/" SEALER_FILE, SEALER_SLOT), 0);
	assert_int_equal(sealer_open(keys_fd, &s, NULL), -EUCLEAN);
}

/* No room for the second half, as on a full disk: nothing is signed, and nothing is forgotten. */
static void a_write_that_fails_signs_nothing(void **state)
{
	struct rlimit kept, small = {SEALER_SLOT / 2, SEALER_SLOT / 2};
	struct sealer *s = open_sealer();
	struct checkpoint last;
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(seal(s, "host", 7), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
	small.rlim_max = kept.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(seal_as(s, "host", ORIGIN, 9, &b), -EFBIG);
	assert_int_equal(seal_as(s, "demo", ORIGIN "/t/demo", 9, &b), -EFBIG);
	assert_int_equal(b.len, 0);
	sealer_last(s, "host", &last);
	assert_int_equal(last.size, 7);
	assert_null(sealer_log(s, 1));
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EFBIG);
	assert_int_equal(sealer_epoch(s), 0);
	buf_reset(&b);
	assert_int_equal(seal_as(s, "host", ORIGIN, 9, &b), -EFBIG); /* not before it is scrubbed */
	assert_int_equal(b.len, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
	assert_int_equal(seal(s, "host", 9), 0);
	turn(s);
	sealer_free(s);
	s = open_sealer();
	assert_int_equal(sealer_epoch(s), 1);
	sealer_free(s);
}

/* kill -9 while it seals and ratchets: what it had told is never taken back. */
static void killed_at_any_moment_it_recovers(void **state)
{
	struct checkpoint last;

	(void)state;
	for (int round = 0; round < 40; round++) {
		uint64_t told[2] = {0, 0};
		struct sealer *s;
		int fds[2];
		pid_t pid;

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			s = open_sealer();
			for (uint64_t i = 1;; i++) {
				uint64_t now[2];

				sealer_last(s, "host", &last);
				if (last.size < LEAVES)
					(void)seal(s, "host", last.size + 1);
				if (i % 3 == 0)
					turn(s);
				sealer_last(s, "host", &last);
				now[0] = last.size;
				now[1] = sealer_epoch(s);
				if (write(fds[1], now, sizeof now) < 0)
					_exit(0);
			}
		}
		util_close(&fds[1]);
		for (int i = 0; i <= round % 7; i++)
			assert_int_equal(fd_read_full(fds[0], told, sizeof told), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (fd_read_full(fds[0], told, sizeof told) == 0)
			;
		util_close(&fds[0]);
		s = open_sealer();
		sealer_last(s, "host", &last);
		assert_true(last.size >= told[0] && sealer_epoch(s) >= told[1]);
		assert_false(s->stale);
		sealer_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, fresh)
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
	    T(the_file_is_private_and_never_grows),
	    T(a_ratchet_cut_between_its_halves_is_finished),
	    T(a_half_torn_anywhere_loses_nothing),
	    T(a_file_with_no_whole_half_is_not_replaced),
	    T(a_write_that_fails_signs_nothing),
	    T(killed_at_any_moment_it_recovers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
