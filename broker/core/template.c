#include "broker/core/template.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/grant.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define MIB (UINT64_C(1) << 20)

static const char *const key_names[] = {
    [TEMPLATE_BASE] = "base",
    [TEMPLATE_ROOT] = "root",
    [TEMPLATE_SHELL] = "shell",
    [TEMPLATE_ENTRY] = "entry",
    [TEMPLATE_ENV] = "env",
    [TEMPLATE_MOUNTS] = "mounts",
    [TEMPLATE_SECCOMP] = "seccomp",
    [TEMPLATE_LANDLOCK] = "landlock",
    [TEMPLATE_PROGRAMS] = "programs",
    [TEMPLATE_WATCH] = "watch",
    [TEMPLATE_FORWARD] = "forward",
    [TEMPLATE_CREDENTIALS] = "credentials",
    [TEMPLATE_TIER] = "tier",
    [TEMPLATE_RUNTIME] = "runtime",
    [TEMPLATE_EMULATE] = "emulate",
    [TEMPLATE_WARM] = "warm",
};

const char *template_key_name(unsigned key)
{
	return key < TEMPLATE_LIMITS ? key_names[key] : limit_name(key - TEMPLATE_LIMITS);
}

int template_default(struct template *ret)
{
	memset(ret, 0, sizeof *ret);
	(void)str_copy(ret->name, sizeof ret->name, "default");
	(void)str_copy(ret->shell, sizeof ret->shell, "/bin/bash");
	ret->limits = (struct limits){
	    .group = {.memory_bytes = 512 * MIB, .pids = 128, .cpu_percent = 100},
	    .disk_bytes = 256 * MIB,
	    .disk_inodes = 65536,
	    .open_files = 1024,
	};
	ret->forward = ret->credentials = true;
	for (unsigned i = 0; i < TEMPLATE_KEYS; i++)
		(void)str_copy(ret->where[i], sizeof ret->where[i], "default");
	ret->env = json_object();
	return ret->env ? 0 : -ENOMEM;
}

void template_done(struct template *t)
{
	json_decref(t->env);
	json_decref(t->entry);
	t->env = t->entry = NULL;
}

static json_t *base_value(const struct template *t)
{
	if (t->root == PLAN_ROOT_IMAGE)
		return json_pack("{s:s}", "image", t->image_path);
	return json_string(t->root == PLAN_ROOT_DIRECTORY ? t->root_path : "host");
}

static json_t *mounts_value(const struct template *t)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < t->nmounts; i++)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s}", "source", t->mounts[i].source, "target",
		              t->mounts[i].target));
	return list;
}

static json_t *rules_value(const struct template *t)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < t->nrules; i++)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s}", "path", t->rules[i].path, "access",
		              plan_landlocks[t->rules[i].access]));
	return list;
}

static json_t *programs_value(const struct template *t)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < t->nprograms; i++)
		(void)json_array_append_new(list, json_string(t->programs[i]));
	return t->nprograms ? list : (json_decref(list), json_string("any"));
}

json_t *template_value(const struct template *t, unsigned key)
{
	char text[LIMIT_TEXT_MAX];

	switch (key) {
	case TEMPLATE_BASE:
		return base_value(t);
	case TEMPLATE_ROOT:
		return json_boolean(t->root_user);
	case TEMPLATE_SHELL:
		return json_string(t->shell);
	case TEMPLATE_ENTRY:
		return t->entry ? json_deep_copy(t->entry) : json_null();
	case TEMPLATE_ENV:
		return json_deep_copy(t->env);
	case TEMPLATE_MOUNTS:
		return mounts_value(t);
	case TEMPLATE_SECCOMP:
		return json_string(plan_seccomps[t->seccomp]);
	case TEMPLATE_LANDLOCK:
		return rules_value(t);
	case TEMPLATE_PROGRAMS:
		return programs_value(t);
	case TEMPLATE_WATCH:
		return json_boolean(t->watch);
	case TEMPLATE_FORWARD:
		return json_boolean(t->forward);
	case TEMPLATE_CREDENTIALS:
		return json_boolean(t->credentials);
	case TEMPLATE_TIER:
		return json_string(plan_tiers[t->tier]);
	case TEMPLATE_RUNTIME:
		return *t->runtime ? json_string(t->runtime) : json_null();
	case TEMPLATE_EMULATE:
		return json_boolean(t->emulate);
	case TEMPLATE_WARM:
		return json_integer((json_int_t)t->warm);
	default:
		key -= TEMPLATE_LIMITS;
		return json_string(limit_text(key, limit_get(&t->limits, key), text));
	}
}

void template_plan(const struct template *t, const struct grant *g,
    const struct plan_limits *tenant_limits, struct plan *ret)
{
	memset(ret, 0, sizeof *ret);
	(void)str_copy(ret->tenant, sizeof ret->tenant, g->tenant);
	(void)str_copy(ret->role, sizeof ret->role, g->role);
	(void)str_copy(ret->template_name, sizeof ret->template_name, t->name);
	ret->tier = t->tier;
	ret->root = t->root;
	(void)str_copy(ret->root_path, sizeof ret->root_path, t->root_path);
	(void)str_copy(ret->image, sizeof ret->image, t->image);
	ret->limits = t->limits.group;
	if (tenant_limits)
		ret->tenant_limits = *tenant_limits;
	ret->disk_bytes = t->limits.disk_bytes;
	ret->disk_inodes = t->limits.disk_inodes;
	ret->open_files = t->limits.open_files;
	ret->root_user = t->root_user;
	ret->credentials = t->credentials && (g->actions & GRANT_CREDENTIAL);
	ret->seccomp = t->seccomp;
	ret->watch = t->watch;
	ret->nprograms = t->nprograms;
	memcpy(ret->programs, t->programs, sizeof ret->programs);
	ret->nmounts = t->nmounts;
	memcpy(ret->mounts, t->mounts, sizeof ret->mounts);
	ret->nrules = t->nrules;
	memcpy(ret->rules, t->rules, sizeof ret->rules);
	ret->workspace_mode = g->workspace_mode;
	(void)str_copy(ret->workspace, sizeof ret->workspace, g->workspace);
	(void)str_copy(ret->runtime, sizeof ret->runtime, t->runtime);
	ret->emulate = t->emulate;
	ret->warm = t->warm;
}
