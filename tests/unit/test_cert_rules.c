#include "creds/cert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "tests/support/keygen.h"

/* Each rule of the frame, with certificates put together by hand (options: test_cert_options.c). */

static int setup(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	keygen_make("ed25519", KEY_ED25519);
	keygen_make("ca-ed25519", KEY_ED25519);
	return 0;
}

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

/* What becomes of it: the code of cert_parse(), else of cert_verify().
 * text must be in the reason. */
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

	memset(name, 'x', sizeof name);
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
	memset(text, 'x', sizeof text);
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
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		h.b.type = types[i];
		assert_int_equal(judge(&h, NULL), -ENOTSUP);
	}
	/* a key of another type inside: by its first bit a negative exponent,
	 * or one of no modulus */
	h.b.type = "ssh-rsa-cert-v01@openssh.com";
	int r = judge(&h, NULL);

	assert_true(r == -EBADMSG || r == -EKEYREJECTED);
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

static void names_are_escaped_for_people(void **state)
{
	size_t len;
	uint8_t *blob;
	struct cert *c = NULL;
	struct hand h;

	(void)state;
	hand_init(&h);
	h.b.key_id = "a\33]0;x\7";
	h.b.key_id_len = 7;
	blob = cert_build_blob(&h.b, h.ca, &len);
	assert_int_equal(cert_parse(blob, len, &c, NULL), 0);
	assert_null(strchr(c->key_id_text, '\33'));
	assert_string_equal(c->key_id, "a\33]0;x\7");
	cert_free(c);
	free(blob);
	hand_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	    cmocka_unit_test(names_are_escaped_for_people),
	};

	return cmocka_run_group_tests(tests, setup, keygen_leave);
}
