#include "broker/core/export_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/export_config_internal.h"
#include "broker/core/host_config.h"
#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define ARCHIVE_BYTES     (UINT64_C(1) << 30)
#define ARCHIVE_BYTES_MIN (UINT64_C(1) << 16)
#define ARCHIVE_BYTES_MAX (UINT64_C(1) << 36)
#define ARCHIVE_AGE_S     86400
#define HOST_LOG          "host"

static const char *const syslog_keys[] = {
    "name", "kind", "to", "ca", "cert", "key", "logs", "personal", NULL};
static const char *const otlp_keys[] = {
    "name", "kind", "url", "ca", "cert", "key", "headers", "logs", "personal", NULL};
static const char *const jsonl_keys[] = {"name", "kind", "file", "logs", "personal", NULL};
static const char *const witnesses_keys[] = {"quorum", "conflict", "list", NULL};
static const char *const witness_keys[] = {"key", "url", NULL};
static const char *const archive_keys[] = {"size", "age", "keep", NULL};

static const char *const *const keys_of[] = {
    [EXPORT_SYSLOG] = syslog_keys,
    [EXPORT_OTLP] = otlp_keys,
    [EXPORT_JSONL] = jsonl_keys,
};
static const char *const kind_names[] = {
    [EXPORT_SYSLOG] = "syslog",
    [EXPORT_OTLP] = "otlp",
    [EXPORT_JSONL] = "jsonl",
};

/* ---- sinks ---- */

static int get_logs(const struct export_at *a, struct export_sink *s)
{
	json_t *list = NULL;
	size_t n;
	int r = yaml_get_list(a->d, a->o, "logs", &list, a->e);

	if (r != 0)
		return r < 0 ? r : 0;
	n = json_array_size(list);
	if (n == 0 || n > EXPORT_LOGS_MAX)
		return WRONG(a, "logs", "%s.logs: 1 to %d names", a->what, EXPORT_LOGS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *log = json_string_value(json_array_get(list, i));

		if (!log || (strcmp(log, HOST_LOG) != 0 && !name_valid(log, strlen(log))))
			return yaml_fail(a->d, list, NULL, i, a->e, -EINVAL,
			    "%s.logs: must be names of tenants, or host", a->what);
		for (size_t k = 0; k < s->nlogs; k++)
			if (strcmp(s->logs[k], log) == 0)
				return yaml_fail(a->d, list, NULL, i, a->e, -EINVAL,
				    "%s.logs: %s is there twice", a->what, log);
		(void)str_copy(s->logs[s->nlogs++], sizeof s->logs[0], log);
	}
	return 0;
}

/* The name of a file of the exporter's own; without one, the sink's. */
static int get_file(const struct export_at *a, struct export_sink *s)
{
	int r = export_get_text(a, "file", s->file, sizeof s->file, false);

	if (r < 0)
		return r;
	if (s->file[0] == '\0')
		(void)str_copy(s->file, sizeof s->file, s->name);
	if (s->file[0] == '.' || strlen(s->file) > 200)
		return WRONG(a, "file", "%s.file: not a plain name", a->what);
	for (const char *p = s->file; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
		    !(*p >= '0' && *p <= '9') && !strchr("-._", *p))
			return WRONG(a, "file", "%s.file: not a plain name", a->what);
	return 0;
}

static int get_kind(const struct export_at *a, enum export_kind *ret)
{
	char kind[16] = "";
	int r = export_get_text(a, "kind", kind, sizeof kind, true);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
		if (strcmp(kind, kind_names[i]) == 0) {
			*ret = (enum export_kind)i;
			return 0;
		}
	return WRONG(a, "kind", "%s.kind: must be syslog, otlp or jsonl", a->what);
}

static int get_name(const struct export_at *a, char *dst, size_t size)
{
	const char *s;
	int r = yaml_get_str(a->d, a->o, "name", &s, a->e);

	if (r < 0)
		return r;
	if (r == 1)
		return yaml_fail(a->d, a->list, NULL, a->index, a->e, -EINVAL,
		    "%s: a sink needs a name", a->what);
	if (!name_valid(s, strlen(s)) || strcmp(s, "archive") == 0 || !str_copy(dst, size, s))
		return WRONG(
		    a, "name", "%s.name: must be a name like siem-1, and not archive", a->what);
	return 0;
}

static int parse_sink(const struct export_at *a, struct export_sink *s)
{
	int r;

	if ((r = get_name(a, s->name, sizeof s->name)) < 0 || (r = get_kind(a, &s->kind)) < 0 ||
	    (r = yaml_check_keys(a->d, a->o, keys_of[s->kind], a->e)) < 0)
		return r;
	switch (s->kind) {
	case EXPORT_SYSLOG:
		r = export_get_to(a, s->to, sizeof s->to);
		break;
	case EXPORT_OTLP:
		r = export_get_url(a, s->url, sizeof s->url, false);
		break;
	case EXPORT_JSONL:
		r = get_file(a, s);
		break;
	}
	if (r < 0 || (r = export_get_path(a, "ca", s->ca, sizeof s->ca)) < 0 ||
	    (r = export_get_path(a, "cert", s->cert, sizeof s->cert)) < 0 ||
	    (r = export_get_path(a, "key", s->key, sizeof s->key)) < 0 ||
	    (r = export_get_path(a, "headers", s->headers, sizeof s->headers)) < 0 ||
	    (r = yaml_get_bool(a->d, a->o, "personal", &s->personal, a->e)) < 0 ||
	    (r = get_logs(a, s)) < 0)
		return r;
	if ((s->cert[0] == '\0') != (s->key[0] == '\0'))
		return WRONG(
		    a, s->cert[0] ? "cert" : "key", "%s: cert and key go together", a->what);
	return 0;
}

static int parse_sinks(const struct yaml_doc *d, struct export_config *c, struct err *e)
{
	json_t *list = NULL;
	int r = yaml_get_list(d, yaml_root(d), "export", &list, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (json_array_size(list) > EXPORT_SINKS_MAX)
		return yaml_fail(d, yaml_root(d), "export", 0, e, -EINVAL,
		    "export: more than %d sinks", EXPORT_SINKS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct export_sink *s = &c->sinks[i];
		struct export_at a = {d, list, i, json_array_get(list, i), "export", e};

		if (!json_is_object(a.o))
			return yaml_fail(
			    d, list, NULL, i, e, -EINVAL, "export: must be a list of mappings");
		if ((r = parse_sink(&a, s)) < 0)
			return r;
		for (size_t k = 0; k < i; k++) {
			if (strcmp(c->sinks[k].name, s->name) == 0)
				return WRONG(&a, "name", "export.name: there are two %s", s->name);
			if (s->kind == EXPORT_JSONL && c->sinks[k].kind == EXPORT_JSONL &&
			    strcmp(c->sinks[k].file, s->file) == 0)
				return yaml_fail(d, list, NULL, i, e, -EINVAL,
				    "export.file: two sinks write %s", s->file);
		}
		c->nsinks++;
	}
	return 0;
}

/* ---- witnesses ---- */

static int parse_witness(const struct export_at *a, struct export_witness *w)
{
	struct err why = ERR_INIT;
	const char *key;
	size_t n;
	int r;

	if ((r = yaml_check_keys(a->d, a->o, witness_keys, a->e)) < 0 ||
	    (r = yaml_get_str(a->d, a->o, "key", &key, a->e)) < 0)
		return r;
	if (r == 1)
		return yaml_fail(a->d, a->list, NULL, a->index, a->e, -EINVAL,
		    "witnesses.list: a witness has no key");
	if (note_key_parse(key, strlen(key), &w->key, &why) < 0)
		return WRONG(a, "key", "witnesses.list.key: %s", err_text(&why));
	if (w->key.type != NOTE_COSIGNATURE)
		return WRONG(a, "key",
		    "witnesses.list.key: not a key for cosignatures (type 4), but of type %d",
		    w->key.type);
	if ((r = export_get_url(a, w->url, sizeof w->url, true)) < 0)
		return r;
	if (strpbrk(w->url, "?"))
		return WRONG(a, "url", "witnesses.list.url: must be https://HOST[:PORT]/PATH");
	while ((n = strlen(w->url)) > 0 && w->url[n - 1] == '/')
		w->url[n - 1] = '\0';
	return 0;
}

/* One witness is one key: two names for it would make a quorum of one. */
static int parse_witness_list(
    const struct yaml_doc *d, json_t *list, struct export_config *c, struct err *e)
{
	int r;

	if (json_array_size(list) > EXPORT_WITNESSES_MAX)
		return yaml_fail(d, list, NULL, EXPORT_WITNESSES_MAX, e, -EINVAL,
		    "witnesses.list: more than %d", EXPORT_WITNESSES_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct export_witness *w = &c->witnesses[i];
		struct export_at a = {d, list, i, json_array_get(list, i), "witnesses.list", e};

		if (!json_is_object(a.o))
			return yaml_fail(d, list, NULL, i, e, -EINVAL,
			    "witnesses.list: must be a list of mappings");
		if ((r = parse_witness(&a, w)) < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (strcmp(c->witnesses[k].key.name, w->key.name) == 0 ||
			    memcmp(c->witnesses[k].key.key, w->key.key, NOTE_KEY_LEN) == 0)
				return WRONG(&a, "key",
				    "witnesses.list.key: the witness %s is there twice",
				    w->key.name);
		c->nwitnesses++;
	}
	return 0;
}

static int parse_witnesses(const struct yaml_doc *d, struct export_config *c, struct err *e)
{
	json_t *o = NULL, *list = NULL;
	const char *conflict = "refuse";
	int64_t quorum;
	int r = yaml_get_map(d, yaml_root(d), "witnesses", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = yaml_check_keys(d, o, witnesses_keys, e)) < 0 ||
	    (r = yaml_get_list(d, o, "list", &list, e)) < 0)
		return r;
	if (r == 0 && (r = parse_witness_list(d, list, c, e)) < 0)
		return r;
	quorum = c->nwitnesses > 0 ? (int64_t)(c->nwitnesses / 2 + 1) : 0;
	if ((r = yaml_get_int(d, o, "quorum", 1, EXPORT_WITNESSES_MAX, &quorum, e)) < 0)
		return r;
	if (quorum > (int64_t)c->nwitnesses)
		return yaml_fail(d, o, "quorum", 0, e, -EINVAL,
		    "witnesses.quorum: %d of %zu witnesses cannot be", (int)quorum, c->nwitnesses);
	c->quorum = (size_t)quorum;
	if ((r = yaml_get_str(d, o, "conflict", &conflict, e)) < 0)
		return r;
	c->conflict_warn = strcmp(conflict, "warn") == 0;
	if (!c->conflict_warn && strcmp(conflict, "refuse") != 0)
		return yaml_fail(
		    d, o, "conflict", 0, e, -EINVAL, "witnesses.conflict: must be refuse or warn");
	return 0;
}

/* ---- the archive, and all of it ---- */

static int parse_archive(const struct yaml_doc *d, struct export_config *c, struct err *e)
{
	json_t *o = NULL;
	int r = yaml_get_map(d, yaml_root(d), "archive", &o, e);

	if (r != 0)
		return r < 0 ? r : 0;
	c->archive = true;
	c->archive_bytes = ARCHIVE_BYTES;
	c->archive_age_s = ARCHIVE_AGE_S;
	if ((r = yaml_check_keys(d, o, archive_keys, e)) < 0 ||
	    (r = yaml_get_bytes(d, o, "size", &c->archive_bytes, e)) < 0 ||
	    (r = yaml_get_seconds(d, o, "age", &c->archive_age_s, e)) < 0 ||
	    (r = yaml_get_seconds(d, o, "keep", &c->archive_keep_s, e)) < 0)
		return r;
	if (c->archive_bytes < ARCHIVE_BYTES_MIN || c->archive_bytes > ARCHIVE_BYTES_MAX)
		return yaml_fail(d, o, "size", 0, e, -EINVAL, "archive.size: must be 64K to 64G");
	return 0;
}

int export_config_load(int dirfd, struct export_config *ret, struct err *e)
{
	cleanup_yaml struct yaml_doc *d = NULL;
	cleanup_free struct export_config *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "no memory for %s", HOST_FILE);
	r = yaml_load(dirfd, HOST_FILE, &d, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && !json_is_null(yaml_root(d)) &&
	    ((r = parse_sinks(d, c, e)) < 0 || (r = parse_witnesses(d, c, e)) < 0 ||
	        (r = parse_archive(d, c, e)) < 0))
		return r;
	*ret = *c;
	return 0;
}

const struct export_sink *export_config_sink(const struct export_config *c, const char *name)
{
	for (size_t i = 0; i < c->nsinks; i++)
		if (strcmp(c->sinks[i].name, name) == 0)
			return &c->sinks[i];
	return NULL;
}

const char *export_kind_name(enum export_kind kind)
{
	return kind_names[kind];
}

const char *export_sink_where(const struct export_sink *s)
{
	switch (s->kind) {
	case EXPORT_SYSLOG:
		return s->to;
	case EXPORT_OTLP:
		return s->url;
	case EXPORT_JSONL:
		break;
	}
	return s->file;
}

const struct export_witness *export_config_witness(const struct export_config *c, const char *name)
{
	for (size_t i = 0; i < c->nwitnesses; i++)
		if (strcmp(c->witnesses[i].key.name, name) == 0)
			return &c->witnesses[i];
	return NULL;
}

bool export_sink_wants(const struct export_sink *s, const char *log)
{
	if (s->nlogs == 0)
		return true;
	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i], log) == 0)
			return true;
	return false;
}
