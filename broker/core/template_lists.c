#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/template.h"
#include "broker/core/template_internal.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

/*
 * The lists and mappings of a template's file.
 */

static const char *const mount_keys[] = {"source", "target", NULL};
static const char *const rule_keys[] = {"path", "access", NULL};

bool env_name_valid(const char *s, size_t len)
{
	if (len == 0 || len > 128 || (s[0] >= '0' && s[0] <= '9'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') ||
		        (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
			return false;
	return true;
}

int template_parse_env(const struct yaml_doc *d, struct template *t, struct err *e)
{
	const char *name, *value;
	json_t *o, *v;
	int r = yaml_get_map(d, yaml_root(d), "env", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	json_object_foreach(o, name, v)
	{
		if (!env_name_valid(name, strlen(name)))
			return yaml_fail(
			    d, o, name, 0, e, -EINVAL, "env: a name must be letters, digits and _");
		if ((r = yaml_get_str(d, o, name, &value, e)) < 0)
			return r;
		if (json_object_set(t->env, name, v) < 0)
			return err_set(e, -ENOMEM, "no memory for a template");
	}
	if (json_object_size(t->env) > TEMPLATE_ENV_MAX)
		return yaml_fail(d, yaml_root(d), "env", 0, e, -EINVAL, "env: more than %d names",
		    TEMPLATE_ENV_MAX);
	template_note(d, yaml_root(d), "env", t, TEMPLATE_ENV);
	return 0;
}

/* A list's entry or the text: not empty, and short. */
static bool word_ok(const json_t *v)
{
	return json_is_string(v) && json_string_length(v) > 0 && json_string_length(v) < 4096;
}

int template_parse_entry(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *v = json_object_get(yaml_root(d), "entry"), *word;
	bool ok;
	size_t i;

	if (!v)
		return 0;
	ok = word_ok(v) || (json_is_array(v) && json_array_size(v) <= TEMPLATE_ENTRY_MAX);
	json_array_foreach(v, i, word)
	{
		ok = ok && (i == 0 ? word_ok(word) && plan_path_valid(json_string_value(word))
		                   : json_is_string(word) && json_string_length(word) < 4096);
	}
	if (!ok)
		return yaml_fail(d, yaml_root(d), "entry", 0, e, -EINVAL,
		    "entry: must be text for the shell, or a list: an absolute path and at most %d "
		    "arguments",
		    TEMPLATE_ENTRY_MAX - 1);
	json_decref(t->entry);
	t->entry = json_is_array(v) && json_array_size(v) == 0 ? NULL : json_deep_copy(v);
	template_note(d, yaml_root(d), "entry", t, TEMPLATE_ENTRY);
	return 0;
}

/* A list of at most max entries; *ret is NULL when it is not there. */
static int get_list(const struct yaml_doc *d, const char *key, size_t max, struct template *t,
    unsigned k, json_t **ret, struct err *e)
{
	int r;

	*ret = NULL;
	if ((r = yaml_get_list(d, yaml_root(d), key, ret, e)) != 0)
		return r < 0 ? r : 0;
	if (json_array_size(*ret) > max)
		return yaml_fail(
		    d, yaml_root(d), key, 0, e, -EINVAL, "%s: more than %zu entries", key, max);
	template_note(d, yaml_root(d), key, t, k);
	return 0;
}

/* The i-th entry: a mapping with these keys. */
static int get_entry(const struct yaml_doc *d, json_t *list, size_t i, const char *what,
    const char *const *keys, json_t **ret, struct err *e)
{
	json_t *o = json_array_get(list, i);

	if (!json_is_object(o))
		return yaml_fail(d, list, NULL, i, e, -EINVAL,
		    "%s: an entry must be {%s: ..., %s: ...}", what, keys[0], keys[1]);
	*ret = o;
	return yaml_check_keys(d, o, keys, e);
}

static int get_path(const struct yaml_doc *d, json_t *list, size_t i, json_t *o, const char *what,
    const char *key, char *dst, size_t size, struct err *e)
{
	const char *s = "";
	int r;

	if ((r = yaml_get_str(d, o, key, &s, e)) < 0)
		return r;
	if (!plan_path_valid(s) || !str_copy(dst, size, s))
		return yaml_fail(d, list, NULL, i, e, -EINVAL,
		    "%s: %s must be an absolute path without . and .., of at most %zu bytes", what,
		    key, size - 1);
	return 0;
}

/* What the sandbox itself is made of. */
static bool target_taken(const char *target)
{
	static const char *const own[] = {"/proc", "/dev", "/sys", "/run/postern"};

	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		size_t n = strlen(own[i]);

		if (strncmp(target, own[i], n) == 0 && (target[n] == '\0' || target[n] == '/'))
			return true;
	}
	return false;
}

int template_parse_mounts(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *list, *o;
	int r;

	if ((r = get_list(d, "mounts", PLAN_MOUNTS_MAX, t, TEMPLATE_MOUNTS, &list, e)) < 0 || !list)
		return r;
	t->nmounts = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct plan_mount m;

		if ((r = get_entry(d, list, i, "mounts", mount_keys, &o, e)) < 0 ||
		    (r = get_path(
		         d, list, i, o, "mounts", "source", m.source, sizeof m.source, e)) < 0 ||
		    (r = get_path(
		         d, list, i, o, "mounts", "target", m.target, sizeof m.target, e)) < 0)
			return r;
		if (target_taken(m.target))
			return yaml_fail(d, list, NULL, i, e, -EINVAL,
			    "mounts: %s is the sandbox's own", m.target);
		for (unsigned k = 0; k < t->nmounts; k++)
			if (strcmp(t->mounts[k].target, m.target) == 0)
				return yaml_fail(d, list, NULL, i, e, -EINVAL,
				    "mounts: %s is there twice", m.target);
		t->mounts[t->nmounts++] = m;
	}
	return 0;
}

int template_parse_rules(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *list, *o;
	int r;

	if ((r = get_list(d, "landlock", PLAN_LANDLOCK_MAX, t, TEMPLATE_LANDLOCK, &list, e)) < 0 ||
	    !list)
		return r;
	t->nrules = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct plan_rule rule;
		const char *s = "";
		int at;

		if ((r = get_entry(d, list, i, "landlock", rule_keys, &o, e)) < 0 ||
		    (r = get_path(
		         d, list, i, o, "landlock", "path", rule.path, sizeof rule.path, e)) < 0 ||
		    (r = yaml_get_str(d, o, "access", &s, e)) < 0)
			return r;
		if ((at = plan_word(plan_landlocks, s)) < 0)
			return yaml_fail(d, list, NULL, i, e, -EINVAL,
			    "landlock: access must be none, read, exec or write");
		rule.access = (enum plan_landlock)at;
		for (unsigned k = 0; k < t->nrules; k++)
			if (strcmp(t->rules[k].path, rule.path) == 0)
				return yaml_fail(d, list, NULL, i, e, -EINVAL,
				    "landlock: %s is there twice", rule.path);
		t->rules[t->nrules++] = rule;
	}
	return 0;
}

int template_parse_programs(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *list, *v;
	size_t i;
	int r;

	if ((r = get_list(d, "programs", PLAN_PROGRAMS_MAX, t, TEMPLATE_PROGRAMS, &list, e)) < 0 ||
	    !list)
		return r;
	/* no list allows everything, and an empty one must not look like the opposite */
	if (json_array_size(list) == 0)
		return yaml_fail(d, yaml_root(d), "programs", 0, e, -EINVAL,
		    "programs: an empty list; leave it out to allow all programs");
	t->nprograms = 0;
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);

		if (!s || !plan_path_valid(s) ||
		    !str_copy(t->programs[t->nprograms], PLAN_INSIDE_MAX, s))
			return yaml_fail(d, list, NULL, i, e, -EINVAL,
			    "programs: must be absolute paths of at most %d bytes",
			    PLAN_INSIDE_MAX - 1);
		t->nprograms++;
	}
	return 0;
}
