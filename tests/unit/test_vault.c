#include "creds/vault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "lib/util.h"

/* A file of two frames, in memory. */

static struct secret *pass(const char *text)
{
	struct secret *s = secret_new(strlen(text));

	assert_non_null(s);
	memcpy(secret_data(s), text, strlen(text));
	return s;
}

static int make(void)
{
	cleanup_secret struct secret *p = pass("correct horse");
	cleanup_vault struct vault *v = NULL;
	int fd = memfd_create("vault", MFD_CLOEXEC);

	assert_int_equal(vault_create(fd, p, &v, NULL), 0);
	assert_int_equal(vault_put(v, "first", 5, false, NULL), 0);
	assert_int_equal(vault_put(v, "", 0, false, NULL), -EINVAL);
	assert_int_equal(vault_put(v, "second", 6, true, NULL), 0);
	assert_int_equal(vault_put(v, "third", 5, false, NULL), -EINVAL);
	return fd;
}

/* Both frames as they were: 0, or the first error. */
static int read_all(int fd, const char *text)
{
	cleanup_secret struct secret *p = pass(text);
	cleanup_vault struct vault *v = NULL;
	static const char *const want[] = {"first", "second"};
	int r;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	if ((r = vault_open(fd, p, &v, NULL)) < 0)
		return r;
	for (size_t i = 0; i < 2; i++) {
		cleanup_secret struct secret *s = NULL;
		bool last;

		if ((r = vault_get(v, &s, &last, NULL)) < 0)
			return r;
		assert_int_equal(last, i == 1);
		assert_int_equal(secret_len(s), strlen(want[i]));
		assert_memory_equal(secret_data(s), want[i], strlen(want[i]));
	}
	return 0;
}

static void what_was_put_is_got(void **state)
{
	int fd = make();

	(void)state;
	assert_int_equal(read_all(fd, "correct horse"), 0);
	assert_int_equal(read_all(fd, "correct horsf"), -EKEYREJECTED);
	assert_int_equal(read_all(fd, "short"), -EINVAL);
	(void)close(fd);
}

/* Bytes that cost a key each are few; the rest of the header is bounded before. */
static void any_changed_byte_is_refused(void **state)
{
	int fd = make();
	off_t size = lseek(fd, 0, SEEK_END);

	(void)state;
	for (off_t i = 0; i < size; i++) {
		uint8_t byte, flipped;

		if (i > VAULT_MAGIC_LEN + 14 && i < VAULT_HEADER - 1)
			continue; /* the salt: its ends will do */
		assert_int_equal(pread(fd, &byte, 1, i), 1);
		flipped = byte ^ 1;
		assert_int_equal(pwrite(fd, &flipped, 1, i), 1);
		assert_true(read_all(fd, "correct horse") < 0);
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		if (i == VAULT_HEADER - 1 || i >= VAULT_HEADER + VAULT_FRAME_HEAD)
			i += 7;
	}
	assert_int_equal(read_all(fd, "correct horse"), 0);
	(void)close(fd);
}

static void a_file_that_breaks_off_is_refused(void **state)
{
	int fd = make();
	off_t size = lseek(fd, 0, SEEK_END);

	(void)state;
	assert_int_equal(ftruncate(fd, size - 1), 0);
	assert_int_equal(read_all(fd, "correct horse"), -EBADMSG);
	/* the whole last frame is gone: the first was not the last */
	assert_int_equal(ftruncate(fd, VAULT_HEADER + VAULT_FRAME_HEAD + 5 + VAULT_TAG), 0);
	assert_int_equal(read_all(fd, "correct horse"), -EBADMSG);
	(void)close(fd);
}

static void the_work_that_a_file_asks_for_is_bounded(void **state)
{
	uint8_t h[VAULT_HEADER] = VAULT_MAGIC "\0\0\0\1\x11\0\0\0\x8\0\0\0\1";
	struct vault_header ret;

	(void)state;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), 0);
	assert_int_equal(vault_header_parse(h, sizeof h - 1, &ret, NULL), -EBADMSG);
	h[14] = VAULT_LOG2_N_MAX;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), 0);
	h[14] = VAULT_LOG2_N_MAX + 1;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -ERANGE);
	h[14] = VAULT_LOG2_N_MIN - 1;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -ERANGE);
	h[14] = VAULT_LOG2_N;
	h[18] = VAULT_R_MAX + 1;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -ERANGE);
	h[18] = VAULT_R;
	h[22] = VAULT_P_MAX + 1;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -ERANGE);
	h[22] = 0;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -ERANGE);
	h[22] = 1;
	h[13] = 2;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -EPROTO);
	h[0] ^= 1;
	assert_int_equal(vault_header_parse(h, sizeof h, &ret, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_put_is_got),
	    cmocka_unit_test(any_changed_byte_is_refused),
	    cmocka_unit_test(a_file_that_breaks_off_is_refused),
	    cmocka_unit_test(the_work_that_a_file_asks_for_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
