/* cert issue and cert show: a scope from options, and a certificate for people. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "creds/ca.h"
#include "creds/cert.h"
#include "creds/key.h"
#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define TTL_DEFAULT "5m"
#define BACKDATE_S  30 /* for clocks that run behind the issuer's */
#define LIST_MAX    32

/* A comma-separated option as a JSON array; -EINVAL for an empty element. */
static int split(const char *text, json_t *list, struct err *e)
{
	for (;;) {
		size_t n = strcspn(text, ",");

		if (n == 0)
			return err_set(e, -EINVAL, "an empty element in a list");
		(void)json_array_append_new(list, json_stringn(text, n));
		if (!text[n])
			return 0;
		text += n + 1;
	}
}

static int add_lists(const struct ctl *c, json_t *scope, struct err *e)
{
	json_t *credentials = json_array(), *allow = json_array();
	const char *v;
	int r = 0;

	for (size_t i = 0; (v = ctl_opt_nth(c, "credential", i)); i++)
		(void)json_array_append_new(credentials, json_string(v));
	if (json_array_size(credentials) > 0 || ctl_opt(c, "no-credentials"))
		(void)json_object_set(scope, "credentials", credentials);
	if ((v = ctl_opt(c, "allow")) && (r = split(v, allow, e)) == 0)
		(void)json_object_set(scope, "allow", allow);
	json_decref(credentials);
	json_decref(allow);
	return r;
}

/* The scope's JSON (the caller frees it), or NULL in *ret when nothing narrows. */
static int make_scope(const struct ctl *c, char **ret, struct err *e)
{
	json_auto_t *scope = json_pack("{s:i}", "v", 1);
	cleanup_scope struct scope *checked = NULL;
	int64_t lifetime;
	const char *v;
	int r;

	*ret = NULL;
	if ((v = ctl_opt(c, "template")))
		(void)json_object_set_new(scope, "template", json_string(v));
	if ((v = ctl_opt(c, "workspace")))
		(void)json_object_set_new(scope, "workspace", json_string(v));
	if (ctl_opt(c, "workspace-ro"))
		(void)json_object_set_new(scope, "workspace_mode", json_string("ro"));
	if ((v = ctl_opt(c, "task")))
		(void)json_object_set_new(scope, "task", json_string(v));
	if ((v = ctl_opt(c, "lifetime"))) {
		if (str_to_seconds(v, &lifetime) < 0)
			return err_set(e, -EINVAL, "--lifetime is a time, such as 30m");
		(void)json_object_set_new(scope, "lifetime_s", json_integer(lifetime));
	}
	if ((r = add_lists(c, scope, e)) < 0)
		return r;
	if (json_object_size(scope) == 1)
		return 0;
	if (!(*ret = json_dumps(scope, JSON_COMPACT | JSON_SORT_KEYS)))
		return err_set(e, -EINVAL, "the scope's texts must be UTF-8");
	if ((r = scope_parse(*ret, strlen(*ret), &checked, e)) < 0) {
		free(*ret);
		*ret = NULL;
	}
	return r;
}

static int load_subject(const char *path, struct key **ret, struct err *e)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, KEY_BLOB_MAX * 2);
	if ((r = fd_read_file(AT_FDCWD, path, KEY_BLOB_MAX * 2, &b, e)) < 0)
		return r;
	if (memmem(b.data, b.len, "PRIVATE KEY", strlen("PRIVATE KEY")))
		return err_set(e, -EINVAL, "--key wants the public half: %s.pub", path);
	if ((r = key_parse_line((const char *)b.data, b.len, ret, e)) < 0)
		return err_wrap(e, r, "--key");
	return 0;
}

/* PUB without its .pub, with -cert.pub, where ssh looks for it. */
static int out_path(const struct ctl *c, char path[PATH_MAX], struct err *e)
{
	const char *pub = ctl_opt(c, "key"), *out = ctl_opt(c, "out");
	size_t n = strlen(pub);

	if (out)
		return str_copy(path, PATH_MAX, out)
		           ? 0
		           : err_set(e, -ENAMETOOLONG, "the path is too long");
	if (n > 4 && strcmp(pub + n - 4, ".pub") == 0)
		n -= 4;
	if (snprintf(path, PATH_MAX, "%.*s-cert.pub", (int)n, pub) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	return 0;
}

static int write_cert(const char *path, const struct buf *line, struct err *e)
{
	cleanup_close int fd =
	    open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
	int r;

	if (fd < 0)
		return err_set(e, -errno, "cannot write %s: %m", path);
	if ((r = fd_write_full(fd, line->data, line->len)) < 0)
		return err_set(e, r, "cannot write %s: %s", path, strerror(-r));
	return 0;
}

static int fill(const struct ctl *c, struct ca_request *q, const char **roles, struct err *e)
{
	const char *ttl = ctl_opt(c, "ttl") ? ctl_opt(c, "ttl") : TTL_DEFAULT, *v;
	int64_t now = clock_wall_ns() / NSEC_PER_SEC, ttl_s;

	for (size_t i = 0; (v = ctl_opt_nth(c, "role", i)); i++) {
		if (i == LIST_MAX)
			return err_set(e, -EINVAL, "more than %d roles", LIST_MAX);
		if (name_check("role", v, strlen(v), e) < 0)
			return -EINVAL;
		roles[q->nprincipals++] = v;
	}
	if (str_to_seconds(ttl, &ttl_s) < 0)
		return err_set(e, -EINVAL, "--ttl is a time, such as 5m");
	if ((v = ctl_opt(c, "serial")) && str_to_u64(v, 1, UINT64_MAX, &q->serial) < 0)
		return err_set(e, -EINVAL, "--serial is a number");
	q->principals = roles;
	q->key_id = ctl_opt(c, "id") ? ctl_opt(c, "id") : roles[0];
	q->valid_after = (uint64_t)(now - BACKDATE_S);
	q->valid_before = (uint64_t)(now + ttl_s);
	q->source_address = ctl_opt(c, "source");
	q->force_command = ctl_opt(c, "command");
	q->permit = ctl_opt(c, "no-pty") ? 0 : CERT_PERMIT_PTY;
	return 0;
}

static int load_ca(const char *path, struct key_private **ret, struct err *e)
{
	size_t n = strlen(path);

	/* else the complaint would be of its mode, and the advice to change it */
	if (n > 4 && strcmp(path + n - 4, ".pub") == 0)
		return err_set(
		    e, -EINVAL, "--ca wants the CA's private key: %.*s", (int)n - 4, path);
	return key_private_load(AT_FDCWD, path, ret, e);
}

static int issue(const struct ctl *c, char path[PATH_MAX], struct err *e)
{
	cleanup_key_private struct key_private *ca = NULL;
	cleanup_key struct key *subject = NULL;
	cleanup_free char *scope = NULL;
	cleanup_buf struct buf blob;
	cleanup_buf struct buf line;
	const char *roles[LIST_MAX];
	struct ca_request q = {0};
	int r;

	buf_init(&blob, CERT_BLOB_MAX);
	buf_init(&line, CERT_BLOB_MAX * 2);
	if ((r = fill(c, &q, roles, e)) < 0 || (r = make_scope(c, &scope, e)) < 0 ||
	    (r = out_path(c, path, e)) < 0 ||
	    (r = load_subject(ctl_opt(c, "key"), &subject, e)) < 0 ||
	    (r = load_ca(ctl_opt(c, "ca"), &ca, e)) < 0)
		return r;
	q.subject = subject;
	q.scope = scope;
	if ((r = ca_issue(ca, &q, &blob, e)) < 0 ||
	    (r = ca_format_line(blob.data, blob.len, q.key_id, &line)) < 0)
		return r;
	return write_cert(path, &line, e);
}

static json_t *strings(char *const *list, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(a, json_string(list[i]));
	return a;
}

/* As JSON; foreign bytes that are no UTF-8 are left out, and the escaped key id is always there. */
static json_t *describe(const struct cert *c, const char *verdict)
{
	char subject[KEY_FINGERPRINT_LEN], ca[KEY_FINGERPRINT_LEN], after[32], before[32];
	char serial[24];
	json_t *o;

	(void)snprintf(serial, sizeof serial, "%llu", (unsigned long long)c->serial);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o*, s:s, s:s, s:b}", "type", c->type_name, "key",
	    key_fingerprint(c->subject, subject), "ca", key_fingerprint(c->ca, ca), "serial",
	    serial, "id", c->key_id_text, "roles", strings(c->principals, c->nprincipals),
	    "valid_after", cert_format_time(after, c->valid_after), "valid_before",
	    cert_format_time(before, c->valid_before), "pty", (c->permit & CERT_PERMIT_PTY) != 0);
	if (c->force_command)
		(void)json_object_set_new(o, "command", json_string(c->force_command));
	if (c->has_source)
		(void)json_object_set_new(
		    o, "source_networks", json_integer((json_int_t)c->source.n));
	if (c->scope_json)
		(void)json_object_set_new(o, "scope", json_string(c->scope_json));
	(void)json_object_set_new(o, "verdict", json_string(verdict));
	return o;
}

static int show(const struct ctl *c, const char *path)
{
	static const char *const fields[] = {"type", "key", "ca", "serial", "id", "roles",
	    "valid_after", "valid_before", "pty", "command", "source_networks", "scope", "verdict"};
	cleanup_cert struct cert *cert = NULL;
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;
	json_auto_t *o = NULL;
	char text[4096];
	int r;

	buf_init(&b, CERT_BLOB_MAX * 2);
	if (fd_read_file(AT_FDCWD, path, CERT_BLOB_MAX * 2, &b, &e) < 0 ||
	    cert_parse_line((const char *)b.data, b.len, &cert, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", path, err_text(&e));
	if ((r = cert_verify(cert, &e)) == 0)
		r = cert_valid_at(cert, clock_wall_ns() / NSEC_PER_SEC, &e);
	o = describe(cert, r < 0 ? err_text(&e) : "good, if its CA is trusted");
	if (c->json)
		return ctl_json(o);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		field_print(stdout, fields[i], json_text(o, fields[i], text, sizeof text));
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

int ctl_cert_issue(struct ctl *c)
{
	static const char *const required[] = {"ca", "key", "role"};
	struct err e = ERR_INIT;
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!ctl_opt(c, required[i]))
			return ctl_fail(EXIT_USAGE, "cert issue needs --%s", required[i]);
	if (issue(c, path, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	if (!c->json)
		(void)printf("%s\n", path);
	return show(c, path);
}

int ctl_cert_show(struct ctl *c)
{
	return show(c, c->word[0]);
}
