#include "tests/support/sealer_rig.h"

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

#include "creds/sealer_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/merkle.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

int sealer_rig_keys = -1;

/* A tree of up to LEAVES leaves, and its roots. */
static uint8_t leaves[LEAVES][DIGEST_LEN];

int sealer_rig_enter(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	for (uint8_t i = 0; i < LEAVES; i++)
		merkle_leaf(&i, 1, leaves[i]);
	return 0;
}

int sealer_rig_fresh(void **state)
{
	(void)state;
	if (sealer_rig_keys >= 0)
		(void)unlinkat(sealer_rig_keys, SEALER_FILE, 0);
	(void)mkdir("keys", 0700);
	util_close(&sealer_rig_keys);
	sealer_rig_keys = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return sealer_rig_keys < 0 ? -1 : 0;
}

int sealer_rig_leave(void **state)
{
	util_close(&sealer_rig_keys);
	return keygen_leave(state);
}

void sealer_rig_root(uint64_t from, uint64_t to, uint8_t ret[DIGEST_LEN])
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(merkle_append(&m, leaves[i]), 0);
	merkle_root(&m, ret);
}

/* RFC 6962 section 2.1.2, as it is written there: SUBPROOF(m, D[from:to], whole). */
size_t sealer_rig_proof(
    uint64_t m, uint64_t from, uint64_t to, bool whole, uint8_t (*out)[DIGEST_LEN])
{
	uint64_t k = 1;
	size_t n;

	if (m == to - from) {
		if (whole)
			return 0;
		sealer_rig_root(from, to, out[0]);
		return 1;
	}
	while (k * 2 < to - from)
		k *= 2;
	if (m <= k) {
		n = sealer_rig_proof(m, from, from + k, whole, out);
		sealer_rig_root(from + k, to, out[n]);
	} else {
		n = sealer_rig_proof(m - k, from + k, to, false, out);
		sealer_rig_root(from, from + k, out[n]);
	}
	return n + 1;
}

struct sealer *sealer_rig_open(void)
{
	struct sealer *s = NULL;
	struct err e = ERR_INIT;

	if (sealer_open(sealer_rig_keys, &s, &e) < 0)
		fail_msg("%s", err_text(&e));
	return s;
}

/* Seals the first `size` leaves with the right proof. note may be NULL. */
int sealer_rig_seal_as(
    struct sealer *s, const char *log, const char *origin, uint64_t size, struct buf *note)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct checkpoint last, c = {.size = size};
	cleanup_buf struct buf own;
	size_t n = 0;

	buf_init(&own, NOTE_MAX);
	(void)str_copy(c.origin, sizeof c.origin, origin);
	sealer_rig_root(0, size, c.root);
	sealer_last(s, log, &last);
	if (last.size > 0 && last.size < size)
		n = sealer_rig_proof(last.size, 0, size, true, proof);
	return sealer_seal(s, log, &c, proof, n, note ? note : &own, NULL);
}

int sealer_rig_seal(struct sealer *s, const char *log, uint64_t size)
{
	char origin[NOTE_NAME_MAX + 1];

	assert_int_equal(sealer_origin_of(ORIGIN, log, origin, sizeof origin), 0);
	return sealer_rig_seal_as(s, log, origin, size, NULL);
}

void sealer_rig_turn(struct sealer *s)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024u * 1024);
	for (size_t i = 0; sealer_log(s, i); i++)
		assert_int_equal(sealer_epoch_note(s, sealer_log(s, i), &b, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, sealer_epoch(s) + 1, NULL), 0);
}

bool sealer_rig_in_file(const void *what, size_t len)
{
	cleanup_buf struct buf b;

	buf_init(&b, 2u * SEALER_FILE_BYTES);
	assert_int_equal(
	    fd_read_file(sealer_rig_keys, SEALER_FILE, 2u * SEALER_FILE_BYTES, &b, NULL), 0);
	assert_int_equal(b.len, SEALER_FILE_BYTES);
	return memmem(b.data, b.len, what, len) != NULL;
}

void sealer_rig_save(uint8_t *image)
{
	int fd = openat(sealer_rig_keys, SEALER_FILE, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_read_full(fd, image, SEALER_FILE_BYTES), 0);
	util_close(&fd);
}

void sealer_rig_put(const uint8_t *image)
{
	int fd = openat(sealer_rig_keys, SEALER_FILE, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, image, SEALER_FILE_BYTES), 0);
	util_close(&fd);
}
