#include "creds/signer.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "creds/jwt.h"
#include "creds/key_file.h"
#include "creds/signer_seal.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define ID_MAX       36
#define PERSON_MAX   256
#define AUDIENCE_MAX 256
#define ISSUER_MAX   256

struct tenant {
	char name[NAME_MAX_LEN + 1];
	struct key_private *key;
	int64_t tokens_ns; /* a bucket, in nanoseconds of rate */
	int64_t filled_ns;
};

struct signer {
	int keys_fd;
	char *issuer;
	int64_t cost_ns, full_ns; /* of one signature; of a full bucket */
	size_t ntenants;
	struct tenant tenants[SIGNER_TENANTS];
	struct signer_seal seal;
};

struct signer *signer_new(const struct signer_config *c, struct err *e)
{
	struct signer *s;

	if (c->rate == 0 || c->burst == 0 || !c->issuer || *c->issuer == '\0') {
		err_set(e, -EINVAL, "a signer needs an issuer, a rate and a burst");
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s || !(s->issuer = strdup(c->issuer))) {
		free(s);
		err_set(e, -ENOMEM, "cannot hold a signer");
		return NULL;
	}
	s->keys_fd = c->keys_fd;
	signer_seal_init(&s->seal, c->keys_fd);
	s->cost_ns = NSEC_PER_SEC / c->rate;
	s->full_ns = s->cost_ns * c->burst;
	return s;
}

void signer_free(struct signer *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->ntenants; i++)
		key_private_free(s->tenants[i].key);
	signer_seal_done(&s->seal);
	free(s->issuer);
	free(s);
}

static int make_key(
    struct signer *s, const char *file, const char *tenant, struct key_private **ret, struct err *e)
{
	cleanup_key_private struct key_private *k = NULL;
	char comment[64];
	int r;

	(void)snprintf(comment, sizeof comment, "es256 %s", tenant);
	if ((r = key_private_generate(KEY_ECDSA_256, 0, &k, e)) < 0 ||
	    (r = key_private_save(k, comment, s->keys_fd, file, e)) < 0)
		return r;
	*ret = steal_ptr(&k);
	return 0;
}

static int load_key(struct signer *s, const char *tenant, struct key_private **ret, struct err *e)
{
	cleanup_key_private struct key_private *k = NULL;
	char file[NAME_MAX_LEN + 8];
	int fd, r;

	(void)snprintf(file, sizeof file, "%s.es256", tenant);
	fd = fd_open_beneath(s->keys_fd, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (fd == -ENOENT)
		return make_key(s, file, tenant, ret, e);
	if (fd < 0)
		return err_set(e, fd, "%s: %s", file, strerror(-fd));
	r = key_private_load_fd(fd, file, &k, e);
	util_close(&fd);
	if (r < 0)
		return r;
	if (key_type(key_private_public(k)) != KEY_ECDSA_256)
		return err_set(e, -EINVAL, "%s: not a P-256 key", file);
	*ret = steal_ptr(&k);
	return 0;
}

static int find_tenant(struct signer *s, const char *name, struct tenant **ret, struct err *e)
{
	struct tenant *t;
	int r;

	if (!name || !name_valid(name, strlen(name)))
		return err_set(e, -EINVAL, "no tenant's name");
	for (size_t i = 0; i < s->ntenants; i++) {
		if (strcmp(s->tenants[i].name, name) == 0) {
			*ret = &s->tenants[i];
			return 0;
		}
	}
	if (s->ntenants == SIGNER_TENANTS)
		return err_set(e, -ENOBUFS, "the signer holds %d keys and no more", SIGNER_TENANTS);
	t = &s->tenants[s->ntenants];
	r = load_key(s, name, &t->key, e);
	if (r < 0)
		return r;
	(void)str_copy(t->name, sizeof t->name, name);
	t->tokens_ns = s->full_ns;
	t->filled_ns = clock_boot_ns();
	s->ntenants++;
	*ret = t;
	return 0;
}

static bool take_token(const struct signer *s, struct tenant *t)
{
	int64_t now = clock_boot_ns();

	t->tokens_ns += now - t->filled_ns;
	t->filled_ns = now;
	if (t->tokens_ns > s->full_ns)
		t->tokens_ns = s->full_ns;
	if (t->tokens_ns < s->cost_ns)
		return false;
	t->tokens_ns -= s->cost_ns;
	return true;
}

static bool id_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n >= 1 && n <= ID_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

static bool text_ok(const char *s, size_t min, size_t max)
{
	size_t n = s ? strlen(s) : 0;

	if (!s || n < min || n > max)
		return false;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	}
	return true;
}

static int check_claims(const struct jwt_claims *c, struct err *e)
{
	int64_t now_s = clock_wall_ns() / NSEC_PER_SEC, skew, ttl;

	if (!c->role || !name_valid(c->role, strlen(c->role)))
		return err_set(e, -EINVAL, "no role's name");
	if (!id_ok(c->session) || !id_ok(c->lease))
		return err_set(e, -EINVAL, "no session's or lease's id");
	if (!text_ok(c->audience, 1, AUDIENCE_MAX))
		return err_set(e, -EINVAL, "no audience");
	if (!text_ok(c->issuer, 1, ISSUER_MAX))
		return err_set(e, -EINVAL, "no issuer");
	if (!text_ok(c->person, 0, PERSON_MAX))
		return err_set(e, -EINVAL, "no person's name");
	if (__builtin_sub_overflow(c->issued_s, now_s, &skew) || skew > SIGNER_SKEW_MAX_S ||
	    skew < -SIGNER_SKEW_MAX_S)
		return err_set(e, -EINVAL, "issued more than %d s away from the signer's clock",
		    SIGNER_SKEW_MAX_S);
	if (__builtin_sub_overflow(c->expires_s, c->issued_s, &ttl) || ttl < 1 ||
	    ttl > SIGNER_TTL_MAX_S)
		return err_set(e, -EINVAL, "a token lives 1 to %d s", SIGNER_TTL_MAX_S);
	return 0;
}

static int sign_jwt(struct signer *s, const struct msg *m, json_t **ret, struct err *e)
{
	const char *issuer = msg_str(m, "issuer"); /* the tenant's own */
	const struct jwt_claims c = {
	    .issuer = issuer ? issuer : s->issuer,
	    .audience = msg_str(m, "audience"),
	    .tenant = msg_str(m, "tenant"),
	    .role = msg_str(m, "role"),
	    .session = msg_str(m, "session"),
	    .person = msg_str(m, "person"),
	    .lease = msg_str(m, "lease"),
	    .issued_s = msg_int(m, "issued_s", 0),
	    .expires_s = msg_int(m, "expires_s", 0),
	};
	struct tenant *t;
	struct buf token;
	const char *text;
	int r;

	if ((r = check_claims(&c, e)) < 0 || (r = find_tenant(s, c.tenant, &t, e)) < 0)
		return r;
	if (!take_token(s, t))
		return err_set(e, -EAGAIN, "too many tokens at once for tenant %s", t->name);
	buf_init(&token, JWT_MAX);
	r = jwt_sign(t->key, &c, &token, e);
	if (r == 0) {
		text = buf_cstr(&token);
		*ret = text ? json_pack("{s:s}", "token", text) : NULL;
		if (!*ret)
			r = err_set(e, -ENOMEM, "cannot hold a token");
	}
	buf_done(&token);
	return r;
}

static int tell_jwks(struct signer *s, const struct msg *m, json_t **ret, struct err *e)
{
	const struct key *k;
	struct tenant *t;
	json_t *jwks;
	int r;

	r = find_tenant(s, msg_str(m, "tenant"), &t, e);
	if (r < 0)
		return r;
	k = key_private_public(t->key);
	jwks = jwt_jwks(&k, 1);
	*ret = jwks ? json_pack("{s:o}", "jwks", jwks) : NULL;
	return *ret ? 0 : err_set(e, -ENOMEM, "cannot hold a key set");
}

int signer_handle(struct signer *s, const struct msg *m, const char **ret_type, json_t **ret_body)
{
	struct err e = ERR_INIT;
	json_t *body = NULL;
	int r;

	if (msg_is(m, "jwt.sign")) {
		*ret_type = "jwt.signed";
		r = sign_jwt(s, m, &body, &e);
	} else if (msg_is(m, "jwks.ask")) {
		*ret_type = "jwks.tell";
		r = tell_jwks(s, m, &body, &e);
	} else {
		r = signer_seal_handle(&s->seal, m, ret_type, &body, &e);
		if (r == -ENOMSG)
			return r;
	}
	if (r < 0) {
		*ret_type = "sign.refused";
		body = json_pack("{s:s}", "reason", err_text(&e));
	}
	if (!body)
		return -ENOMEM;
	*ret_body = body;
	return 0;
}
