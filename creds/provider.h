/*
 * The seam to where credentials come from. A provider mints and revokes; both are asynchronous and
 * may answer before the call returns. It knows no session table and no policy: whoever calls has
 * decided and recorded before, and asks again before the value is handed out.
 *
 * Back ends: provider_jwt.c (asks the signer), tests/support/provider_test.c.
 */
#ifndef POSTERN_CREDS_PROVIDER_H
#define POSTERN_CREDS_PROVIDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

/* One credential lent to one session. Borrowed for the call; a provider copies what it keeps. */
struct lease {
	const char *id, *session, *tenant, *role, *person;
	const char *kind, *audience;
	int64_t issued_s, expires_s; /* wall clock, seconds */
};

/* r is 0 with the value (borrowed, a secret: do not log), or -errno with e saying why. Called
 * exactly once for each mint that returned 0. */
typedef void (*provider_minted_fn)(void *arg, int r, const char *value, const struct err *e);
/* r is 0 when the value is worthless from now on; -ENOTSUP: it cannot be revoked, and stays good
 * until it expires. Called exactly once for each revoke that returned 0. */
typedef void (*provider_revoked_fn)(void *arg, int r, const struct err *e);

struct provider;

struct provider_ops {
	const char *kind; /* "jwt": what a lease's kind names */
	/* 0: started; or -errno with e, and the callback is not called. */
	int (*mint)(struct provider *p, const struct lease *l, provider_minted_fn done, void *arg,
	    struct err *e);
	int (*revoke)(struct provider *p, const struct lease *l, provider_revoked_fn done,
	    void *arg, struct err *e);
	/* Pending callbacks are called with -ECANCELED. */
	void (*free)(struct provider *p);
};

struct provider {
	const struct provider_ops *ops; /* first member of every provider */
};

/* The JWT provider. `ask` sends a jwt.sign body (taken over) to the signer and returns 0 with the
 * id of the question, or -errno; the caller hands the signer's answer with that id to
 * provider_jwt_answer(), and calls provider_jwt_lost() when the signer has gone. At most
 * PROVIDER_JWT_PENDING are under way
 * (-EAGAIN beyond). NULL without memory. */
#define PROVIDER_JWT_PENDING 256
typedef int (*provider_jwt_ask_fn)(void *arg, json_t *body, uint64_t *ret_id);
struct provider *provider_jwt_new(provider_jwt_ask_fn ask, void *arg);
/* token NULL: refused for this reason. False if there is no such question. */
bool provider_jwt_answer(struct provider *p, uint64_t id, const char *token, const char *reason);
void provider_jwt_lost(struct provider *p);

#endif
