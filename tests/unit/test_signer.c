#include "creds/signer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "creds/jwt.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

static int keys_fd = -1;

static int setup(void **state)
{
	if (keygen_enter(state) < 0 || mkdir("keys", 0700) < 0)
		return -1;
	keys_fd = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return keys_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	util_close(&keys_fd);
	return keygen_leave(state);
}

static struct signer *make(unsigned rate, unsigned burst)
{
	const struct signer_config c = {keys_fd, "https://postern.example", rate, burst};
	struct signer *s = signer_new(&c, NULL);

	assert_non_null(s);
	return s;
}

/* Through the table, as the core's would come. Returns the answer's type; *ret its body. */
static const char *ask(struct signer *s, const char *type, json_t *body, json_t **ret)
{
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	struct buf wire, answer;
	const char *kind = NULL;

	buf_init(&wire, MSG_MAX);
	buf_init(&answer, MSG_MAX);
	if (msg_encode(&wire, type, 9, body, 0, &e) < 0 ||
	    msg_decode(&m, MSG_CORE, MSG_SIGNER, MSG_PHASE_OPEN, wire.data, wire.len, NULL, 0, &e) <
	        0) {
		print_error("%s\n", e.text);
		fail();
	}
	json_decref(body);
	assert_int_equal(signer_handle(s, &m, &kind, ret), 0);
	/* and the answer is one that the table lets through */
	assert_int_equal(msg_encode(&answer, kind, 9, *ret, 0, NULL), 0);
	msg_done(&m);
	buf_done(&wire);
	buf_done(&answer);
	return kind;
}

static int64_t now_s(void)
{
	return clock_wall_ns() / NSEC_PER_SEC;
}

static json_t *sign_body(int64_t issued, int64_t ttl)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "tenant", "demo", "role",
	    "agent", "session", "4f2a-1", "person", "jo@example", "audience", "https://api.example",
	    "lease", "l-1", "issued_s", (json_int_t)issued, "expires_s",
	    (json_int_t)(issued + ttl));
}

static json_t *with(json_t *o, const char *key, const char *value)
{
	assert_int_equal(json_object_set_new(o, key, json_string(value)), 0);
	return o;
}

static bool signs(struct signer *s, json_t *body, const char *why)
{
	json_t *answer = NULL;
	const char *type = ask(s, "jwt.sign", body, &answer);
	bool ok = strcmp(type, "jwt.signed") == 0;

	if (!ok) {
		const char *reason = json_string_value(json_object_get(answer, "reason"));

		assert_string_equal(type, "sign.refused");
		assert_non_null(reason);
		if (why == NULL || strstr(reason, why) == NULL)
			print_error("reason: %s\n", reason);
		assert_non_null(why);
		assert_non_null(strstr(reason, why));
	}
	json_decref(answer);
	return ok;
}

static char *kid_of(struct signer *s, const char *tenant)
{
	json_t *answer = NULL, *keys;
	char *out;

	assert_string_equal(
	    ask(s, "jwks.ask", json_pack("{s:s}", "tenant", tenant), &answer), "jwks.tell");
	keys = json_object_get(json_object_get(answer, "jwks"), "keys");
	assert_int_equal(json_array_size(keys), 1);
	out = strdup(json_string_value(json_object_get(json_array_get(keys, 0), "kid")));
	json_decref(answer);
	return out;
}

/* The claims of the token for this body, which is taken over. */
static json_t *claims(struct signer *s, json_t *body)
{
	json_t *answer = NULL, *out;
	const char *token, *part;
	uint8_t bytes[JWT_MAX];
	char b64[JWT_MAX];
	size_t n = 0, len;

	assert_string_equal(ask(s, "jwt.sign", body, &answer), "jwt.signed");
	token = json_string_value(json_object_get(answer, "token"));
	assert_non_null(part = strchr(token, '.'));
	for (part++; *part != '.' && n < sizeof b64 - 4; part++)
		b64[n++] = (char)(*part == '-' ? '+' : *part == '_' ? '/' : *part);
	while (n % 4 != 0)
		b64[n++] = '=';
	assert_int_equal(b64_decode(bytes, sizeof bytes, b64, n, &len), 0);
	assert_non_null(out = json_loadb((const char *)bytes, len, 0, NULL));
	json_decref(answer);
	return out;
}

static void a_tenants_issuer_is_in_its_tokens(void **state)
{
	struct signer *s = make(100, 100);
	json_t *o = claims(s, with(sign_body(now_s(), 60), "issuer", "https://id.example.com"));

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o, "iss")), "https://id.example.com");
	json_decref(o);
	o = claims(s, sign_body(now_s(), 60));
	assert_string_equal(
	    json_string_value(json_object_get(o, "iss")), "https://postern.example");
	json_decref(o);
	assert_false(signs(s, with(sign_body(now_s(), 60), "issuer", ""), "no issuer"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "issuer", "https://a\nb"), "no issuer"));
	signer_free(s);
}

static void a_tenant_has_one_key_of_its_own_made_at_first_use(void **state)
{
	struct signer *s = make(100, 100);
	char *first = kid_of(s, "alpha"), *other = kid_of(s, "beta"), *again = kid_of(s, "alpha");
	struct key_private *k = NULL;
	struct stat st;

	(void)state;
	assert_string_equal(first, again);
	assert_string_not_equal(first, other);
	free(again);
	assert_int_equal(fstatat(keys_fd, "alpha.es256", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(key_private_load(keys_fd, "alpha.es256", &k, NULL), 0);
	assert_int_equal(key_type(key_private_public(k)), KEY_ECDSA_256);
	key_private_free(k);
	signer_free(s);

	s = make(100, 100); /* a restart */
	again = kid_of(s, "alpha");
	assert_string_equal(first, again);
	free(first);
	free(other);
	free(again);
	signer_free(s);
}

static void signs_what_it_put_together_itself(void **state)
{
	struct signer *s = make(100, 100);

	(void)state;
	assert_true(signs(s, sign_body(now_s(), 600), NULL));
	assert_true(signs(s, sign_body(now_s(), 1), NULL));
	assert_true(signs(s, with(sign_body(now_s(), 600), "person", ""), NULL));
	signer_free(s);
}

static void a_token_lives_ten_minutes_at_most(void **state)
{
	struct signer *s = make(100, 100);

	(void)state;
	assert_false(signs(s, sign_body(now_s(), 601), "a token lives 1 to 600 s"));
	assert_false(signs(s, sign_body(now_s(), 0), "a token lives"));
	assert_false(signs(s, sign_body(now_s(), -1), "a token lives"));
	json_t *o = sign_body(now_s(), 600);

	json_object_set_new(o, "expires_s", json_integer(INT64_MAX));
	assert_false(signs(s, o, "a token lives"));
	signer_free(s);
}

static void its_own_clock_is_asked(void **state)
{
	struct signer *s = make(100, 100);

	(void)state;
	assert_true(signs(s, sign_body(now_s() - 58, 600), NULL));
	assert_true(signs(s, sign_body(now_s() + 58, 600), NULL));
	assert_false(signs(s, sign_body(now_s() - 62, 600), "the signer's clock"));
	assert_false(signs(s, sign_body(now_s() + 62, 600), "the signer's clock"));
	assert_false(signs(s, sign_body(0, 600), "the signer's clock"));
	assert_false(signs(s, sign_body(INT64_MAX - 600, 600), "the signer's clock"));
	signer_free(s);
}

static void refuses_what_is_no_id_or_text(void **state)
{
	struct signer *s = make(100, 100);

	(void)state;
	assert_false(signs(s, with(sign_body(now_s(), 60), "session", "a:role:root"), "id"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "session", ""), "id"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "lease", "a b"), "id"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "audience", ""), "audience"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "audience", "a\nb"), "audience"));
	assert_false(signs(s, with(sign_body(now_s(), 60), "person", "a\x1b"), "person"));
	signer_free(s);
}

static void a_tenant_has_a_rate_of_its_own(void **state)
{
	struct signer *s = make(1, 3);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(signs(s, sign_body(now_s(), 60), NULL));
	assert_false(signs(s, sign_body(now_s(), 60), "too many tokens at once for tenant demo"));
	assert_true(signs(s, with(sign_body(now_s(), 60), "tenant", "other"), NULL));
	signer_free(s);
}

static void stays_below_its_directory(void **state)
{
	struct signer *s = make(100, 100);
	struct key_private *k = NULL;

	(void)state;
	assert_int_equal(key_private_generate(KEY_ECDSA_256, 0, &k, NULL), 0);
	assert_int_equal(key_private_save(k, "", AT_FDCWD, "outside", NULL), 0);
	key_private_free(k);
	assert_int_equal(symlinkat("../outside", keys_fd, "linked.es256"), 0);
	assert_false(signs(s, with(sign_body(now_s(), 60), "tenant", "linked"), "linked.es256"));
	signer_free(s);
}

static void refuses_keys_that_others_can_read_or_of_another_type(void **state)
{
	struct signer *s = make(100, 100);
	struct key_private *k = NULL;

	(void)state;
	assert_int_equal(key_private_generate(KEY_ECDSA_256, 0, &k, NULL), 0);
	assert_int_equal(key_private_save(k, "", keys_fd, "open.es256", NULL), 0);
	key_private_free(k);
	assert_int_equal(fchmodat(keys_fd, "open.es256", 0644, 0), 0);
	assert_false(
	    signs(s, with(sign_body(now_s(), 60), "tenant", "open"), "others than its owner"));

	k = NULL;
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &k, NULL), 0);
	assert_int_equal(key_private_save(k, "", keys_fd, "edward.es256", NULL), 0);
	key_private_free(k);
	assert_false(signs(s, with(sign_body(now_s(), 60), "tenant", "edward"), "not a P-256 key"));

	int fd = openat(keys_fd, "broken.es256", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	util_close(&fd);
	assert_false(
	    signs(s, with(sign_body(now_s(), 60), "tenant", "broken"), "not a private key"));
	signer_free(s);
}

static void no_reason_holds_a_key(void **state)
{
	struct signer *s = make(100, 100);
	json_t *answer = NULL;
	char *text;

	(void)state;
	(void)ask(s, "jwks.ask", json_pack("{s:s}", "tenant", "alpha"), &answer);
	text = json_dumps(answer, 0);
	assert_null(strstr(text, "\"d\""));
	free(text);
	json_decref(answer);
	signer_free(s);
}

static void holds_a_bounded_number_of_keys(void **state)
{
	struct signer *s = make(100, 100);

	(void)state;
	for (int i = 0; i <= SIGNER_TENANTS; i++) {
		json_t *answer = NULL;
		char name[16];
		const char *type;

		(void)snprintf(name, sizeof name, "t%d", i);
		type = ask(s, "jwks.ask", json_pack("{s:s}", "tenant", name), &answer);
		assert_string_equal(type, i < SIGNER_TENANTS ? "jwks.tell" : "sign.refused");
		json_decref(answer);
	}
	signer_free(s);
}

static void knows_its_own_messages_only(void **state)
{
	struct signer *s = make(100, 100);
	const struct msg m = {.type = msg_type_find("shutdown")};
	const char *type;
	json_t *body;

	(void)state;
	assert_int_equal(signer_handle(s, &m, &type, &body), -ENOMSG);
	signer_free(s);
}

static void refuses_a_configuration_without_limits(void **state)
{
	struct signer_config c = {keys_fd, "x", 0, 1};

	(void)state;
	assert_null(signer_new(&c, NULL));
	c = (struct signer_config){keys_fd, "x", 1, 0};
	assert_null(signer_new(&c, NULL));
	c = (struct signer_config){keys_fd, "", 1, 1};
	assert_null(signer_new(&c, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_tenants_issuer_is_in_its_tokens),
	    cmocka_unit_test(a_tenant_has_one_key_of_its_own_made_at_first_use),
	    cmocka_unit_test(signs_what_it_put_together_itself),
	    cmocka_unit_test(a_token_lives_ten_minutes_at_most),
	    cmocka_unit_test(its_own_clock_is_asked),
	    cmocka_unit_test(refuses_what_is_no_id_or_text),
	    cmocka_unit_test(a_tenant_has_a_rate_of_its_own),
	    cmocka_unit_test(stays_below_its_directory),
	    cmocka_unit_test(refuses_keys_that_others_can_read_or_of_another_type),
	    cmocka_unit_test(no_reason_holds_a_key),
	    cmocka_unit_test(holds_a_bounded_number_of_keys),
	    cmocka_unit_test(knows_its_own_messages_only),
	    cmocka_unit_test(refuses_a_configuration_without_limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
