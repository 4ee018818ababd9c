#include "creds/note.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/* Vectors of golang.org/x/mod/sumdb/note, note_test.go. */
#define GO_VKEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define GO_SEED "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM="
#define GO_TEXT                                                                                    \
	"If you think cryptography is the answer to your problem,\n"                               \
	"then you don't know what your problem is.\n"
#define GO_B64                                                                                     \
	"x08go/ZJkuBS9UG/"                                                                         \
	"SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJn"                \
	"AM="
#define DASH   "\xe2\x80\x94 "
#define GO_SIG DASH "PeterNeumann " GO_B64 "\n"

/* c2sp.org/signed-note */
#define C2SP_VKEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define C2SP_NOTE                                                                                  \
	"This is an example message.\n\n" DASH "example.com/foo "                                  \
	"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72Iney" \
	"aQM=\n"

/* c2sp.org/tlog-cosignature's checkpoint; the cosignature below it was made by another library
 * (Python's cryptography) with Go's key. */
#define POINT                                                                                      \
	"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
#define C2SP_LOG                                                                                   \
	DASH "example.com/behind-the-sofa "                                                        \
	     "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"                           \
	     "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
#define C2SP_WITNESS                                                                               \
	DASH                                                                                       \
	    "witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlr" \
	    "DJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
#define W1_VKEY "witness.example.com/w1+d46a2b1b+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define W1_TIME 1679315147
#define W1_SIG                                                                                     \
	DASH                                                                                       \
	    "witness.example.com/w1 1GorGwAAAABkGFDLJeR//pqzhnEKVvEm2wWbh2RJ6oru5+cUUfm5X9NnlaGr8" \
	    "aSH9QE5RVZD4QGlxl2F5UpVIIi94p178KLfqPPsAA==\n"

static struct note_key key(const char *text)
{
	struct err e = ERR_INIT;
	struct note_key k;

	if (note_key_parse(text, strlen(text), &k, &e) < 0)
		fail_msg("%s", err_text(&e));
	return k;
}

static int parse(const char *text, struct note *n)
{
	memset(n, 0xee, sizeof *n);
	return note_parse(text, strlen(text), n, NULL);
}

static void go_seed(uint8_t seed[NOTE_KEY_LEN])
{
	size_t n;

	assert_int_equal(b64_decode(seed, NOTE_KEY_LEN, GO_SEED, strlen(GO_SEED), &n), 0);
	assert_int_equal(n, NOTE_KEY_LEN);
}

static void verify(const char *vkey, const char *text, int expected, int64_t time_s)
{
	struct note_key k = key(vkey);
	int64_t t = 0;
	struct note n;

	assert_int_equal(parse(text, &n), 0);
	assert_int_equal(note_verify(&n, &k, &t, NULL), expected);
	assert_int_equal(t, time_s);
	note_done(&n);
}

/* ---- keys ---- */

static void a_key_is_written_as_it_was_read(void **state)
{
	static const char *const keys[] = {GO_VKEY, C2SP_VKEY, W1_VKEY};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct note_key k = key(keys[i]);
		cleanup_buf struct buf b;

		buf_init(&b, 1024);
		note_key_format(&k, &b);
		assert_string_equal(buf_cstr(&b), keys[i]);
	}
}

static void every_part_of_a_key_alone_is_refused(void **state)
{
	size_t len = strlen(GO_VKEY);
	struct note_key k;

	(void)state;
	for (size_t i = 0; i < len; i++)
		for (size_t j = i; j <= len; j++)
			if (i != 0 || j != len)
				assert_int_equal(
				    note_key_parse(GO_VKEY + i, j - i, &k, NULL), -EBADMSG);
}

static void every_changed_byte_of_a_key_is_refused(void **state)
{
	char text[] = GO_VKEY;
	struct note_key k;

	(void)state;
	for (size_t i = 0; i < sizeof text - 1; i++) {
		text[i]++;
		assert_int_equal(note_key_parse(text, sizeof text - 1, &k, NULL), -EBADMSG);
		text[i]--;
	}
	assert_int_equal(note_key_parse(text, sizeof text - 1, &k, NULL), 0);
}

static void other_key_lengths_and_types_are_refused(void **state)
{
	static const char *const bad[] = {
	    "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
	    "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
	};
	struct note_key k;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(note_key_parse(bad[i], strlen(bad[i]), &k, NULL), -EBADMSG);
}

static void a_key_for_which_anybody_signs_is_refused(void **state)
{
	uint8_t small[NOTE_KEY_LEN] = {1}; /* the neutral point */
	struct note_key k, again;
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(note_key_init(&k, "n", NOTE_ED25519, small, NULL), 0);
	note_key_format(&k, &b);
	assert_int_equal(note_key_parse((const char *)b.data, b.len, &again, NULL), -EBADMSG);
}

static void names_have_no_spaces_and_no_plus(void **state)
{
	static const char *const bad[] = {"", "a b", "a+b", "a\tb", "a\nb",
	    "a\xc2\xa0"
	    "b",
	    "a\xe3\x80\x80"
	    "b",
	    "a\xff", "a\xc0\xaf", "a\x01"};
	uint8_t bytes[NOTE_KEY_LEN] = {0};
	char longest[NOTE_NAME_MAX + 2];
	struct note_key k;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(note_key_init(&k, bad[i], NOTE_ED25519, bytes, NULL), -EINVAL);
	memset(longest, 'n', sizeof longest);
	longest[NOTE_NAME_MAX + 1] = '\0';
	assert_int_equal(note_key_init(&k, longest, NOTE_ED25519, bytes, NULL), -EINVAL);
	longest[NOTE_NAME_MAX] = '\0';
	assert_int_equal(note_key_init(&k, longest, NOTE_ED25519, bytes, NULL), 0);
	assert_int_equal(note_key_init(&k, "\xc3\xa9/log", NOTE_ED25519, bytes, NULL), 0);
	assert_int_equal(note_key_init(&k, "n", 2, bytes, NULL), -EINVAL);
}

/* ---- reading ---- */

static void notes_of_others_verify(void **state)
{
	(void)state;
	verify(GO_VKEY, GO_TEXT "\n" GO_SIG, 1, 0);
	verify(C2SP_VKEY, C2SP_NOTE, 1, 0);
	verify(W1_VKEY, POINT "\n" W1_SIG, 1, W1_TIME);
}

static void the_checkpoint_of_the_document_is_understood(void **state)
{
	struct checkpoint c;
	struct note n;

	(void)state;
	assert_int_equal(parse(POINT "\n" C2SP_LOG C2SP_WITNESS, &n), 0);
	assert_int_equal(n.nsignatures, 2);
	assert_string_equal(n.signatures[1].name, "witness.example.com/w1");
	assert_int_equal(n.signatures[0].len, NOTE_SIGNATURE_LEN);
	assert_int_equal(n.signatures[1].len, 8 + NOTE_SIGNATURE_LEN);
	assert_int_equal(checkpoint_parse(n.text, n.text_len, &c, NULL), 0);
	assert_string_equal(c.origin, "example.com/behind-the-sofa");
	assert_int_equal(c.size, 20852163);
	note_done(&n);
}

static void the_text_may_have_empty_lines(void **state)
{
	struct note n;

	(void)state;
	assert_int_equal(parse("a\n\nb\n\n" GO_SIG, &n), 0);
	assert_string_equal(n.text, "a\n\nb\n");
	note_done(&n);
}

static void malformed_notes_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "\n",
	    "\n\n\n",
	    GO_TEXT,
	    GO_TEXT "\n",
	    GO_TEXT GO_SIG,
	    "\n\n" GO_SIG,
	    "\n" GO_SIG,
	    GO_TEXT "\n" DASH "PeterNeumann " GO_B64,       /* no LF at its end */
	    GO_TEXT "\n" GO_SIG "\n",                       /* an empty line more */
	    GO_TEXT "\n" GO_SIG "x\n",                      /* a line that is none */
	    GO_TEXT "\n- PeterNeumann " GO_B64 "\n",        /* another dash */
	    GO_TEXT "\n" DASH " PeterNeumann " GO_B64 "\n", /* two spaces */
	    GO_TEXT "\n" DASH "PeterNeumann  " GO_B64 "\n",
	    GO_TEXT "\n" DASH "PeterNeumann " GO_B64 " \n",
	    GO_TEXT "\n" DASH "Peter+Neumann " GO_B64 "\n",
	    GO_TEXT "\n" DASH "PeterNeumann x08go/ZJ=\n",
	    GO_TEXT "\n" DASH "PeterNeumann x08gow==\n", /* an id alone */
	    GO_TEXT "\n" DASH "PeterNeumann\n",
	    "tab\there\n\n" GO_SIG,
	    "cr\r\n\n" GO_SIG,
	    "esc \x1b[1m\n\n" GO_SIG,
	    "latin \xe9\n\n" GO_SIG,
	    "long \xc0\x80\n\n" GO_SIG,
	    "half \xed\xa0\x80\n\n" GO_SIG,
	    "far \xf4\x90\x80\x80\n\n" GO_SIG,
	    "cut \xe2\x80\n\n" GO_SIG,
	};
	struct note n;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (parse(bad[i], &n) != -EBADMSG)
			fail_msg("%zu: taken: %s", i, bad[i]);
	assert_int_equal(note_parse("a\0b\n\n" GO_SIG, 6 + strlen(GO_SIG), &n, NULL), -EBADMSG);
}

static void a_note_has_so_many_signatures_and_no_more(void **state)
{
	cleanup_buf struct buf b;
	struct note n;

	(void)state;
	buf_init(&b, NOTE_MAX);
	buf_put(&b, GO_TEXT "\n", strlen(GO_TEXT) + 1);
	for (size_t i = 0; i < NOTE_SIGNATURES_MAX; i++)
		buf_put(&b, GO_SIG, strlen(GO_SIG));
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), 0);
	assert_int_equal(n.nsignatures, NOTE_SIGNATURES_MAX);
	note_done(&n);
	buf_put(&b, GO_SIG, strlen(GO_SIG));
	assert_int_equal(note_parse(b.data, b.len, &n, NULL), -EBADMSG);
}

static void a_note_is_so_long_and_no_longer(void **state)
{
	char *text = malloc(NOTE_MAX + 1);
	size_t tail = strlen("\n" GO_SIG);
	struct note n;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', NOTE_MAX + 1);
	text[NOTE_MAX - tail - 1] = '\n';
	memcpy(text + NOTE_MAX - tail, "\n" GO_SIG, tail);
	assert_int_equal(note_parse(text, NOTE_MAX, &n, NULL), 0);
	note_done(&n);
	memmove(text + 1, text, NOTE_MAX);
	assert_int_equal(note_parse(text, NOTE_MAX + 1, &n, NULL), -EBADMSG);
	free(text);
}

/* ---- verifying ---- */

static void an_unknown_key_is_no_signature(void **state)
{
	(void)state;
	verify(C2SP_VKEY, GO_TEXT "\n" GO_SIG, 0, 0);
	/* the same key for another purpose is another key */
	verify("witness.example.com/w1+d46a2b1b+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
	    POINT "\n" C2SP_WITNESS, 0, 0);
}

static void every_changed_byte_of_the_text_is_noticed(void **state)
{
	char text[] = GO_TEXT "\n" GO_SIG;
	struct note_key k = key(GO_VKEY);
	struct note n;

	(void)state;
	for (size_t i = 0; i + 1 < strlen(GO_TEXT); i++) {
		char kept = text[i];

		text[i] = kept == 'x' ? 'y' : 'x';
		assert_int_equal(parse(text, &n), 0);
		assert_int_equal(note_verify(&n, &k, NULL, NULL), -EBADMSG);
		note_done(&n);
		text[i] = kept;
	}
}

static void one_bad_signature_of_a_known_key_spoils_the_note(void **state)
{
	char text[] = GO_TEXT "\n" GO_SIG GO_SIG;
	char *last = text + strlen(text) - 10;

	(void)state;
	*last = *last == 'A' ? 'B' : 'A';
	verify(GO_VKEY, text, -EBADMSG, 0);
}

static void a_cosignature_with_another_time_does_not_hold(void **state)
{
	char text[] = POINT "\n" W1_SIG;
	char *at = strstr(text, "1GorGwAAAABkGFDL");

	(void)state;
	assert_non_null(at);
	at[15] = 'M'; /* a second later */
	verify(W1_VKEY, text, -EBADMSG, 0);
}

static void a_short_signature_does_not_hold(void **state)
{
	(void)state;
	verify(GO_VKEY, GO_TEXT "\n" DASH "PeterNeumann x08go/ZJ\n", -EBADMSG, 0);
}

/* ---- signing ---- */

static void the_same_bytes_as_go_are_signed(void **state)
{
	uint8_t seed[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
	struct note_key k = key(GO_VKEY), w = key(W1_VKEY);
	cleanup_buf struct buf b;

	(void)state;
	go_seed(seed);
	assert_int_equal(note_public(seed, public), 0);
	assert_memory_equal(public, k.key, NOTE_KEY_LEN);
	buf_init(&b, NOTE_MAX);
	assert_int_equal(note_sign(GO_TEXT, strlen(GO_TEXT), &k, seed, 0, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), GO_SIG);
	buf_reset(&b);
	assert_int_equal(note_sign(POINT, strlen(POINT), &w, seed, W1_TIME, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), W1_SIG);
}

static void what_is_no_text_is_not_signed(void **state)
{
	static const char *const bad[] = {"", "no end", "tab\t\n", "\xff\n"};
	struct note_key k = key(GO_VKEY);
	uint8_t seed[NOTE_KEY_LEN];
	cleanup_buf struct buf b;

	(void)state;
	go_seed(seed);
	buf_init(&b, NOTE_MAX);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(note_sign(bad[i], strlen(bad[i]), &k, seed, 0, &b, NULL), -EINVAL);
	assert_int_equal(b.len, 0);
}

/* ---- checkpoints ---- */

static void a_checkpoint_is_written_as_it_was_read(void **state)
{
	struct checkpoint c;
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(checkpoint_parse(POINT, strlen(POINT), &c, NULL), 0);
	checkpoint_text(&c, &b);
	assert_string_equal(buf_cstr(&b), POINT);
}

static void malformed_checkpoints_are_refused(void **state)
{
#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
	static const char *const bad[] = {
	    "",
	    "a\n",
	    "a\n1\n",
	    "a\n1\n" ROOT,
	    "\n1\n" ROOT "\n",
	    "a\n\n" ROOT "\n",
	    "a\n01\n" ROOT "\n",
	    "a\n+1\n" ROOT "\n",
	    "a\n-1\n" ROOT "\n",
	    "a\n 1\n" ROOT "\n",
	    "a\n0x1\n" ROOT "\n",
	    "a\n9223372036854775808\n" ROOT "\n",
	    "a\n1\n" ROOT "\nextension\n",
	    "a\n1\n" ROOT "\n\n",
	    "a\n1\nAAAA\n",
	    "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
	    "a\n1\n" ROOT "=\n",
	};
	static const char *const good[] = {"a\n0\n" ROOT "\n", "a\n9223372036854775807\n" ROOT "\n",
	    "go.sum database tree\n1\n" ROOT "\n"};
	struct checkpoint c;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (checkpoint_parse(bad[i], strlen(bad[i]), &c, NULL) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(checkpoint_parse(good[i], strlen(good[i]), &c, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_is_written_as_it_was_read),
	    cmocka_unit_test(every_part_of_a_key_alone_is_refused),
	    cmocka_unit_test(every_changed_byte_of_a_key_is_refused),
	    cmocka_unit_test(other_key_lengths_and_types_are_refused),
	    cmocka_unit_test(a_key_for_which_anybody_signs_is_refused),
	    cmocka_unit_test(names_have_no_spaces_and_no_plus),
	    cmocka_unit_test(notes_of_others_verify),
	    cmocka_unit_test(the_checkpoint_of_the_document_is_understood),
	    cmocka_unit_test(the_text_may_have_empty_lines),
	    cmocka_unit_test(malformed_notes_are_refused),
	    cmocka_unit_test(a_note_has_so_many_signatures_and_no_more),
	    cmocka_unit_test(a_note_is_so_long_and_no_longer),
	    cmocka_unit_test(an_unknown_key_is_no_signature),
	    cmocka_unit_test(every_changed_byte_of_the_text_is_noticed),
	    cmocka_unit_test(one_bad_signature_of_a_known_key_spoils_the_note),
	    cmocka_unit_test(a_cosignature_with_another_time_does_not_hold),
	    cmocka_unit_test(a_short_signature_does_not_hold),
	    cmocka_unit_test(the_same_bytes_as_go_are_signed),
	    cmocka_unit_test(what_is_no_text_is_not_signed),
	    cmocka_unit_test(a_checkpoint_is_written_as_it_was_read),
	    cmocka_unit_test(malformed_checkpoints_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
