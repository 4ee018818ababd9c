#include "tests/support/provider_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

struct provider_test {
	struct provider base;
	struct provider_ops ops;
	struct {
		provider_minted_fn done;
		void *arg;
	} pending[PROVIDER_TEST_PENDING];
	size_t npending, minted, revoked;
	char last_revoked[64];
	int fail;
};

static struct provider_test *self(struct provider *p)
{
	return (struct provider_test *)p;
}

static const struct provider_test *self_const(const struct provider *p)
{
	return (const struct provider_test *)p;
}

static int test_mint(
    struct provider *p, const struct lease *l, provider_minted_fn done, void *arg, struct err *e)
{
	struct provider_test *t = self(p);

	(void)l;
	if (t->fail != 0)
		return err_set(e, t->fail, "the test provider was told to fail");
	if (t->npending == PROVIDER_TEST_PENDING)
		return err_set(e, -EAGAIN, "the test provider is full");
	t->pending[t->npending].done = done;
	t->pending[t->npending].arg = arg;
	t->npending++;
	t->minted++;
	return 0;
}

static int test_revoke(
    struct provider *p, const struct lease *l, provider_revoked_fn done, void *arg, struct err *e)
{
	struct provider_test *t = self(p);
	struct err none = ERR_INIT;

	(void)e;
	t->revoked++;
	(void)str_copy(t->last_revoked, sizeof t->last_revoked, l->id);
	done(arg, 0, &none);
	return 0;
}

static void answer(struct provider_test *t, int r, const char *value, const struct err *e)
{
	provider_minted_fn done = t->pending[0].done;
	void *arg = t->pending[0].arg;

	t->npending--;
	memmove(&t->pending[0], &t->pending[1], t->npending * sizeof t->pending[0]);
	done(arg, r, value, e);
}

static void test_free(struct provider *p)
{
	struct provider_test *t = self(p);
	struct err e = ERR_INIT;

	err_set(&e, -ECANCELED, "the provider ends");
	while (t->npending > 0)
		answer(t, -ECANCELED, NULL, &e);
	free(t);
}

struct provider *provider_test_new(const char *kind)
{
	struct provider_test *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->ops = (struct provider_ops){kind, test_mint, test_revoke, test_free};
	t->base.ops = &t->ops;
	return &t->base;
}

size_t provider_test_pending(const struct provider *p)
{
	return self_const(p)->npending;
}

bool provider_test_answer(struct provider *p, const char *value, const char *reason)
{
	struct provider_test *t = self(p);
	struct err e = ERR_INIT;

	if (t->npending == 0)
		return false;
	if (value == NULL)
		err_set(&e, -EACCES, "%s", reason);
	answer(t, value == NULL ? -EACCES : 0, value, &e);
	return true;
}

void provider_test_fail(struct provider *p, int r)
{
	self(p)->fail = r;
}

size_t provider_test_minted(const struct provider *p)
{
	return self_const(p)->minted;
}

size_t provider_test_revoked(const struct provider *p)
{
	return self_const(p)->revoked;
}

const char *provider_test_last_revoked(const struct provider *p)
{
	return self_const(p)->last_revoked;
}
