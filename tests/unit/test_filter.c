/*
 * The agent's seccomp programs, run here on made-up calls: how many calls they allow, and what they
 * answer to the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#include "broker/spawn/filter.h"

#define DOCKER_ALLOWS 364 /* its default profile, without any capability */
#define NUMBERS       512
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* The few instructions that filter_gen writes. */
static uint32_t verdict(enum plan_seccomp profile, const struct seccomp_data *d)
{
	const struct filter_program *f = filter_for(profile);
	uint32_t a = 0;

	for (size_t at = 0; at < f->len; at++) {
		const struct sock_filter *i = &f->insns[at];
		bool yes = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k + sizeof a <= sizeof *d);
			memcpy(&a, (const char *)d + i->k, sizeof a);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_JMP | BPF_JA:
			at += i->k;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = (a & i->k) != 0;
			break;
		default:
			fail();
		}
		at += yes ? i->jt : i->jf;
	}
	fail_msg("the program has no end");
	return 0;
}

static uint32_t call(enum plan_seccomp profile, int nr, uint64_t a, uint64_t b, uint64_t c)
{
	struct seccomp_data d = {.nr = nr, .arch = ARCH, .args = {a, b, c}};

	return verdict(profile, &d);
}

#define NO(e) (SECCOMP_RET_ERRNO | (e))

static size_t allowed(enum plan_seccomp profile)
{
	size_t n = 0;

	/* allowed with some arguments counts as allowed */
	for (int nr = 0; nr < NUMBERS; nr++)
		n += call(profile, nr, 1, 1, 0) == SECCOMP_RET_ALLOW ||
		     call(profile, nr, 0, 0, 0) == SECCOMP_RET_ALLOW;
	return n;
}

static void fewer_calls_are_allowed_than_docker_allows(void **state)
{
	(void)state;
	assert_true(allowed(PLAN_SECCOMP_DEFAULT) > 200);
	assert_true(allowed(PLAN_SECCOMP_DEFAULT) < DOCKER_ALLOWS);
	assert_true(allowed(PLAN_SECCOMP_STRICT) < allowed(PLAN_SECCOMP_DEFAULT));
}

static void strict_allows_nothing_that_default_refuses(void **state)
{
	(void)state;
	for (int nr = 0; nr < NUMBERS; nr++)
		for (uint64_t a = 0; a < 64; a++)
			if (call(PLAN_SECCOMP_STRICT, nr, a, a, a) == SECCOMP_RET_ALLOW)
				assert_int_equal(
				    call(PLAN_SECCOMP_DEFAULT, nr, a, a, a), SECCOMP_RET_ALLOW);
}

static void unknown_calls_do_not_exist(void **state)
{
	(void)state;
	for (int nr = 480; nr < 100000; nr++)
		assert_int_equal(call(PLAN_SECCOMP_DEFAULT, nr, 0, 0, 0), NO(ENOSYS));
}

static void another_architecture_is_killed(void **state)
{
	struct seccomp_data d = {.nr = 1, .arch = AUDIT_ARCH_I386};

	(void)state;
	assert_int_equal(verdict(PLAN_SECCOMP_DEFAULT, &d), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(verdict(PLAN_SECCOMP_STRICT, &d), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(
	    call(PLAN_SECCOMP_STRICT, 0x40000000 | 1, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

static void families_and_protocols_are_few(void **state)
{
	const enum plan_seccomp d = PLAN_SECCOMP_DEFAULT;

	(void)state;
	for (uint64_t family = 0; family < 64; family++) {
		bool known = family == 1 || family == 2 || family == 10 || family == 16;

		/* CVE-2019-10063's kind: high bits that the kernel drops */
		assert_int_equal(call(d, SYS_socket, family, 1, 0) == SECCOMP_RET_ALLOW, known);
		assert_int_equal(
		    call(d, SYS_socket, family | UINT64_C(2) << 32, 1, 0) == SECCOMP_RET_ALLOW,
		    known);
		assert_int_equal(
		    call(PLAN_SECCOMP_STRICT, SYS_socket, family, 1, 0) == SECCOMP_RET_ALLOW,
		    family == 1);
	}
	for (uint64_t protocol = 0; protocol < 300; protocol++) {
		assert_int_equal(call(d, SYS_socket, 2, 1, protocol) == SECCOMP_RET_ALLOW,
		    protocol == 0 || protocol == 6);
		assert_int_equal(call(d, SYS_socket, 10, 2, protocol) == SECCOMP_RET_ALLOW,
		    protocol == 0 || protocol == 17);
		assert_int_equal(
		    call(d, SYS_socket, 16, 3, protocol) == SECCOMP_RET_ALLOW, protocol == 0);
	}
}

static void strict_runs_nothing_from_memory(void **state)
{
	(void)state;
	assert_int_equal(call(PLAN_SECCOMP_STRICT, SYS_memfd_create, 0, 0, 0), NO(ENOSYS));
	assert_int_equal(call(PLAN_SECCOMP_STRICT, SYS_execveat, 0, 0, 0), NO(ENOSYS));
	assert_int_not_equal(call(PLAN_SECCOMP_STRICT, SYS_ptrace, 0, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_not_equal(
	    call(PLAN_SECCOMP_STRICT, SYS_process_vm_readv, 0, 0, 0), SECCOMP_RET_ALLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fewer_calls_are_allowed_than_docker_allows),
	    cmocka_unit_test(strict_allows_nothing_that_default_refuses),
	    cmocka_unit_test(unknown_calls_do_not_exist),
	    cmocka_unit_test(another_architecture_is_killed),
	    cmocka_unit_test(families_and_protocols_are_few),
	    cmocka_unit_test(strict_runs_nothing_from_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
