#include "broker/witness/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/str.h"
#include "tests/support/witness_rig.h"

/* ---- a disk that fails when told to ---- */

static int syncs, fail_at; /* the fail_at-th fsync from now on fails; 0: none */

int fsync(int fd)
{
	static int (*real)(int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	if (++syncs == fail_at) {
		errno = EIO;
		return -1;
	}
	return real(fd);
}

#define ADD(w, ...) rig_add(w, &(struct rig_request){__VA_ARGS__})

static void assert_size(const struct witness_rig *w, const char *text)
{
	assert_string_equal(w->type, JUDGE_TYPE_SIZE);
	assert_int_equal(w->out.len, strlen(text));
	assert_memory_equal(w->out.data, text, w->out.len);
}

static void setup(struct witness_rig *w)
{
	witness_rig_open(w);
	syncs = fail_at = 0;
}

/* ---- the specification ---- */

static void whatever_continues_the_last_is_cosigned(void **state)
{
	struct witness_rig w;

	(void)state;
	for (uint64_t old = 0; old <= 17; old++) {
		for (uint64_t size = old; size <= 17; size++) {
			setup(&w);
			assert_int_equal(ADD(&w, .old = 0, .size = old), 200);
			assert_int_equal(ADD(&w, .old = old, .size = size), 200);
			rig_check_cosigned(&w, &(struct rig_request){.size = size});
			witness_rig_close(&w);
		}
	}
}

static void an_old_size_that_is_not_the_last_is_a_conflict(void **state)
{
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .old = 3, .size = 5), 409);
	assert_size(&w, "0\n");
	assert_int_equal(ADD(&w, .old = 0, .size = 8), 200);
	assert_int_equal(ADD(&w, .old = 0, .size = 9), 409);
	assert_size(&w, "8\n");
	assert_int_equal(ADD(&w, .old = 7, .size = 9), 409);
	assert_int_equal(ADD(&w, .old = 9, .size = 9), 409);
	assert_int_equal(ADD(&w, .old = 5, .size = 5), 409); /* an older one is never cosigned */
	assert_size(&w, "8\n");
	assert_int_equal(ADD(&w, .old = 8, .size = 9), 200);
	witness_rig_close(&w);
}

static void an_old_size_beyond_the_checkpoint_is_malformed(void **state)
{
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .old = 0, .size = 8), 200);
	assert_int_equal(ADD(&w, .old = 8, .size = 7), 400);
	assert_int_equal(ADD(&w, .old = 9, .size = 8), 400);
	witness_rig_close(&w);
}

static void another_root_of_the_same_size_is_a_conflict_and_kept_as_proof(void **state)
{
	struct rig_request fork = {.old = 8, .size = 8, .branch = 1, .branch_at = 5};
	struct witness_log l;
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .old = 0, .size = 8), 200);
	assert_int_equal(witness_state_load(&w.state, &w.key.public, RIG_ORIGIN, &l, NULL), 0);
	assert_false(l.forked);
	fork.old = 0; /* whatever the old size */
	assert_int_equal(rig_add(&w, &fork), 409);
	assert_size(&w, "8\n");
	fork.old = 8;
	assert_int_equal(rig_add(&w, &fork), 409);
	assert_size(&w, "8\n");
	assert_int_equal(witness_state_load(&w.state, &w.key.public, RIG_ORIGIN, &l, NULL), 0);
	assert_true(l.forked);
	assert_int_equal(l.point.size, 8);
	/* the history that it knows goes on */
	assert_int_equal(ADD(&w, .old = 8, .size = 9), 200);
	witness_rig_close(&w);
}

static void a_history_of_another_past_is_not_proved(void **state)
{
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .old = 0, .size = 8), 200);
	assert_int_equal(ADD(&w, .old = 8, .size = 12, .branch = 1, .branch_at = 5), 422);
	assert_int_equal(ADD(&w, .old = 8, .size = 12, .branch = 1, .branch_at = 8), 200);
	assert_int_equal(ADD(&w, .old = 12, .size = 13), 422);
	witness_rig_close(&w);
}

static void a_proof_too_much_or_too_little_is_not_accepted(void **state)
{
	static const char extra[] = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
	static const uint64_t sizes[][2] = {{0, 8}, {8, 8}, {8, 12}};
	struct buf longer;
	struct witness_rig w;

	(void)state;
	setup(&w);
	buf_init(&longer, 65536);
	for (size_t i = 0; i < 3; i++) {
		rig_body(&w, &(struct rig_request){.old = sizes[i][0], .size = sizes[i][1]});
		buf_reset(&longer);
		buf_put(&longer, w.body.data, 6); /* "old N\n" */
		buf_put(&longer, extra, strlen(extra));
		buf_put(&longer, w.body.data + 6, w.body.len - 6);
		buf_reset(&w.body);
		buf_put(&w.body, longer.data, longer.len);
		assert_int_equal(rig_ask(&w), 422);
		if (i == 0)
			assert_int_equal(ADD(&w, .old = 0, .size = 8), 200);
	}
	rig_body(&w, &(struct rig_request){.old = 8, .size = 12});
	buf_reset(&longer);
	buf_put(&longer, w.body.data, 6);
	buf_put(&longer, w.body.data + 6 + 45, w.body.len - 6 - 45); /* a hash less */
	buf_reset(&w.body);
	buf_put(&w.body, longer.data, longer.len);
	assert_int_equal(rig_ask(&w), 422);
	buf_done(&longer);
	witness_rig_close(&w);
}

static void who_did_not_sign_is_forbidden_and_who_is_unknown_not_found(void **state)
{
	struct witness_rig w;

	(void)state;
	setup(&w);
	memset(w.seed, 8, sizeof w.seed); /* another key of the same name */
	assert_int_equal(ADD(&w, .old = 0, .size = 8), 403);
	assert_int_equal(ADD(&w, .old = 0, .size = 8, .origin = "other.example"), 404);
	memset(w.seed, 7, sizeof w.seed);
	assert_int_equal(ADD(&w, .old = 0, .size = 8, .origin = "other.example"), 404);
	rig_body(&w, &(struct rig_request){.old = 0, .size = 8});
	w.body.data[w.body.len - 10] ^= 2; /* inside the signature's base64 */
	assert_int_equal(rig_ask(&w), 403);
	/* said before anything about sizes: a stranger learns none */
	memset(w.seed, 8, sizeof w.seed);
	assert_int_equal(ADD(&w, .old = 9, .size = 8), 403);
	witness_rig_close(&w);
}

static void each_log_has_a_size_of_its_own(void **state)
{
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .size = 8), 200);
	assert_int_equal(ADD(&w, .size = 3, .origin = RIG_ORIGIN "/t/demo"), 200);
	assert_int_equal(ADD(&w, .old = 3, .size = 4, .origin = RIG_ORIGIN "/t/other"), 409);
	assert_size(&w, "0\n");
	assert_int_equal(ADD(&w, .old = 3, .size = 4, .origin = RIG_ORIGIN "/t/demo"), 200);
	assert_int_equal(ADD(&w, .old = 8, .size = 9), 200);
	witness_rig_close(&w);
}

static void extension_lines_are_cosigned_along(void **state)
{
	struct rig_request q = {.old = 0, .size = 4, .extension = "ext 1\n"};
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(rig_add(&w, &q), 200);
	rig_check_cosigned(&w, &q);
	assert_int_equal(ADD(&w, .old = 4, .size = 6), 200);
	witness_rig_close(&w);
}

/* ---- what is kept ---- */

static void nothing_is_cosigned_that_is_not_on_disk(void **state)
{
	struct witness_rig w;

	(void)state;
	for (int at = 1; at <= 2; at++) { /* the file, its directory */
		setup(&w);
		assert_int_equal(ADD(&w, .old = 0, .size = 4), 200);
		assert_int_equal(syncs, 2);
		syncs = 0;
		fail_at = at;
		assert_int_equal(ADD(&w, .old = 4, .size = 6), 500);
		assert_int_equal(syncs, at);
		assert_null(memmem(w.out.data, w.out.len, "\xe2\x80\x94", 3));
		fail_at = 0;
		syncs = 0;
		/* what failed is written again as a whole, also when it seems to be there */
		assert_int_equal(ADD(&w, .old = at == 1 ? 4 : 6, .size = 6), 200);
		assert_int_equal(syncs, 2);
		witness_rig_close(&w);
	}
}

static void a_new_log_beyond_its_host_s_share_is_not_found(void **state)
{
	struct witness_rig w;
	char name[64];

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .size = 2, .origin = RIG_ORIGIN "/t/first"), 200);
	for (unsigned i = 1; i < TRUST_TENANTS_MAX; i++) {
		(void)snprintf(name, sizeof name, RIG_ORIGIN "/t/t%u", i);
		trust_kept(w.witness.trust, name);
	}
	assert_int_equal(ADD(&w, .size = 2, .origin = RIG_ORIGIN "/t/more"), 404);
	assert_int_equal(ADD(&w, .old = 2, .size = 3, .origin = RIG_ORIGIN "/t/first"), 200);
	assert_int_equal(ADD(&w, .size = 2), 200);
	witness_rig_close(&w);
}

static void a_damaged_memory_cosigns_nothing(void **state)
{
	struct witness_log l;
	struct witness_rig w;

	(void)state;
	setup(&w);
	assert_int_equal(ADD(&w, .old = 0, .size = 4), 200);
	assert_int_equal(witness_state_load(&w.state, &w.key.public, RIG_ORIGIN, &l, NULL), 0);
	assert_int_equal(witness_state_save(&w.state, RIG_ORIGIN, "", 0, NULL), 0);
	assert_int_equal(ADD(&w, .old = 4, .size = 6), 500);
	assert_int_equal(ADD(&w, .old = 0, .size = 6), 500);
	assert_int_equal(ADD(&w, .old = 0, .size = 6, .origin = RIG_ORIGIN "/t/demo"), 200);
	witness_rig_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whatever_continues_the_last_is_cosigned),
	    cmocka_unit_test(an_old_size_that_is_not_the_last_is_a_conflict),
	    cmocka_unit_test(an_old_size_beyond_the_checkpoint_is_malformed),
	    cmocka_unit_test(another_root_of_the_same_size_is_a_conflict_and_kept_as_proof),
	    cmocka_unit_test(a_history_of_another_past_is_not_proved),
	    cmocka_unit_test(a_proof_too_much_or_too_little_is_not_accepted),
	    cmocka_unit_test(who_did_not_sign_is_forbidden_and_who_is_unknown_not_found),
	    cmocka_unit_test(each_log_has_a_size_of_its_own),
	    cmocka_unit_test(extension_lines_are_cosigned_along),
	    cmocka_unit_test(nothing_is_cosigned_that_is_not_on_disk),
	    cmocka_unit_test(a_new_log_beyond_its_host_s_share_is_not_found),
	    cmocka_unit_test(a_damaged_memory_cosigns_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
