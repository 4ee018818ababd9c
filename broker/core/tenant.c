#include "broker/core/tenant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/grant.h"
#include "broker/core/host_config.h"
#include "broker/core/template.h"
#include "broker/core/tenant_ca.h"
#include "creds/key.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

static const char *const top_keys[] = {
    "ca", "ca_files", "person", "limits", "roles", "issuer", NULL};
static const char *const limits_keys[] = {
    "sessions", "memory", "swap", "pids", "cpu", "cpu_weight", "io", NULL};
static const char *const role_keys[] = {"template", "allow", "credentials", "env", "channels",
    "lifetime", "unix", "workspace", "workspace_mode", "workspaces", NULL};

/* ---- roles ---- */

typedef bool (*check_fn)(const char *s, size_t len);

/* A list of strings that check() accepts, copied. */
static int get_list(const struct yaml_doc *d, json_t *o, const char *key, check_fn check,
    const char *must, json_t *into, struct err *e)
{
	json_t *list, *v;
	size_t i;
	int r = yaml_get_list(d, o, key, &list, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (json_array_size(list) > GRANT_LIST_MAX)
		return yaml_fail(
		    d, o, key, 0, e, -EINVAL, "%s: more than %d entries", key, GRANT_LIST_MAX);
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v) || !check(json_string_value(v), json_string_length(v)))
			return yaml_fail(d, list, NULL, i, e, -EINVAL, "%s: must be %s", key, must);
		if (json_array_append(into, v) < 0)
			return err_set(e, -ENOMEM, "no memory for a role");
	}
	return 0;
}

/* "jwt:AUDIENCE" in printable ASCII without spaces. */
static bool credential_ok(const char *s, size_t len)
{
	if (len < 5 || len > 4 + GRANT_AUDIENCE_MAX || strncmp(s, "jwt:", 4) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return true;
}

static bool env_pattern_ok(const char *s, size_t len)
{
	if (len > 0 && s[len - 1] == '*')
		len--;
	return env_name_valid(s, len); /* so a bare * is refused */
}

static int parse_allow(const struct yaml_doc *d, json_t *o, struct role *role, struct err *e)
{
	json_t *list, *v;
	size_t i;
	int r = yaml_get_list(d, o, "allow", &list, e);

	if (r < 0)
		return r;
	if (r == 1) /* nothing is allowed unless it is said */
		return yaml_fail(d, o, NULL, 0, e, -EINVAL,
		    "role %s: allow is missing, so it could do nothing", role->name);
	role->allow_line = yaml_line(d, o, "allow", 0);
	json_array_foreach(list, i, v)
	{
		unsigned bit = 0;

		for (unsigned b = 0; b < GRANT_ACTIONS; b++)
			if (json_is_string(v) &&
			    strcmp(json_string_value(v), grant_action_name(1u << b)) == 0)
				bit = 1u << b;
		if (!bit)
			return yaml_fail(d, list, NULL, i, e, -EINVAL,
			    "allow: must be exec, shell, pty, sftp, credential or forward");
		role->actions |= bit;
	}
	return 0;
}

static int parse_role_numbers(const struct yaml_doc *d, json_t *o, struct role *role, struct err *e)
{
	int64_t v = ROLE_CHANNELS;
	int r;

	if ((r = yaml_get_int(d, o, "channels", 1, ROLE_CHANNELS_MAX, &v, e)) < 0)
		return r;
	role->channels = (uint32_t)v;
	role->lifetime_s = ROLE_LIFETIME_S;
	if ((r = yaml_get_seconds(d, o, "lifetime", &role->lifetime_s, e)) < 0)
		return r;
	if (role->lifetime_s > ROLE_LIFETIME_MAX_S)
		return yaml_fail(d, o, "lifetime", 0, e, -EINVAL, "lifetime: at most 30d");
	return 0;
}

static int parse_template_name(
    const struct yaml_doc *d, json_t *o, struct role *role, struct err *e)
{
	const char *s = "default";
	struct err why = ERR_INIT;
	int r = yaml_get_str(d, o, "template", &s, e);

	if (r < 0)
		return r;
	if (name_check("template", s, strlen(s), &why) < 0)
		return yaml_fail(d, o, "template", 0, e, -EINVAL, "%s", err_text(&why));
	(void)str_copy(role->template_name, sizeof role->template_name, s);
	return 0;
}

/* useradd(8): what Debian takes as the name of an account. */
static bool unix_ok(const char *s)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz_";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
	size_t len = strlen(s);

	return len > 0 && len <= ROLE_UNIX_MAX && strchr(first, s[0]) && strspn(s, rest) == len &&
	       strcmp(s, "root") != 0;
}

static int parse_unix(
    const struct yaml_doc *d, json_t *o, struct tenant *t, struct role *role, struct err *e)
{
	const char *s = NULL;
	int r = yaml_get_str(d, o, "unix", &s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (!unix_ok(s))
		return yaml_fail(d, o, "unix", 0, e, -EINVAL,
		    "unix: must be the name of a Unix account, not root");
	for (size_t i = 0; i < t->nroles; i++)
		if (strcmp(t->role[i].unix_name, s) == 0)
			return yaml_fail(d, o, "unix", 0, e, -EINVAL,
			    "unix: %s already stands for role %s", s, t->role[i].name);
	(void)str_copy(role->unix_name, sizeof role->unix_name, s);
	return 0;
}

static bool workspace_ok(const char *s, size_t len)
{
	return name_valid(s, len);
}

static int parse_workspaces(const struct yaml_doc *d, json_t *o, struct role *role, struct err *e)
{
	const char *name = "none", *mode = "rw";
	json_t *list = json_object_get(o, "workspaces");
	int r;

	if ((r = yaml_get_str(d, o, "workspace", &name, e)) < 0 ||
	    (r = yaml_get_str(d, o, "workspace_mode", &mode, e)) < 0)
		return r;
	if (strcmp(name, "none") != 0 && !name_valid(name, strlen(name)))
		return yaml_fail(d, o, "workspace", 0, e, -EINVAL,
		    "workspace: must be none or a name, a letter and at most %d of a-z, 0-9 and -",
		    NAME_MAX_LEN - 1);
	if (strcmp(mode, "rw") != 0 && strcmp(mode, "ro") != 0)
		return yaml_fail(
		    d, o, "workspace_mode", 0, e, -EINVAL, "workspace_mode: must be rw or ro");
	role->workspace_mode = mode[1] == 'w' ? PLAN_WORKSPACE_RW : PLAN_WORKSPACE_RO;
	if (strcmp(name, "none") != 0)
		(void)str_copy(role->workspace, sizeof role->workspace, name);
	role->any_workspace =
	    list && json_is_string(list) && strcmp(json_string_value(list), "any") == 0;
	if (role->any_workspace)
		return 0;
	return get_list(
	    d, o, "workspaces", workspace_ok, "any, or a list of names", role->workspaces, e);
}

static int parse_role(
    const struct yaml_doc *d, json_t *roles, const char *name, struct tenant *t, struct err *e)
{
	struct role *role = &t->role[t->nroles++];
	struct err why = ERR_INIT;
	json_t *o;
	int r;

	if (name_check("role", name, strlen(name), &why) < 0)
		return yaml_fail(d, roles, name, 0, e, -EINVAL, "%s", err_text(&why));
	(void)str_copy(role->name, sizeof role->name, name);
	role->line = yaml_line(d, roles, name, 0);
	role->credentials = json_array();
	role->env = json_array();
	role->workspaces = json_array();
	if (!role->credentials || !role->env || !role->workspaces)
		return err_set(e, -ENOMEM, "no memory for a role");
	if ((r = yaml_get_map(d, roles, name, &o, e)) < 0)
		return r;
	if ((r = yaml_check_keys(d, o, role_keys, e)) < 0 ||
	    (r = parse_template_name(d, o, role, e)) < 0 || (r = parse_allow(d, o, role, e)) < 0 ||
	    (r = get_list(d, o, "credentials", credential_ok, "\"jwt:AUDIENCE\"", role->credentials,
	         e)) < 0 ||
	    (r = get_list(d, o, "env", env_pattern_ok, "names, or their beginning and a *",
	         role->env, e)) < 0 ||
	    (r = parse_role_numbers(d, o, role, e)) < 0 || (r = parse_unix(d, o, t, role, e)) < 0 ||
	    (r = parse_workspaces(d, o, role, e)) < 0)
		return r;
	return 0;
}

static int parse_roles(const struct yaml_doc *d, struct tenant *t, struct err *e)
{
	const char *name;
	json_t *roles, *v;
	int r = yaml_get_map(d, yaml_root(d), "roles", &roles, e);

	if (r < 0)
		return r;
	if (r == 1 || json_object_size(roles) == 0)
		return yaml_fail(
		    d, yaml_root(d), "roles", 0, e, -EINVAL, "a tenant needs a role in roles");
	if (json_object_size(roles) > TENANT_ROLES_MAX)
		return yaml_fail(d, yaml_root(d), "roles", 0, e, -EINVAL, "more than %d roles",
		    TENANT_ROLES_MAX);
	t->role = calloc(json_object_size(roles), sizeof *t->role);
	if (!t->role)
		return err_set(e, -ENOMEM, "no memory for the roles");
	json_object_foreach(roles, name, v)
	{
		if ((r = parse_role(d, roles, name, t, e)) < 0)
			return r;
	}
	return 0;
}

/* ---- the rest ---- */

/* Its own limits, none beyond what the host gives a tenant at most. */
static int parse_group(const struct yaml_doc *d, json_t *o, const struct host_config *host,
    struct tenant *t, struct err *e)
{
	unsigned line[LIMITS_ALL] = {0};
	char mine[LIMIT_TEXT_MAX], most[LIMIT_TEXT_MAX];
	int r = o ? limits_parse(d, o, LIMITS_GROUP, &t->limits, line, e) : 0;

	for (unsigned i = 0; r == 0 && i < LIMITS_GROUP; i++) {
		uint64_t v = limit_get(&t->limits, i), max = limit_get(&host->tenant_max, i);

		t->own[i] = line[i] != 0;
		/* of swap 0 is none of it, and as a maximum it is not said */
		if (max == 0 || limit_within(i, v, max))
			continue;
		return err_set(e, -EINVAL, "%s:%u: %s: %s is more than limits.tenant_max of %s: %s",
		    yaml_name(d), line[i] ? line[i] : 1, limit_name(i), limit_text(i, v, mine),
		    HOST_FILE, limit_text(i, max, most));
	}
	return r;
}

static int parse_limits(
    const struct yaml_doc *d, const struct host_config *host, struct tenant *t, struct err *e)
{
	int64_t v = t->sessions;
	json_t *o;
	int r = yaml_get_map(d, yaml_root(d), "limits", &o, e);

	if (r != 0)
		return r < 0 ? r : parse_group(d, NULL, host, t, e);
	t->limits_line = yaml_line(d, yaml_root(d), "limits", 0);
	if ((r = yaml_check_keys(d, o, limits_keys, e)) < 0 ||
	    (r = parse_group(d, o, host, t, e)) < 0 ||
	    (r = yaml_get_int(d, o, "sessions", 1, HOST_SESSIONS_MAX, &v, e)) < 0)
		return r;
	t->sessions = (uint32_t)v;
	return 0;
}

static int parse_words(const struct yaml_doc *d, struct tenant *t, struct err *e)
{
	json_t *root = yaml_root(d);
	const char *s = "key-id";
	int r;

	if ((r = yaml_get_str(d, root, "person", &s, e)) < 0)
		return r;
	if (strcmp(s, "key-id") != 0)
		return yaml_fail(d, root, "person", 0, e, -EINVAL, "person: must be key-id");
	(void)snprintf(t->issuer, sizeof t->issuer, "https://postern.invalid/%s", t->name);
	if ((r = yaml_get_str(d, root, "issuer", &s, e)) != 0)
		return r < 0 ? r : 0;
	if (strncmp(s, "https://", 8) != 0 || s[8] == '\0' ||
	    !str_copy(t->issuer, sizeof t->issuer, s))
		return yaml_fail(d, root, "issuer", 0, e, -EINVAL,
		    "issuer: must be a https:// URL of at most %d bytes", TENANT_ISSUER_MAX);
	return 0;
}

static int parse_all(const struct yaml_doc *d, int dirfd, const struct host_config *host,
    struct tenant *t, struct err *e)
{
	int r;

	if (json_is_null(yaml_root(d)))
		return yaml_fail(d, yaml_root(d), NULL, 0, e, -EINVAL, "the file is empty");
	if ((r = yaml_check_keys(d, yaml_root(d), top_keys, e)) < 0 ||
	    (r = tenant_parse_cas(d, t, e)) < 0 || (r = tenant_parse_ca_files(d, dirfd, t, e)) < 0)
		return r;
	if (t->ncas == 0)
		return yaml_fail(d, yaml_root(d), NULL, 0, e, -EINVAL,
		    "a tenant needs a CA key in ca or ca_files");
	if ((r = parse_limits(d, host, t, e)) < 0 || (r = parse_words(d, t, e)) < 0 ||
	    (r = parse_roles(d, t, e)) < 0)
		return r;
	return 0;
}

int tenant_parse(const struct yaml_doc *d, const char *name, int dirfd,
    const struct host_config *host, struct tenant *ret, struct err *e)
{
	struct tenant t = {.sessions = host->sessions_per_tenant, .limits = host->tenant};
	int r;

	(void)str_copy(t.name, sizeof t.name, name);
	if ((r = parse_all(d, dirfd, host, &t, e)) < 0) {
		tenant_done(&t);
		return r;
	}
	*ret = t;
	return 0;
}

void tenant_done(struct tenant *t)
{
	for (size_t i = 0; i < t->ncas; i++)
		key_free(t->ca[i]);
	for (size_t i = 0; i < t->nroles; i++) {
		json_decref(t->role[i].credentials);
		json_decref(t->role[i].env);
		json_decref(t->role[i].workspaces);
	}
	free(t->role);
	memset(t, 0, sizeof *t);
}

const struct role *tenant_role_of_unix(const struct tenant *t, const void *user, size_t len)
{
	const struct role *same = NULL;

	for (size_t i = 0; i < t->nroles; i++) {
		const struct role *role = &t->role[i];
		const char *name = role->unix_name[0] ? role->unix_name : role->name;

		if (strlen(name) != len || memcmp(name, user, len) != 0)
			continue;
		if (role->unix_name[0])
			return role;
		same = role;
	}
	return same;
}

const struct role *tenant_role(const struct tenant *t, const char *name)
{
	for (size_t i = 0; i < t->nroles; i++)
		if (strcmp(t->role[i].name, name) == 0)
			return &t->role[i];
	return NULL;
}

bool role_may_open(const struct role *role, const char *workspace)
{
	if (role->any_workspace || strcmp(role->workspace, workspace) == 0)
		return true;
	for (size_t i = 0; i < json_array_size(role->workspaces); i++)
		if (strcmp(json_string_value(json_array_get(role->workspaces, i)), workspace) == 0)
			return true;
	return false;
}
