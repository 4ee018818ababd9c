/*
 * The decision seam: may SUBJECT do ACTION to OBJECT in this CONTEXT?
 *
 * The answer names the rule that decided. ASK parks the request and blocks nobody: done() is called
 * later, once. A back end answers at once by calling done() before it returns. No rule, no
 * permission.
 */
#ifndef POSTERN_CORE_DECIDE_H
#define POSTERN_CORE_DECIDE_H

#include <jansson.h>
#include <stdbool.h>

struct grant;

enum verdict { VERDICT_DENY, VERDICT_ALLOW, VERDICT_ASK };

struct decision {
	enum verdict verdict;
	char rule[128];   /* "tenants/demo.yaml:12 roles.agent.allow", "default" */
	char reason[256]; /* for a refusal: what the client is told */
};

struct decide_request {
	const struct grant *subject; /* who, as authenticated */
	const char *action;    /* "exec", "shell", "pty", "sftp", "credential", "forward", ... */
	const char *object;    /* command, audience, host:port; foreign text */
	const json_t *context; /* session, connection, peer; may be NULL */
};

typedef void (*decide_fn)(const struct decision *d, void *arg);

struct decider {
	void (*decide)(
	    struct decider *self, const struct decide_request *q, decide_fn done, void *arg);
	void (*free)(struct decider *self);
};

/* What was decided, by which rule (NULL: none did, the act could not be), under which revision of
 * the grant and which policy: into the body of a record, which may be NULL. */
void decide_note(json_t *body, bool allowed, const char *rule, const struct grant *g);

/* The first back end: what the grant's actions, credentials and lists say. */
struct decider *decide_grant_new(void);

#endif
