#include "creds/cert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "creds/cert_internal.h"
#include "creds/key_internal.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

static const char suffix[] = "-cert-v01@openssh.com";
#define SUFFIX_LEN (sizeof suffix - 1)

/* At rest there is no rsa-sha2-*-cert-v01: those are names of algorithms only. */
static const char *const type_names[KEY_TYPES] = {
    [KEY_ED25519] = "ssh-ed25519-cert-v01@openssh.com",
    [KEY_ECDSA_256] = "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    [KEY_ECDSA_384] = "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    [KEY_ECDSA_521] = "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    [KEY_RSA] = "ssh-rsa-cert-v01@openssh.com",
};
static const unsigned key_fields[KEY_TYPES] = {1, 2, 2, 2, 2};

bool cert_type_known(const char *name, size_t len)
{
	return len >= SUFFIX_LEN && memcmp(name + len - SUFFIX_LEN, suffix, SUFFIX_LEN) == 0;
}

bool cert_blob_is_cert(const void *data, size_t len)
{
	struct reader r;
	const uint8_t *name;
	size_t n;

	reader_init(&r, data, len);
	return reader_string(&r, 256, &name, &n) == 0 && cert_type_known((const char *)name, n);
}

int cert_refuse(struct cert *c, struct err *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (c->refusal)
		return 0;
	va_start(ap, fmt);
	n = vasprintf(&c->refusal, fmt, ap);
	va_end(ap);
	if (n >= 0)
		return 0;
	c->refusal = NULL;
	return err_set(e, -ENOMEM, "cannot hold a certificate");
}

/* Type, nonce and key. The key is the type's plain blob, but for the name in front. */
static int read_subject(struct cert *c, struct reader *r, struct err *e)
{
	const uint8_t *name, *p, *fields;
	size_t name_len, n;
	unsigned t = 0;
	char shown[160];
	struct buf plain;
	int result;

	if (reader_string(r, 256, &name, &name_len) < 0)
		return err_set(e, -EBADMSG, "malformed certificate");
	while (t < KEY_TYPES &&
	       (strlen(type_names[t]) != name_len || memcmp(type_names[t], name, name_len) != 0))
		t++;
	if (t == KEY_TYPES) {
		str_escape(shown, sizeof shown, name, name_len);
		if (!cert_type_known((const char *)name, name_len))
			return err_set(e, -ENOTSUP, "\"%s\" is not a certificate", shown);
		return err_set(e, -ENOTSUP, "certificates of type \"%s\" are not accepted", shown);
	}
	c->type_name = type_names[t];
	if (reader_string(r, CERT_NONCE_MAX, &p, &n) < 0)
		return err_set(e, -EBADMSG, "malformed nonce in a certificate");
	fields = r->p;
	for (unsigned i = 0; i < key_fields[t]; i++) {
		if (reader_string(r, KEY_BLOB_MAX, &p, &n) < 0)
			return err_set(e, -EBADMSG, "malformed key in a certificate");
	}
	buf_init(&plain, KEY_BLOB_MAX);
	buf_put_cstring(&plain, key_type_name((enum key_type)t));
	buf_put(&plain, fields, (size_t)(r->p - fields));
	result = buf_status(&plain);
	if (result < 0)
		err_set(e, result, "cannot hold a certificate's key");
	else
		result = key_parse_blob(plain.data, plain.len, &c->subject, e);
	buf_done(&plain);
	return result;
}

static int read_key_id(struct cert *c, struct reader *r, struct err *e)
{
	char id[CERT_KEY_ID_MAX + 1], shown[4 * CERT_KEY_ID_MAX + 8];

	if (reader_cstring(r, id, sizeof id) < 0)
		return err_set(e, -EBADMSG,
		    "key id is malformed, longer than %d bytes, or holds a NUL", CERT_KEY_ID_MAX);
	c->key_id = strdup(id);
	c->key_id_text = strdup(str_escape(shown, sizeof shown, id, strlen(id)));
	if (!c->key_id || !c->key_id_text)
		return err_set(e, -ENOMEM, "cannot hold a certificate");
	return 0;
}

static int read_principals(struct cert *c, struct reader *r, struct err *e)
{
	struct reader list;
	char name[CERT_PRINCIPAL_MAX + 1];

	if (reader_sub(r, CERT_PRINCIPALS_MAX * (CERT_PRINCIPAL_MAX + 4), &list) < 0)
		return err_set(e, -EBADMSG, "malformed list of principals");
	c->principals = calloc(CERT_PRINCIPALS_MAX, sizeof *c->principals);
	if (!c->principals)
		return err_set(e, -ENOMEM, "cannot hold a certificate");
	while (list.left > 0) {
		if (c->nprincipals == CERT_PRINCIPALS_MAX)
			return err_set(e, -EBADMSG, "more than %d principals", CERT_PRINCIPALS_MAX);
		if (reader_cstring(&list, name, sizeof name) < 0 || name[0] == '\0')
			return err_set(e, -EBADMSG,
			    "a principal is malformed, empty, longer than %d bytes, or holds a NUL",
			    CERT_PRINCIPAL_MAX);
		c->principals[c->nprincipals] = strdup(name);
		if (!c->principals[c->nprincipals])
			return err_set(e, -ENOMEM, "cannot hold a certificate");
		c->nprincipals++;
	}
	return 0;
}

static int read_body(struct cert *c, struct reader *r, struct err *e)
{
	struct reader critical, extensions;
	const uint8_t *p;
	size_t n;
	int result;

	if (reader_u64(r, &c->serial) < 0 || reader_u32(r, &c->kind) < 0 ||
	    (c->kind != CERT_USER && c->kind != CERT_HOST))
		return err_set(e, -EBADMSG, "malformed certificate");
	if (c->kind == CERT_HOST &&
	    (result = cert_refuse(c, e, "a host certificate, not a user's")) < 0)
		return result;
	if ((result = read_key_id(c, r, e)) < 0 || (result = read_principals(c, r, e)) < 0)
		return result;
	/* OpenSSH before 10.3 took it for all principals */
	if (c->nprincipals == 0 &&
	    (result = cert_refuse(c, e, "certificate names no principal")) < 0)
		return result;
	if (reader_u64(r, &c->valid_after) < 0 || reader_u64(r, &c->valid_before) < 0 ||
	    reader_sub(r, CERT_BLOB_MAX, &critical) < 0 ||
	    reader_sub(r, CERT_BLOB_MAX, &extensions) < 0 ||
	    reader_string(r, CERT_RESERVED_MAX, &p, &n) < 0)
		return err_set(e, -EBADMSG, "malformed certificate");
	if ((result = cert_read_critical(c, &critical, e)) < 0 ||
	    (result = cert_read_extensions(c, &extensions, e)) < 0)
		return result;
	if (!c->scope && !(c->scope = scope_new()))
		return err_set(e, -ENOMEM, "cannot hold a certificate");
	return 0;
}

static int read_signature(struct cert *c, struct reader *r, struct err *e)
{
	const uint8_t *p;
	size_t n;
	int result;

	if (reader_string(r, CERT_BLOB_MAX, &p, &n) < 0)
		return err_set(e, -EBADMSG, "malformed CA key in a certificate");
	if (cert_blob_is_cert(p, n)) /* before anything looks inside it (CVE-2025-49825) */
		return err_set(e, -EBADMSG, "the CA key is itself a certificate");
	result = key_parse_blob(p, n, &c->ca, e);
	if (result < 0)
		return err_wrap(e, result, "CA key");
	c->signed_len = c->blob_len - r->left;
	if (reader_string(r, KEY_SIG_MAX + 64, &c->sig, &c->sig_len) < 0)
		return err_set(e, -EBADMSG, "malformed signature in a certificate");
	if (reader_end(r) < 0)
		return err_set(e, -EBADMSG, "%zu bytes behind the certificate", r->left);
	return 0;
}

int cert_parse(const void *data, size_t len, struct cert **ret, struct err *e)
{
	cleanup_cert struct cert *c = NULL;
	struct reader r;
	int result;

	if (len == 0 || len > CERT_BLOB_MAX)
		return err_set(e, -EBADMSG, "a certificate has 1 to %u bytes", CERT_BLOB_MAX);
	c = calloc(1, sizeof *c);
	if (!c || !(c->blob = malloc(len)))
		return err_set(e, -ENOMEM, "cannot hold a certificate");
	memcpy(c->blob, data, len);
	c->blob_len = len;
	reader_init(&r, c->blob, len);
	if ((result = read_subject(c, &r, e)) < 0 || (result = read_body(c, &r, e)) < 0 ||
	    (result = read_signature(c, &r, e)) < 0)
		return result;
	*ret = steal_ptr(&c);
	return 0;
}

int cert_parse_line(const char *line, size_t len, struct cert **ret, struct err *e)
{
	cleanup_free uint8_t *blob = NULL;
	const char *name;
	size_t name_len, blob_len;
	int r;

	r = key_line_decode(line, len, CERT_BLOB_MAX, &name, &name_len, &blob, &blob_len, e);
	return r < 0 ? r : cert_parse(blob, blob_len, ret, e);
}

void cert_free(struct cert *c)
{
	int saved = errno;

	if (!c)
		return;
	key_free(c->subject);
	key_free(c->ca);
	for (size_t i = 0; i < c->nprincipals; i++)
		free(c->principals[i]);
	free(c->principals);
	free(c->key_id);
	free(c->key_id_text);
	free(c->force_command);
	scope_free(c->scope);
	free(c->scope_json);
	free(c->blob);
	free(c->refusal);
	free(c);
	errno = saved;
}

int cert_verify(const struct cert *c, struct err *e)
{
	int r = key_verify(c->ca, c->sig, c->sig_len, c->blob, c->signed_len, e);

	if (r < 0)
		return err_wrap(e, r, "the CA's signature");
	if (c->refusal)
		return err_set(e, -EACCES, "%s", c->refusal);
	return 0;
}

char *cert_format_time(char dst[32], uint64_t t)
{
	struct tm tm;
	time_t when = (time_t)t;

	if (t == CERT_FOREVER)
		(void)str_copy(dst, 32, "forever");
	else if (t > UINT64_C(253402300799) || !gmtime_r(&when, &tm)) /* year 9999 */
		(void)snprintf(dst, 32, "%llu s", (unsigned long long)t);
	else
		(void)strftime(dst, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return dst;
}

int cert_valid_at(const struct cert *c, int64_t now_s, struct err *e)
{
	char text[32];

	if (now_s < 0 || (uint64_t)now_s < c->valid_after)
		return err_set(e, -EACCES, "certificate is not valid before %s",
		    cert_format_time(text, c->valid_after));
	if ((uint64_t)now_s >= c->valid_before)
		return err_set(e, -EACCES, "certificate expired at %s",
		    cert_format_time(text, c->valid_before));
	return 0;
}

int cert_source_ok(const struct cert *c, const char *address, struct err *e)
{
	struct address a;

	if (!c->has_source)
		return 0;
	if (address_parse(address, &a) < 0)
		return err_set(
		    e, -EACCES, "certificate is bound to addresses, and the client's is not known");
	if (!cidr_list_match(&c->source, &a))
		return err_set(e, -EACCES, "certificate is not valid from %s", address);
	return 0;
}

bool cert_has_principal(const struct cert *c, const char *name)
{
	for (size_t i = 0; i < c->nprincipals; i++) {
		if (strcmp(c->principals[i], name) == 0)
			return true;
	}
	return false;
}
