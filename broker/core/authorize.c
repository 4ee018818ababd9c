#include "broker/core/authorize.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/config.h"
#include "creds/cert.h"
#include "creds/key.h"
#include "creds/scope.h"
#include "lib/err.h"

static int refuse(struct authorize_answer *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(struct authorize_answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(a->reason, sizeof a->reason, fmt, ap);
	va_end(ap);
	return -EACCES;
}

bool peer_address(const char *peer, char *dst, size_t size)
{
	const char *end = strrchr(peer, ':');
	size_t n;

	if (peer[0] == '[') {
		peer++;
		end = strchr(peer, ']');
	} else if (end && strchr(peer, ':') != end) {
		end = NULL; /* more than one colon and no bracket: a bare v6 address */
	}
	n = end ? (size_t)(end - peer) : strlen(peer);
	if (n >= size)
		return false;
	memcpy(dst, peer, n);
	dst[n] = '\0';
	return true;
}

/* A key that is no certificate is refused; its fingerprint helps to find whose it is. */
static int refuse_plain(const struct authorize_query *q, struct authorize_answer *a)
{
	cleanup_key struct key *k = NULL;

	if (key_parse_blob(q->key, q->key_len, &k, NULL) < 0)
		return refuse(a, "neither a certificate nor a key that is understood");
	(void)key_fingerprint(k, a->key_fingerprint);
	return refuse(a, "a plain key, not a certificate (%s)", a->key_fingerprint);
}

/* From here on reasons may be told. */
static int check_connection(
    const struct authorize_query *q, const struct cert *c, struct authorize_answer *a)
{
	struct err e = ERR_INIT;
	char address[64];

	if (cert_valid_at(c, q->now_s, &e) < 0)
		return refuse(a, "%s", err_text(&e));
	if (!c->has_source)
		return 0;
	if (!q->peer || !peer_address(q->peer, address, sizeof address))
		return refuse(
		    a, "the certificate is bound to addresses, and the client's is not known");
	if (cert_source_ok(c, address, &e) < 0)
		return refuse(a, "%s", err_text(&e));
	return 0;
}

static int find_unix_role(const struct authorize_query *q, const struct cert *c,
    struct authorize_answer *a, const struct role **ret)
{
	const struct role *role = tenant_role_of_unix(a->tenant, q->user, q->user_len);
	char user[2 * ROLE_UNIX_MAX];

	if (!role)
		return refuse(a, "tenant %s has no role for the Unix account \"%s\"",
		    a->tenant->name, str_escape(user, sizeof user, q->user, q->user_len));
	if (!cert_has_principal(c, role->name))
		return refuse(a, "the certificate does not name the principal %s", role->name);
	*ret = role;
	return 0;
}

static int find_role(const struct authorize_query *q, const struct cert *c,
    struct authorize_answer *a, const struct role **ret)
{
	char name[NAME_MAX_LEN + 1];
	struct err e = ERR_INIT;

	if (q->unix_user)
		return find_unix_role(q, c, a, ret);
	if (name_check("login", q->user, q->user_len, &e) < 0)
		return refuse(a, "%s", err_text(&e));
	memcpy(name, q->user, q->user_len);
	name[q->user_len] = '\0';
	if (!cert_has_principal(c, name))
		return refuse(a, "the certificate does not name the principal %s", name);
	*ret = tenant_role(a->tenant, name);
	if (!*ret)
		return refuse(a, "tenant %s has no role %s", a->tenant->name, name);
	return 0;
}

static unsigned scope_actions(const struct scope *s)
{
	unsigned actions = 0;

	for (unsigned b = 0; b < GRANT_ACTIONS; b++)
		if (s->allow & scope_allow_bit(grant_action_name(1u << b)))
			actions |= 1u << b;
	return actions;
}

/* False if it is too long: what is cut could be two persons' name. */
static bool escape_whole(char *dst, size_t size, const char *s)
{
	char shown[4 * CERT_KEY_ID_MAX + 8];

	_Static_assert(SCOPE_TEXT_MAX <= CERT_KEY_ID_MAX, "shown has room for both");
	return str_copy(dst, size, s ? str_escape(shown, sizeof shown, s, strlen(s)) : "");
}

static int person_of(const struct cert *c, struct authorize_answer *a)
{
	struct grant *g = &a->grant;
	const char *person = c->scope->person ? c->scope->person : c->key_id;

	if (!escape_whole(g->person, sizeof g->person, person))
		return refuse(
		    a, "the person's name is longer than %d bytes, once escaped", GRANT_PERSON_MAX);
	if (!escape_whole(g->task, sizeof g->task, c->scope->task))
		return refuse(
		    a, "the task's name is longer than %d bytes, once escaped", GRANT_PERSON_MAX);
	return 0;
}

/* What the certificate asks for and is not kept here must not be dropped in silence. */
static int check_kept(const struct cert *c, struct authorize_answer *a)
{
	json_auto_t *command = c->force_command ? json_string(c->force_command) : NULL;

	if (c->scope->idle_s)
		return refuse(a, "the scope asks for idle_s, and idle sessions are not ended here");
	/* the grant is recorded, and a record is JSON */
	if (c->force_command && !command)
		return refuse(a, "force-command is not UTF-8");
	return 0;
}

/* The role's workspace, or another that it lists and the scope names; read-only if either says so.
 */
static int cut_workspace(const struct role *role, const struct scope *s, struct authorize_answer *a)
{
	const char *name = s->workspace[0] ? s->workspace : role->workspace;
	struct grant *g = &a->grant;

	if (!*name || strcmp(name, "none") == 0)
		return 0;
	if (!role_may_open(role, name))
		return refuse(a, "the scope asks for workspace %s, which is none of role %s", name,
		    role->name);
	(void)str_copy(g->workspace, sizeof g->workspace, name);
	g->workspace_mode = s->read_only ? PLAN_WORKSPACE_RO : role->workspace_mode;
	return 0;
}

/* What the template says no to, whatever the role allows. */
static void cut_by_template(const struct authorize_query *q, struct grant *g)
{
	const struct template *t = config_template(q->config, g->tenant, g->template_name);

	if (t && !t->forward)
		g->actions &= ~(unsigned)GRANT_FORWARD;
	if (t && !t->credentials)
		g->actions &= ~(unsigned)GRANT_CREDENTIAL;
}

/* Policy cut by scope. What the certificate does not permit, or the scope leaves out, is gone. */
static int cut_grant(const struct authorize_query *q, const struct cert *c, const struct role *role,
    struct authorize_answer *a)
{
	const struct scope *s = c->scope;
	struct grant *g = &a->grant;
	int r;

	if (s->template[0] && strcmp(s->template, role->template_name) != 0)
		return refuse(a, "the scope asks for template %s, role %s has %s", s->template,
		    role->name, role->template_name);
	if ((r = check_kept(c, a)) < 0 || (r = person_of(c, a)) < 0 ||
	    (r = cut_workspace(role, s, a)) < 0)
		return r;
	g->revision = 1;
	(void)str_copy(g->tenant, sizeof g->tenant, a->tenant->name);
	(void)str_copy(g->role, sizeof g->role, role->name);
	(void)str_copy(g->template_name, sizeof g->template_name, role->template_name);
	g->actions = role->actions & scope_actions(s);
	if (!(c->permit & CERT_PERMIT_PTY))
		g->actions &= ~(unsigned)GRANT_PTY;
	if (!(c->permit & CERT_PERMIT_PORT_FORWARDING))
		g->actions &= ~(unsigned)GRANT_FORWARD;
	cut_by_template(q, g);
	g->credentials = scope_list_narrow(&s->credentials, role->credentials);
	g->egress = json_array(); /* nothing leaves a sandbox yet */
	g->env = json_deep_copy(role->env);
	g->force_command = c->force_command ? strdup(c->force_command) : NULL;
	if (!g->credentials || !g->egress || !g->env || (c->force_command && !g->force_command)) {
		grant_done(g);
		return refuse(a, "no memory");
	}
	g->channels = role->channels;
	g->lifetime_s = scope_narrow_s(role->lifetime_s, s->lifetime_s);
	g->expires_s =
	    c->valid_before >= (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)c->valid_before;
	if (g->expires_s > q->now_s + g->lifetime_s)
		g->expires_s = q->now_s + g->lifetime_s;
	memcpy(g->policy_digest, a->tenant->digest, DIGEST_LEN);
	g->cert_serial = c->serial;
	(void)str_copy(g->cert_fingerprint, sizeof g->cert_fingerprint, a->key_fingerprint);
	(void)str_copy(g->ca_fingerprint, sizeof g->ca_fingerprint, a->ca_fingerprint);
	return 0;
}

int authorize(const struct authorize_query *q, struct authorize_answer *a)
{
	cleanup_cert struct cert *c = NULL;
	const struct tenant *tenant;
	const struct role *role = NULL;
	struct err e = ERR_INIT;
	int r;

	memset(a, 0, sizeof *a);
	if (!cert_blob_is_cert(q->key, q->key_len))
		return refuse_plain(q, a);
	if (cert_parse(q->key, q->key_len, &c, &e) < 0)
		return refuse(a, "malformed certificate: %s", err_text(&e));
	(void)key_fingerprint(c->subject, a->key_fingerprint);
	(void)key_fingerprint(c->ca, a->ca_fingerprint);
	(void)str_copy(a->key_id, sizeof a->key_id, c->key_id_text);
	a->serial = c->serial;
	tenant = config_tenant_by_ca(q->config, c->ca);
	if (!tenant)
		return refuse(a, "signed by an unknown CA (%s)", a->ca_fingerprint);
	r = cert_verify(c, &e);
	if (r < 0 && r != -EACCES)
		return refuse(
		    a, "the signature of CA %s does not hold: %s", a->ca_fingerprint, err_text(&e));
	a->tenant = tenant;
	a->tell = true;
	if (r < 0)
		return refuse(a, "%s", err_text(&e));
	if ((r = check_connection(q, c, a)) < 0 || (r = find_role(q, c, a, &role)) < 0)
		return r;
	return cut_grant(q, c, role, a);
}
