/* The text of private values: which fields have them, and commitments as records write them. */
#include <errno.h>
#include <string.h>

#include "broker/audit/private.h"
#include "lib/str.h"
#include "lib/util.h"

static const char *const fields[] = {"peer", "person", "key_id"};

bool private_field(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strcmp(fields[i], key) == 0)
			return true;
	return false;
}

void private_commitment(const uint8_t *salt, const void *value, size_t len, uint8_t ret[DIGEST_LEN])
{
	uint8_t head[1 + PRIVATE_SALT_LEN] = {2};

	memcpy(head + 1, salt, PRIVATE_SALT_LEN);
	digest_sha256_2(head, sizeof head, value, len, ret);
}

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int private_parse(const char *text, size_t len, uint8_t ret[DIGEST_LEN])
{
	if (len != PRIVATE_TEXT_LEN || memcmp(text, "c:", 2) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int high = unhex(text[2 + 2 * i]), low = unhex(text[3 + 2 * i]);

		if (high < 0 || low < 0)
			return -EBADMSG;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

bool private_is_text(const char *text, size_t len)
{
	uint8_t digest[DIGEST_LEN];

	return private_parse(text, len, digest) == 0;
}

int private_check(const char *text, size_t len, const void *entry, size_t entry_len)
{
	uint8_t digest[DIGEST_LEN], got[DIGEST_LEN];
	const uint8_t *p = entry;
	int r = private_parse(text, len, digest);

	if (r < 0)
		return r;
	if (entry_len < PRIVATE_SALT_LEN)
		return -EUCLEAN;
	private_commitment(p, p + PRIVATE_SALT_LEN, entry_len - PRIVATE_SALT_LEN, got);
	return memcmp(digest, got, DIGEST_LEN) == 0 ? 0 : -EUCLEAN;
}

int private_opens(const void *entry, size_t len, char ret[PRIVATE_TEXT_LEN + 1])
{
	const uint8_t *p = entry;
	uint8_t digest[DIGEST_LEN];

	if (len < PRIVATE_SALT_LEN)
		return -EBADMSG;
	private_commitment(p, p + PRIVATE_SALT_LEN, len - PRIVATE_SALT_LEN, digest);
	memcpy(ret, "c:", 2);
	hex_encode(ret + 2, digest, DIGEST_LEN);
	return 0;
}
