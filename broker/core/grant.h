/*
 * The grant: policy cut down by the certificate's scope, for one connection. Hashed and recorded
 * before it holds; a change makes the next revision. A scope only ever narrows.
 *
 * Canonical form: JSON with sorted keys, no white space; its SHA-256 is the grant's digest.
 */
#ifndef POSTERN_CORE_GRANT_H
#define POSTERN_CORE_GRANT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/spawn/plan.h"
#include "lib/digest.h"
#include "lib/str.h"

struct cert;
struct err;
struct tenant;

#define GRANT_LIST_MAX     64
#define GRANT_PERSON_MAX   256
#define GRANT_AUDIENCE_MAX 256

/* What may be done at all, as a bit mask; names in policy files and scopes as in
 * grant_action_name(). */
enum grant_action {
	GRANT_EXEC = 1u << 0,
	GRANT_SHELL = 1u << 1,
	GRANT_PTY = 1u << 2,
	GRANT_SFTP = 1u << 3,
	GRANT_CREDENTIAL = 1u << 4,
	GRANT_FORWARD = 1u << 5,
};
#define GRANT_ACTIONS     6
#define GRANT_COMMAND_MAX (8u * 1024)

struct grant {
	uint32_t revision; /* 1 at first */
	char tenant[NAME_MAX_LEN + 1];
	char role[NAME_MAX_LEN + 1];
	char template_name[NAME_MAX_LEN + 1];
	char person[GRANT_PERSON_MAX +
	            1]; /* the scope's person, else the certificate's key id, escaped */
	char task[GRANT_PERSON_MAX + 1]; /* the scope's, or empty */
	unsigned actions;
	json_t *credentials;              /* array of "jwt:AUDIENCE" */
	json_t *egress;                   /* array of strings; nothing leaves a sandbox yet */
	json_t *env;                      /* array of names, a trailing * matches any rest */
	char *force_command;              /* of the certificate; NULL if none */
	char workspace[NAME_MAX_LEN + 1]; /* "" with PLAN_WORKSPACE_NONE */
	enum plan_workspace workspace_mode;
	uint32_t channels;                 /* at once on one connection */
	int64_t expires_s;                 /* wall time: the certificate's, cut by lifetime */
	int64_t lifetime_s;                /* of a session, from its start, on CLOCK_BOOTTIME */
	uint8_t policy_digest[DIGEST_LEN]; /* of the tenant's file as loaded */
	uint64_t cert_serial;
	char cert_fingerprint[64]; /* of the subject key */
	char ca_fingerprint[64];
};

void grant_done(struct grant *g);
/* The canonical object (new). */
json_t *grant_json(const struct grant *g);
/* What grant_json() wrote; strict. -EBADMSG. On success the caller calls grant_done(). */
int grant_parse(const json_t *o, struct grant *ret, struct err *e);
int grant_copy(const struct grant *g, struct grant *ret);
/* Whether the grant's list of names lets this environment variable in. */
bool grant_env_allows(const struct grant *g, const char *name, size_t len);
void grant_digest(const struct grant *g, uint8_t ret[DIGEST_LEN]);
/* What a worker needs of it, as auth.verdict carries it (new): {"tenant", "role", "channels",
 * "env", "pty": bool, "expires_in_s"}. */
json_t *grant_worker_view(const struct grant *g, int64_t now_s);
const char *grant_action_name(
    enum grant_action a); /* "exec", "shell", "pty", "sftp", "credential", "forward" */
/* True if everything that other may, g may too: for attaching to a session. */
bool grant_covers(const struct grant *g, const struct grant *other, const char **ret_field);

#endif
