#include "broker/audit/body.h"

#include <errno.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/str.h"

#define CUT_STRING  1024 /* what stays of a long string when the body is too long */
#define CUT_STEPS   64
#define SMALL       256  /* bytes of a member that stays in the record */
#define SMALL_TOTAL 4096 /* and of all of them */

/* ---- cutting ---- */

/* A prefix of s that does not end within a UTF-8 sequence. */
static json_t *cut_string(const json_t *s)
{
	const char *text = json_string_value(s);
	size_t n = CUT_STRING;

	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return json_stringn(text, n);
}

bool body_cut(json_t *body)
{
	const char *key, *longest = NULL;
	size_t max = CUT_STRING;
	json_t *v, *cut;

	json_object_foreach(body, key, v)
	{
		if (json_is_string(v) && json_string_length(v) > max) {
			max = json_string_length(v);
			longest = key;
		}
	}
	if (!longest)
		return false;
	cut = json_object_get(body, "cut");
	if (!cut) {
		cut = json_object();
		if (json_object_set_new(body, "cut", cut) < 0)
			return false;
	}
	return json_object_set_new(cut, longest, json_integer((json_int_t)max)) == 0 &&
	       json_object_set_new(body, longest, cut_string(json_object_get(body, longest))) == 0;
}

/* -EMSGSIZE: longer than a body may be. */
static int put_body(struct buf *spill, const json_t *body, record_json_fn personal, void *arg)
{
	buf_reset(spill);
	record_json(spill, body, personal, arg);
	if (spill->error == -ENOMEM)
		return -ENOMEM;
	return spill->error != 0 || spill->len > BODY_MAX ? -EMSGSIZE : 0;
}

static int put_whole(struct buf *spill, const json_t *body, record_json_fn personal, void *arg)
{
	json_auto_t *copy = NULL;
	int r = put_body(spill, body, personal, arg);

	if (r != -EMSGSIZE)
		return r;
	if (!(copy = json_deep_copy(body)))
		return -ENOMEM;
	for (int i = 0; i < CUT_STEPS && r == -EMSGSIZE && body_cut(copy); i++)
		r = put_body(spill, copy, personal, arg);
	return r;
}

/* ---- what stays ---- */

static size_t written(const json_t *v)
{
	cleanup_buf struct buf b;

	buf_init(&b, SMALL);
	record_json(&b, v, NULL, NULL);
	return b.error == 0 ? b.len : SIZE_MAX;
}

static json_t *small_of(const json_t *body, const struct buf *spill)
{
	json_t *small = json_object(), *mutable, *v;
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t digest[DIGEST_LEN];
	const char *key;
	size_t total = 0, n;

	memcpy(&mutable, &body, sizeof body); /* the iterator's type; nothing is changed */
	json_object_foreach(mutable, key, v)
	{
		n = written(v);
		if (n > SMALL || total + n + strlen(key) > SMALL_TOTAL)
			continue;
		total += n + strlen(key);
		if (json_object_set(small, key, v) < 0) {
			json_decref(small);
			return NULL;
		}
	}
	digest_sha256(spill->data, spill->len, digest);
	hex_encode(hex, digest, sizeof digest);
	/* last, in this order: body_named() looks from the end */
	if (json_object_set_new(small, "body_digest", json_string(hex)) < 0 ||
	    json_object_set_new(small, "body_bytes", json_integer((json_int_t)spill->len)) < 0) {
		json_decref(small);
		return NULL;
	}
	return small;
}

int body_spill(
    const json_t *body, record_json_fn personal, void *arg, struct buf *spill, json_t **ret_small)
{
	int r = put_whole(spill, body, personal, arg);
	json_t *small;

	if (r < 0)
		return r;
	if (!(small = small_of(body, spill)))
		return -ENOMEM;
	*ret_small = small;
	return 0;
}

/* ---- reading ---- */

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* From the end: what is foreign in a record cannot hold a quote mark, and what ends with one brace
 * fewer is not the body's own member. */
int body_named(const void *record, size_t len, uint8_t ret_digest[DIGEST_LEN], size_t *ret_len)
{
	static const char prev[] = "},\"prev\":\"", head[] = "\"body_digest\":\"",
	                  number[] = "\",\"body_bytes\":";
	const size_t tail = sizeof prev - 1 + DIGEST_HEX_LEN + 2;
	const char *p = record;
	uint8_t digest[DIGEST_LEN];
	size_t n = 0, at, unit = 1;

	if (len < tail || memcmp(p + len - tail, prev, sizeof prev - 1) != 0)
		return -ENOENT;
	at = len - tail;
	for (; at > 0 && p[at - 1] >= '0' && p[at - 1] <= '9' && unit <= BODY_MAX; at--, unit *= 10)
		n += unit * (size_t)(p[at - 1] - '0');
	if (unit == 1 || n > BODY_MAX ||
	    at < sizeof head - 1 + DIGEST_HEX_LEN + sizeof number - 1 + 1)
		return -ENOENT;
	at -= sizeof number - 1;
	if (memcmp(p + at, number, sizeof number - 1) != 0)
		return -ENOENT;
	at -= DIGEST_HEX_LEN;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int high = unhex(p[at + 2 * i]), low = unhex(p[at + 2 * i + 1]);

		if (high < 0 || low < 0)
			return -ENOENT;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	at -= sizeof head - 1;
	if (memcmp(p + at, head, sizeof head - 1) != 0 || (p[at - 1] != ',' && p[at - 1] != '{'))
		return -ENOENT;
	memcpy(ret_digest, digest, sizeof digest);
	*ret_len = n;
	return 0;
}

int body_check(const void *record, size_t len, const void *body, size_t body_len)
{
	uint8_t said[DIGEST_LEN], digest[DIGEST_LEN];
	size_t n;

	if (body_named(record, len, said, &n) < 0 || n != body_len)
		return -EBADMSG;
	digest_sha256(body, body_len, digest);
	return memcmp(said, digest, sizeof digest) == 0 ? 0 : -EBADMSG;
}
