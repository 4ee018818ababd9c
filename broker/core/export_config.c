#include "broker/core/export_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/core/host_config.h"
#include "lib/err.h"
#include "lib/fdio.h"
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
static const char *const witnesses_keys[] = {"quorum", "list", NULL};
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

/* One entry of a list, and where to put what is wrong with it. */
struct at {
	const struct yaml_doc *d;
	json_t *list;
	size_t index;
	json_t *o;
	const char *what; /* "export" */
	struct err *e;
};

#define WRONG(a, key, ...) yaml_fail((a)->d, (a)->o, key, 0, (a)->e, -EINVAL, __VA_ARGS__)

/* Printable, without spaces; "" if it is not there. */
static int get_text(const struct at *a, const char *key, char *dst, size_t size, bool needed)
{
	const char *s = NULL;
	int r = yaml_get_str(a->d, a->o, key, &s, a->e);

	if (r < 0)
		return r;
	if (r == 1)
		return needed ? yaml_fail(a->d, a->list, NULL, a->index, a->e, -EINVAL,
		                    "%s: has no %s", a->what, key)
		              : 0;
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			s = "";
	if (*s == '\0' || !str_copy(dst, size, s))
		return WRONG(
		    a, key, "%s.%s: 1 to %zu letters, digits and signs", a->what, key, size - 1);
	return 0;
}

/* ---- addresses ---- */

static bool port_good(const char *s)
{
	uint64_t port;

	return str_to_u64(s, 1, 65535, &port) == 0;
}

/* "HOST", "1.2.3.4", "[::1]"; of len bytes. */
static bool host_good(const char *s, size_t len)
{
	char v6[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (len > 2 && s[0] == '[' && s[len - 1] == ']' && len - 2 < sizeof v6) {
		memcpy(v6, s + 1, len - 2);
		v6[len - 2] = '\0';
		return inet_pton(AF_INET6, v6, &addr) == 1;
	}
	for (size_t i = 0; i < len; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !(s[i] >= '0' && s[i] <= '9') && !strchr("-._", s[i]))
			return false;
	return len > 0 && len <= 253 && s[0] != '-' && s[0] != '.';
}

static bool loopback(const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;

	if (len == strlen("localhost") && strncmp(s, "localhost", len) == 0)
		return true;
	if (len > 2 && s[0] == '[') {
		s++;
		len -= 2;
	}
	if (len >= sizeof text)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int get_to(const struct at *a, char *dst, size_t size)
{
	const char *colon;
	int r = get_text(a, "to", dst, size, true);

	if (r < 0)
		return r;
	colon = strrchr(dst, ':');
	if (!colon || !port_good(colon + 1) || !host_good(dst, (size_t)(colon - dst)))
		return WRONG(a, "to", "%s.to: must be HOST:PORT", a->what);
	return 0;
}

/* http or https, a host, perhaps a port, a path; nobody's name and password, and no fragment. */
static int get_url(const struct at *a, char *dst, size_t size, bool any_http)
{
	const char *host, *end, *port;
	bool https;
	int r = get_text(a, "url", dst, size, true);

	if (r < 0)
		return r;
	https = strncmp(dst, "https://", 8) == 0;
	if (!https && strncmp(dst, "http://", 7) != 0)
		return WRONG(a, "url", "%s.url: must begin with https:// or http://", a->what);
	host = dst + (https ? 8 : 7);
	end = host + strcspn(host, "/?#");
	port = host[0] == '[' ? strchr(host, ']') : host;
	port = port ? memchr(port, ':', (size_t)(end - port)) : NULL;
	if (port) {
		char text[8] = "";

		if ((size_t)(end - port) <= sizeof text)
			memcpy(text, port + 1, (size_t)(end - port) - 1);
		if (!port_good(text))
			return WRONG(a, "url", "%s.url: the port is none", a->what);
	}
	if (!host_good(host, (size_t)((port ? port : end) - host)) || strpbrk(end, "#\\\"<>^`{|}"))
		return WRONG(a, "url", "%s.url: must be https://HOST[:PORT]/PATH", a->what);
	if (!https && !any_http && !loopback(host, (size_t)((port ? port : end) - host)))
		return WRONG(a, "url", "%s.url: http goes to loopback addresses only", a->what);
	return 0;
}

/* ---- files ---- */

/* Below the configuration directory, or absolute below /etc, and without a step upwards. */
static int get_path(const struct at *a, const char *key, char *dst, size_t size)
{
	const char *p;
	int r = get_text(a, key, dst, size, false);

	if (r < 0 || *dst == '\0')
		return r;
	p = dst[0] == '/' ? dst + 1 : dst;
	if (dst[0] == '/' && strncmp(dst, "/etc/", 5) != 0)
		return WRONG(a, key,
		    "%s.%s: must be below the configuration directory or below /etc", a->what, key);
	while (*p) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n <= 2 && strncmp(p, "..", n) == 0))
			return WRONG(a, key, "%s.%s: not a plain path", a->what, key);
		p += n;
		if (*p == '/' && *++p == '\0')
			return WRONG(a, key, "%s.%s: not the name of a file", a->what, key);
	}
	return 0;
}

int export_config_open(int dirfd, const char *path, bool secret, struct err *e)
{
	cleanup_close int fd = -1;
	struct stat st;

	fd = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
	                    : fd_open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, path[0] == '/' ? -errno : fd, "%s: %s", path,
		    strerror(path[0] == '/' ? errno : -fd));
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", path);
	if (secret && (st.st_mode & S_IRWXO) != 0)
		return err_set(e, -EACCES, "%s: must not be open to others", path);
	return steal_fd(&fd);
}

/* By mode alone: files that a daemon of no other group reads have no list of their own. */
static bool readable(int fd, uid_t uid)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	return (st.st_mode & (st.st_uid == uid      ? S_IRUSR
	                         : st.st_gid == uid ? S_IRGRP
	                                            : S_IROTH)) != 0;
}

int export_config_files(int dirfd, const struct export_sink *s, uid_t reader, struct err *e)
{
	const struct {
		const char *path;
		bool secret;
	} files[] = {{s->ca, false}, {s->cert, false}, {s->key, true}, {s->headers, true}};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		cleanup_close int fd = -1;

		if (files[i].path[0] == '\0')
			continue;
		fd = export_config_open(dirfd, files[i].path, files[i].secret, e);
		if (fd < 0)
			return fd;
		if (reader != 0 && !readable(fd, reader))
			return err_set(e, -EPERM,
			    "%s: the exporter (uid and gid %u) cannot read it", files[i].path,
			    reader);
	}
	return 0;
}

/* ---- sinks ---- */

static int get_logs(const struct at *a, struct export_sink *s)
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
static int get_file(const struct at *a, struct export_sink *s)
{
	int r = get_text(a, "file", s->file, sizeof s->file, false);

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

static int get_kind(const struct at *a, enum export_kind *ret)
{
	char kind[16] = "";
	int r = get_text(a, "kind", kind, sizeof kind, true);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
		if (strcmp(kind, kind_names[i]) == 0) {
			*ret = (enum export_kind)i;
			return 0;
		}
	return WRONG(a, "kind", "%s.kind: must be syslog, otlp or jsonl", a->what);
}

static int get_name(const struct at *a, char *dst, size_t size)
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

static int parse_sink(const struct at *a, struct export_sink *s)
{
	int r;

	if ((r = get_name(a, s->name, sizeof s->name)) < 0 || (r = get_kind(a, &s->kind)) < 0 ||
	    (r = yaml_check_keys(a->d, a->o, keys_of[s->kind], a->e)) < 0)
		return r;
	switch (s->kind) {
	case EXPORT_SYSLOG:
		r = get_to(a, s->to, sizeof s->to);
		break;
	case EXPORT_OTLP:
		r = get_url(a, s->url, sizeof s->url, false);
		break;
	case EXPORT_JSONL:
		r = get_file(a, s);
		break;
	}
	if (r < 0 || (r = get_path(a, "ca", s->ca, sizeof s->ca)) < 0 ||
	    (r = get_path(a, "cert", s->cert, sizeof s->cert)) < 0 ||
	    (r = get_path(a, "key", s->key, sizeof s->key)) < 0 ||
	    (r = get_path(a, "headers", s->headers, sizeof s->headers)) < 0 ||
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
		struct at a = {d, list, i, json_array_get(list, i), "export", e};

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

static int parse_witness(const struct at *a, struct export_witness *w)
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
	if ((r = get_url(a, w->url, sizeof w->url, true)) < 0)
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
		struct at a = {d, list, i, json_array_get(list, i), "witnesses.list", e};

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
