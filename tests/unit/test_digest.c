#include "lib/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "lib/str.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* FIPS 180-2, B.1 and B.2 */
#define ABC  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define LONG "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"

static void expect(const uint8_t d[DIGEST_LEN], const char *hex)
{
	char text[DIGEST_HEX_LEN + 1];

	hex_encode(text, d, DIGEST_LEN);
	assert_string_equal(text, hex);
}

static void gives_the_standards_values(void **state)
{
	const char *text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	uint8_t d[DIGEST_LEN];

	(void)state;
	digest_sha256("", 0, d);
	expect(d, EMPTY);
	digest_sha256("abc", 3, d);
	expect(d, ABC);
	digest_sha256(text, strlen(text), d);
	expect(d, LONG);
}

static void of_two_is_of_their_joint(void **state)
{
	uint8_t d[DIGEST_LEN];

	(void)state;
	digest_sha256_2("a", 1, "bc", 2, d);
	expect(d, ABC);
	digest_sha256_2("abc", 3, "", 0, d);
	expect(d, ABC);
	digest_sha256_2("", 0, "", 0, d);
	expect(d, EMPTY);
}

static void a_running_one_can_be_used_again(void **state)
{
	struct digest *r = digest_new();
	uint8_t d[DIGEST_LEN];

	(void)state;
	assert_non_null(r);
	digest_final(r, d);
	expect(d, EMPTY);
	digest_update(r, "a", 1);
	digest_update(r, "", 0);
	digest_update(r, "bc", 2);
	digest_final(r, d);
	expect(d, ABC);
	digest_free(r);
	digest_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gives_the_standards_values),
	    cmocka_unit_test(of_two_is_of_their_joint),
	    cmocka_unit_test(a_running_one_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
