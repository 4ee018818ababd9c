#include "creds/ca.h"

#include <string.h>

#include "creds/cert.h"
#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/reader.h"
#include "lib/str.h"
#include "lib/util.h"

/* By name, as PROTOCOL.certkeys wants them: 'X' sorts before lower case,
 * "permit-" before "scope". */
static const struct {
	const char *name;
	unsigned bit;
} flags[] = {
    {"no-touch-required", CERT_NO_TOUCH_REQUIRED},
    {"permit-X11-forwarding", CERT_PERMIT_X11_FORWARDING},
    {"permit-agent-forwarding", CERT_PERMIT_AGENT_FORWARDING},
    {"permit-port-forwarding", CERT_PERMIT_PORT_FORWARDING},
    {"permit-pty", CERT_PERMIT_PTY},
    {"permit-user-rc", CERT_PERMIT_USER_RC},
};

static int check_text(const char *what, const char *s, size_t max, struct err *e)
{
	size_t n = s ? strlen(s) : 0;

	if (n == 0 || n > max)
		return err_set(e, -EINVAL, "%s must have 1 to %zu bytes", what, max);
	return 0;
}

static int check_request(const struct ca_request *q, struct err *e)
{
	cleanup_scope struct scope *scope = NULL;
	struct cidr_list list;
	struct err why = ERR_INIT;
	int r;

	if ((r = check_text("the key id", q->key_id, CERT_KEY_ID_MAX, e)) < 0)
		return r;
	if (q->nprincipals == 0 || q->nprincipals > CERT_PRINCIPALS_MAX)
		return err_set(
		    e, -EINVAL, "a certificate names 1 to %d principals", CERT_PRINCIPALS_MAX);
	for (size_t i = 0; i < q->nprincipals; i++) {
		if ((r = check_text("a principal", q->principals[i], CERT_PRINCIPAL_MAX, e)) < 0)
			return r;
	}
	if (q->valid_after >= q->valid_before)
		return err_set(e, -EINVAL, "the certificate would end before it begins");
	if (q->force_command &&
	    (r = check_text("force-command", q->force_command, CERT_COMMAND_MAX, e)) < 0)
		return r;
	if (q->source_address &&
	    cidr_list_parse(q->source_address, strlen(q->source_address), &list, &why) < 0)
		return err_set(e, -EINVAL, "source-address: %s", why.text);
	if (q->scope && scope_parse(q->scope, strlen(q->scope), &scope, &why) < 0)
		return err_set(e, -EINVAL, "%s", why.text);
	return 0;
}

static void put_option(struct buf *list, const char *name, const char *value)
{
	struct buf inner;

	buf_put_cstring(list, name);
	if (!value) {
		buf_put_cstring(list, "");
		return;
	}
	buf_init(&inner, CERT_BLOB_MAX);
	buf_put_cstring(&inner, value);
	if (buf_status(&inner) < 0)
		list->error = buf_status(&inner);
	buf_put_string(list, inner.data, inner.len);
	buf_done(&inner);
}

static void put_lists(struct buf *b, const struct ca_request *q)
{
	struct buf list;

	buf_init(&list, CERT_BLOB_MAX);
	for (size_t i = 0; i < q->nprincipals; i++)
		buf_put_cstring(&list, q->principals[i]);
	buf_put_string(b, list.data, list.len);
	buf_put_u64(b, q->valid_after);
	buf_put_u64(b, q->valid_before);
	if (buf_status(&list) < 0)
		b->error = buf_status(&list);

	buf_reset(&list);
	if (q->force_command)
		put_option(&list, "force-command", q->force_command);
	if (q->source_address)
		put_option(&list, "source-address", q->source_address);
	buf_put_string(b, list.data, list.len);
	if (buf_status(&list) < 0)
		b->error = buf_status(&list);

	buf_reset(&list);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if ((q->permit & flags[i].bit) != 0)
			put_option(&list, flags[i].name, NULL);
	}
	if (q->scope)
		put_option(&list, SCOPE_NAME, q->scope);
	buf_put_string(b, list.data, list.len);
	if (buf_status(&list) < 0)
		b->error = buf_status(&list);
	buf_done(&list);
}

static int put_subject(struct buf *b, const struct key *subject)
{
	uint8_t nonce[32];
	struct reader r;
	const uint8_t *blob, *name;
	size_t blob_len, name_len;

	blob = key_blob(subject, &blob_len);
	reader_init(&r, blob, blob_len);
	if (reader_string(&r, 64, &name, &name_len) < 0)
		return -EINVAL;
	fd_random(nonce, sizeof nonce);
	buf_put_u32(b, (uint32_t)(name_len + strlen("-cert-v01@openssh.com")));
	buf_put(b, name, name_len);
	buf_put(b, "-cert-v01@openssh.com", strlen("-cert-v01@openssh.com"));
	buf_put_string(b, nonce, sizeof nonce);
	buf_put(b, r.p, r.left);
	return 0;
}

/* Nothing leaves that we would not take ourselves. */
static int check_result(const struct buf *b, struct err *e)
{
	cleanup_cert struct cert *c = NULL;
	int r = cert_parse(b->data, b->len, &c, e);

	return r < 0 ? r : cert_verify(c, e);
}

int ca_issue(
    const struct key_private *ca, const struct ca_request *q, struct buf *ret_blob, struct err *e)
{
	const uint8_t *ca_blob;
	size_t ca_len;
	uint64_t serial = q->serial;
	struct buf b, sig;
	int r;

	r = check_request(q, e);
	if (r < 0)
		return r;
	while (serial == 0)
		fd_random(&serial, sizeof serial);
	ca_blob = key_blob(key_private_public(ca), &ca_len);
	buf_init(&b, CERT_BLOB_MAX);
	buf_init(&sig, KEY_SIG_MAX);
	r = put_subject(&b, q->subject);
	buf_put_u64(&b, serial);
	buf_put_u32(&b, CERT_USER);
	buf_put_cstring(&b, q->key_id);
	put_lists(&b, q);
	buf_put_cstring(&b, ""); /* reserved */
	buf_put_string(&b, ca_blob, ca_len);
	if (r == 0 && (r = buf_status(&b)) < 0)
		err_set(e, r, "the certificate would be longer than %u bytes", CERT_BLOB_MAX);
	if (r == 0)
		r = key_private_sign(ca, b.data, b.len, &sig, e);
	if (r == 0) {
		buf_put_string(&b, sig.data, sig.len);
		if ((r = buf_status(&b)) < 0)
			err_set(
			    e, r, "the certificate would be longer than %u bytes", CERT_BLOB_MAX);
	}
	if (r == 0)
		r = check_result(&b, e);
	if (r == 0) {
		buf_put(ret_blob, b.data, b.len);
		if ((r = buf_status(ret_blob)) < 0)
			err_set(e, r, "cannot hold a certificate");
	}
	buf_done(&b);
	buf_done(&sig);
	return r;
}

int ca_format_line(const void *blob, size_t len, const char *comment, struct buf *out)
{
	cleanup_free char *b64 = NULL;
	struct reader r;
	const uint8_t *name;
	size_t name_len;

	reader_init(&r, blob, len);
	if (len > CERT_BLOB_MAX || reader_string(&r, 256, &name, &name_len) < 0 ||
	    !cert_type_known((const char *)name, name_len))
		return -EBADMSG;
	b64 = malloc(B64_LEN(len) + 1);
	if (!b64)
		return -ENOMEM;
	b64_encode(b64, blob, len);
	buf_put(out, name, name_len);
	buf_put(out, " ", 1);
	buf_put(out, b64, strlen(b64));
	if (comment && *comment != '\0')
		buf_printf(out, " %s", comment);
	buf_put(out, "\n", 1);
	return buf_status(out);
}
