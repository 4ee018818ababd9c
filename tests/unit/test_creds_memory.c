/* Every allocation of creds fails once: the error is answered, nothing is half made, nothing
 * crashes. */
#include "creds/ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "creds/cert.h"
#include "creds/jwt.h"
#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/secret.h"

#define SCOPE "{\"v\":1,\"template\":\"small\",\"credentials\":[\"jwt:a\"],\"person\":\"jo\"}"

static struct key_private *ed25519, *p256;
static struct buf cert;
static struct secret *file;

#ifndef POSTERN_SAN
/* glibc's own, below what the program calls (sanitizers bring theirs,
 * and look for leaks instead) */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);

static long countdown = -1; /* -1: nothing fails */

static bool fails(void)
{
	if (countdown < 0)
		return false;
	if (countdown == 0)
		return true; /* and all that follow, until the test lifts it */
	countdown--;
	return false;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

/* Runs f with the first, second, ... allocation failing until it gets through. */
static void each_failure(int (*f)(void))
{
	long n = 0;
	int r;

	assert_int_equal(f(), 0); /* what libcrypto fetches once is there now */
	do {
		countdown = n++;
		r = f();
		countdown = -1;
		assert_true(n < 20000);
	} while (r < 0);
	assert_true(n > 3);
	assert_int_equal(f(), 0);
}
#else
static void each_failure(int (*f)(void))
{
	assert_int_equal(f(), 0);
}
#endif

static int read_cert(void)
{
	struct cert *c = NULL;
	int r = cert_parse(cert.data, cert.len, &c, NULL);

	if (r == 0)
		r = cert_verify(c, NULL);
	cert_free(c);
	return r;
}

static int read_scope(void)
{
	struct scope *s = NULL;
	json_t *o;
	int r = scope_parse(SCOPE, strlen(SCOPE), &s, NULL);

	if (r == 0) {
		o = scope_to_json(s);
		if (o == NULL)
			r = -ENOMEM;
		json_decref(o);
	}
	scope_free(s);
	return r;
}

static int read_private(void)
{
	struct key_private *k = NULL;
	int r = key_private_parse(secret_data(file), secret_len(file), &k, NULL);

	key_private_free(k);
	return r;
}

static int issue(void)
{
	static const char *const names[] = {"agent"};
	const struct ca_request q = {
	    .subject = key_private_public(ed25519),
	    .key_id = "x",
	    .principals = names,
	    .nprincipals = 1,
	    .valid_before = 1000,
	    .source_address = "10.0.0.0/8",
	    .force_command = "id",
	    .permit = CERT_PERMIT_PTY,
	    .scope = SCOPE,
	};
	struct buf b;
	int r;

	buf_init(&b, CERT_BLOB_MAX);
	r = ca_issue(ed25519, &q, &b, NULL);
	if (r < 0)
		assert_int_equal(b.len, 0);
	buf_done(&b);
	return r;
}

static int sign_jwt(void)
{
	const struct jwt_claims c = {"iss", "aud", "demo", "agent", "s-1", "jo", "l-1", 1000, 1600};
	const struct key *pub = key_private_public(p256);
	struct buf b;
	json_t *set;
	int r;

	buf_init(&b, JWT_MAX);
	r = jwt_sign(p256, &c, &b, NULL);
	if (r < 0)
		assert_int_equal(b.len, 0);
	buf_done(&b);
	set = jwt_jwks(&pub, 1);
	if (r == 0 && set == NULL)
		r = -ENOMEM;
	json_decref(set);
	return r;
}

static void a_certificate_is_refused_whole(void **state)
{
	(void)state;
	each_failure(read_cert);
}

static void a_scope_is_refused_whole(void **state)
{
	(void)state;
	each_failure(read_scope);
}

static void a_private_key_is_refused_whole(void **state)
{
	(void)state;
	each_failure(read_private);
}

static void nothing_is_issued_by_half(void **state)
{
	(void)state;
	each_failure(issue);
}

static void no_token_is_signed_by_half(void **state)
{
	(void)state;
	each_failure(sign_jwt);
}

static int setup(void **state)
{
	static const char *const names[] = {"agent"};
	struct ca_request q = {.key_id = "x",
	    .principals = names,
	    .nprincipals = 1,
	    .valid_before = 1000,
	    .source_address = "10.0.0.0/8",
	    .force_command = "id",
	    .scope = SCOPE};

	(void)state;
	buf_init(&cert, CERT_BLOB_MAX);
	if (key_private_generate(KEY_ED25519, 0, &ed25519, NULL) < 0 ||
	    key_private_generate(KEY_ECDSA_256, 0, &p256, NULL) < 0 ||
	    key_private_format(p256, "", &file, NULL) < 0)
		return -1;
	q.subject = key_private_public(p256);
	return ca_issue(p256, &q, &cert, NULL);
}

static int teardown(void **state)
{
	(void)state;
	key_private_free(ed25519);
	key_private_free(p256);
	secret_free(file);
	buf_done(&cert);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_certificate_is_refused_whole),
	    cmocka_unit_test(a_scope_is_refused_whole),
	    cmocka_unit_test(a_private_key_is_refused_whole),
	    cmocka_unit_test(nothing_is_issued_by_half),
	    cmocka_unit_test(no_token_is_signed_by_half),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
