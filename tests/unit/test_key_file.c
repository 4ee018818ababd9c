#include "creds/key_file.h"

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

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "tests/support/keygen.h"

static const char *const names[KEY_TYPES] = {"ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"};

static int setup(void **state)
{
	if (keygen_enter(state) < 0)
		return -1;
	for (unsigned t = 0; t < KEY_TYPES; t++)
		keygen_make(names[t], (enum key_type)t);
	return 0;
}

static void reads_what_ssh_keygen_writes(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key_private *k = keygen_private(names[t]);
		char pub[64];
		struct key *want;

		(void)snprintf(pub, sizeof pub, "%s.pub", names[t]);
		want = keygen_public(pub);
		assert_true(key_equal(key_private_public(k), want));
		assert_string_equal(key_private_comment(k), "a comment");
		key_free(want);
		key_private_free(k);
	}
}

static void check_with_ssh_keygen(const char *name, const struct key *want)
{
	struct buf out;
	struct key *k = NULL;

	buf_init(&out, 16384);
	assert_int_equal(keygen_run(&out, "ssh-keygen", "-y", "-f", name, NULL), 0);
	assert_int_equal(key_parse_line((char *)out.data, out.len, &k, NULL), 0);
	assert_true(key_equal(k, want));
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-l", "-f", name, NULL), 0);
	key_free(k);
	buf_done(&out);
}

static void ssh_keygen_reads_what_we_write(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key_private *k = NULL, *again = NULL;
		char name[64];
		struct stat st;

		(void)snprintf(name, sizeof name, "ours-%u", t);
		assert_int_equal(
		    key_private_generate((enum key_type)t, t == KEY_RSA ? 2048 : 0, &k, NULL), 0);
		assert_int_equal(key_private_save(k, "made by us", AT_FDCWD, name, NULL), 0);
		assert_int_equal(stat(name, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		check_with_ssh_keygen(name, key_private_public(k));
		again = keygen_private(name);
		assert_true(key_equal(key_private_public(k), key_private_public(again)));
		assert_string_equal(key_private_comment(again), "made by us");
		key_private_free(k);
		key_private_free(again);
	}
}

/* But for the check words, which are random, what we write is what ssh-keygen wrote. */
static void writes_back_what_it_read(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key_private *k = keygen_private(names[t]);
		struct secret *text = NULL;
		size_t len;
		char *want = keygen_read(names[t], &len);

		assert_int_equal(key_private_format(k, NULL, &text, NULL), 0);
		assert_int_equal(secret_len(text), len);
		secret_free(text);
		free(want);
		key_private_free(k);
	}
}

static void ssh_keygen_signs_with_our_key(void **state)
{
	struct key_private *k = NULL;

	(void)state;
	assert_int_equal(key_private_generate(KEY_ECDSA_384, 0, &k, NULL), 0);
	assert_int_equal(key_private_save(k, "ca", AT_FDCWD, "our-ca", NULL), 0);
	key_private_free(k);
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-s", "our-ca", "-I", "x", "-n",
	                     "agent", "ed25519.pub", NULL),
	    0);
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-L", "-f", "ed25519-cert.pub", NULL), 0);
}

static void refuses_a_passphrase_and_names_the_way(void **state)
{
	struct key_private *k;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f",
	                     "locked", NULL),
	    0);
	assert_int_equal(key_private_load(AT_FDCWD, "locked", &k, &e), -ENOKEY);
	assert_non_null(strstr(e.text, "ssh-agent"));
	assert_non_null(strstr(e.text, "ssh-keygen -p"));
}

static void refuses_other_formats(void **state)
{
	struct key_private *k;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(keygen_run(NULL, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m",
	                     "PEM", "-N", "", "-f", "pem", NULL),
	    0);
	assert_int_equal(key_private_load(AT_FDCWD, "pem", &k, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "OpenSSH's own format"));
	assert_int_equal(chmod("rsa.pub", 0600), 0);
	assert_int_equal(key_private_load(AT_FDCWD, "rsa.pub", &k, &e), -EBADMSG);
	assert_int_equal(key_private_parse("", 0, &k, &e), -EBADMSG);
}

static void refuses_a_file_that_others_can_use(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0666, 0400, 0600};
	struct key_private *k = NULL;

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		struct err e = ERR_INIT;
		int r;

		assert_int_equal(chmod("ed25519", modes[i]), 0);
		r = key_private_load(AT_FDCWD, "ed25519", &k, &e);
		assert_int_equal(r, i < 6 ? -EACCES : 0);
		if (r == 0)
			key_private_free(k);
	}
}

static void refuses_what_is_no_regular_file(void **state)
{
	struct key_private *k;

	(void)state;
	assert_int_equal(key_private_load(AT_FDCWD, "missing", &k, NULL), -ENOENT);
	assert_int_equal(key_private_load(AT_FDCWD, ".", &k, NULL), -EINVAL);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(key_private_load(AT_FDCWD, "fifo", &k, NULL), -EINVAL);
}

static void does_not_replace_a_key(void **state)
{
	struct key_private *k = NULL;
	char *before, *after;
	size_t len;

	(void)state;
	before = keygen_read("ecdsa256", &len);
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &k, NULL), 0);
	assert_int_equal(key_private_save(k, "", AT_FDCWD, "ecdsa256", NULL), -EEXIST);
	after = keygen_read("ecdsa256", &len);
	assert_string_equal(before, after);
	assert_int_equal(access("ecdsa256.new", F_OK), -1);
	assert_int_equal(key_private_save(k, "", AT_FDCWD, "nowhere/key", NULL), -ENOENT);
	assert_int_equal(key_private_save(k, "two\nlines", AT_FDCWD, "x", NULL), -EINVAL);
	key_private_free(k);
	free(before);
	free(after);
}

/* The raw file of a key; rewrap() makes it a text again. */
static uint8_t *unwrap(const char *name, size_t *ret_len)
{
	size_t len, n = 0;
	char *text = keygen_read(name, &len), *b64 = malloc(len);
	uint8_t *raw = malloc(len);

	assert_non_null(b64);
	assert_non_null(raw);
	for (char *p = strchr(text, '\n'); strncmp(p, "\n-----END", 9) != 0; p++) {
		if (*p != '\n')
			b64[n++] = *p;
	}
	assert_int_equal(b64_decode(raw, len, b64, n, ret_len), 0);
	free(text);
	free(b64);
	return raw;
}

static int parse_raw(const uint8_t *raw, size_t len, struct err *e)
{
	struct key_private *k = NULL;
	char *b64 = malloc(B64_LEN(len) + 1);
	struct buf text;
	int r;

	assert_non_null(b64);
	b64_encode(b64, raw, len);
	buf_init(&text, 1u << 16);
	buf_printf(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	buf_put(&text, b64, strlen(b64));
	buf_printf(&text, "\n-----END OPENSSH PRIVATE KEY-----\n");
	r = key_private_parse(text.data, text.len, &k, e);
	key_private_free(k);
	buf_done(&text);
	free(b64);
	return r;
}

static void refuses_truncation_at_every_offset(void **state)
{
	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		size_t len, text_len;
		uint8_t *raw = unwrap(names[t], &len);
		char *text = keygen_read(names[t], &text_len);
		struct key_private *k;

		assert_int_equal(parse_raw(raw, len, NULL), 0);
		for (size_t n = 0; n < len; n++)
			assert_true(parse_raw(raw, n, NULL) < 0);
		for (size_t n = 0; n < text_len; n++)
			assert_true(key_private_parse(text, n, &k, NULL) < 0);
		free(raw);
		free(text);
	}
}

static void refuses_flipped_bits(void **state)
{
	static const unsigned types[] = {KEY_ED25519, KEY_ECDSA_256};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		size_t len, comment = strlen("a comment");
		uint8_t *raw = unwrap(names[types[i]], &len), *text;

		text = memmem(raw, len, "a comment", comment);
		assert_non_null(text);
		for (size_t n = 0; n < len; n++) {
			if (raw + n >= text && raw + n < text + comment)
				continue; /* a comment may say anything */
			raw[n] ^= (uint8_t)(1u << n % 8);
			if (parse_raw(raw, len, NULL) == 0)
				fail_msg("%s: a flipped bit in byte %zu of %zu passed",
				    names[types[i]], n, len);
			raw[n] ^= (uint8_t)(1u << n % 8);
		}
		free(raw);
	}
}

static void rejects_trailing_bytes(void **state)
{
	size_t len;
	uint8_t *raw = unwrap("ed25519", &len);

	(void)state;
	raw = realloc(raw, len + 16);
	assert_non_null(raw);
	memset(raw + len, 0, 16);
	assert_int_equal(parse_raw(raw, len + 1, NULL), -EBADMSG);
	free(raw);
}

static void the_two_halves_must_belong_together(void **state)
{
	(void)state;
	for (unsigned t = KEY_ECDSA_256; t <= KEY_RSA; t++) {
		char second[64];
		size_t len, other_len, blob_len;
		uint8_t *raw = unwrap(names[t], &len), *other, *p;
		const uint8_t *blob;
		struct key_private *k;
		struct err e = ERR_INIT;

		/* another public key in front */
		(void)snprintf(second, sizeof second, "second-%u", t);
		keygen_make(second, (enum key_type)t);
		other = unwrap(second, &other_len);
		k = keygen_private(second);
		blob = key_blob(key_private_public(k), &blob_len);
		p = memmem(raw, len, blob, 20); /* where the public blob begins: the type's name */
		assert_non_null(p);
		memcpy(p, blob, blob_len);
		assert_true(parse_raw(raw, len, &e) < 0);
		free(raw);
		free(other);
		key_private_free(k);
	}
}

static void bounds_generated_rsa(void **state)
{
	struct key_private *k;

	(void)state;
	assert_int_equal(key_private_generate(KEY_RSA, 1024, &k, NULL), -EINVAL);
	assert_int_equal(key_private_generate(KEY_RSA, KEY_RSA_MAX_BITS + 1, &k, NULL), -EINVAL);
}

static void raw_signatures_have_a_fixed_length(void **state)
{
	static const size_t want[KEY_TYPES] = {0, 64, 96, 132, 0};

	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++) {
		struct key_private *k = keygen_private(names[t]);
		uint8_t sig[KEY_RAW_SIG_MAX];
		size_t n = 0;

		for (int i = 0; i < 300; i++) { /* some r or s begin with a zero byte */
			int r = key_private_sign_raw(k, &i, sizeof i, sig, &n, NULL);

			assert_int_equal(r, want[t] == 0 ? -EINVAL : 0);
			assert_int_equal(n, want[t]);
			if (want[t] == 0 || t > KEY_ECDSA_256)
				break;
		}
		key_private_free(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_ssh_keygen_writes),
	    cmocka_unit_test(ssh_keygen_reads_what_we_write),
	    cmocka_unit_test(writes_back_what_it_read),
	    cmocka_unit_test(ssh_keygen_signs_with_our_key),
	    cmocka_unit_test(refuses_a_passphrase_and_names_the_way),
	    cmocka_unit_test(refuses_other_formats),
	    cmocka_unit_test(refuses_a_file_that_others_can_use),
	    cmocka_unit_test(refuses_what_is_no_regular_file),
	    cmocka_unit_test(does_not_replace_a_key),
	    cmocka_unit_test(refuses_truncation_at_every_offset),
	    cmocka_unit_test(refuses_flipped_bits),
	    cmocka_unit_test(rejects_trailing_bytes),
	    cmocka_unit_test(the_two_halves_must_belong_together),
	    cmocka_unit_test(bounds_generated_rsa),
	    cmocka_unit_test(raw_signatures_have_a_fixed_length),
	};

	return cmocka_run_group_tests(tests, setup, keygen_leave);
}
