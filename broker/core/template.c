#include "broker/core/template.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define MIB (UINT64_C(1) << 20)

static const char *const top_keys[] = {"root", "limits", "env", "shell", NULL};
static const char *const limit_keys[] = {
    "memory", "pids", "cpu", "disk", "inodes", "open_files", NULL};

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

/* Absolute, without "." or ".." or empty components, not the root itself. */
static bool path_is_plain(const char *s)
{
	if (s[0] != '/' || s[1] == '\0')
		return false;
	while (*s == '/') {
		size_t n = strcspn(s + 1, "/");

		if (n == 0 || (n == 1 && s[1] == '.') || (n == 2 && s[1] == '.' && s[2] == '.'))
			return false;
		s += n + 1;
	}
	return true;
}

int template_default(struct template *ret)
{
	struct template t = {
	    .name = "default",
	    .root = PLAN_ROOT_HOST,
	    .memory_bytes = 512 * MIB,
	    .pids = 128,
	    .cpu_percent = 100,
	    .disk_bytes = 256 * MIB,
	    .disk_inodes = 65536,
	    .open_files = 1024,
	    .shell = "/bin/bash",
	};

	t.env = json_object();
	if (!t.env)
		return -ENOMEM;
	*ret = t;
	return 0;
}

static int parse_root(const struct yaml_doc *d, struct template *t, struct err *e)
{
	const char *s;
	int r = yaml_get_str(d, yaml_root(d), "root", &s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (strcmp(s, "host") == 0)
		return 0;
	if (!path_is_plain(s) || !str_copy(t->root_path, sizeof t->root_path, s))
		return yaml_fail(d, yaml_root(d), "root", 0, e, -EINVAL,
		    "root: must be \"host\" or an absolute path without . and ..");
	t->root = PLAN_ROOT_DIRECTORY;
	return 0;
}

static int get_bytes(const struct yaml_doc *d, json_t *o, const char *key, uint64_t min,
    uint64_t *ret, struct err *e)
{
	int r = yaml_get_bytes(d, o, key, ret, e);

	if (r == 0 && (*ret < min || *ret > UINT64_C(1) << 44))
		return yaml_fail(d, o, key, 0, e, -EINVAL, "limits.%s: must be %lluM to 16384G",
		    key, (unsigned long long)(min / MIB));
	return r < 0 ? r : 0;
}

static int get_count(const struct yaml_doc *d, json_t *o, const char *key, int64_t min, int64_t max,
    uint64_t *ret, struct err *e)
{
	int64_t v;
	int r = yaml_get_int(d, o, key, min, max, &v, e);

	if (r == 0)
		*ret = (uint64_t)v;
	return r < 0 ? r : 0;
}

static int parse_limits(const struct yaml_doc *d, struct template *t, struct err *e)
{
	json_t *o;
	int r = yaml_get_map(d, yaml_root(d), "limits", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = yaml_check_keys(d, o, limit_keys, e)) < 0 ||
	    (r = get_bytes(d, o, "memory", 16 * MIB, &t->memory_bytes, e)) < 0 ||
	    (r = get_count(d, o, "pids", 4, 32768, &t->pids, e)) < 0 ||
	    (r = get_count(d, o, "cpu", 1, 100000, &t->cpu_percent, e)) < 0 ||
	    (r = get_bytes(d, o, "disk", MIB, &t->disk_bytes, e)) < 0 ||
	    (r = get_count(d, o, "inodes", 64, INT64_C(1) << 32, &t->disk_inodes, e)) < 0 ||
	    (r = get_count(d, o, "open_files", 32, 1 << 20, &t->open_files, e)) < 0)
		return r;
	return 0;
}

static int parse_env(const struct yaml_doc *d, struct template *t, struct err *e)
{
	const char *name, *value;
	json_t *o, *v;
	int r = yaml_get_map(d, yaml_root(d), "env", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (json_object_size(o) > TEMPLATE_ENV_MAX)
		return yaml_fail(d, yaml_root(d), "env", 0, e, -EINVAL, "env: more than %d names",
		    TEMPLATE_ENV_MAX);
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
	return 0;
}

static int parse_shell(const struct yaml_doc *d, struct template *t, struct err *e)
{
	const char *s;
	int r = yaml_get_str(d, yaml_root(d), "shell", &s, e);

	/* a directory may hold anything: /bin/sh is what can be expected of it */
	if (t->root == PLAN_ROOT_DIRECTORY)
		(void)str_copy(t->shell, sizeof t->shell, "/bin/sh");
	if (r != 0)
		return r < 0 ? r : 0;
	if (!path_is_plain(s) || !str_copy(t->shell, sizeof t->shell, s))
		return yaml_fail(
		    d, yaml_root(d), "shell", 0, e, -EINVAL, "shell: must be an absolute path");
	return 0;
}

static int parse_all(const struct yaml_doc *d, struct template *t, struct err *e)
{
	int r;

	if (json_is_null(yaml_root(d)))
		return 0;
	if ((r = yaml_check_keys(d, yaml_root(d), top_keys, e)) < 0 ||
	    (r = parse_root(d, t, e)) < 0 || (r = parse_limits(d, t, e)) < 0 ||
	    (r = parse_env(d, t, e)) < 0 || (r = parse_shell(d, t, e)) < 0)
		return r;
	return 0;
}

int template_parse(const struct yaml_doc *d, const char *name, struct template *ret, struct err *e)
{
	struct template t;
	int r;

	if (template_default(&t) < 0)
		return err_set(e, -ENOMEM, "no memory for a template");
	(void)str_copy(t.name, sizeof t.name, name);
	if ((r = parse_all(d, &t, e)) < 0) {
		template_done(&t);
		return r;
	}
	*ret = t;
	return 0;
}

void template_done(struct template *t)
{
	json_decref(t->env);
	t->env = NULL;
}

void template_plan(const struct template *t, const char *tenant, const char *role, bool credentials,
    struct plan *ret)
{
	struct plan p = {
	    .root = t->root,
	    .limits = {.memory_bytes = t->memory_bytes,
	        .pids = t->pids,
	        .cpu_percent = t->cpu_percent},
	    .disk_bytes = t->disk_bytes,
	    .disk_inodes = t->disk_inodes,
	    .open_files = t->open_files,
	    .credentials = credentials,
	};

	(void)str_copy(p.tenant, sizeof p.tenant, tenant);
	(void)str_copy(p.role, sizeof p.role, role);
	(void)str_copy(p.template_name, sizeof p.template_name, t->name);
	(void)str_copy(p.root_path, sizeof p.root_path, t->root_path);
	*ret = p;
}
