#include "lib/merkle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include "lib/str.h"
#include "lib/util.h"

/*
 * The tree of RFC 6962 against the vectors of certificate-transparency's own tests, and against a
 * second writing of section 2.1 that shares nothing with the first.
 */

#define SIZES 300

static const struct {
	const char *data;
	size_t len;
	const char *root; /* of the tree that ends with this leaf */
} vectors[] = {
    {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57", 8,
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};

static uint8_t leaves[SIZES][DIGEST_LEN];
static uint8_t roots[SIZES + 1][DIGEST_LEN];

static void is_hex(const uint8_t digest[DIGEST_LEN], const char *want)
{
	char hex[DIGEST_HEX_LEN + 1];

	hex_encode(hex, digest, DIGEST_LEN);
	assert_string_equal(hex, want);
}

/* MTH of section 2.1, word for word (the recursion is as deep as the tree is high). */
static void mth(size_t from, size_t n, uint8_t ret[DIGEST_LEN])
{
	uint8_t both[1 + 2 * DIGEST_LEN] = {1};
	size_t k = 1;

	if (n == 1) {
		memcpy(ret, leaves[from], DIGEST_LEN);
		return;
	}
	while (2 * k < n)
		k *= 2;
	mth(from, k, both + 1);
	mth(from + k, n - k, both + 1 + DIGEST_LEN);
	digest_sha256(both, sizeof both, ret);
}

static size_t path(size_t m, size_t from, size_t n, uint8_t (*ret)[DIGEST_LEN])
{
	size_t k = 1, len;

	if (n == 1)
		return 0;
	while (2 * k < n)
		k *= 2;
	if (m < k) {
		len = path(m, from, k, ret);
		mth(from + k, n - k, ret[len]);
	} else {
		len = path(m - k, from + k, n - k, ret);
		mth(from, k, ret[len]);
	}
	return len + 1;
}

static size_t subproof(size_t m, size_t from, size_t n, bool whole, uint8_t (*ret)[DIGEST_LEN])
{
	size_t k = 1, len;

	if (m == n) {
		if (whole)
			return 0;
		mth(from, n, ret[0]);
		return 1;
	}
	while (2 * k < n)
		k *= 2;
	if (m <= k) {
		len = subproof(m, from, k, whole, ret);
		mth(from + k, n - k, ret[len]);
	} else {
		len = subproof(m - k, from + k, n - k, false, ret);
		mth(from, k, ret[len]);
	}
	return len + 1;
}

static int setup(void **state)
{
	struct merkle m;

	(void)state;
	merkle_init(&m);
	merkle_root(&m, roots[0]);
	for (uint32_t i = 0; i < SIZES; i++) {
		merkle_leaf(&i, sizeof i, leaves[i]);
		assert_int_equal(merkle_append(&m, leaves[i]), 0);
		merkle_root(&m, roots[i + 1]);
	}
	return 0;
}

static void roots_are_those_of_the_vectors(void **state)
{
	uint8_t leaf[DIGEST_LEN], root[DIGEST_LEN];
	struct merkle m;

	(void)state;
	merkle_init(&m);
	merkle_root(&m, root);
	is_hex(root, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		merkle_leaf(vectors[i].data, vectors[i].len, leaf);
		assert_int_equal(merkle_append(&m, leaf), 0);
		merkle_root(&m, root);
		is_hex(root, vectors[i].root);
	}
}

static void roots_are_those_of_the_definition(void **state)
{
	uint8_t want[DIGEST_LEN];

	(void)state;
	for (size_t n = 1; n <= SIZES; n++) {
		mth(0, n, want);
		assert_memory_equal(roots[n], want, DIGEST_LEN);
	}
}

static void a_packed_range_goes_on_the_same(void **state)
{
	uint8_t packed[MERKLE_PACKED_MAX], root[DIGEST_LEN];
	struct merkle m, copy;

	(void)state;
	merkle_init(&m);
	for (size_t i = 0; i < SIZES; i++) {
		size_t len = merkle_pack(&m, packed);

		assert_int_equal(merkle_unpack(packed, len, &copy), 0);
		merkle_root(&copy, root);
		assert_memory_equal(root, roots[i], DIGEST_LEN);
		assert_int_equal(merkle_unpack(packed, len + 1, &copy), -EBADMSG);
		assert_int_equal(merkle_unpack(packed, len - 1, &copy), -EBADMSG);
		assert_int_equal(merkle_unpack(packed, len, &m), 0);
		assert_int_equal(merkle_append(&m, leaves[i]), 0);
	}
	memset(packed, 0xff, sizeof packed);
	assert_int_equal(merkle_unpack(packed, sizeof packed, &copy), -EBADMSG);
	assert_int_equal(merkle_unpack(packed, 0, &copy), -EBADMSG);
}

static void a_full_tree_takes_no_leaf(void **state)
{
	struct merkle m = {.size = INT64_MAX};

	(void)state;
	assert_int_equal(merkle_append(&m, leaves[0]), -EOVERFLOW);
	m.size--;
	assert_int_equal(merkle_append(&m, leaves[0]), 0);
}

static int inclusion(size_t m, size_t n, uint8_t (*proof)[DIGEST_LEN], size_t len)
{
	return merkle_verify_inclusion(
	    leaves[m], m, n, (const uint8_t(*)[DIGEST_LEN])proof, len, roots[n]);
}

static void every_leaf_of_every_tree_is_proved(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX + 1][DIGEST_LEN];

	(void)state;
	for (size_t n = 1; n <= SIZES; n++)
		for (size_t m = 0; m < n; m++) {
			size_t len = path(m, 0, n, proof);

			assert_int_equal(inclusion(m, n, proof, len), 0);
			memset(proof[len], 7, DIGEST_LEN);
			assert_int_equal(inclusion(m, n, proof, len + 1), -EBADMSG);
			if (len > 0)
				assert_int_equal(inclusion(m, n, proof, len - 1), -EBADMSG);
			for (size_t i = 0; i < len; i++) {
				size_t bit = (n * 7 + m * 3 + i) % (8 * DIGEST_LEN);

				proof[i][bit / 8] ^= (uint8_t)(1u << bit % 8);
				assert_int_equal(inclusion(m, n, proof, len), -EBADMSG);
				proof[i][bit / 8] ^= (uint8_t)(1u << bit % 8);
			}
		}
}

static void a_proof_holds_in_its_place_only(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];

	(void)state;
	for (size_t n = 1; n <= 40; n++)
		for (size_t m = 0; m < n; m++) {
			size_t len = path(m, 0, n, proof);

			for (size_t other = 0; other <= n; other++)
				assert_int_equal(
				    merkle_verify_inclusion(leaves[m], other, n,
				        (const uint8_t(*)[DIGEST_LEN])proof, len, roots[n]),
				    other == m ? 0 : -EBADMSG);
		}
	assert_int_equal(merkle_verify_inclusion(leaves[0], 0, 0, NULL, 0, roots[0]), -EBADMSG);
	assert_int_equal(
	    merkle_verify_inclusion(leaves[0], 0, UINT64_MAX, NULL, 0, leaves[0]), -EBADMSG);
	assert_int_equal(inclusion(0, 2, proof, MERKLE_PROOF_MAX + 1), -EBADMSG);
}

static int consistency(size_t m, size_t n, uint8_t (*proof)[DIGEST_LEN], size_t len)
{
	return merkle_verify_consistency(
	    m, roots[m], n, roots[n], (const uint8_t(*)[DIGEST_LEN])proof, len);
}

static void every_tree_is_proved_to_extend_every_older_one(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX + 1][DIGEST_LEN];

	(void)state;
	for (size_t n = 1; n <= SIZES; n++)
		for (size_t m = 1; m <= n; m++) {
			size_t len = subproof(m, 0, n, true, proof);

			assert_int_equal(consistency(m, n, proof, len), 0);
			memset(proof[len], 7, DIGEST_LEN);
			assert_int_equal(consistency(m, n, proof, len + 1), -EBADMSG);
			if (len > 0)
				assert_int_equal(consistency(m, n, proof, len - 1), -EBADMSG);
			for (size_t i = 0; i < len; i++) {
				proof[i][(n + m + i) % DIGEST_LEN] ^= 0x10;
				assert_int_equal(consistency(m, n, proof, len), -EBADMSG);
				proof[i][(n + m + i) % DIGEST_LEN] ^= 0x10;
			}
		}
}

static void a_tree_extends_the_empty_one_and_no_larger_one(void **state)
{
	(void)state;
	assert_int_equal(merkle_verify_consistency(0, roots[0], 5, roots[5], NULL, 0), 0);
	assert_int_equal(merkle_verify_consistency(0, roots[1], 5, roots[5], NULL, 0), -EBADMSG);
	assert_int_equal(merkle_verify_consistency(0, roots[0], 0, roots[0], NULL, 0), 0);
	assert_int_equal(merkle_verify_consistency(0, roots[0], 0, roots[1], NULL, 0), -EBADMSG);
	assert_int_equal(merkle_verify_consistency(
	                     0, roots[0], 5, roots[5], (const uint8_t(*)[DIGEST_LEN])leaves, 1),
	    -EBADMSG);
	assert_int_equal(merkle_verify_consistency(5, roots[5], 4, roots[4], NULL, 0), -EBADMSG);
	assert_int_equal(merkle_verify_consistency(5, roots[5], 5, roots[4], NULL, 0), -EBADMSG);
	assert_int_equal(merkle_verify_consistency(3, roots[3], 5, roots[5], NULL, 0), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(roots_are_those_of_the_vectors),
	    cmocka_unit_test(roots_are_those_of_the_definition),
	    cmocka_unit_test(a_packed_range_goes_on_the_same),
	    cmocka_unit_test(a_full_tree_takes_no_leaf),
	    cmocka_unit_test(every_leaf_of_every_tree_is_proved),
	    cmocka_unit_test(a_proof_holds_in_its_place_only),
	    cmocka_unit_test(every_tree_is_proved_to_extend_every_older_one),
	    cmocka_unit_test(a_tree_extends_the_empty_one_and_no_larger_one),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
