#include "creds/cert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "tests/support/keygen.h"

static const char *const names[KEY_TYPES] = {"ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"};
static const char *const ca_names[KEY_TYPES] = {
    "ca-ed25519", "ca-ecdsa256", "ca-ecdsa384", "ca-ecdsa521", "ca-rsa"};

static int setup(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		keygen_make(names[t], (enum key_type)t);
		keygen_make(ca_names[t], (enum key_type)t);
	}
	return 0;
}

/* A certificate for a subject of type t by the real ssh-keygen; extra may be NULL. */
static uint8_t *real_cert(unsigned t, unsigned ca, const char *extra, size_t *ret_len)
{
	char pub[64], cert[64];

	(void)snprintf(pub, sizeof(pub), "%s.pub", names[t]);
	(void)snprintf(cert, sizeof(cert), "%s-cert.pub", names[t]);
	(void)unlink(cert);
	assert_int_equal(
	    keygen_run(NULL, "ssh-keygen", "-q", "-s", ca_names[ca], "-I", "person@example", "-n",
	        "agent,builder", "-z", "4711", "-V", "20260101000000Z:20270101000000Z", "-O",
	        "source-address=10.0.0.0/8,::1", "-O", "force-command=uptime",
	        extra != NULL ? "-O" : pub, extra != NULL ? extra : NULL, pub, NULL),
	    0);
	return keygen_blob(cert, ret_len);
}

static struct cert *parse(const uint8_t *blob, size_t len)
{
	struct err e = ERR_INIT;
	struct cert *c = NULL;
	int r = cert_parse(blob, len, &c, &e);

	if (r < 0)
		print_error("%s\n", e.text);
	assert_int_equal(r, 0);
	return c;
}

static void every_subject_with_every_ca(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		for (unsigned ca = 0; ca < KEY_TYPES; ca++) {
			char pub[64];
			size_t len;
			uint8_t *blob = real_cert(t, ca, NULL, &len);
			struct cert *c = parse(blob, len);
			struct key *subject, *authority;

			(void)snprintf(pub, sizeof(pub), "%s.pub", names[t]);
			subject = keygen_public(pub);
			(void)snprintf(pub, sizeof(pub), "%s.pub", ca_names[ca]);
			authority = keygen_public(pub);
			assert_true(key_equal(c->subject, subject));
			assert_true(key_equal(c->ca, authority));
			assert_int_equal(cert_verify(c, NULL), 0);
			assert_int_equal(c->serial, 4711);
			assert_int_equal(c->kind, CERT_USER);
			assert_string_equal(c->key_id, "person@example");
			assert_int_equal(c->nprincipals, 2);
			assert_string_equal(c->principals[0], "agent");
			assert_string_equal(c->principals[1], "builder");
			assert_int_equal(c->valid_after, 1767225600);
			assert_int_equal(c->valid_before, 1798761600);
			assert_string_equal(c->force_command, "uptime");
			assert_true(c->has_source);
			assert_int_equal(c->source.n, 2);
			assert_int_equal(c->permit, CERT_PERMIT_PTY | CERT_PERMIT_PORT_FORWARDING |
			                                CERT_PERMIT_AGENT_FORWARDING |
			                                CERT_PERMIT_X11_FORWARDING |
			                                CERT_PERMIT_USER_RC);
			assert_non_null(c->scope);
			assert_null(c->scope_json);
			cert_free(c);
			key_free(subject);
			key_free(authority);
			free(blob);
		}
	}
}

static void accepts_rsa_with_sha256_but_not_sha1(void **state)
{
	static const struct {
		const char *algorithm;
		int want;
	} cases[] = {{"rsa-sha2-256", 0}, {"rsa-sha2-512", 0}, {"ssh-rsa", -ENOTSUP}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t len;
		uint8_t *blob;
		struct cert *c;
		struct err e = ERR_INIT;

		assert_int_equal(
		    keygen_run(NULL, "ssh-keygen", "-q", "-s", "ca-rsa", "-t", cases[i].algorithm,
		        "-I", "x", "-n", "agent", "ed25519.pub", NULL),
		    0);
		blob = keygen_blob("ed25519-cert.pub", &len);
		c = parse(blob, len);
		assert_int_equal(cert_verify(c, &e), cases[i].want);
		cert_free(c);
		free(blob);
	}
}

static void reads_a_scope_that_ssh_keygen_wrote(void **state)
{
	static const char scope[] =
	    "{\"v\":1,\"template\":\"small\",\"credentials\":[\"jwt:https://a\"],"
	    "\"lifetime_s\":300,\"allow\":[\"exec\"]}";
	char option[512];
	size_t len;
	uint8_t *blob;
	struct cert *c;

	(void)state;
	(void)snprintf(option, sizeof(option), "extension:" SCOPE_NAME "=%s", scope);
	blob = real_cert(KEY_ED25519, KEY_ED25519, option, &len);
	c = parse(blob, len);
	assert_int_equal(cert_verify(c, NULL), 0);
	assert_string_equal(c->scope_json, scope);
	assert_string_equal(c->scope->template, "small");
	assert_int_equal(c->scope->lifetime_s, 300);
	assert_int_equal(c->scope->allow, SCOPE_EXEC);
	assert_true(scope_list_permits(&c->scope->credentials, "jwt:https://a"));
	assert_false(scope_list_permits(&c->scope->credentials, "jwt:https://b"));
	cert_free(c);
	free(blob);
}

static void refuses_truncation_at_every_offset(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		size_t len;
		uint8_t *blob = real_cert(t, t, NULL, &len);
		struct cert *c;

		for (size_t n = 0; n < len; n++) {
			uint8_t *cut = malloc(n == 0 ? 1 : n);

			assert_non_null(cut);
			memcpy(cut, blob, n);
			assert_true(cert_parse(cut, n, &c, NULL) < 0);
			free(cut);
		}
		free(blob);
	}
}

static void refuses_every_flipped_bit(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		size_t len;
		uint8_t *blob = real_cert(t, t, NULL, &len);

		for (size_t i = 0; i < len; i++) {
			for (unsigned bit = 0; bit < 8; bit++) {
				struct cert *c;

				/* all of them where it is cheap */
				if (t != KEY_ED25519 && bit != i % 8)
					continue;
				blob[i] ^= (uint8_t)(1u << bit);
				if (cert_parse(blob, len, &c, NULL) == 0) {
					assert_true(cert_verify(c, NULL) < 0);
					assert_int_not_equal(cert_verify(c, NULL), -EACCES);
					cert_free(c);
				}
				blob[i] ^= (uint8_t)(1u << bit);
			}
		}
		free(blob);
	}
}

static void another_key_of_the_ca_did_not_sign(void **state)
{
	struct key_private *ca = keygen_private("ca-ed25519"), *other = keygen_private("ed25519");
	size_t len, other_len;
	const uint8_t *other_blob = key_blob(key_private_public(other), &other_len);
	struct cert_build b;
	struct cert *c;
	uint8_t *blob;

	(void)state;
	cert_build_init(&b, key_private_public(other));
	b.ca_blob = other_blob;
	b.ca_blob_len = other_len;
	blob = cert_build_blob(&b, ca, &len);
	c = parse(blob, len);
	assert_int_equal(cert_verify(c, NULL), -EKEYREJECTED);
	cert_free(c);
	free(blob);
	key_private_free(ca);
	key_private_free(other);
}

/* ---- by hand: each rule ---- */

struct hand {
	struct key_private *ca;
	struct key *subject;
	struct cert_build b;
};

static void hand_init(struct hand *h)
{
	h->ca = keygen_private("ca-ed25519");
	h->subject = keygen_public("ed25519.pub");
	cert_build_init(&h->b, h->subject);
}

static void hand_done(struct hand *h)
{
	key_private_free(h->ca);
	key_free(h->subject);
}

/* What becomes of it: the code of cert_parse(), else of cert_verify(). text must be in the reason.
 */
static int judge(const struct hand *h, const char *text)
{
	size_t len;
	uint8_t *blob = cert_build_blob(&h->b, h->ca, &len);
	struct err e = ERR_INIT;
	struct cert *c = NULL;
	int r = cert_parse(blob, len, &c, &e);

	if (r == 0)
		r = cert_verify(c, &e);
	if (r == 0)
		assert_int_equal(cert_valid_at(c, 1000, NULL), 0);
	if (text != NULL && strstr(e.text, text) == NULL) {
		print_error("\"%s\" is not in \"%s\"\n", text, e.text);
		r = -1000;
	}
	cert_free(c);
	free(blob);
	return r;
}

static void a_good_one_by_hand_is_accepted(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	assert_int_equal(judge(&h, NULL), 0);
	hand_done(&h);
}

static void refuses_host_certificates(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.kind = CERT_HOST;
	assert_int_equal(judge(&h, "host certificate"), -EACCES);
	h.b.kind = 0;
	assert_int_equal(judge(&h, "malformed"), -EBADMSG);
	h.b.kind = 3;
	assert_int_equal(judge(&h, "malformed"), -EBADMSG);
	hand_done(&h);
}

static void refuses_no_principals(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.principals_len = 0;
	assert_int_equal(judge(&h, "certificate names no principal"), -EACCES);
	hand_done(&h);
}

static void refuses_an_empty_principal(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.principals = "\0\0\0\0";
	h.b.principals_len = 4;
	assert_int_equal(judge(&h, "principal"), -EBADMSG);
	hand_done(&h);
}

static void refuses_nul_in_a_principal_or_key_id(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.principals = "\0\0\0\7agent\0x";
	h.b.principals_len = 11;
	assert_int_equal(judge(&h, "principal"), -EBADMSG);
	h.b.principals = "\0\0\0\6agent\0";
	h.b.principals_len = 10;
	assert_int_equal(judge(&h, "principal"), -EBADMSG);
	hand_done(&h);
	hand_init(&h);
	h.b.key_id = "a\0b";
	h.b.key_id_len = 3;
	assert_int_equal(judge(&h, "key id"), -EBADMSG);
	hand_done(&h);
}

static void bounds_principals(void **state)
{
	char name[CERT_PRINCIPAL_MAX + 2];
	struct hand h;
	struct buf list;

	(void)state;
	hand_init(&h);
	buf_init(&list, 1u << 20);
	for (unsigned i = 0; i < CERT_PRINCIPALS_MAX; i++)
		buf_put_cstring(&list, "p");
	h.b.principals = list.data;
	h.b.principals_len = list.len;
	assert_int_equal(judge(&h, NULL), 0);
	buf_put_cstring(&list, "p");
	h.b.principals = list.data;
	h.b.principals_len = list.len;
	assert_int_equal(judge(&h, "more than 256 principals"), -EBADMSG);

	memset(name, 'x', sizeof(name));
	buf_reset(&list);
	buf_put_string(&list, name, CERT_PRINCIPAL_MAX);
	h.b.principals = list.data;
	h.b.principals_len = list.len;
	assert_int_equal(judge(&h, NULL), 0);
	buf_reset(&list);
	buf_put_string(&list, name, CERT_PRINCIPAL_MAX + 1);
	h.b.principals_len = list.len;
	assert_int_equal(judge(&h, "principal"), -EBADMSG);
	buf_done(&list);
	hand_done(&h);
}

static void bounds_key_id_nonce_and_reserved(void **state)
{
	char text[CERT_KEY_ID_MAX + 2];
	struct hand h;

	(void)state;
	memset(text, 'x', sizeof(text));
	hand_init(&h);
	h.b.key_id = text;
	h.b.key_id_len = CERT_KEY_ID_MAX;
	assert_int_equal(judge(&h, NULL), 0);
	h.b.key_id_len++;
	assert_int_equal(judge(&h, "key id"), -EBADMSG);
	h.b.key_id_len = 0;
	assert_int_equal(judge(&h, NULL), 0);
	h.b.nonce_len = CERT_NONCE_MAX;
	assert_int_equal(judge(&h, NULL), 0);
	h.b.nonce_len++;
	assert_int_equal(judge(&h, "nonce"), -EBADMSG);
	h.b.nonce_len = 32;
	h.b.reserved = text;
	h.b.reserved_len = CERT_RESERVED_MAX;
	assert_int_equal(judge(&h, NULL), 0);
	h.b.reserved_len++;
	assert_int_equal(judge(&h, "malformed"), -EBADMSG);
	hand_done(&h);
}

static void rejects_trailing_bytes_in_every_field(void **state)
{
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.tail = "";
	h.b.tail_len = 1;
	assert_int_equal(judge(&h, "1 bytes behind the certificate"), -EBADMSG);
	h.b.tail_len = 0;
	h.b.principals = "\0\0\0\5agent\0";
	h.b.principals_len = 10;
	assert_int_equal(judge(&h, "principal"), -EBADMSG);
	h.b.principals_len = 9;
	h.b.critical = "\0";
	h.b.critical_len = 1;
	assert_int_equal(judge(&h, "critical option"), -EBADMSG);
	h.b.critical_len = 0;
	h.b.extensions = "\0\0\0\4";
	h.b.extensions_len = 4;
	assert_int_equal(judge(&h, "extension"), -EBADMSG);
	hand_done(&h);
}

static void refuses_a_certificate_as_ca_key(void **state)
{
	size_t inner_len;
	uint8_t *inner;
	struct hand h;

	(void)state;
	hand_init(&h);
	inner = cert_build_blob(&h.b, h.ca, &inner_len);
	h.b.ca_blob = inner;
	h.b.ca_blob_len = inner_len;
	assert_int_equal(judge(&h, "the CA key is itself a certificate"), -EBADMSG);
	/* also of a type that is not known here, and whatever follows the name */
	h.b.ca_blob = "\0\0\0\34ssh-dss-cert-v01@openssh.com";
	h.b.ca_blob_len = 32;
	assert_int_equal(judge(&h, "the CA key is itself a certificate"), -EBADMSG);
	free(inner);
	hand_done(&h);
}

static void refuses_trailing_bytes_behind_the_ca_key(void **state)
{
	struct hand h;
	struct buf blob;
	const uint8_t *p;
	size_t n;

	(void)state;
	hand_init(&h);
	p = key_blob(key_private_public(h.ca), &n);
	buf_init(&blob, 256);
	buf_put(&blob, p, n);
	buf_put_u8(&blob, 0);
	h.b.ca_blob = blob.data;
	h.b.ca_blob_len = blob.len;
	assert_int_equal(judge(&h, "CA key: 1 bytes behind the key"), -EBADMSG);
	h.b.ca_blob_len = 0;
	h.b.ca_blob = "";
	assert_int_equal(judge(&h, "CA key"), -EBADMSG);
	buf_done(&blob);
	hand_done(&h);
}

static void refuses_types_that_are_not_accepted(void **state)
{
	static const char *const types[] = {"ssh-dss-cert-v01@openssh.com",
	    "sk-ssh-ed25519-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
	    "rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa-cert-v00@openssh.com", "ssh-ed25519", ""};
	struct hand h;

	(void)state;
	hand_init(&h);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		h.b.type = types[i];
		assert_int_equal(judge(&h, NULL), -ENOTSUP);
	}
	h.b.type = "ssh-rsa-cert-v01@openssh.com"; /* a key of another type inside */
	assert_int_equal(judge(&h, NULL), -EBADMSG);
	hand_done(&h);
}

static void refuses_weak_and_misplaced_keys(void **state)
{
	(void)state;
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "",
	                     "-f", "weak", NULL),
	    0);
	/* as subject, then as CA */
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-s", "ca-ed25519", "-I", "x", "-n",
	                     "agent", "weak.pub", NULL),
	    0);
	size_t len;
	uint8_t *blob = keygen_blob("weak-cert.pub", &len);
	struct cert *c;

	assert_int_equal(cert_parse(blob, len, &c, NULL), -EKEYREJECTED);
	free(blob);
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-s", "weak", "-I", "x", "-n",
	                     "agent", "ed25519.pub", NULL),
	    0);
	blob = keygen_blob("ed25519-cert.pub", &len);
	assert_int_equal(cert_parse(blob, len, &c, NULL), -EKEYREJECTED);
	free(blob);
}

static void is_valid_from_its_first_to_before_its_last_second(void **state)
{
	struct err e = ERR_INIT;
	struct cert c = {.valid_after = 1000, .valid_before = 2000};

	(void)state;
	assert_int_equal(cert_valid_at(&c, 999, &e), -EACCES);
	assert_string_equal(e.text, "certificate is not valid before 1970-01-01T00:16:40Z");
	assert_int_equal(cert_valid_at(&c, 1000, NULL), 0);
	assert_int_equal(cert_valid_at(&c, 1999, NULL), 0);
	assert_int_equal(cert_valid_at(&c, 2000, &e), -EACCES);
	assert_string_equal(e.text, "certificate expired at 1970-01-01T00:33:20Z");
	assert_int_equal(cert_valid_at(&c, -1, NULL), -EACCES);
	c.valid_after = 0;
	c.valid_before = CERT_FOREVER;
	assert_int_equal(cert_valid_at(&c, INT64_MAX, NULL), 0);
	assert_int_equal(cert_valid_at(&c, -1, NULL), -EACCES);
	c.valid_after = CERT_FOREVER;
	assert_int_equal(cert_valid_at(&c, INT64_MAX, NULL), -EACCES);
	c.valid_after = 2000; /* ends before it begins */
	c.valid_before = 1000;
	for (int64_t t = 0; t < 3000; t += 500)
		assert_int_equal(cert_valid_at(&c, t, NULL), -EACCES);
}

static void a_principal_is_compared_as_bytes(void **state)
{
	char *list[] = {(char[]){"agent"}, (char[]){"a,b"}, (char[]){"*"}};
	struct cert c = {.principals = list, .nprincipals = 3};
	static const char *const others[] = {
	    "", "agen", "agents", "Agent", "a", "b", "agent,a", "x"};

	(void)state;
	assert_true(cert_has_principal(&c, "agent"));
	assert_true(cert_has_principal(&c, "a,b"));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(cert_has_principal(&c, others[i]));
	c.nprincipals = 0;
	assert_false(cert_has_principal(&c, "agent"));
	assert_false(cert_has_principal(&c, ""));
}

static void source_address_is_kept(void **state)
{
	size_t len;
	uint8_t *blob = real_cert(KEY_ED25519, KEY_ED25519, NULL, &len); /* 10.0.0.0/8 and ::1 */
	struct cert *c = parse(blob, len);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(cert_source_ok(c, "10.255.0.1", NULL), 0);
	assert_int_equal(cert_source_ok(c, "::ffff:10.1.2.3", NULL), 0);
	assert_int_equal(cert_source_ok(c, "::1", NULL), 0);
	assert_int_equal(cert_source_ok(c, "11.0.0.1", &e), -EACCES);
	assert_string_equal(e.text, "certificate is not valid from 11.0.0.1");
	assert_int_equal(cert_source_ok(c, "::2", NULL), -EACCES);
	assert_int_equal(cert_source_ok(c, "", NULL), -EACCES);
	assert_int_equal(cert_source_ok(c, "10.0.0.1:22", NULL), -EACCES);
	assert_int_equal(cert_source_ok(c, "UNKNOWN", NULL), -EACCES);
	cert_free(c);
	free(blob);
}

static void names_are_escaped_for_people(void **state)
{
	size_t len;
	uint8_t *blob;
	struct cert *c;
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.key_id = "a\33]0;x\7";
	h.b.key_id_len = 7;
	blob = cert_build_blob(&h.b, h.ca, &len);
	c = parse(blob, len);
	assert_null(strchr(c->key_id_text, '\33'));
	assert_string_equal(c->key_id, "a\33]0;x\7");
	cert_free(c);
	free(blob);
	hand_done(&h);
}

static void knows_a_certificate_when_it_sees_one(void **state)
{
	size_t len;
	uint8_t *blob = real_cert(KEY_RSA, KEY_ED25519, NULL, &len);
	char *line;
	struct cert *c;

	(void)state;
	assert_true(cert_blob_is_cert(blob, len));
	free(blob);
	blob = keygen_blob("ed25519.pub", &len);
	assert_false(cert_blob_is_cert(blob, len));
	assert_false(cert_blob_is_cert(blob, 3));
	free(blob);
	assert_false(cert_type_known("-cert-v01@openssh.co", 20));
	line = keygen_read("rsa-cert.pub", &len);
	assert_int_equal(cert_parse_line(line, len, &c, NULL), 0);
	cert_free(c);
	assert_int_equal(cert_parse_line(line, len - 1, &c, NULL), 0);
	cert_free(c);
	line[0] = 'S';
	assert_int_equal(cert_parse_line(line, len, &c, NULL), -EBADMSG);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_subject_with_every_ca),
	    cmocka_unit_test(accepts_rsa_with_sha256_but_not_sha1),
	    cmocka_unit_test(reads_a_scope_that_ssh_keygen_wrote),
	    cmocka_unit_test(refuses_truncation_at_every_offset),
	    cmocka_unit_test(refuses_every_flipped_bit),
	    cmocka_unit_test(another_key_of_the_ca_did_not_sign),
	    cmocka_unit_test(a_good_one_by_hand_is_accepted),
	    cmocka_unit_test(refuses_host_certificates),
	    cmocka_unit_test(refuses_no_principals),
	    cmocka_unit_test(refuses_an_empty_principal),
	    cmocka_unit_test(refuses_nul_in_a_principal_or_key_id),
	    cmocka_unit_test(bounds_principals),
	    cmocka_unit_test(bounds_key_id_nonce_and_reserved),
	    cmocka_unit_test(rejects_trailing_bytes_in_every_field),
	    cmocka_unit_test(refuses_a_certificate_as_ca_key),
	    cmocka_unit_test(refuses_trailing_bytes_behind_the_ca_key),
	    cmocka_unit_test(refuses_types_that_are_not_accepted),
	    cmocka_unit_test(refuses_weak_and_misplaced_keys),
	    cmocka_unit_test(is_valid_from_its_first_to_before_its_last_second),
	    cmocka_unit_test(a_principal_is_compared_as_bytes),
	    cmocka_unit_test(source_address_is_kept),
	    cmocka_unit_test(names_are_escaped_for_people),
	    cmocka_unit_test(knows_a_certificate_when_it_sees_one),
	};

	return cmocka_run_group_tests(tests, setup, keygen_leave);
}
