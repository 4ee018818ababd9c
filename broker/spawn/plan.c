#include "broker/spawn/plan.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"

#define BYTES_MAX  (INT64_C(1) << 50)
#define PIDS_MAX   (INT64_C(1) << 22) /* PID_MAX_LIMIT */
#define CPU_MAX    (INT64_C(100) * 4096)
#define WEIGHT_MAX 10000
#define INODES_MAX (INT64_C(1) << 40)
#define FILES_MAX  (INT64_C(1) << 20) /* fs.nr_open's default */
#define WARM_MAX   64

const char *const plan_roots[] = {"host", "directory", "image", NULL};
const char *const plan_tiers[] = {"namespaces", "oci", "microvm", NULL};
const char *const plan_seccomps[] = {"default", "strict", NULL};
const char *const plan_landlocks[] = {"none", "read", "exec", "write", NULL};
const char *const plan_workspaces[] = {"none", "ro", "rw", NULL};

static const struct msg_field fields[] = {
    {"version", MSG_INT, PLAN_VERSION, false},
    {"tenant", MSG_NAME, NAME_MAX_LEN, false},
    {"role", MSG_NAME, NAME_MAX_LEN, false},
    {"template", MSG_NAME, NAME_MAX_LEN, false},
    {"tier", MSG_STRING, 16, false},
    {"root", MSG_STRING, 16, false},
    {"root_path", MSG_STRING, PLAN_PATH_MAX - 1, true},
    {"image", MSG_STRING, PLAN_IMAGE_HEX_LEN, true},
    {"limits", MSG_OBJECT, 16, false},
    {"tenant_limits", MSG_OBJECT, 16, false},
    {"disk_bytes", MSG_INT, BYTES_MAX, false},
    {"disk_inodes", MSG_INT, INODES_MAX, false},
    {"open_files", MSG_INT, FILES_MAX, false},
    {"root_user", MSG_BOOL, 0, false},
    {"credentials", MSG_BOOL, 0, false},
    {"seccomp", MSG_STRING, 16, false},
    {"watch", MSG_BOOL, 0, false},
    {"programs", MSG_STRINGS, PLAN_PROGRAMS_MAX, false},
    {"mounts", MSG_OBJECTS, PLAN_MOUNTS_MAX, false},
    {"landlock", MSG_OBJECTS, PLAN_LANDLOCK_MAX, false},
    {"workspace", MSG_OBJECT, 2, true}, /* absent: none */
    {"runtime", MSG_STRING, PLAN_PATH_MAX - 1, true},
    {"emulate", MSG_BOOL, 0, false},
    {"warm", MSG_INT, WARM_MAX, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field mount_fields[] = {
    {"source", MSG_STRING, PLAN_PATH_MAX - 1, false},
    {"target", MSG_STRING, PLAN_INSIDE_MAX - 1, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field rule_fields[] = {
    {"path", MSG_STRING, PLAN_INSIDE_MAX - 1, false},
    {"access", MSG_STRING, 16, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field workspace_fields[] = {
    {"name", MSG_NAME, NAME_MAX_LEN, false},
    {"mode", MSG_STRING, 16, false},
    {NULL, MSG_INT, 0, false},
};

/* What is 0 is not written. */
static const struct limit {
	const char *name;
	size_t at;
	int64_t max;
} limits[] = {
    {"memory_bytes", offsetof(struct plan_limits, memory_bytes), BYTES_MAX},
    {"swap_bytes", offsetof(struct plan_limits, swap_bytes), BYTES_MAX},
    {"pids", offsetof(struct plan_limits, pids), PIDS_MAX},
    {"cpu_percent", offsetof(struct plan_limits, cpu_percent), CPU_MAX},
    {"cpu_weight", offsetof(struct plan_limits, cpu_weight), WEIGHT_MAX},
    {"io_read_bps", offsetof(struct plan_limits, io_read_bps), BYTES_MAX},
    {"io_write_bps", offsetof(struct plan_limits, io_write_bps), BYTES_MAX},
    {"io_read_iops", offsetof(struct plan_limits, io_read_iops), BYTES_MAX},
    {"io_write_iops", offsetof(struct plan_limits, io_write_iops), BYTES_MAX},
};

int plan_word(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

/* ---- writing ---- */

json_t *plan_limits_json(const struct plan_limits *l)
{
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		uint64_t v;

		memcpy(&v, (const char *)l + limits[i].at, sizeof v);
		if (v)
			(void)json_object_set_new(o, limits[i].name, json_integer((json_int_t)v));
	}
	return o;
}

static json_t *pack_programs(const struct plan *p)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < p->nprograms; i++)
		(void)json_array_append_new(a, json_string(p->programs[i]));
	return a;
}

static json_t *pack_mounts(const struct plan *p)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < p->nmounts; i++)
		(void)json_array_append_new(a, json_pack("{s:s,s:s}", "source", p->mounts[i].source,
		                                   "target", p->mounts[i].target));
	return a;
}

static json_t *pack_rules(const struct plan *p)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < p->nrules; i++)
		(void)json_array_append_new(a, json_pack("{s:s,s:s}", "path", p->rules[i].path,
		                                   "access", plan_landlocks[p->rules[i].access]));
	return a;
}

static json_t *pack_workspace(const struct plan *p)
{
	if (p->workspace_mode == PLAN_WORKSPACE_NONE)
		return NULL;
	return json_pack(
	    "{s:s,s:s}", "name", p->workspace, "mode", plan_workspaces[p->workspace_mode]);
}

static json_t *if_set(const char *s)
{
	return *s ? json_string(s) : NULL;
}

json_t *plan_pack(const struct plan *p)
{
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:o*,s:o*,s:o,s:o,s:I,s:I,s:I,s:b,s:b,s:s,s:b,"
	                 "s:o,s:o,s:o,s:o*,s:o*,s:b,s:i}",
	    "version", PLAN_VERSION, "tenant", p->tenant, "role", p->role, "template",
	    p->template_name, "tier", plan_tiers[p->tier], "root", plan_roots[p->root], "root_path",
	    if_set(p->root_path), "image", if_set(p->image), "limits", plan_limits_json(&p->limits),
	    "tenant_limits", plan_limits_json(&p->tenant_limits), "disk_bytes",
	    (json_int_t)p->disk_bytes, "disk_inodes", (json_int_t)p->disk_inodes, "open_files",
	    (json_int_t)p->open_files, "root_user", p->root_user, "credentials", p->credentials,
	    "seccomp", plan_seccomps[p->seccomp], "watch", p->watch, "programs", pack_programs(p),
	    "mounts", pack_mounts(p), "landlock", pack_rules(p), "workspace", pack_workspace(p),
	    "runtime", if_set(p->runtime), "emulate", p->emulate, "warm", (int)p->warm);
}

/* ---- reading ---- */

/* Nothing that a mount option or a log line could take for something else. */
bool plan_path_valid(const char *p)
{
	if (*p != '/' || p[1] == '\0')
		return false;
	for (const char *c = p; *c; c++) {
		size_t part = strcspn(c + 1, "/");

		if ((unsigned char)*c < 0x20 || (unsigned char)*c == 0x7f)
			return false;
		if (*c != '/')
			continue;
		if (part == 0 || (part == 1 && c[1] == '.') ||
		    (part == 2 && c[1] == '.' && c[2] == '.'))
			return false;
	}
	return true;
}

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* The place of a field's word; *r gets -EBADMSG if it has none. */
static unsigned word(
    const json_t *o, const char *key, const char *const *words, int *r, struct err *e)
{
	int i = plan_word(words, text(o, key));

	if (i < 0 && *r == 0)
		*r = err_set(e, -EBADMSG, "plan: %s has no such value", key);
	return i < 0 ? 0 : (unsigned)i;
}

static int path(const char *what, const char *p, struct err *e)
{
	return plan_path_valid(p)
	           ? 0
	           : err_set(e, -EBADMSG, "plan: %s must be absolute, without . and ..", what);
}

static int parse_limits(const json_t *o, const char *key, struct plan_limits *ret, struct err *e)
{
	struct msg_field f[ARRAY_LEN(limits) + 1] = {{NULL, MSG_INT, 0, false}};
	const json_t *l = json_object_get(o, key);
	int r;

	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		f[i] = (struct msg_field){limits[i].name, MSG_INT, limits[i].max, true};
	if ((r = msg_check_fields(key, l, f, e)) < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		uint64_t v = number(l, limits[i].name);

		memcpy((char *)ret + limits[i].at, &v, sizeof v);
	}
	return 0;
}

static int parse_root(const json_t *o, struct plan *p, struct err *e)
{
	int r = 0;

	p->root = word(o, "root", plan_roots, &r, e);
	if (r < 0)
		return r;
	if ((p->root == PLAN_ROOT_DIRECTORY) != (json_object_get(o, "root_path") != NULL))
		return err_set(
		    e, -EBADMSG, "plan: root_path belongs to root directory, and only there");
	if ((p->root == PLAN_ROOT_IMAGE) != (json_object_get(o, "image") != NULL))
		return err_set(e, -EBADMSG, "plan: image belongs to root image, and only there");
	/* the lengths have been checked */
	(void)str_copy(p->root_path, sizeof p->root_path, text(o, "root_path"));
	(void)str_copy(p->image, sizeof p->image, text(o, "image"));
	if (p->root == PLAN_ROOT_IMAGE &&
	    (strlen(p->image) != PLAN_IMAGE_HEX_LEN ||
	        strspn(p->image, "0123456789abcdef") != PLAN_IMAGE_HEX_LEN))
		return err_set(e, -EBADMSG, "plan: image must be a SHA-256 in hexadecimal");
	return p->root == PLAN_ROOT_DIRECTORY ? path("root_path", p->root_path, e) : 0;
}

static int parse_programs(const json_t *o, struct plan *p, struct err *e)
{
	const json_t *a = json_object_get(o, "programs"), *v;
	size_t i;

	json_array_foreach(a, i, v)
	{
		if (!plan_path_valid(json_string_value(v)) ||
		    !str_copy(p->programs[i], sizeof p->programs[i], json_string_value(v)))
			return err_set(e, -EBADMSG, "plan: programs must be absolute paths");
		p->nprograms++;
	}
	return 0;
}

static int parse_mounts(const json_t *o, struct plan *p, struct err *e)
{
	const json_t *a = json_object_get(o, "mounts"), *v;
	size_t i;
	int r;

	json_array_foreach(a, i, v)
	{
		struct plan_mount *m = &p->mounts[i];

		if ((r = msg_check_fields("mount", v, mount_fields, e)) < 0)
			return r;
		(void)str_copy(m->source, sizeof m->source, text(v, "source"));
		(void)str_copy(m->target, sizeof m->target, text(v, "target"));
		if ((r = path("a mount's source", m->source, e)) < 0 ||
		    (r = path("a mount's target", m->target, e)) < 0)
			return r;
		p->nmounts++;
	}
	return 0;
}

static int parse_rules(const json_t *o, struct plan *p, struct err *e)
{
	const json_t *a = json_object_get(o, "landlock"), *v;
	size_t i;
	int r;

	json_array_foreach(a, i, v)
	{
		struct plan_rule *rule = &p->rules[i];

		if ((r = msg_check_fields("landlock", v, rule_fields, e)) < 0)
			return r;
		(void)str_copy(rule->path, sizeof rule->path, text(v, "path"));
		rule->access = word(v, "access", plan_landlocks, &r, e);
		if (r < 0 || (r = path("a rule's path", rule->path, e)) < 0)
			return r;
		p->nrules++;
	}
	return 0;
}

static int parse_workspace(const json_t *o, struct plan *p, struct err *e)
{
	const json_t *w = json_object_get(o, "workspace");
	int r;

	if (!w)
		return 0;
	if ((r = msg_check_fields("workspace", w, workspace_fields, e)) < 0)
		return r;
	(void)str_copy(p->workspace, sizeof p->workspace, text(w, "name"));
	p->workspace_mode = word(w, "mode", plan_workspaces, &r, e);
	if (r == 0 && p->workspace_mode == PLAN_WORKSPACE_NONE)
		return err_set(e, -EBADMSG, "plan: a workspace is ro or rw");
	return r;
}

static int parse_tier(const json_t *o, struct plan *p, struct err *e)
{
	int r = 0;

	p->tier = word(o, "tier", plan_tiers, &r, e);
	p->seccomp = word(o, "seccomp", plan_seccomps, &r, e);
	if (r < 0)
		return r;
	if ((p->tier == PLAN_TIER_OCI) != (json_object_get(o, "runtime") != NULL))
		return err_set(e, -EBADMSG, "plan: runtime belongs to tier oci, and only there");
	(void)str_copy(p->runtime, sizeof p->runtime, text(o, "runtime"));
	return p->tier == PLAN_TIER_OCI ? path("runtime", p->runtime, e) : 0;
}

int plan_parse(const json_t *o, struct plan *ret, struct err *e)
{
	struct plan p = {.root = PLAN_ROOT_HOST};
	int r;

	if ((r = msg_check_fields("plan", o, fields, e)) < 0)
		return r;
	if (number(o, "version") != PLAN_VERSION)
		return err_set(e, -EBADMSG, "plan: version must be %d", PLAN_VERSION);
	(void)str_copy(p.tenant, sizeof p.tenant, text(o, "tenant"));
	(void)str_copy(p.role, sizeof p.role, text(o, "role"));
	(void)str_copy(p.template_name, sizeof p.template_name, text(o, "template"));
	if ((r = parse_tier(o, &p, e)) < 0 || (r = parse_root(o, &p, e)) < 0 ||
	    (r = parse_limits(o, "limits", &p.limits, e)) < 0 ||
	    (r = parse_limits(o, "tenant_limits", &p.tenant_limits, e)) < 0 ||
	    (r = parse_programs(o, &p, e)) < 0 || (r = parse_mounts(o, &p, e)) < 0 ||
	    (r = parse_rules(o, &p, e)) < 0 || (r = parse_workspace(o, &p, e)) < 0)
		return r;
	p.disk_bytes = number(o, "disk_bytes");
	p.disk_inodes = number(o, "disk_inodes");
	p.open_files = number(o, "open_files");
	p.root_user = flag(o, "root_user");
	p.credentials = flag(o, "credentials");
	p.watch = flag(o, "watch");
	p.emulate = flag(o, "emulate");
	p.warm = (uint32_t)number(o, "warm");
	*ret = p;
	return 0;
}
