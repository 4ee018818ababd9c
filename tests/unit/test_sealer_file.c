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

/* ---- the file ---- */

static void the_file_is_private_and_never_grows(void **state)
{
	struct sealer *s = sealer_rig_open();
	struct stat before, after;

	(void)state;
	assert_int_equal(fstatat(sealer_rig_keys, SEALER_FILE, &before, 0), 0);
	assert_int_equal(before.st_mode & 07777, 0600);
	assert_int_equal(before.st_size, SEALER_FILE_BYTES);
	assert_true(before.st_blocks * 512 >= SEALER_FILE_BYTES);
	for (uint64_t i = 1; i < 20; i++)
		assert_int_equal(sealer_rig_seal(s, i % 2 ? "host" : "demo", i), 0);
	sealer_rig_turn(s);
	assert_int_equal(fstatat(sealer_rig_keys, SEALER_FILE, &after, 0), 0);
	assert_int_equal(after.st_ino, before.st_ino); /* overwritten in place */
	assert_int_equal(after.st_size, before.st_size);
	sealer_free(s);
	assert_int_equal(fchmodat(sealer_rig_keys, SEALER_FILE, 0640, 0), 0);
	assert_int_equal(sealer_open(sealer_rig_keys, &s, NULL), -EACCES);
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
	struct sealer *s = sealer_rig_open();
	unsigned half;

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	memcpy(old, sealer_epoch_seed(s), SEED_LEN);
	sealer_rig_save(before);
	sealer_rig_turn(s);
	sealer_free(s);
	sealer_rig_save(after);
	half = first_written(before, after);
	memcpy(mix, before, sizeof mix);
	memcpy(mix + half * SEALER_SLOT, after + half * SEALER_SLOT, SEALER_SLOT);
	sealer_rig_put(mix);
	assert_true(sealer_rig_in_file(old, SEED_LEN));
	s = sealer_rig_open();
	assert_int_equal(sealer_epoch(s), 1);
	assert_false(sealer_rig_in_file(old, SEED_LEN));
	assert_int_equal(sealer_rig_seal(s, "host", 8), 0);
	sealer_free(s);
}

static void a_half_torn_anywhere_loses_nothing(void **state)
{
	uint8_t before[SEALER_FILE_BYTES], after[SEALER_FILE_BYTES], mix[SEALER_FILE_BYTES];
	struct checkpoint last;
	struct sealer *s = sealer_rig_open();
	unsigned half;

	(void)state;
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	sealer_rig_save(before);
	assert_int_equal(sealer_rig_seal(s, "host", 9), 0);
	sealer_free(s);
	sealer_rig_save(after);
	half = memcmp(before, after, SEALER_SLOT) != 0 ? 0 : 1;
	for (size_t cut = 0; cut <= SEALER_SLOT; cut += cut < 600 ? 1 : 512) {
		memcpy(mix, before, sizeof mix);
		memcpy(mix + half * SEALER_SLOT, after + half * SEALER_SLOT, cut);
		sealer_rig_put(mix);
		s = sealer_rig_open();
		sealer_last(s, "host", &last);
		assert_true(last.size == 7 || last.size == 9);
		assert_int_equal(sealer_rig_seal(s, "host", 9), 0);
		sealer_free(s);
	}
}

static void a_file_with_no_whole_half_is_not_replaced(void **state)
{
	uint8_t image[SEALER_FILE_BYTES];
	struct sealer *s = sealer_rig_open();

	(void)state;
	sealer_free(s);
	sealer_rig_save(image);
	image[40] ^= 1;
	image[SEALER_SLOT + 40] ^= 1;
	sealer_rig_put(image);
	assert_int_equal(sealer_open(sealer_rig_keys, &s, NULL), -EUCLEAN);
	assert_int_equal(truncate("keys/" SEALER_FILE, SEALER_SLOT), 0);
	assert_int_equal(sealer_open(sealer_rig_keys, &s, NULL), -EUCLEAN);
}

/* No room for the second half, as on a full disk: nothing is signed, and nothing is forgotten. */
static void a_write_that_fails_signs_nothing(void **state)
{
	struct rlimit kept, small = {SEALER_SLOT / 2, SEALER_SLOT / 2};
	struct sealer *s = sealer_rig_open();
	struct checkpoint last;
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 7), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
	small.rlim_max = kept.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(sealer_rig_seal_as(s, "host", ORIGIN, 9, &b), -EFBIG);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN "/t/demo", 9, &b), -EFBIG);
	assert_int_equal(b.len, 0);
	sealer_last(s, "host", &last);
	assert_int_equal(last.size, 7);
	assert_null(sealer_log(s, 1));
	assert_int_equal(sealer_epoch_note(s, "host", &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), -EFBIG);
	assert_int_equal(sealer_epoch(s), 0);
	buf_reset(&b);
	assert_int_equal(
	    sealer_rig_seal_as(s, "host", ORIGIN, 9, &b), -EFBIG); /* not before it is scrubbed */
	assert_int_equal(b.len, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
	assert_int_equal(sealer_rig_seal(s, "host", 9), 0);
	sealer_rig_turn(s);
	sealer_free(s);
	s = sealer_rig_open();
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
			s = sealer_rig_open();
			for (uint64_t i = 1;; i++) {
				uint64_t now[2];

				sealer_last(s, "host", &last);
				if (last.size < LEAVES)
					(void)sealer_rig_seal(s, "host", last.size + 1);
				if (i % 3 == 0)
					sealer_rig_turn(s);
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
		s = sealer_rig_open();
		sealer_last(s, "host", &last);
		assert_true(last.size >= told[0] && sealer_epoch(s) >= told[1]);
		assert_false(s->stale);
		sealer_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, sealer_rig_fresh)
	    T(the_file_is_private_and_never_grows),
	    T(a_ratchet_cut_between_its_halves_is_finished),
	    T(a_half_torn_anywhere_loses_nothing),
	    T(a_file_with_no_whole_half_is_not_replaced),
	    T(a_write_that_fails_signs_nothing),
	    T(killed_at_any_moment_it_recovers),
	};

	return cmocka_run_group_tests(tests, sealer_rig_enter, sealer_rig_leave);
}
