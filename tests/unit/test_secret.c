#include "lib/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"

static void has_the_length_asked_for_and_is_zero(void **state)
{
	static const size_t sizes[] = {1, 15, 16, 17, 32, 4095, 4096, 4097, SECRET_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		cleanup_secret struct secret *s = secret_new(sizes[i]);

		assert_non_null(s);
		assert_int_equal(secret_len(s), sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(secret_data(s)[k], 0);
		memset(secret_data(s), 0xff, sizes[i]);
	}
}

static void refuses_lengths_out_of_range(void **state)
{
	(void)state;
	assert_null(secret_new(0));
	assert_int_equal(errno, EINVAL);
	assert_null(secret_new(SECRET_MAX + 1));
	assert_int_equal(errno, EINVAL);
}

static void truncation_erases_the_rest(void **state)
{
	cleanup_secret struct secret *s = secret_new(32);

	(void)state;
	memset(secret_data(s), 0xaa, 32);
	secret_truncate(s, 40); /* never longer */
	assert_int_equal(secret_len(s), 32);
	secret_truncate(s, 8);
	assert_int_equal(secret_len(s), 8);
	assert_int_equal(secret_data(s)[7], 0xaa);
	for (size_t i = 8; i < 32; i++)
		assert_int_equal(secret_data(s)[i], 0);
}

static void free_takes_null_and_keeps_errno(void **state)
{
	struct secret *s = secret_new(1);

	(void)state;
	secret_free(NULL);
	errno = ENOTTY;
	secret_free(s);
	assert_int_equal(errno, ENOTTY);
}

static void compares(void **state)
{
	(void)state;
	assert_true(secret_equal("abcd", "abcd", 4));
	assert_false(secret_equal("abcd", "abce", 4));
	assert_false(secret_equal("abcd", "bbcd", 4));
	assert_true(secret_equal("abcd", "abce", 3));
	assert_true(secret_equal("", "", 0));
}

static void wipes(void **state)
{
	char text[] = "secret";

	(void)state;
	secret_wipe(text, 3);
	assert_memory_equal(text, "\0\0\0ret", 6);
	secret_wipe(NULL, 0);
}

static int in_child(void (*fn)(struct secret *), struct secret *s)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* cmocka and the sanitizers catch it */
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		fn(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_zero(struct secret *s)
{
	for (size_t i = 0; i < secret_len(s); i++)
		if (secret_data(s)[i] != 0)
			_exit(1);
}

static void a_forked_child_sees_zeroes(void **state)
{
	cleanup_secret struct secret *s = secret_new(64);

	(void)state;
	memset(secret_data(s), 0x55, 64);
	assert_int_equal(in_child(expect_zero, s), 0);
	assert_int_equal(secret_data(s)[0], 0x55);
}

static void overrun(struct secret *s)
{
	((volatile uint8_t *)secret_data(s))[secret_len(s)] = 1;
}

static void underrun(struct secret *s)
{
	((volatile uint8_t *)secret_data(s))[-4096] = 1;
}

static void guard_pages_stop_an_overrun(void **state)
{
	cleanup_secret struct secret *s = secret_new(64);
	int status;

	(void)state;
	status = in_child(overrun, s);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = in_child(underrun, s);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* VmFlags of the mapping that holds p: dd (no dump), wf (wipe on fork), lo (locked). */
static bool has_flag(const void *p, const char *flag)
{
	char line[512], want[8];
	unsigned long from, to;
	bool inside = false, found = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	assert_non_null(f);
	(void)snprintf(want, sizeof want, " %s", flag);
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, want) != NULL;
	}
	(void)fclose(f);
	return found;
}

static void is_kept_out_of_dumps_children_and_swap(void **state)
{
	cleanup_secret struct secret *s = secret_new(64);

	(void)state;
	assert_true(has_flag(secret_data(s), "dd"));
	assert_true(has_flag(secret_data(s), "wf"));
#ifndef POSTERN_SAN                                  /* the sanitizer ignores mlock() */
	assert_true(has_flag(secret_data(s), "lo")); /* one page is below every RLIMIT_MEMLOCK */
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(has_the_length_asked_for_and_is_zero),
	    cmocka_unit_test(refuses_lengths_out_of_range),
	    cmocka_unit_test(truncation_erases_the_rest),
	    cmocka_unit_test(free_takes_null_and_keeps_errno),
	    cmocka_unit_test(compares),
	    cmocka_unit_test(wipes),
	    cmocka_unit_test(a_forked_child_sees_zeroes),
	    cmocka_unit_test(guard_pages_stop_an_overrun),
	    cmocka_unit_test(is_kept_out_of_dumps_children_and_swap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
