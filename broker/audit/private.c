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
	private_commitment(salt, value, len, slot->digest);
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

int private_entry(struct store *s, const char *text, size_t len, struct buf *ret)
{
	uint8_t key[KEY_LEN] = {'c'};
	int r = private_parse(text, len, key + 1);

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
