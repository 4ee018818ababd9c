/*
 * A tenant: its CA keys and roles, CONFIGDIR/tenants/NAME.yaml.
 *
 *   ca: ["ssh-ed25519 AAAA... comment"]
 *   ca_files: [ca/demo.pub]          # below CONFIGDIR, or absolute below /etc
 *   person: key-id                   # whom a certificate means, when its scope names nobody
 *   limits: {sessions: 20, memory: 8G, pids: 2000}   # all its sessions together: limits.h
 *   issuer: https://id.example.com   # of its tokens; default https://postern.invalid/NAME
 *   roles:
 *     agent:
 *       template: default
 *       allow: [exec, shell, pty, sftp, credential]
 *       credentials: ["jwt:https://api.example.com"]
 *       env: [LANG, "LC_*", TERM, "GIT_*"]
 *       channels: 64
 *       lifetime: 8h
 *       workspace: main              # that its sessions open; none unless said
 *       workspace_mode: rw           # or ro
 *       workspaces: [main, docs]     # which others a certificate may name instead; or any
 *       unix: demo-agent             # the Unix account that stands for it where a stock sshd is
 * the way
 */
#ifndef POSTERN_CORE_TENANT_H
#define POSTERN_CORE_TENANT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/limits.h"
#include "lib/digest.h"
#include "lib/str.h"

struct err;
struct host_config;
struct key;
struct yaml_doc;

#define TENANT_CAS_MAX      16
#define TENANT_ROLES_MAX    64
#define TENANT_ISSUER_MAX   256
#define ROLE_CHANNELS       64
#define ROLE_UNIX_MAX       32 /* useradd(8) */
#define ROLE_CHANNELS_MAX   1024
#define ROLE_LIFETIME_S     (8 * 3600)
#define ROLE_LIFETIME_MAX_S (30 * 86400)

struct role {
	char name[NAME_MAX_LEN + 1];
	char template_name[NAME_MAX_LEN + 1];
	char unix_name[ROLE_UNIX_MAX + 1]; /* empty: the role's own name */
	unsigned actions;                  /* enum grant_action */
	json_t *credentials;               /* array of "jwt:AUDIENCE"; never NULL, as env */
	json_t *env;
	char workspace[NAME_MAX_LEN + 1];   /* "": none */
	enum plan_workspace workspace_mode; /* of whichever it opens */
	json_t *workspaces;                 /* array of names; never NULL */
	bool any_workspace;
	uint32_t channels;
	int64_t lifetime_s;
	unsigned line; /* of the role in its file */
	unsigned allow_line;
};

struct tenant {
	char name[NAME_MAX_LEN + 1];
	size_t ncas;
	struct key *ca[TENANT_CAS_MAX];
	unsigned ca_line[TENANT_CAS_MAX]; /* in the tenant's file */
	size_t nroles;
	struct role *role;
	uint32_t sessions;
	struct limits limits;   /* LIMITS_GROUP: of all its sessions together */
	bool own[LIMITS_GROUP]; /* said here, and not by the host's defaults */
	unsigned limits_line;
	char issuer[TENANT_ISSUER_MAX + 1];
	uint8_t digest[DIGEST_LEN]; /* of the file */
};

/* dirfd: CONFIGDIR, for ca_files. The digest is the caller's to set. On success the caller calls
 * tenant_done(). */
int tenant_parse(const struct yaml_doc *d, const char *name, int dirfd,
    const struct host_config *host, struct tenant *ret, struct err *e);
void tenant_done(struct tenant *t);
const struct role *tenant_role(const struct tenant *t, const char *name); /* NULL */
/* Whether its sessions may open this workspace: its own, or one that it lists. */
bool role_may_open(const struct role *role, const char *workspace);
/* The role for which a Unix account stands: the one that names it; without one, that of the same
 * name if it names no other account. NULL. */
const struct role *tenant_role_of_unix(const struct tenant *t, const void *user, size_t len);

#endif
