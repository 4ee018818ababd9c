#include "creds/provider.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/err.h"
#include "lib/util.h"

/*
 * Mints JWTs by asking the signer: the answer comes later, by id. How to ask is handed in, so that
 * this knows no link.
 */

struct pending {
	uint64_t id;
	provider_minted_fn done; /* NULL: free */
	void *arg;
};

struct provider_jwt {
	struct provider base;
	provider_jwt_ask_fn ask;
	void *arg;
	struct pending pending[PROVIDER_JWT_PENDING];
};

static struct provider_jwt *self(struct provider *p)
{
	return (struct provider_jwt *)p; /* base is the first member */
}

static int jwt_mint(
    struct provider *p, const struct lease *l, provider_minted_fn done, void *arg, struct err *e)
{
	struct provider_jwt *j = self(p);
	struct pending *slot = NULL;
	json_t *body;
	uint64_t id;
	int r;

	for (size_t i = 0; i < PROVIDER_JWT_PENDING && !slot; i++) {
		if (!j->pending[i].done)
			slot = &j->pending[i];
	}
	if (!slot)
		return err_set(e, -EAGAIN, "too many tokens are being signed");
	body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "tenant", l->tenant, "role",
	    l->role, "session", l->session, "person", l->person ? l->person : "", "audience",
	    l->audience, "lease", l->id, "issued_s", (json_int_t)l->issued_s, "expires_s",
	    (json_int_t)l->expires_s);
	if (!body)
		return err_set(e, -EINVAL, "the lease cannot be put into words");
	r = j->ask(j->arg, body, &id);
	if (r < 0)
		return err_set(e, r, "the signer is not there");
	*slot = (struct pending){id, done, arg};
	return 0;
}

/* Nobody can take a signed token back: it is short-lived instead. */
static int jwt_revoke(
    struct provider *p, const struct lease *l, provider_revoked_fn done, void *arg, struct err *e)
{
	struct err why = ERR_INIT;

	(void)p;
	(void)e;
	err_set(
	    &why, -ENOTSUP, "a JWT cannot be revoked: it expires at %lld", (long long)l->expires_s);
	done(arg, -ENOTSUP, &why);
	return 0;
}

static void finish(struct pending *slot, int r, const char *value, const struct err *e)
{
	struct pending was = *slot;

	*slot = (struct pending){0};
	was.done(was.arg, r, value, e);
}

static void fail_all(struct provider_jwt *j, int code, const char *text)
{
	struct err e = ERR_INIT;

	err_set(&e, code, "%s", text);
	for (size_t i = 0; i < PROVIDER_JWT_PENDING; i++) {
		if (j->pending[i].done)
			finish(&j->pending[i], code, NULL, &e);
	}
}

static void jwt_free(struct provider *p)
{
	fail_all(self(p), -ECANCELED, "the provider ends");
	free(p);
}

static const struct provider_ops jwt_ops = {"jwt", jwt_mint, jwt_revoke, jwt_free};

struct provider *provider_jwt_new(provider_jwt_ask_fn ask, void *arg)
{
	struct provider_jwt *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	j->base.ops = &jwt_ops;
	j->ask = ask;
	j->arg = arg;
	return &j->base;
}

bool provider_jwt_answer(struct provider *p, uint64_t id, const char *token, const char *reason)
{
	struct provider_jwt *j = self(p);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < PROVIDER_JWT_PENDING; i++) {
		if (!j->pending[i].done || j->pending[i].id != id)
			continue;
		if (!token)
			err_set(&e, -EACCES, "%s", reason ? reason : "the signer refused");
		finish(&j->pending[i], token ? 0 : -EACCES, token, &e);
		return true;
	}
	return false;
}

void provider_jwt_lost(struct provider *p)
{
	fail_all(self(p), -ECONNRESET, "the signer has gone");
}
