/*
 * Judging a login, for a worker and for pam_postern alike: authorize(), and what it cannot know
 * (attempts, the fixed login name, the clock, quotas). Refusals are recorded here.
 */
#ifndef POSTERN_CORE_AUTH_H
#define POSTERN_CORE_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/audit/record.h"
#include "broker/core/authorize.h"

struct conn;

struct auth_try {
	const void *user, *key;
	size_t user_len, key_len; /* key_len 0: no key at all */
	const char *method;
	bool proved;
	const char *client; /* escaped, may be NULL */
};

/* 0, and the grant in *a is the caller's; or -EACCES with a->reason, which auth_refused() then
 * records. */
int auth_judge(struct conn *k, const struct auth_try *t, struct authorize_answer *a);
/* The refusal as a record; done may be NULL. -errno: done is not called. */
int auth_refused(struct conn *k, const struct auth_try *t, const struct authorize_answer *a,
    record_fn done, void *arg);
/* The grant as a record, critical. */
int auth_record(struct conn *k, const struct auth_try *t, const struct authorize_answer *a,
    record_fn done, void *arg);

#endif
