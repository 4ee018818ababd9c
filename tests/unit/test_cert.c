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

	(void)snprintf(pub, sizeof pub, "%s.pub", names[t]);
	(void)snprintf(cert, sizeof cert, "%s-cert.pub", names[t]);
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

			(void)snprintf(pub, sizeof pub, "%s.pub", names[t]);
			subject = keygen_public(pub);
			(void)snprintf(pub, sizeof pub, "%s.pub", ca_names[ca]);
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
	(void)snprintf(option, sizeof option, "extension:" SCOPE_NAME "=%s", scope);
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
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
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
	    cmocka_unit_test(is_valid_from_its_first_to_before_its_last_second),
	    cmocka_unit_test(a_principal_is_compared_as_bytes),
	    cmocka_unit_test(source_address_is_kept),
	    cmocka_unit_test(knows_a_certificate_when_it_sees_one),
	};

	return cmocka_run_group_tests(tests, setup, keygen_leave);
}
