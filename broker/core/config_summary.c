/* The configuration as `postern check` and `--json` show it: no key, no file's contents. */
#include "broker/core/config.h"

#include "broker/core/grant.h"
#include "creds/key.h"

static json_t *cas(const struct tenant *t)
{
	char fingerprint[KEY_FINGERPRINT_LEN];
	json_t *list = json_array();

	for (size_t i = 0; i < t->ncas; i++)
		(void)json_array_append_new(
		    list, json_string(key_fingerprint(t->ca[i], fingerprint)));
	return list;
}

static json_t *roles(const struct tenant *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->nroles; i++) {
		const struct role *r = &t->role[i];
		json_t *allow = json_array();

		for (unsigned b = 0; b < GRANT_ACTIONS; b++)
			if (r->actions & 1u << b)
				(void)json_array_append_new(
				    allow, json_string(grant_action_name(1u << b)));
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s, s:o, s:O, s:O, s:I, s:I}", "name", r->name, "unix",
		        r->unix_name[0] ? r->unix_name : r->name, "template", r->template_name,
		        "allow", allow, "credentials", r->credentials, "env", r->env, "channels",
		        (json_int_t)r->channels, "lifetime_s", (json_int_t)r->lifetime_s));
	}
	return list;
}

static json_t *templates(const struct config *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->ntemplates; i++) {
		const struct template *t = &c->template[i];

		const struct limits *l = &t->limits;

		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s*, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
		        t->name, "tenant", *t->tenant ? t->tenant : NULL, "base",
		        template_value(t, TEMPLATE_BASE), "tier", plan_tiers[t->tier], "shell",
		        t->shell, "memory", (json_int_t)l->group.memory_bytes, "pids",
		        (json_int_t)l->group.pids, "cpu", (json_int_t)l->group.cpu_percent, "disk",
		        (json_int_t)l->disk_bytes, "inodes", (json_int_t)l->disk_inodes,
		        "open_files", (json_int_t)l->open_files));
	}
	return list;
}

static json_t *sinks(const struct export_config *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->nsinks; i++) {
		const struct export_sink *s = &c->sinks[i];

		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s, s:b}", "name", s->name, "kind",
		              export_kind_name(s->kind), "to", export_sink_where(s), "personal",
		              s->personal));
	}
	return list;
}

static json_t *witnesses(const struct export_config *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->nwitnesses; i++)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:s}", "name", c->witnesses[i].key.name, "url",
		              c->witnesses[i].url));
	return json_pack("{s:I, s:s, s:o}", "quorum", (json_int_t)c->quorum, "conflict",
	    c->conflict_warn ? "warn" : "refuse", "list", list);
}

json_t *config_summary(const struct config *c)
{
	char digest[DIGEST_HEX_LEN + 1];
	json_t *tenants = json_array();

	for (size_t i = 0; i < c->ntenants; i++) {
		const struct tenant *t = &c->tenant[i];

		(void)json_array_append_new(tenants,
		    json_pack("{s:s, s:o, s:o, s:I, s:s}", "name", t->name, "cas", cas(t), "roles",
		        roles(t), "sessions", (json_int_t)t->sessions, "issuer", t->issuer));
	}
	hex_encode(digest, c->digest, DIGEST_LEN);
	return json_pack("{s:s, s:{s:I, s:I}, s:{s:I, s:I}, s:o, s:o, s:o, s:o, s:s}", "listen",
	    c->host.listen, "ids", "base", (json_int_t)c->host.ids_base, "count",
	    (json_int_t)c->host.ids_count, "limits", "sessions", (json_int_t)c->host.sessions,
	    "sessions_per_tenant", (json_int_t)c->host.sessions_per_tenant, "tenants", tenants,
	    "templates", templates(c), "export", sinks(&c->export), "witnesses",
	    witnesses(&c->export), "digest", digest);
}
