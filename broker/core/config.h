/*
 * The whole configuration, read and checked at once: the same function for the core's start, its
 * reload, `postern check` and -n. All or nothing: on failure *ret is untouched, and e names file
 * and line.
 */
#ifndef POSTERN_CORE_CONFIG_H
#define POSTERN_CORE_CONFIG_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/export_config.h"
#include "broker/core/host_config.h"
#include "broker/core/template.h"
#include "broker/core/tenant.h"
#include "lib/digest.h"

struct err;
struct key;

#define CONFIG_TENANTS_MAX   256
#define CONFIG_TEMPLATES_MAX 256 /* the host's */
#define CONFIG_OWN_MAX       32  /* each tenant's */

struct config {
	struct host_config host;
	struct export_config export;
	size_t ntenants, ntemplates;
	struct tenant *tenant;      /* by name */
	struct template *template;  /* the host's, then the tenants'; "default" is always there */
	uint8_t digest[DIGEST_LEN]; /* over the names and contents of all files */
};

/* dirfd: CONFIGDIR. Beside what each file says of itself: a CA key in two tenants (compared
 * parsed), a role's template that is not there. The caller owns *ret. */
int config_load(int dirfd, struct config **ret, struct err *e);
void config_free(struct config *c); /* NULL is fine */
const struct tenant *config_tenant(const struct config *c, const char *name);
/* The tenant's own of that name, else the host's; tenant NULL: the host's. NULL. */
const struct template *config_template(
    const struct config *c, const char *tenant, const char *name);
/* A file that is not one of the configuration's, as if it were: what it extends is looked up. On
 * success the caller calls template_done(). */
int config_parse_template(const struct config *c, const struct yaml_doc *d, const char *name,
    const char *tenant, struct template *ret, struct err *e);
/* Whose CA is it? NULL: nobody's. */
const struct tenant *config_tenant_by_ca(const struct config *c, const struct key *ca);
/* A CA key must not be the host's own, whose private half every worker holds (fingerprint as
 * key_fingerprint() has it; empty: not known). 0, or -EINVAL with the tenant. */
int config_check_hostkey(const struct config *c, const char *fingerprint, struct err *e);
/* What was understood, for `postern check` (new): {"listen", "ids", "limits", "tenants": [{"name",
 * "cas": [fingerprint], "roles": [...], "sessions"}], "templates": [...], "digest"}. */
json_t *config_summary(const struct config *c);

static inline void config_cleanup(struct config **c)
{
	config_free(*c);
}
#define cleanup_config __attribute__((cleanup(config_cleanup)))

#endif
