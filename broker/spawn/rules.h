/*
 * A template's own Landlock rules: none, read, exec or write below a path, instead of the usual.
 *
 * Landlock only ever adds rights below a path, and what several rulesets restrict holds together.
 * So the rules are a ruleset of their own, on top of the usual one, which gives everything outside
 * of them: where less holds below a path than around it, the directories above it are not named as
 * a whole, but each entry of theirs that leads elsewhere. Those directories themselves cannot be
 * listed (a right to list would hold below them as well), and names that come to be in them later
 * have no rights; so a writable directory takes such a rule as a whole or not at all.
 */
#ifndef POSTERN_SPAWN_RULES_H
#define POSTERN_SPAWN_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/spawn/plan.h"

struct err;
struct host;
struct programs;
struct skeleton;

#define RULES_GRANTS_MAX 1024
#define RULES_PATH_LEN   320

struct rules_grant {
	char path[RULES_PATH_LEN];
	enum plan_landlock access;
	bool own; /* a rule of the template: it must be there */
};

struct rules {
	unsigned n;
	struct rules_grant grant[RULES_GRANTS_MAX];
};

/* *ret is NULL without rules, else new, for free(). -ENOTSUP with the rule that cannot be had. */
int rules_make(const struct host *h, const struct skeleton *s, const struct plan *p,
    const struct programs *g, struct rules **ret, struct err *e);

/* Between clone3 and execve (system calls only), 0 or -errno; nothing for NULL. handled: what the
 * kernel's ABI knows. First what the template allows beyond the usual, into the usual ruleset;
 * after that was enforced, the ruleset of the rules. */
int rules_add(const struct rules *r, int ruleset, uint64_t write);
int rules_enforce(const struct rules *r, uint64_t handled, uint64_t write);

#endif
