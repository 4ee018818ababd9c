#include "lib/merkle.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

void merkle_leaf(const void *data, size_t len, uint8_t ret[DIGEST_LEN])
{
	digest_sha256_2("\0", 1, data, len, ret);
}

void merkle_node(
    const uint8_t left[DIGEST_LEN], const uint8_t right[DIGEST_LEN], uint8_t ret[DIGEST_LEN])
{
	uint8_t both[1 + 2 * DIGEST_LEN];

	both[0] = 1;
	memcpy(both + 1, left, DIGEST_LEN);
	memcpy(both + 1 + DIGEST_LEN, right, DIGEST_LEN);
	digest_sha256(both, sizeof both, ret);
}

void merkle_init(struct merkle *m)
{
	memset(m, 0, sizeof *m);
}

int merkle_append(struct merkle *m, const uint8_t leaf[DIGEST_LEN])
{
	uint8_t h[DIGEST_LEN];
	size_t level = 0;

	if (m->size >= INT64_MAX)
		return -EOVERFLOW;
	memcpy(h, leaf, DIGEST_LEN);
	/* as in a binary counter, every full subtree of this height is on the left of the new one
	 */
	for (; m->size >> level & 1; level++)
		merkle_node(m->node[level], h, h);
	memcpy(m->node[level], h, DIGEST_LEN);
	m->size++;
	return 0;
}

void merkle_root(const struct merkle *m, uint8_t ret[DIGEST_LEN])
{
	bool any = false;

	if (m->size == 0)
		digest_sha256("", 0, ret);
	for (size_t level = 0; level < MERKLE_LEVELS; level++) {
		if (!(m->size >> level & 1))
			continue;
		if (any)
			merkle_node(m->node[level], ret, ret);
		else
			memcpy(ret, m->node[level], DIGEST_LEN);
		any = true;
	}
}

size_t merkle_pack(const struct merkle *m, uint8_t out[MERKLE_PACKED_MAX])
{
	size_t n = 8;

	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(m->size >> (56 - 8 * i));
	for (size_t level = MERKLE_LEVELS; level-- > 0;) {
		if (!(m->size >> level & 1))
			continue;
		memcpy(out + n, m->node[level], DIGEST_LEN);
		n += DIGEST_LEN;
	}
	return n;
}

int merkle_unpack(const void *data, size_t len, struct merkle *ret)
{
	const uint8_t *p = data;
	struct merkle m;
	size_t at = 8;

	merkle_init(&m);
	if (len < 8)
		return -EBADMSG;
	for (size_t i = 0; i < 8; i++)
		m.size = m.size << 8 | p[i];
	if (m.size > INT64_MAX ||
	    len != 8 + (size_t)__builtin_popcountll(m.size) * (size_t)DIGEST_LEN)
		return -EBADMSG;
	for (size_t level = MERKLE_LEVELS; level-- > 0;) {
		if (!(m.size >> level & 1))
			continue;
		memcpy(m.node[level], p + at, DIGEST_LEN);
		at += DIGEST_LEN;
	}
	*ret = m;
	return 0;
}

int merkle_verify_inclusion(const uint8_t leaf[DIGEST_LEN], uint64_t index, uint64_t size,
    const uint8_t (*proof)[DIGEST_LEN], size_t n, const uint8_t root[DIGEST_LEN])
{
	uint64_t fn = index, sn = size - 1;
	uint8_t r[DIGEST_LEN];

	if (index >= size || size > INT64_MAX || n > MERKLE_PROOF_MAX)
		return -EBADMSG;
	memcpy(r, leaf, DIGEST_LEN);
	for (size_t i = 0; i < n; i++) {
		if (sn == 0)
			return -EBADMSG;
		if (fn & 1 || fn == sn) {
			merkle_node(proof[i], r, r);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			merkle_node(r, proof[i], r);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(r, root, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
}

/* What both roots have in common, folded from the first hash on. */
static int fold_consistency(uint64_t old_size, uint64_t size, const uint8_t *first,
    const uint8_t (*proof)[DIGEST_LEN], size_t n, uint8_t fr[DIGEST_LEN], uint8_t sr[DIGEST_LEN])
{
	uint64_t fn = old_size - 1, sn = size - 1;

	while (fn & 1) {
		fn >>= 1;
		sn >>= 1;
	}
	memcpy(fr, first, DIGEST_LEN);
	memcpy(sr, first, DIGEST_LEN);
	for (size_t i = 0; i < n; i++) {
		if (sn == 0)
			return -EBADMSG;
		if (fn & 1 || fn == sn) {
			merkle_node(proof[i], fr, fr);
			merkle_node(proof[i], sr, sr);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			merkle_node(sr, proof[i], sr);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 ? 0 : -EBADMSG;
}

int merkle_verify_consistency(uint64_t old_size, const uint8_t old_root[DIGEST_LEN], uint64_t size,
    const uint8_t root[DIGEST_LEN], const uint8_t (*proof)[DIGEST_LEN], size_t n)
{
	uint8_t fr[DIGEST_LEN], sr[DIGEST_LEN], empty[DIGEST_LEN];
	bool power;

	if (old_size > size || size > INT64_MAX || n > MERKLE_PROOF_MAX)
		return -EBADMSG;
	if (old_size == 0) { /* any tree is an extension of the empty one, whose root is known */
		digest_sha256("", 0, empty);
		if (n != 0 || memcmp(old_root, empty, DIGEST_LEN) != 0)
			return -EBADMSG;
		return size > 0 || memcmp(root, empty, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
	}
	if (old_size == size)
		return n == 0 && memcmp(old_root, root, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
	/* of a full tree the old root itself is the first hash, and is not sent */
	power = (old_size & (old_size - 1)) == 0;
	if (!power && n == 0)
		return -EBADMSG;
	if (fold_consistency(old_size, size, power ? old_root : proof[0], power ? proof : proof + 1,
	        power ? n : n - 1, fr, sr) < 0)
		return -EBADMSG;
	return memcmp(fr, old_root, DIGEST_LEN) == 0 && memcmp(sr, root, DIGEST_LEN) == 0
	           ? 0
	           : -EBADMSG;
}
