#include "creds/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "tests/support/keygen.h"

static const char *const names[KEY_TYPES] = {"ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"};

static const char *pub_name(unsigned t)
{
	static char text[64];

	keygen_make(names[t], (enum key_type)t);
	(void)snprintf(text, sizeof text, "%s.pub", names[t]);
	return text;
}

static void reads_what_ssh_keygen_writes(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		char fingerprint[KEY_FINGERPRINT_LEN];
		struct key *k, *again = NULL, *copy;
		size_t len;
		char *line;
		struct buf out;

		k = keygen_public(pub_name(t));
		line = keygen_read(pub_name(t), &len);
		assert_int_equal(key_type(k), t);
		assert_memory_equal(
		    line, key_type_name(key_type(k)), strlen(key_type_name(key_type(k))));

		buf_init(&out, 8192);
		key_format_line(k, "a comment", &out);
		assert_int_equal(out.len, len);
		assert_memory_equal(out.data, line, len);
		assert_int_equal(key_parse_line((char *)out.data, out.len - 1, &again, NULL), 0);
		copy = key_dup(k);
		assert_true(key_equal(k, again));
		assert_true(key_equal(k, copy));

		buf_reset(&out);
		assert_int_equal(keygen_run(&out, "ssh-keygen", "-l", "-f", pub_name(t), NULL), 0);
		assert_non_null(strstr(buf_cstr(&out), key_fingerprint(k, fingerprint)));
		assert_int_equal(strtoul((char *)out.data, NULL, 10), key_bits(k));

		buf_done(&out);
		free(line);
		key_free(k);
		key_free(again);
		key_free(copy);
	}
}

static void tells_keys_apart(void **state)
{
	struct key *k[KEY_TYPES + 1];

	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++)
		k[t] = keygen_public(pub_name(t));
	keygen_make("second", KEY_ED25519);
	k[KEY_TYPES] = keygen_public("second.pub");
	for (unsigned i = 0; i <= KEY_TYPES; i++) {
		for (unsigned j = 0; j <= KEY_TYPES; j++)
			assert_int_equal(key_equal(k[i], k[j]), i == j);
	}
	for (unsigned i = 0; i <= KEY_TYPES; i++)
		key_free(k[i]);
}

static void refuses_truncation_at_every_offset(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		size_t len;
		uint8_t *blob = keygen_blob(pub_name(t), &len);
		struct key *k;

		for (size_t n = 0; n < len; n++) {
			uint8_t *cut = malloc(n + 1);

			assert_non_null(cut);
			memcpy(cut, blob, n);
			cut = realloc(cut, n == 0 ? 1 : n);
			assert_true(key_parse_blob(cut, n, &k, NULL) < 0);
			free(cut);
		}
		free(blob);
	}
}

static void rejects_trailing_byte(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		size_t len;
		uint8_t *blob = keygen_blob(pub_name(t), &len);
		struct err e = ERR_INIT;
		struct key *k;

		blob = realloc(blob, len + 1);
		blob[len] = 0;
		assert_int_equal(key_parse_blob(blob, len + 1, &k, &e), -EBADMSG);
		assert_string_equal(e.text, "1 bytes behind the key");
		free(blob);
	}
}

static int parse(struct buf *b)
{
	struct key *k = NULL;
	int r = buf_status(b);

	assert_int_equal(r, 0);
	r = key_parse_blob(b->data, b->len, &k, NULL);
	key_free(k);
	buf_reset(b);
	return r;
}

static void put_ed25519(struct buf *b, const uint8_t p[32])
{
	buf_put_cstring(b, "ssh-ed25519");
	buf_put_string(b, p, 32);
}

static void rejects_ed25519_that_is_no_point(void **state)
{
	/* RFC 8032 section 7.1, test 1: a good one */
	static const uint8_t good[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b,
	    0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
	    0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
	uint8_t p[32];
	unsigned refused = 0;
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	put_ed25519(&b, good);
	assert_int_equal(parse(&b), 0);
	/* about half of all y have no x */
	for (uint8_t i = 0; i < 200; i++) {
		memcpy(p, good, sizeof p);
		p[0] = i;
		put_ed25519(&b, p);
		refused += parse(&b) == -EKEYREJECTED;
	}
	assert_in_range(refused, 60, 140);

	/* small order: the neutral element, order 2, order 4, each with either sign */
	memset(p, 0, sizeof p);
	for (int sign = 0; sign < 2; sign++) {
		p[31] = sign != 0 ? 0x80 : 0;
		p[0] = 0;
		put_ed25519(&b, p);
		assert_int_equal(parse(&b), -EKEYREJECTED);
		p[0] = 1;
		put_ed25519(&b, p);
		assert_int_equal(parse(&b), -EKEYREJECTED);
	}
	/* y = p - 1, and the same points again as y >= p */
	memset(p, 0xff, sizeof p);
	for (int low = 0xec; low <= 0xff; low++) {
		p[0] = (uint8_t)low;
		p[31] = 0x7f;
		put_ed25519(&b, p);
		assert_int_equal(parse(&b), -EKEYREJECTED);
	}
	buf_done(&b);
}

static void rejects_ecdsa_off_its_curve(void **state)
{
	(void)state;
	for (unsigned t = KEY_ECDSA_256; t <= KEY_ECDSA_521; t++) {
		size_t len;
		uint8_t *blob = keygen_blob(pub_name(t), &len);
		struct key *k;

		blob[len - 1] ^= 1;
		assert_int_equal(key_parse_blob(blob, len, &k, NULL), -EKEYREJECTED);
		free(blob);
	}
}

static void rejects_compressed_and_infinite_points(void **state)
{
	uint8_t point[65] = {2};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	for (size_t n = 1; n <= 65; n += 32) {
		for (uint8_t form = 0; form < 8; form++) {
			point[0] = form;
			buf_put_cstring(&b, "ecdsa-sha2-nistp256");
			buf_put_cstring(&b, "nistp256");
			buf_put_string(&b, point, n);
			assert_true(parse(&b) < 0);
		}
	}
	buf_done(&b);
}

static void rejects_ecdsa_with_another_curves_name(void **state)
{
	size_t len, name = 4 + strlen("ecdsa-sha2-nistp256");
	uint8_t *blob = keygen_blob(pub_name(KEY_ECDSA_256), &len);
	struct key *k;

	(void)state;
	memcpy(blob + name + 4, "nistp384", 8);
	assert_int_equal(key_parse_blob(blob, len, &k, NULL), -EBADMSG);
	free(blob);
}

static void put_rsa(struct buf *b, unsigned e, unsigned bits, uint8_t low)
{
	uint8_t n[KEY_RSA_MAX_BITS / 8 + 16],
	    eb[4] = {(uint8_t)(e >> 24), (uint8_t)(e >> 16), (uint8_t)(e >> 8), (uint8_t)e};
	size_t len = (bits + 7) / 8;

	memset(n, 0xff, sizeof n);
	n[0] = (uint8_t)(0xff >> (len * 8 - bits));
	n[len - 1] = low;
	buf_put_cstring(b, "ssh-rsa");
	buf_put_mpint(b, eb, 4);
	buf_put_mpint(b, n, len);
}

static void bounds_rsa(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8192);
	put_rsa(&b, 65537, KEY_RSA_MIN_BITS - 1, 0xff);
	assert_int_equal(parse(&b), -EKEYREJECTED);
	put_rsa(&b, 65537, KEY_RSA_MIN_BITS, 0xff);
	assert_int_equal(parse(&b), 0);
	put_rsa(&b, 65537, KEY_RSA_MAX_BITS, 0xff);
	assert_int_equal(parse(&b), 0);
	put_rsa(&b, 65537, KEY_RSA_MAX_BITS + 1, 0xff);
	assert_true(parse(&b) < 0);
	put_rsa(&b, 65537, 2048, 0xfe); /* an even modulus */
	assert_int_equal(parse(&b), -EKEYREJECTED);
	put_rsa(&b, 65536, 2048, 0xff);
	assert_int_equal(parse(&b), -EKEYREJECTED);
	put_rsa(&b, 1, 2048, 0xff);
	assert_int_equal(parse(&b), -EKEYREJECTED);
	put_rsa(&b, 0, 2048, 0xff);
	assert_true(parse(&b) < 0);
	buf_done(&b);
}

static void rejects_numbers_not_in_their_shortest_form(void **state)
{
	uint8_t n[257] = {0}, zeros[258] = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	memset(n + 1, 0xff, 256);
	memset(zeros + 2, 0xff, 256);
	buf_put_cstring(&b, "ssh-rsa");
	buf_put_string(&b, "\1\0\1", 3);
	buf_put_string(&b, n, sizeof n);
	assert_int_equal(parse(&b), 0);
	buf_put_cstring(&b, "ssh-rsa");
	buf_put_string(&b, "\1\0\1", 3);
	buf_put_string(&b, zeros, sizeof zeros);
	assert_int_equal(parse(&b), -EBADMSG);
	buf_put_cstring(&b, "ssh-rsa");
	buf_put_string(&b, "\0\1\0\1", 4);
	buf_put_string(&b, n, sizeof n);
	assert_int_equal(parse(&b), -EBADMSG);
	buf_put_cstring(&b, "ssh-rsa");
	buf_put_string(&b, "\1\0\1", 3);
	buf_put_string(&b, n + 1, sizeof n - 1); /* negative */
	assert_int_equal(parse(&b), -EBADMSG);
	buf_done(&b);
}

static void refuses_types_that_are_not_accepted(void **state)
{
	static const char *const types[] = {"ssh-dss", "sk-ssh-ed25519@openssh.com",
	    "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-ed25519-cert-v01@openssh.com", "ssh-ed448",
	    "rsa-sha2-512", "", "ssh-ed2551"};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		uint8_t p[32] = {9};

		buf_put_cstring(&b, types[i]);
		buf_put_string(&b, p, sizeof p);
		assert_int_equal(parse(&b), -ENOTSUP);
	}
	buf_done(&b);
}

static void shows_a_types_name_escaped(void **state)
{
	struct err e = ERR_INIT;
	struct key *k;

	(void)state;
	assert_int_equal(key_parse_blob("\0\0\0\3\33]0", 7, &k, &e), -ENOTSUP);
	assert_null(strchr(e.text, '\33'));
}

static void reads_lines_strictly(void **state)
{
	size_t len;
	char *good = keygen_read(pub_name(KEY_ED25519), &len), bad[512];
	struct key *k = NULL;

	(void)state;
	assert_true(len > 40 && len < 400);
	assert_int_equal(
	    key_parse_line(good, strcspn(good + 12, " ") + 12, &k, NULL), 0); /* no comment */
	key_free(k);
	static const char *const prefix[] = {" ", "#", "command=\"x\" ", "ssh-rsa ", "\n"};
	for (size_t i = 0; i < sizeof prefix / sizeof prefix[0]; i++) {
		(void)snprintf(bad, sizeof bad, "%s%s", prefix[i], good);
		assert_true(key_parse_line(bad, strlen(bad), &k, NULL) < 0);
	}
	(void)snprintf(bad, sizeof bad, "%s%s", good, good); /* two lines */
	assert_int_equal(key_parse_line(bad, strlen(bad), &k, NULL), -EBADMSG);
	(void)snprintf(bad, sizeof bad, "ssh-rsa %s", good + 12); /* another name than the blob's */
	assert_int_equal(key_parse_line(bad, strlen(bad), &k, NULL), -EBADMSG);
	(void)snprintf(bad, sizeof bad, "%s", good);
	bad[20] = '*';
	assert_int_equal(key_parse_line(bad, strlen(bad), &k, NULL), -EBADMSG);
	(void)snprintf(bad, sizeof bad, "%s", good);
	bad[len - 2] = '\0'; /* a NUL in the comment */
	assert_int_equal(key_parse_line(bad, len, &k, NULL), -EBADMSG);
	assert_int_equal(key_parse_line("", 0, &k, NULL), -EBADMSG);
	assert_int_equal(key_parse_line("ssh-ed25519", 11, &k, NULL), -EBADMSG);
	assert_int_equal(key_parse_line("ssh-ed25519 ", 12, &k, NULL), -EBADMSG);
	free(good);
}

/* ---- signatures ---- */

static void verifies_its_own_signatures_only(void **state)
{
	static const char data[] = "what is signed";

	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key_private *k = keygen_private((pub_name(t), names[t])), *other = NULL;
		const struct key *pub = key_private_public(k);
		struct buf sig;

		assert_int_equal(
		    key_private_generate((enum key_type)t, t == KEY_RSA ? 2048 : 0, &other, NULL),
		    0);
		buf_init(&sig, KEY_SIG_MAX);
		assert_int_equal(key_private_sign(k, data, sizeof data, &sig, NULL), 0);
		assert_int_equal(key_verify(pub, sig.data, sig.len, data, sizeof data, NULL), 0);
		assert_true(key_verify(pub, sig.data, sig.len, data, sizeof data - 1, NULL) < 0);
		assert_true(key_verify(key_private_public(other), sig.data, sig.len, data,
		                sizeof data, NULL) < 0);
		for (size_t n = 0; n < sig.len; n++)
			assert_int_equal(
			    key_verify(pub, sig.data, n, data, sizeof data, NULL), -EBADMSG);
		for (size_t n = 0; n < sig.len; n++) {
			sig.data[n] ^= (uint8_t)(1u << n % 8);
			assert_true(
			    key_verify(pub, sig.data, sig.len, data, sizeof data, NULL) < 0);
			sig.data[n] ^= (uint8_t)(1u << n % 8);
		}
		buf_put_u8(&sig, 0);
		assert_int_equal(
		    key_verify(pub, sig.data, sig.len, data, sizeof data, NULL), -EBADMSG);
		buf_done(&sig);
		key_private_free(k);
		key_private_free(other);
	}
}

static void refuses_sha1_and_foreign_algorithms(void **state)
{
	static const char *const algorithms[] = {"ssh-rsa", "rsa-sha2-25", "ssh-ed25519",
	    "ecdsa-sha2-nistp384", "rsa-sha2-512-cert-v01@openssh.com", ""};

	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key *k = keygen_public(pub_name(t));
		uint8_t value[256] = {1};
		struct buf sig;

		buf_init(&sig, 1024);
		for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
			if (strcmp(algorithms[i], key_type_name(key_type(k))) == 0 && t != KEY_RSA)
				continue;
			buf_reset(&sig);
			buf_put_cstring(&sig, algorithms[i]);
			buf_put_string(&sig, value, sizeof value);
			assert_int_equal(key_verify(k, sig.data, sig.len, "", 0, NULL), -ENOTSUP);
		}
		buf_done(&sig);
		key_free(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_ssh_keygen_writes),
	    cmocka_unit_test(tells_keys_apart),
	    cmocka_unit_test(refuses_truncation_at_every_offset),
	    cmocka_unit_test(rejects_trailing_byte),
	    cmocka_unit_test(rejects_ed25519_that_is_no_point),
	    cmocka_unit_test(rejects_ecdsa_off_its_curve),
	    cmocka_unit_test(rejects_compressed_and_infinite_points),
	    cmocka_unit_test(rejects_ecdsa_with_another_curves_name),
	    cmocka_unit_test(bounds_rsa),
	    cmocka_unit_test(rejects_numbers_not_in_their_shortest_form),
	    cmocka_unit_test(refuses_types_that_are_not_accepted),
	    cmocka_unit_test(shows_a_types_name_escaped),
	    cmocka_unit_test(reads_lines_strictly),
	    cmocka_unit_test(verifies_its_own_signatures_only),
	    cmocka_unit_test(refuses_sha1_and_foreign_algorithms),
	};

	return cmocka_run_group_tests(tests, keygen_enter, keygen_leave);
}
