#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core/authorize.h"
#include "broker/core/config.h"
#include "creds/ca.h"
#include "creds/cert.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/fdio.h"
#include "tests/support/config_dir.h"

/*
 * From bytes to a grant, without a core around it: ten thousand damaged certificates get nobody in,
 * and each reason fits one line. What good and bad certificates lead to is in test_core_auth.c.
 */

#define NOW INT64_C(1800000000)

struct fix {
	struct config_dir *dir;
	struct config *config;
	struct buf cert;
};

/* The first CA of config_dir is gone when it is set up; so this one has its own. */
static int setup(void **state)
{
	const char *principal = "agent";
	struct fix *f = calloc(1, sizeof *f);
	struct key_private *ca, *subject;
	struct buf line;
	void *dir = NULL;

	assert_int_equal(config_dir_setup(&dir), 0);
	f->dir = dir;
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &ca, NULL), 0);
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &subject, NULL), 0);
	buf_init(&line, 1024);
	key_format_line(key_private_public(ca), NULL, &line);
	line.len--;
	config_dir_tenant(f->dir, "demo", buf_cstr(&line), "");
	buf_done(&line);
	f->config = config_dir_accepted(f->dir);
	buf_init(&f->cert, CERT_BLOB_MAX);
	{
		struct ca_request q = {.subject = key_private_public(subject),
		    .serial = 1,
		    .key_id = "alice\x1b[2J",
		    .principals = &principal,
		    .nprincipals = 1,
		    .valid_after = NOW - 60,
		    .valid_before = NOW + 60,
		    .scope = "{\"v\":1,\"task\":\"t\"}"};

		assert_int_equal(ca_issue(ca, &q, &f->cert, NULL), 0);
	}
	key_private_free(ca);
	key_private_free(subject);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;
	void *dir = f->dir;

	buf_done(&f->cert);
	config_free(f->config);
	(void)config_dir_teardown(&dir);
	free(f);
	return 0;
}

static int ask(struct fix *f, const void *key, size_t len, const char *user, size_t user_len,
    struct authorize_answer *a)
{
	struct authorize_query q = {.config = f->config,
	    .user = user,
	    .user_len = user_len,
	    .key = key,
	    .key_len = len,
	    .now_s = NOW};

	return authorize(&q, a);
}

static void cuts_a_grant(void **state)
{
	struct fix *f = *state;
	struct authorize_answer a;

	assert_int_equal(ask(f, f->cert.data, f->cert.len, "agent", 5, &a), 0);
	assert_string_equal(a.grant.tenant, "demo");
	assert_string_equal(a.grant.task, "t");
	assert_int_equal(a.grant.expires_s, NOW + 60);
	assert_null(strchr(a.grant.person, '\x1b')); /* the key id is the CA's word, yet foreign */
	assert_memory_equal(a.grant.policy_digest, f->config->tenant[0].digest, DIGEST_LEN);
	grant_done(&a.grant);
}

static void no_damaged_certificate_gets_in(void **state)
{
	struct fix *f = *state;
	struct authorize_answer a;

	for (size_t i = 0; i < f->cert.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			f->cert.data[i] ^= (uint8_t)(1 << bit);
			assert_true(ask(f, f->cert.data, f->cert.len, "agent", 5, &a) < 0);
			assert_true(*a.reason != '\0');
			/* nothing is told to whom no CA has signed */
			assert_false(a.tell);
			f->cert.data[i] ^= (uint8_t)(1 << bit);
		}
		assert_true(ask(f, f->cert.data, i, "agent", 5, &a) < 0);
		assert_false(a.tell);
	}
}

static void no_random_bytes_get_in(void **state)
{
	struct fix *f = *state;
	struct authorize_answer a;
	uint8_t bytes[300];

	for (int i = 0; i < 10000; i++) {
		size_t len = (size_t)(i % (int)sizeof bytes);

		fd_random(bytes, sizeof bytes);
		if (i % 2 && len > 40) /* far enough in to be looked at */
			memcpy(bytes, f->cert.data, 36);
		assert_true(ask(f, bytes, len, "agent", 5, &a) < 0);
		assert_false(a.tell);
		for (const char *p = a.reason; *p; p++)
			assert_in_range((unsigned char)*p, ' ', '~');
	}
}

static void a_login_name_is_exactly_one_principal(void **state)
{
	static const char *const bad[] = {"", "Agent", "agent ", "agent,root", "a+b", "../agent",
	    "agent/x", "root", "ca", "agen", "agents", "-agent", "\xff"};
	struct fix *f = *state;
	struct authorize_answer a;
	char longest[300];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_true(ask(f, f->cert.data, f->cert.len, bad[i], strlen(bad[i]), &a) < 0);
	assert_true(ask(f, f->cert.data, f->cert.len, "agent\0", 6, &a) < 0);
	assert_true(ask(f, f->cert.data, f->cert.len, "agent\0x", 7, &a) < 0);
	memset(longest, 'a', sizeof longest);
	assert_true(ask(f, f->cert.data, f->cert.len, longest, sizeof longest, &a) < 0);
	assert_true(a.tell);
}

static void finds_the_address_of_a_peer(void **state)
{
	char a[64];

	(void)state;
	assert_true(peer_address("192.0.2.1", a, sizeof a));
	assert_string_equal(a, "192.0.2.1");
	assert_true(peer_address("192.0.2.1:22", a, sizeof a));
	assert_string_equal(a, "192.0.2.1");
	assert_true(peer_address("2001:db8::1", a, sizeof a));
	assert_string_equal(a, "2001:db8::1");
	assert_true(peer_address("[2001:db8::1]:22", a, sizeof a));
	assert_string_equal(a, "2001:db8::1");
	assert_true(peer_address("", a, sizeof a));
	assert_string_equal(a, "");
	assert_false(peer_address("192.0.2.1", a, 9));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(cuts_a_grant),
	    T(no_damaged_certificate_gets_in),
	    T(no_random_bytes_get_in),
	    T(a_login_name_is_exactly_one_principal),
	    cmocka_unit_test(finds_the_address_of_a_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
