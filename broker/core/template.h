/*
 * A template: the blueprint of a sandbox. The host's are CONFIGDIR/templates/NAME.yaml, a tenant's
 * own CONFIGDIR/tenants/TENANT/templates/NAME.yaml. What neither the file nor the template that it
 * extends says has a default, and every default is enforced. Without a file, "default" is the
 * host's own /usr with these limits:
 *
 *   extends: NAME                # of the host's; else the defaults below
 *   base: host                   # or /absolute/directory, or {image: /absolute/FILE.tar}
 *   root: false                  # true: the agent is uid 0 inside
 *   shell: /bin/bash             # runs commands; /bin/sh where base is not host
 *   entry: [/usr/bin/menu, -x]   # runs instead of the login shell; text: by the shell
 *   env: {LANG: C.UTF-8}         # adds to what is inherited
 *   mounts: [{source: /srv/data, target: /data}]   # read-only
 *   limits: {...}                # broker/core/limits.h
 *   seccomp: default             # or strict
 *   landlock: [{path: /etc/ssl, access: none}]     # none, read, exec, write
 *   programs: [/usr/bin/git]     # nothing else can be run; all can when there is no such list
 *   watch: false                 # programs are recorded
 *   forward: true                # false: no forwarding, whatever a role allows
 *   credentials: true            # false: no credential, whatever a role allows
 *   tier: namespaces             # or oci with runtime: /usr/bin/crun, or microvm
 *   emulate: false               # of microvm: without KVM if there is none
 *   warm: 0                      # prepared sandboxes that wait
 *
 * A list takes the place of the inherited one. `root: host` and `root: /directory` are older
 * spellings of base.
 *
 * Images. The core never opens one. CONFIGDIR/images.lock has a line for each image that was
 * unpacked, in the form of sha256sum(1): 64 hexadecimal digits, two spaces, the file as the
 * template names it. The digits are plan.image, the name of the tree below STATE/images; `postern
 * template build` writes the line by rename. So the configuration's digest covers what an image
 * is, and a file that is replaced changes nothing before it is built again. Without its line the
 * template's sessions are refused.
 */
#ifndef POSTERN_CORE_TEMPLATE_H
#define POSTERN_CORE_TEMPLATE_H

#include <jansson.h>

#include "broker/core/limits.h"
#include "broker/spawn/plan.h"
#include "lib/str.h"

struct err;
struct grant;
struct yaml_doc;

#define TEMPLATE_ENV_MAX   64
#define TEMPLATE_ENTRY_MAX 16
#define TEMPLATE_SHELL_MAX 128
#define TEMPLATE_WARM_MAX  64
#define TEMPLATE_DEPTH_MAX 8 /* templates that extend each other */
#define TEMPLATE_WHERE_MAX 112

/* What a template says, beside its limits; in the order of `postern template show`. */
enum template_key {
	TEMPLATE_BASE,
	TEMPLATE_ROOT,
	TEMPLATE_SHELL,
	TEMPLATE_ENTRY,
	TEMPLATE_ENV,
	TEMPLATE_MOUNTS,
	TEMPLATE_SECCOMP,
	TEMPLATE_LANDLOCK,
	TEMPLATE_PROGRAMS,
	TEMPLATE_WATCH,
	TEMPLATE_FORWARD,
	TEMPLATE_CREDENTIALS,
	TEMPLATE_TIER,
	TEMPLATE_RUNTIME,
	TEMPLATE_EMULATE,
	TEMPLATE_WARM,
	TEMPLATE_LIMITS, /* the first of LIMITS_ALL */
	TEMPLATE_KEYS = TEMPLATE_LIMITS + LIMITS_ALL
};

struct template
{
	char name[NAME_MAX_LEN + 1];
	char tenant[NAME_MAX_LEN + 1];  /* "": the host's */
	char extends[NAME_MAX_LEN + 1]; /* "": none */
	unsigned depth;                 /* how many it extends, one behind the other */
	enum plan_root root;
	char root_path[PLAN_PATH_MAX];
	char image_path[PLAN_PATH_MAX];
	char image[PLAN_IMAGE_HEX_LEN + 1]; /* "": not built */
	bool root_user;
	char shell[TEMPLATE_SHELL_MAX];
	json_t *entry; /* array of strings, or text; NULL: none */
	json_t *env;   /* object of strings; never NULL */
	unsigned nmounts, nrules, nprograms;
	struct plan_mount mounts[PLAN_MOUNTS_MAX];
	struct plan_rule rules[PLAN_LANDLOCK_MAX];
	char programs[PLAN_PROGRAMS_MAX][PLAN_INSIDE_MAX];
	struct limits limits;
	enum plan_seccomp seccomp;
	bool watch, forward, credentials, emulate;
	enum plan_tier tier;
	char runtime[PLAN_PATH_MAX];
	uint32_t warm;
	char where[TEMPLATE_KEYS][TEMPLATE_WHERE_MAX]; /* "FILE:LINE", or "default" */
};

/* The built-in "default". 0 or -ENOMEM. */
int template_default(struct template *ret);
/* The name of the template that the file extends, borrowed; NULL: none. -EINVAL. */
int template_extends(const struct yaml_doc *d, const char **ret, struct err *e);
/* parent: what it extends; NULL: the built-in defaults. tenant: whose it is, NULL: the host's; one
 * of a tenant must have a parent, and may only narrow it. On success the caller calls
 * template_done(). */
int template_parse(const struct yaml_doc *d, const char *name, const char *tenant,
    const struct template *parent, struct template *ret, struct err *e);
void template_done(struct template *t);
/* The key as it is written: "limits.io.read". */
const char *template_key_name(unsigned key);
/* A value as one can write it (new). */
json_t *template_value(const struct template *t, unsigned key);
/* Whether a tenant's template says no more than its parent: -EINVAL with file, line, key and the
 * host's value. */
int template_narrows(const struct yaml_doc *d, const struct template *t,
    const struct template *parent, struct err *e);
/* The plan of a session with this grant: tenant, role, credentials and workspace are its own.
 * tenant_limits may be NULL. */
void template_plan(const struct template *t, const struct grant *g,
    const struct plan_limits *tenant_limits, struct plan *ret);
/* Whether NAME can be an environment variable's name: [A-Za-z_][A-Za-z0-9_]*, at most 128. */
bool env_name_valid(const char *s, size_t len);

#endif
