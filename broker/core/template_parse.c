#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/template.h"
#include "broker/core/template_internal.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

/*
 * A template's file, onto what it inherits.
 */

static const char *const top_keys[] = {"extends", "base", "root", "shell", "entry", "env", "mounts",
    "limits", "seccomp", "landlock", "programs", "watch", "forward", "credentials", "tier",
    "runtime", "emulate", "warm", NULL};
static const char *const base_keys[] = {"image", NULL};

void template_note(
    const struct yaml_doc *d, const json_t *parent, const char *key, struct template *t, unsigned k)
{
	(void)snprintf(
	    t->where[k], sizeof t->where[k], "%s:%u", yaml_name(d), yaml_line(d, parent, key, 0));
}

int template_extends(const struct yaml_doc *d, const char **ret, struct err *e)
{
	struct err why = ERR_INIT;
	const char *s = NULL;
	int r;

	*ret = NULL;
	if (json_is_null(yaml_root(d)))
		return 0;
	if ((r = yaml_get_str(d, yaml_root(d), "extends", &s, e)) != 0)
		return r < 0 ? r : 0;
	if (name_check("template", s, strlen(s), &why) < 0)
		return yaml_fail(
		    d, yaml_root(d), "extends", 0, e, -EINVAL, "extends: %s", err_text(&why));
	*ret = s;
	return 0;
}

/* ---- base and root ---- */

static int set_directory(
    const struct yaml_doc *d, const char *key, const char *s, struct template *t, struct err *e)
{
	if (strcmp(s, "host") != 0 && !plan_path_valid(s))
		return yaml_fail(d, yaml_root(d), key, 0, e, -EINVAL,
		    "%s: must be host%s or an absolute path without . and ..", key,
		    strcmp(key, "root") == 0 ? ", true, false" : ", {image: FILE}");
	t->image_path[0] = t->image[0] = t->root_path[0] = '\0';
	t->root = PLAN_ROOT_HOST;
	if (strcmp(s, "host") != 0) {
		t->root = PLAN_ROOT_DIRECTORY;
		if (!str_copy(t->root_path, sizeof t->root_path, s))
			return yaml_fail(
			    d, yaml_root(d), key, 0, e, -EINVAL, "%s: too long a path", key);
	}
	template_note(d, yaml_root(d), key, t, TEMPLATE_BASE);
	return 0;
}

static int set_image(const struct yaml_doc *d, json_t *o, struct template *t, struct err *e)
{
	const char *s = "";
	int r;

	if ((r = yaml_check_keys(d, o, base_keys, e)) < 0 ||
	    (r = yaml_get_str(d, o, "image", &s, e)) < 0)
		return r;
	if (!plan_path_valid(s) || strchr(s, '\n') ||
	    !str_copy(t->image_path, sizeof t->image_path, s))
		return yaml_fail(d, yaml_root(d), "base", 0, e, -EINVAL,
		    "base: image must be the absolute path of a docker-archive or oci-layout tar");
	t->root = PLAN_ROOT_IMAGE;
	t->root_path[0] = t->image[0] = '\0';
	template_note(d, yaml_root(d), "base", t, TEMPLATE_BASE);
	return 0;
}

static int parse_root(const struct yaml_doc *d, struct template *t, struct err *e)
{
	const json_t *v = json_object_get(yaml_root(d), "root");

	if (!v)
		return 0;
	if (json_is_boolean(v)) {
		t->root_user = json_is_true(v);
		template_note(d, yaml_root(d), "root", t, TEMPLATE_ROOT);
		return 0;
	}
	if (json_object_get(yaml_root(d), "base"))
		return yaml_fail(d, yaml_root(d), "root", 0, e, -EINVAL,
		    "root: must be true or false where there is a base");
	return set_directory(d, "root", json_is_string(v) ? json_string_value(v) : "", t, e);
}

static int parse_base(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *v = json_object_get(yaml_root(d), "base");
	enum plan_root before = t->root;
	int r = 0;

	if (json_is_object(v))
		r = set_image(d, v, t, e);
	else if (v)
		r = set_directory(d, "base", json_is_string(v) ? json_string_value(v) : "", t, e);
	if (r < 0 || (r = parse_root(d, t, e)) < 0)
		return r;
	/* another root may hold anything: /bin/sh is what can be expected of it */
	if (t->root != PLAN_ROOT_HOST && before == PLAN_ROOT_HOST &&
	    strcmp(t->where[TEMPLATE_SHELL], "default") == 0)
		(void)str_copy(t->shell, sizeof t->shell, "/bin/sh");
	return 0;
}

/* ---- words, flags, numbers ---- */

static int parse_path(const struct yaml_doc *d, const char *key, char *dst, size_t size,
    struct template *t, unsigned k, struct err *e)
{
	const char *s;
	int r = yaml_get_str(d, yaml_root(d), key, &s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (!plan_path_valid(s) || !str_copy(dst, size, s))
		return yaml_fail(
		    d, yaml_root(d), key, 0, e, -EINVAL, "%s: must be an absolute path", key);
	template_note(d, yaml_root(d), key, t, k);
	return 0;
}

static int parse_word(const struct yaml_doc *d, const char *key, const char *const *words,
    struct template *t, unsigned k, int *ret, struct err *e)
{
	char list[96] = "";
	const char *s;
	size_t n = 0;
	int r = yaml_get_str(d, yaml_root(d), key, &s, e), at;

	if (r != 0)
		return r < 0 ? r : 0;
	at = plan_word(words, s);
	for (size_t i = 0; words[i]; i++)
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s",
		    i == 0         ? ""
		    : words[i + 1] ? ", "
		                   : " or ",
		    words[i]);
	if (at < 0)
		return yaml_fail(d, yaml_root(d), key, 0, e, -EINVAL, "%s: must be %s", key, list);
	*ret = at;
	template_note(d, yaml_root(d), key, t, k);
	return 0;
}

static int parse_flag(const struct yaml_doc *d, const char *key, bool *flag, struct template *t,
    unsigned k, struct err *e)
{
	int r = yaml_get_bool(d, yaml_root(d), key, flag, e);

	if (r == 0)
		template_note(d, yaml_root(d), key, t, k);
	return r < 0 ? r : 0;
}

static int parse_tier(const struct yaml_doc *d, struct template *t, struct err *e)
{
	int tier = (int)t->tier, seccomp = (int)t->seccomp, r;
	json_t *root = yaml_root(d);

	if ((r = parse_word(d, "tier", plan_tiers, t, TEMPLATE_TIER, &tier, e)) < 0 ||
	    (r = parse_word(d, "seccomp", plan_seccomps, t, TEMPLATE_SECCOMP, &seccomp, e)) < 0)
		return r;
	t->tier = (enum plan_tier)tier;
	t->seccomp = (enum plan_seccomp)seccomp;
	/* what was inherited for another tier goes */
	if (t->tier != PLAN_TIER_OCI)
		t->runtime[0] = '\0';
	if (t->tier != PLAN_TIER_MICROVM)
		t->emulate = false;
	if (t->tier != PLAN_TIER_OCI && json_object_get(root, "runtime"))
		return yaml_fail(d, root, "runtime", 0, e, -EINVAL, "runtime: only with tier: oci");
	if (t->tier != PLAN_TIER_MICROVM && json_is_true(json_object_get(root, "emulate")))
		return yaml_fail(
		    d, root, "emulate", 0, e, -EINVAL, "emulate: only with tier: microvm");
	if ((r = parse_path(d, "runtime", t->runtime, sizeof t->runtime, t, TEMPLATE_RUNTIME, e)) <
	        0 ||
	    (r = parse_flag(d, "emulate", &t->emulate, t, TEMPLATE_EMULATE, e)) < 0)
		return r;
	if (t->tier == PLAN_TIER_OCI && !*t->runtime)
		return yaml_fail(d, root, "tier", 0, e, -EINVAL,
		    "tier: oci needs runtime, the absolute path of an OCI runtime");
	return 0;
}

static int parse_limits(const struct yaml_doc *d, struct template *t, struct err *e)
{
	unsigned line[LIMITS_ALL] = {0};
	json_t *o;
	int r = yaml_get_map(d, yaml_root(d), "limits", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = yaml_check_keys(d, o, limits_all_keys, e)) < 0 ||
	    (r = limits_parse(d, o, LIMITS_ALL, &t->limits, line, e)) < 0)
		return r;
	for (unsigned i = 0; i < LIMITS_ALL; i++)
		if (line[i])
			(void)snprintf(t->where[TEMPLATE_LIMITS + i], TEMPLATE_WHERE_MAX, "%s:%u",
			    yaml_name(d), line[i]);
	return 0;
}

static int parse_warm(const struct yaml_doc *d, struct template *t, struct err *e)
{
	int64_t v;
	int r = yaml_get_int(d, yaml_root(d), "warm", 0, TEMPLATE_WARM_MAX, &v, e);

	if (r != 0)
		return r < 0 ? r : 0;
	t->warm = (uint32_t)v;
	template_note(d, yaml_root(d), "warm", t, TEMPLATE_WARM);
	return 0;
}

/* ---- all ---- */

static int parse_all(const struct yaml_doc *d, struct template *t, struct err *e)
{
	int r;

	if (json_is_null(yaml_root(d)))
		return 0;
	if ((r = yaml_check_keys(d, yaml_root(d), top_keys, e)) < 0 ||
	    (r = parse_base(d, t, e)) < 0 ||
	    (r = parse_path(d, "shell", t->shell, sizeof t->shell, t, TEMPLATE_SHELL, e)) < 0 ||
	    (r = template_parse_entry(d, t, e)) < 0 || (r = template_parse_env(d, t, e)) < 0 ||
	    (r = template_parse_mounts(d, t, e)) < 0 || (r = parse_limits(d, t, e)) < 0 ||
	    (r = template_parse_rules(d, t, e)) < 0 || (r = template_parse_programs(d, t, e)) < 0 ||
	    (r = parse_flag(d, "watch", &t->watch, t, TEMPLATE_WATCH, e)) < 0 ||
	    (r = parse_flag(d, "forward", &t->forward, t, TEMPLATE_FORWARD, e)) < 0 ||
	    (r = parse_flag(d, "credentials", &t->credentials, t, TEMPLATE_CREDENTIALS, e)) < 0 ||
	    (r = parse_tier(d, t, e)) < 0 || (r = parse_warm(d, t, e)) < 0)
		return r;
	return 0;
}

/* A start with what is inherited. */
static int begin(const struct template *parent, struct template *t)
{
	if (!parent)
		return template_default(t);
	*t = *parent;
	t->env = json_copy(parent->env);
	t->entry = parent->entry ? json_deep_copy(parent->entry) : NULL;
	if (t->env && (t->entry || !parent->entry))
		return 0;
	template_done(t);
	return -ENOMEM;
}

int template_parse(const struct yaml_doc *d, const char *name, const char *tenant,
    const struct template *parent, struct template *ret, struct err *e)
{
	int r;

	if (begin(parent, ret) < 0)
		return err_set(e, -ENOMEM, "no memory for a template");
	(void)str_copy(ret->extends, sizeof ret->extends, parent ? parent->name : "");
	(void)str_copy(ret->name, sizeof ret->name, name);
	(void)str_copy(ret->tenant, sizeof ret->tenant, tenant ? tenant : "");
	ret->depth = parent ? parent->depth + 1 : 0;
	if (ret->depth > TEMPLATE_DEPTH_MAX)
		r = yaml_fail(d, yaml_root(d), "extends", 0, e, -EINVAL,
		    "extends: more than %d templates, one behind the other", TEMPLATE_DEPTH_MAX);
	else
		r = parse_all(d, ret, e);
	if (r == 0 && tenant)
		r = template_narrows(d, ret, parent, e);
	if (r < 0)
		template_done(ret);
	return r;
}
