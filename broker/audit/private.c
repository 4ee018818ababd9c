#include "broker/audit/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define SLOTS      1024
#define KEY_LEN    (1 + DIGEST_LEN)
#define PERSON_LEN 16
#define INDEX_LEN  (1 + PERSON_LEN + DIGEST_LEN)

static const char *const fields[] = {"peer", "person", "key_id"};

bool private_field(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strcmp(fields[i], key) == 0)
			return true;
	return false;
}

struct slot {
	bool used, linked;        /* with this person */
	uint8_t name[DIGEST_LEN]; /* of connection and value */
	uint8_t person[PERSON_LEN];
	uint8_t digest[DIGEST_LEN];
};

struct private_values {
	struct store *store;
	struct slot slots[SLOTS];
};

struct private_values *private_new(struct store *s)
{
	struct private_values *p = calloc(1, sizeof *p);

	if (p)
		p->store = s;
	return p;
}

void private_free(struct private_values *p)
{
	free(p);
}

void private_reset(struct private_values *p)
{
	memset(p->slots, 0, sizeof p->slots);
}

static void commitment(
    const uint8_t salt[PRIVATE_SALT_LEN], const void *value, size_t len, uint8_t ret[DIGEST_LEN])
{
	uint8_t head[1 + PRIVATE_SALT_LEN] = {2};

	memcpy(head + 1, salt, PRIVATE_SALT_LEN);
	digest_sha256_2(head, sizeof head, value, len, ret);
}

static void person_id(const char *person, uint8_t ret[PERSON_LEN])
{
	uint8_t digest[DIGEST_LEN];

	digest_sha256(person, strlen(person), digest);
	memcpy(ret, digest, PERSON_LEN);
}

static int put_value(
    struct private_values *p, struct slot *slot, const char *value, size_t len, struct err *e)
{
	uint8_t key[KEY_LEN] = {'c'}, salt[PRIVATE_SALT_LEN];
	cleanup_buf struct buf b;

	buf_init(&b, sizeof salt + PRIVATE_VALUE_MAX);
	fd_random(salt, sizeof salt);
	commitment(salt, value, len, slot->digest);
	buf_put(&b, salt, sizeof salt);
	buf_put(&b, value, len);
	if (buf_status(&b) < 0)
		return err_set(e, buf_status(&b), "a personal value is too long");
	memcpy(key + 1, slot->digest, DIGEST_LEN);
	return store_put(p->store, STORE_PRIVATE, key, sizeof key, b.data, b.len, e);
}

static int put_link(struct private_values *p, struct slot *slot, const char *person, struct err *e)
{
	uint8_t key[INDEX_LEN] = {'i'}, id[PERSON_LEN];
	int r;

	person_id(person, id);
	if (slot->linked && memcmp(slot->person, id, PERSON_LEN) == 0)
		return 0;
	memcpy(key + 1, id, PERSON_LEN);
	memcpy(key + 1 + PERSON_LEN, slot->digest, DIGEST_LEN);
	if ((r = store_put(p->store, STORE_PRIVATE, key, sizeof key, "", 0, e)) < 0)
		return r;
	memcpy(slot->person, id, PERSON_LEN);
	slot->linked = true;
	return 0;
}

int private_commit(struct private_values *p, const char *conn, const char *person,
    const char *value, size_t len, char ret[PRIVATE_TEXT_LEN + 1], struct err *e)
{
	uint8_t name[DIGEST_LEN];
	struct slot *slot;
	int r;

	if (len > PRIVATE_VALUE_MAX)
		len = PRIVATE_VALUE_MAX;
	digest_sha256_2(conn, strlen(conn) + 1, value, len, name);
	slot = &p->slots[(name[0] | (size_t)name[1] << 8) % SLOTS];
	if (!slot->used || memcmp(slot->name, name, DIGEST_LEN) != 0) {
		struct slot fresh = {.used = true};

		memcpy(fresh.name, name, DIGEST_LEN);
		if ((r = put_value(p, &fresh, value, len, e)) < 0)
			return r;
		*slot = fresh;
	}
	if (*person && (r = put_link(p, slot, person, e)) < 0)
		return r;
	memcpy(ret, "c:", 2);
	hex_encode(ret + 2, slot->digest, DIGEST_LEN);
	return 0;
}

/* ---- reading ---- */

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse(const char *text, size_t len, uint8_t ret[DIGEST_LEN])
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

	return parse(text, len, digest) == 0;
}

int private_check(const char *text, size_t len, const void *entry, size_t entry_len)
{
	uint8_t digest[DIGEST_LEN], got[DIGEST_LEN];
	const uint8_t *p = entry;
	int r = parse(text, len, digest);

	if (r < 0)
		return r;
	if (entry_len < PRIVATE_SALT_LEN)
		return -EUCLEAN;
	commitment(p, p + PRIVATE_SALT_LEN, entry_len - PRIVATE_SALT_LEN, got);
	return memcmp(digest, got, DIGEST_LEN) == 0 ? 0 : -EUCLEAN;
}

int private_opens(const void *entry, size_t len, char ret[PRIVATE_TEXT_LEN + 1])
{
	const uint8_t *p = entry;
	uint8_t digest[DIGEST_LEN];

	if (len < PRIVATE_SALT_LEN)
		return -EBADMSG;
	commitment(p, p + PRIVATE_SALT_LEN, len - PRIVATE_SALT_LEN, digest);
	memcpy(ret, "c:", 2);
	hex_encode(ret + 2, digest, DIGEST_LEN);
	return 0;
}

int private_entry(struct store *s, const char *text, size_t len, struct buf *ret)
{
	uint8_t key[KEY_LEN] = {'c'};
	int r = parse(text, len, key + 1);

	return r < 0 ? r : store_get(s, STORE_PRIVATE, key, sizeof key, ret);
}

int private_reveal(struct store *s, const char *text, size_t len, struct buf *ret)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	if ((r = private_entry(s, text, len, &b)) < 0 ||
	    (r = private_check(text, len, b.data, b.len)) < 0)
		return r;
	buf_put(ret, b.data + PRIVATE_SALT_LEN, b.len - PRIVATE_SALT_LEN);
	return buf_status(ret);
}

/* ---- erasing ---- */

struct found {
	uint8_t prefix[1 + PERSON_LEN];
	struct buf digests;
};

static int on_index(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct found *f = arg;

	(void)value, (void)len;
	if (klen != INDEX_LEN || memcmp(key, f->prefix, sizeof f->prefix) != 0)
		return 1;
	buf_put(&f->digests, (const uint8_t *)key + 1 + PERSON_LEN, DIGEST_LEN);
	return buf_status(&f->digests);
}

static int erase_found(struct store *s, const struct found *f, struct err *e)
{
	uint8_t key[KEY_LEN] = {'c'}, index[INDEX_LEN];
	int r = store_begin(s, e);

	if (r < 0)
		return r;
	memcpy(index, f->prefix, sizeof f->prefix);
	for (size_t at = 0; r == 0 && at < f->digests.len; at += DIGEST_LEN) {
		memcpy(key + 1, f->digests.data + at, DIGEST_LEN);
		memcpy(index + sizeof f->prefix, f->digests.data + at, DIGEST_LEN);
		if ((r = store_del(s, STORE_PRIVATE, key, sizeof key, e)) == 0)
			r = store_del(s, STORE_PRIVATE, index, sizeof index, e);
	}
	if (r < 0) {
		store_abort(s);
		return r;
	}
	return store_commit(s, e);
}

int private_erase(struct store *s, const char *person, size_t *ret_n, struct err *e)
{
	struct found f = {.prefix = {'i'}};
	size_t n = 0;
	int r;

	person_id(person, f.prefix + 1);
	buf_init(&f.digests, (size_t)STORE_WALK_MAX * DIGEST_LEN);
	do {
		buf_reset(&f.digests);
		r = store_walk(
		    s, STORE_PRIVATE, f.prefix, sizeof f.prefix, STORE_WALK_MAX, on_index, &f);
		if (r >= 0 && f.digests.len > 0)
			r = erase_found(s, &f, e);
		n += f.digests.len / DIGEST_LEN;
	} while (r >= 0 && f.digests.len > 0);
	buf_done(&f.digests);
	if (r < 0)
		return r;
	*ret_n = n;
	return 0;
}
