#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/template.h"
#include "broker/core/template_internal.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

/*
 * A tenant's template may only narrow the host's. Each rule compares resolved values, so no way of
 * writing a value gets around it; what is written in the file is what the error names.
 */

struct narrow {
	const struct yaml_doc *d;
	const struct template *t, *host;
	struct err *e;
};

static int wider(const struct narrow *n, unsigned key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "FILE:LINE: KEY: TEXT; template NAME of the host has VALUE (WHERE)" */
static int wider(const struct narrow *n, unsigned key, const char *fmt, ...)
{
	json_t *v = template_value(n->host, key);
	char *host = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	char text[160];
	va_list ap;
	int r;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r = err_set(n->e, -EINVAL, "%s: %s: %s; the host's template %s has %.160s (%s)",
	    n->t->where[key], template_key_name(key), text, n->host->name, host ? host : "?",
	    n->host->where[key]);
	free(host);
	json_decref(v);
	return r;
}

/* Whether the tenant's file says this key at all. */
static bool said(const struct narrow *n, unsigned key)
{
	return strcmp(n->t->where[key], n->host->where[key]) != 0;
}

/* What is not a matter of more or less: the host's alone, or its own only where the host is silent.
 */
static int check_fixed(const struct narrow *n)
{
	static const unsigned host_only[] = {TEMPLATE_BASE, TEMPLATE_RUNTIME, TEMPLATE_EMULATE};
	static const unsigned if_silent[] = {TEMPLATE_SHELL, TEMPLATE_ENTRY};

	for (size_t i = 0; i < ARRAY_LEN(host_only); i++)
		if (said(n, host_only[i]))
			return wider(n, host_only[i], "only the host says this");
	for (size_t i = 0; i < ARRAY_LEN(if_silent); i++)
		if (said(n, if_silent[i]) && strcmp(n->host->where[if_silent[i]], "default") != 0)
			return wider(n, if_silent[i], "what the host says, a tenant cannot change");
	return 0;
}

static int check_flags(const struct narrow *n)
{
	const struct template *t = n->t, *h = n->host;
	const struct {
		unsigned key;
		bool mine, hosts, wide; /* wide: which of both is more */
	} flags[] = {
	    {TEMPLATE_ROOT, t->root_user, h->root_user, true},
	    {TEMPLATE_WATCH, t->watch, h->watch, false},
	    {TEMPLATE_FORWARD, t->forward, h->forward, true},
	    {TEMPLATE_CREDENTIALS, t->credentials, h->credentials, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i].mine == flags[i].wide && flags[i].hosts != flags[i].wide)
			return wider(
			    n, flags[i].key, "%s would widen it", flags[i].mine ? "true" : "false");
	if (t->seccomp < h->seccomp)
		return wider(n, TEMPLATE_SECCOMP, "%s is weaker", plan_seccomps[t->seccomp]);
	/* an OCI runtime may be anything: only a machine of its own is known to be more */
	if (t->tier != h->tier && t->tier != PLAN_TIER_MICROVM)
		return wider(n, TEMPLATE_TIER, "%s is not stronger", plan_tiers[t->tier]);
	if (t->warm > h->warm)
		return wider(n, TEMPLATE_WARM, "%u is more", t->warm);
	return 0;
}

static int check_limits(const struct narrow *n)
{
	char mine[LIMIT_TEXT_MAX];

	for (unsigned i = 0; i < LIMITS_ALL; i++) {
		uint64_t v = limit_get(&n->t->limits, i);

		if (!limit_within(i, v, limit_get(&n->host->limits, i)))
			return wider(n, TEMPLATE_LIMITS + i, "%s is more", limit_text(i, v, mine));
	}
	return 0;
}

static int check_env(const struct narrow *n)
{
	const char *name;
	json_t *v;

	json_object_foreach(n->host->env, name, v)
	{
		const char *mine = json_string_value(json_object_get(n->t->env, name));

		if (!mine || strcmp(mine, json_string_value(v)) != 0)
			return wider(n, TEMPLATE_ENV, "the host sets %.40s", name);
	}
	return 0;
}

static int check_mounts(const struct narrow *n)
{
	for (unsigned i = 0; i < n->t->nmounts; i++) {
		const struct plan_mount *m = &n->t->mounts[i];
		bool found = false;

		for (unsigned k = 0; k < n->host->nmounts && !found; k++)
			found = strcmp(n->host->mounts[k].source, m->source) == 0 &&
			        strcmp(n->host->mounts[k].target, m->target) == 0;
		if (!found)
			return wider(n, TEMPLATE_MOUNTS, "%.60s is none of them", m->source);
	}
	return 0;
}

static int check_programs(const struct narrow *n)
{
	if (n->host->nprograms == 0)
		return 0;
	for (unsigned i = 0; i < n->t->nprograms; i++) {
		bool found = false;

		for (unsigned k = 0; k < n->host->nprograms && !found; k++)
			found = strcmp(n->host->programs[k], n->t->programs[i]) == 0;
		if (!found)
			return wider(
			    n, TEMPLATE_PROGRAMS, "%.60s is none of them", n->t->programs[i]);
	}
	return 0;
}

static bool below(const char *path, const char *above)
{
	size_t n = strlen(above);

	return strncmp(path, above, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* What holds at a path: the rule of the nearest directory above it; NULL: none. */
static const struct plan_rule *rule_at(const struct template *t, const char *path)
{
	const struct plan_rule *best = NULL;

	for (unsigned i = 0; i < t->nrules; i++)
		if (below(path, t->rules[i].path) &&
		    (!best || strlen(t->rules[i].path) > strlen(best->path)))
			best = &t->rules[i];
	return best;
}

/* The host's own paths must give no more than they did; a path of the tenant's no more than the
 * host's rule above it, and without one, where something that is not known here holds, at most to
 * read. */
static int check_rules(const struct narrow *n)
{
	for (unsigned i = 0; i < n->host->nrules; i++) {
		const struct plan_rule *h = &n->host->rules[i], *mine = rule_at(n->t, h->path);

		if (!mine || mine->access > h->access)
			return wider(n, TEMPLATE_LANDLOCK, "%.60s has to stay at most %s", h->path,
			    plan_landlocks[h->access]);
	}
	for (unsigned i = 0; i < n->t->nrules; i++) {
		const struct plan_rule *mine = &n->t->rules[i], *h = rule_at(n->host, mine->path);
		enum plan_landlock most = h ? h->access : PLAN_LANDLOCK_READ;

		if (mine->access > most)
			return wider(n, TEMPLATE_LANDLOCK, "%.60s may be at most %s", mine->path,
			    plan_landlocks[most]);
	}
	return 0;
}

int template_narrows(const struct yaml_doc *d, const struct template *t,
    const struct template *parent, struct err *e)
{
	const struct narrow n = {d, t, parent, e};
	int r;

	if ((r = check_fixed(&n)) < 0 || (r = check_flags(&n)) < 0 || (r = check_limits(&n)) < 0 ||
	    (r = check_env(&n)) < 0 || (r = check_mounts(&n)) < 0 || (r = check_programs(&n)) < 0 ||
	    (r = check_rules(&n)) < 0)
		return r;
	return 0;
}
