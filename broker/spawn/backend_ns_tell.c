#include "broker/spawn/backend_ns_internal.h"

#include "broker/spawn/filter.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/programs.h"
#include "lib/util.h"

/* ---- the host ---- */

static json_t *controllers(const struct ns_backend *b)
{
	json_t *a = json_array();

	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++)
		if (cgroups_has(b->cgroups, k))
			(void)json_array_append_new(a, json_string(cgroup_controller_name(k)));
	return a;
}

json_t *ns_tell_host(const struct ns_backend *b)
{
	return json_pack("{s:s,s:s,s:s,s:o,s:i,s:s,s:i,s:i}", "backend", b->base.ops->name,
	    "kernel", b->kernel, "cgroup", cgroups_kind(b->cgroups), "controllers", controllers(b),
	    "landlock", b->landlock, "seccomp", b->seccomp, "ids_in_use", (int)idmap_taken(b->ids),
	    "spares", (int)b->spares.n);
}

/* ---- a session ---- */

struct telling {
	const struct ns_backend *b;
	const struct plan *p;
	const struct sandbox *s;
	json_t *o;
	bool failed;
};

/* Takes over value. */
static void add(struct telling *t, const char *key, json_t *value)
{
	t->failed |= json_object_set_new(t->o, key, value) < 0;
}

static void tell_tier(struct telling *t)
{
	add(t, "tier", json_string(plan_tiers[t->p->tier]));
	add(t, "backend", json_string(t->b->base.ops->name));
	add(t, "kernel", json_string(t->b->kernel));
}

static void tell_kernel(struct telling *t)
{
	char digest[DIGEST_HEX_LEN + 1];

	filter_digest(t->p->seccomp, digest);
	add(t, "landlock", json_integer(t->b->landlock));
	add(t, "seccomp", json_string(digest));
	add(t, "seccomp_profile", json_string(plan_seccomps[t->p->seccomp]));
	add(t, "root_user", json_boolean(t->p->root_user));
	add(t, "cgroup", json_string(cgroups_kind(t->b->cgroups)));
	add(t, "controllers", controllers(t->b));
}

static void tell_namespaces(struct telling *t)
{
	static const char *const names[] = {
	    "user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time"};
	json_t *a = json_array();

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)json_array_append_new(a, json_string(names[i]));
	add(t, "namespaces", a);
	add(t, "idbase", json_integer((json_int_t)idmap_base(t->b->ids, t->s->spare.block)));
	add(t, "usr_mapped", json_boolean(t->s->usr_mapped));
}

static void tell_limits(struct telling *t)
{
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {{"disk_bytes", t->p->disk_bytes}, {"disk_inodes", t->p->disk_inodes},
	    {"open_files", t->p->open_files}};
	json_t *o = plan_limits_json(&t->p->limits);

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].value)
			(void)json_object_set_new(
			    o, all[i].name, json_integer((json_int_t)all[i].value));
	add(t, "limits", o);
}

static void tell_programs(struct telling *t)
{
	add(t, "programs", json_integer(t->s->programs));
	if (t->s->programs)
		add(t, "programs_strength", json_string(programs_strengths[t->s->strength]));
	add(t, "watch", json_boolean(t->p->watch));
}

/* Where the host is seen: read-only, nosuid, nodev. */
static void tell_mounts(struct telling *t)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < t->p->nmounts; i++)
		(void)json_array_append_new(a, json_string(t->p->mounts[i].target));
	add(t, "mounts", a);
	add(t, "landlock_rules", json_integer(t->p->nrules));
}

/* Whoever enforces one more thing tells of it here, in a function of its own. At most 32 keys
 * (lib/msg_table.c, sandbox.started). */
static void (*const parts[])(struct telling *t) = {
    tell_tier, tell_kernel, tell_namespaces, tell_limits, tell_programs, tell_mounts};

json_t *ns_tell_session(const struct ns_backend *b, const struct plan *p, const struct sandbox *s)
{
	struct telling t = {.b = b, .p = p, .s = s, .o = json_object()};

	if (!t.o)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		parts[i](&t);
	if (t.failed) {
		json_decref(t.o);
		return NULL;
	}
	return t.o;
}
