#include "creds/provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "tests/support/provider_test.h"

static const struct lease lease = {
    .id = "l-1",
    .session = "s-1",
    .tenant = "demo",
    .role = "agent",
    .person = "jo",
    .kind = "jwt",
    .audience = "https://api.example",
    .issued_s = 1000,
    .expires_s = 1600,
};

struct asked {
	uint64_t next;
	int fail;
	json_t *last;
};

static int ask(void *arg, json_t *body, uint64_t *ret_id)
{
	struct asked *a = arg;

	json_decref(a->last);
	a->last = body;
	if (a->fail != 0)
		return a->fail;
	*ret_id = ++a->next;
	return 0;
}

struct answer {
	int calls, r;
	char value[64], text[128];
};

static void minted(void *arg, int r, const char *value, const struct err *e)
{
	struct answer *a = arg;

	a->calls++;
	a->r = r;
	(void)str_copy(a->value, sizeof a->value, value == NULL ? "" : value);
	(void)str_copy(a->text, sizeof a->text, e == NULL ? "" : e->text);
}

static void revoked(void *arg, int r, const struct err *e)
{
	minted(arg, r, NULL, e);
}

static void asks_in_the_signers_words(void **state)
{
	struct asked a = {0};
	struct answer got = {0};
	struct provider *p = provider_jwt_new(ask, &a);
	struct buf wire;

	(void)state;
	assert_string_equal(p->ops->kind, "jwt");
	assert_int_equal(p->ops->mint(p, &lease, minted, &got, NULL), 0);
	buf_init(&wire, MSG_MAX);
	assert_int_equal(msg_encode(&wire, "jwt.sign", 1, a.last, 0, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(a.last, "expires_s")), 1600);
	assert_string_equal(json_string_value(json_object_get(a.last, "lease")), "l-1");
	buf_done(&wire);
	assert_int_equal(got.calls, 0);
	assert_true(provider_jwt_answer(p, 1, "token", NULL));
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.r, 0);
	assert_string_equal(got.value, "token");
	p->ops->free(p);
	json_decref(a.last);
}

static void each_answer_finds_its_question_once(void **state)
{
	struct asked a = {0};
	struct answer got[3] = {{0}};
	struct provider *p = provider_jwt_new(ask, &a);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(p->ops->mint(p, &lease, minted, &got[i], NULL), 0);
	assert_true(provider_jwt_answer(p, 3, "third", NULL));
	assert_true(provider_jwt_answer(p, 1, NULL, "too many"));
	assert_false(provider_jwt_answer(p, 1, "again", NULL));
	assert_false(provider_jwt_answer(p, 99, "x", NULL));
	assert_string_equal(got[2].value, "third");
	assert_int_equal(got[0].r, -EACCES);
	assert_string_equal(got[0].text, "too many");
	assert_int_equal(got[1].calls, 0);
	p->ops->free(p);
	assert_int_equal(got[1].r, -ECANCELED);
	assert_int_equal(got[0].calls + got[1].calls + got[2].calls, 3);
	json_decref(a.last);
}

static void a_lost_signer_fails_what_is_under_way(void **state)
{
	struct asked a = {0};
	struct answer got = {0};
	struct err e = ERR_INIT;
	struct provider *p = provider_jwt_new(ask, &a);

	(void)state;
	assert_int_equal(p->ops->mint(p, &lease, minted, &got, NULL), 0);
	provider_jwt_lost(p);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.r, -ECONNRESET);
	a.fail = -EPIPE;
	assert_int_equal(p->ops->mint(p, &lease, minted, &got, &e), -EPIPE);
	assert_string_equal(e.text, "the signer is not there");
	assert_int_equal(got.calls, 1);
	p->ops->free(p);
	assert_int_equal(got.calls, 1);
	json_decref(a.last);
}

static void bounds_what_is_under_way(void **state)
{
	struct asked a = {0};
	struct answer got = {0};
	struct provider *p = provider_jwt_new(ask, &a);

	(void)state;
	for (int i = 0; i < PROVIDER_JWT_PENDING; i++)
		assert_int_equal(p->ops->mint(p, &lease, minted, &got, NULL), 0);
	assert_int_equal(p->ops->mint(p, &lease, minted, &got, NULL), -EAGAIN);
	assert_true(provider_jwt_answer(p, 7, "x", NULL));
	assert_int_equal(p->ops->mint(p, &lease, minted, &got, NULL), 0);
	p->ops->free(p);
	assert_int_equal(got.calls, PROVIDER_JWT_PENDING + 1);
	json_decref(a.last);
}

static void a_jwt_says_that_it_cannot_be_revoked(void **state)
{
	struct asked a = {0};
	struct answer got = {0};
	struct provider *p = provider_jwt_new(ask, &a);

	(void)state;
	assert_int_equal(p->ops->revoke(p, &lease, revoked, &got, NULL), 0);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.r, -ENOTSUP);
	assert_string_equal(got.text, "a JWT cannot be revoked: it expires at 1600");
	p->ops->free(p);
}

static void the_test_provider_keeps_the_seam(void **state)
{
	struct answer got[2] = {{0}};
	struct provider *p = provider_test_new("test");

	(void)state;
	assert_false(provider_test_answer(p, "x", NULL));
	assert_int_equal(p->ops->mint(p, &lease, minted, &got[0], NULL), 0);
	assert_int_equal(p->ops->mint(p, &lease, minted, &got[1], NULL), 0);
	assert_true(provider_test_answer(p, "value", NULL));
	assert_string_equal(got[0].value, "value");
	assert_int_equal(p->ops->revoke(p, &lease, revoked, &got[0], NULL), 0);
	assert_string_equal(provider_test_last_revoked(p), "l-1");
	assert_int_equal(provider_test_revoked(p), 1);
	provider_test_fail(p, -EIO);
	assert_int_equal(p->ops->mint(p, &lease, minted, &got[0], NULL), -EIO);
	assert_int_equal(provider_test_minted(p), 2);
	assert_int_equal(provider_test_pending(p), 1);
	p->ops->free(p);
	assert_int_equal(got[1].r, -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(asks_in_the_signers_words),
	    cmocka_unit_test(each_answer_finds_its_question_once),
	    cmocka_unit_test(a_lost_signer_fails_what_is_under_way),
	    cmocka_unit_test(bounds_what_is_under_way),
	    cmocka_unit_test(a_jwt_says_that_it_cannot_be_revoked),
	    cmocka_unit_test(the_test_provider_keeps_the_seam),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
