#include "creds/note.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/note_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define DASH     "\xe2\x80\x94 " /* EM DASH and the space behind it */
#define DASH_LEN 4
#define KEY_ID   4
#define VKEY_B64 B64_LEN(1 + NOTE_KEY_LEN)
#define ROOT_B64 B64_LEN(DIGEST_LEN)
#define DIGITS   19 /* of INT64_MAX */

/* ---- text ---- */

/* One code point of strict UTF-8 (RFC 3629): its length, or 0. */
static size_t utf8_next(const uint8_t *p, size_t left, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80   ? 1
	           : p[0] < 0xc2 ? 0
	           : p[0] < 0xe0 ? 2
	           : p[0] < 0xf0 ? 3
	           : p[0] < 0xf5 ? 4
	                         : 0;
	uint32_t v;

	if (n == 0 || n > left)
		return 0;
	v = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fu);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*ret = v;
	return n;
}

/* Unicode's White_Space, as Go's note package asks it. */
static bool is_space(uint32_t v)
{
	return (v >= 9 && v <= 13) || v == ' ' || v == 0x85 || v == 0xa0 || v == 0x1680 ||
	       (v >= 0x2000 && v <= 0x200a) || v == 0x2028 || v == 0x2029 || v == 0x202f ||
	       v == 0x205f || v == 0x3000;
}

/* UTF-8 without control characters but LF. */
static bool text_ok(const uint8_t *p, size_t len)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		uint32_t v;

		n = utf8_next(p + i, len - i, &v);
		if (n == 0 || (v < ' ' && v != '\n'))
			return false;
	}
	return true;
}

static bool name_ok(const char *name, size_t len)
{
	const uint8_t *p = (const uint8_t *)name;
	size_t n;

	if (len == 0 || len > NOTE_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i += n) {
		uint32_t v;

		n = utf8_next(p + i, len - i, &v);
		if (n == 0 || v < ' ' || v == '+' || is_space(v))
			return false;
	}
	return true;
}

/* ---- verifier keys ---- */

static void key_id(struct note_key *k)
{
	uint8_t tail[2 + NOTE_KEY_LEN], digest[DIGEST_LEN];

	tail[0] = '\n';
	tail[1] = k->type;
	memcpy(tail + 2, k->key, NOTE_KEY_LEN);
	digest_sha256_2(k->name, strlen(k->name), tail, sizeof tail, digest);
	memcpy(k->id, digest, KEY_ID);
}

int note_key_init(struct note_key *k, const char *name, uint8_t type,
    const uint8_t key[NOTE_KEY_LEN], struct err *e)
{
	struct note_key made = {.type = type};

	if (!name_ok(name, strlen(name)) || !str_copy(made.name, sizeof made.name, name))
		return err_set(e, -EINVAL, "a key's name has neither white space nor a plus sign");
	if (type != NOTE_ED25519 && type != NOTE_COSIGNATURE)
		return err_set(e, -EINVAL, "a key of type %u is not known", type);
	memcpy(made.key, key, NOTE_KEY_LEN);
	key_id(&made);
	*k = made;
	return 0;
}

int note_key_parse(const char *text, size_t len, struct note_key *ret, struct err *e)
{
	const char *first = memchr(text, '+', len), *second;
	char name[NOTE_NAME_MAX + 1], hex[2 * KEY_ID + 1];
	uint8_t bytes[1 + NOTE_KEY_LEN];
	struct note_key k;
	size_t n;
	int r;

	if (!first || first == text || (size_t)(first - text) > NOTE_NAME_MAX)
		return err_set(e, -EBADMSG, "a verifier key is NAME+ID+BASE64");
	second = first + 1 + 2 * KEY_ID;
	if ((size_t)(text + len - first) != 2 + 2 * KEY_ID + VKEY_B64 || *second != '+' ||
	    b64_decode(bytes, sizeof bytes, second + 1, VKEY_B64, &n) < 0 || n != sizeof bytes)
		return err_set(e, -EBADMSG, "a verifier key is NAME+ID+BASE64");
	memcpy(name, text, (size_t)(first - text));
	name[first - text] = '\0';
	if (memchr(name, 0, (size_t)(first - text)))
		return err_set(e, -EBADMSG, "a verifier key's name holds a NUL");
	if ((r = note_key_init(&k, name, bytes[0], bytes + 1, e)) < 0)
		return r == -EINVAL ? err_wrap(e, -EBADMSG, "verifier key") : r;
	hex_encode(hex, k.id, KEY_ID);
	if (memcmp(hex, first + 1, 2 * KEY_ID) != 0)
		return err_set(e, -EBADMSG, "the verifier key's id does not fit its key");
	if (!note_point_ok(k.key))
		return err_set(e, -EBADMSG, "the verifier key is no point of edwards25519");
	*ret = k;
	return 0;
}

void note_key_format(const struct note_key *k, struct buf *out)
{
	uint8_t bytes[1 + NOTE_KEY_LEN];
	char hex[2 * KEY_ID + 1], b64[VKEY_B64 + 1];

	bytes[0] = k->type;
	memcpy(bytes + 1, k->key, NOTE_KEY_LEN);
	hex_encode(hex, k->id, KEY_ID);
	b64_encode(b64, bytes, sizeof bytes);
	buf_printf(out, "%s+%s+%s", k->name, hex, b64);
}

/* ---- reading ---- */

/* "NAME BASE64", the line without its dash and LF. at: where its bytes go in n->storage. */
static int read_signature(struct note *n, const char *line, size_t len, size_t *at, struct err *e)
{
	struct note_signature *s = &n->signatures[n->nsignatures];
	const char *space = memchr(line, ' ', len);
	size_t name_len = space ? (size_t)(space - line) : 0, got;
	uint8_t *p = n->storage + *at;

	if (!space || !name_ok(line, name_len))
		return err_set(e, -EBADMSG, "a note's signature has no good name");
	/* storage is as large as the whole note, and base64 only shrinks */
	if (b64_decode(p, len, space + 1, len - name_len - 1, &got) < 0 || got <= KEY_ID)
		return err_set(e, -EBADMSG, "a note's signature is not canonical base64");
	memcpy(s->name, line, name_len);
	s->name[name_len] = '\0';
	memcpy(s->id, p, KEY_ID);
	s->data = p + KEY_ID;
	s->len = got - KEY_ID;
	*at += got;
	n->nsignatures++;
	return 0;
}

static int read_signatures(struct note *n, const char *p, size_t len, struct err *e)
{
	size_t at = 0;

	while (len > 0) {
		const char *end = memchr(p, '\n', len);
		size_t line = end ? (size_t)(end - p) : 0;
		int r;

		if (!end || line < DASH_LEN || memcmp(p, DASH, DASH_LEN) != 0)
			return err_set(e, -EBADMSG, "a note's signature is a line with a dash");
		if (n->nsignatures == NOTE_SIGNATURES_MAX)
			return err_set(
			    e, -EBADMSG, "a note has at most %d signatures", NOTE_SIGNATURES_MAX);
		r = read_signature(n, p + DASH_LEN, line - DASH_LEN, &at, e);
		if (r < 0)
			return r;
		p += line + 1;
		len -= line + 1;
	}
	return n->nsignatures == 0 ? err_set(e, -EBADMSG, "a note without a signature") : 0;
}

int note_parse(const void *data, size_t len, struct note *ret, struct err *e)
{
	const char *p = data, *split = NULL;
	struct note n = {0};
	int r;

	if (len < 3 || len > NOTE_MAX)
		return err_set(e, -EBADMSG, "a note has 3 to %u bytes", NOTE_MAX);
	if (p[len - 1] != '\n' || !text_ok(data, len))
		return err_set(e, -EBADMSG, "a note is lines of UTF-8 without control characters");
	for (size_t i = 0; i + 1 < len; i++) /* the last empty line: the text may have others */
		if (p[i] == '\n' && p[i + 1] == '\n')
			split = p + i;
	if (!split || split == p)
		return err_set(e, -EBADMSG, "a note without an empty line before its signatures");
	n.text_len = (size_t)(split - p) + 1;
	n.text = malloc(n.text_len + 1);
	n.storage = malloc(len);
	if (!n.text || !n.storage) {
		note_done(&n);
		return err_set(e, -ENOMEM, "cannot hold a note");
	}
	memcpy(n.text, p, n.text_len);
	n.text[n.text_len] = '\0';
	r = read_signatures(&n, split + 2, len - n.text_len - 1, e);
	if (r < 0) {
		note_done(&n);
		return r;
	}
	*ret = n;
	return 0;
}

void note_done(struct note *n)
{
	util_free(&n->text);
	util_free(&n->storage);
	memset(n, 0, sizeof *n);
}

/* ---- signatures ---- */

static uint64_t load_u64(const uint8_t *p)
{
	uint64_t v = 0;

	for (size_t i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* What a timestamped cosignature signs (c2sp.org/tlog-cosignature). */
static void cosigned(struct buf *b, uint64_t time_s, const char *text, size_t len)
{
	buf_printf(b, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
	buf_put(b, text, len);
}

static int verify_one(
    const struct note *n, const struct note_signature *s, const struct note_key *k, int64_t *time_s)
{
	cleanup_buf struct buf b;
	uint64_t t;

	buf_init(&b, NOTE_MAX + 64);
	if (k->type == NOTE_ED25519)
		return s->len == NOTE_SIGNATURE_LEN
		           ? note_ed25519_verify(k->key, s->data, n->text, n->text_len)
		           : -EBADMSG;
	if (s->len != 8 + NOTE_SIGNATURE_LEN || (t = load_u64(s->data)) > INT64_MAX)
		return -EBADMSG;
	cosigned(&b, t, n->text, n->text_len);
	if (buf_status(&b) < 0)
		return buf_status(&b);
	*time_s = (int64_t)t;
	return note_ed25519_verify(k->key, s->data + 8, b.data, b.len);
}

int note_verify(const struct note *n, const struct note_key *k, int64_t *ret_time_s, struct err *e)
{
	int64_t newest = 0;
	bool found = false;

	for (size_t i = 0; i < n->nsignatures; i++) {
		const struct note_signature *s = &n->signatures[i];
		int64_t t = 0;
		int r;

		if (memcmp(s->id, k->id, KEY_ID) != 0 || strcmp(s->name, k->name) != 0)
			continue;
		r = verify_one(n, s, k, &t);
		if (r < 0)
			return err_set(e, r, "the signature by this key does not hold");
		found = true;
		if (t > newest)
			newest = t;
	}
	if (found && ret_time_s)
		*ret_time_s = newest;
	return found;
}

int note_sign(const char *text, size_t text_len, const struct note_key *k,
    const uint8_t seed[NOTE_KEY_LEN], int64_t time_s, struct buf *out, struct err *e)
{
	uint8_t raw[KEY_ID + 8 + NOTE_SIGNATURE_LEN];
	char b64[B64_LEN(sizeof raw) + 1];
	cleanup_buf struct buf b = {0};
	size_t at = KEY_ID;
	int r;

	if (text_len == 0 || text_len > NOTE_MAX || text[text_len - 1] != '\n' ||
	    !text_ok((const uint8_t *)text, text_len))
		return err_set(e, -EINVAL, "only lines of UTF-8 can be signed");
	if (k->type == NOTE_COSIGNATURE && time_s < 0)
		return err_set(e, -EINVAL, "a cosignature has a time");
	buf_init(&b, NOTE_MAX + 64);
	memcpy(raw, k->id, KEY_ID);
	if (k->type == NOTE_COSIGNATURE) {
		for (size_t i = 0; i < 8; i++)
			raw[at++] = (uint8_t)((uint64_t)time_s >> (56 - 8 * i));
		cosigned(&b, (uint64_t)time_s, text, text_len);
	} else {
		buf_put(&b, text, text_len);
	}
	if ((r = buf_status(&b)) < 0 || (r = note_ed25519_sign(seed, b.data, b.len, raw + at)) < 0)
		return err_set(e, r, "a note cannot be signed");
	b64_encode(b64, raw, at + NOTE_SIGNATURE_LEN);
	buf_printf(out, DASH "%s %s\n", k->name, b64);
	return buf_status(out) < 0 ? err_set(e, buf_status(out), "no room for a note") : 0;
}

/* ---- checkpoints ---- */

void checkpoint_text(const struct checkpoint *c, struct buf *out)
{
	char b64[ROOT_B64 + 1];

	b64_encode(b64, c->root, DIGEST_LEN);
	buf_printf(out, "%s\n%llu\n%s\n", c->origin, (unsigned long long)c->size, b64);
}

int checkpoint_parse(const char *text, size_t len, struct checkpoint *ret, struct err *e)
{
	const char *first = memchr(text, '\n', len), *second;
	struct checkpoint c = {0};
	char digits[DIGITS + 1];
	size_t origin, size, got;

	if (!first || !(second = memchr(first + 1, '\n', (size_t)(text + len - first - 1))))
		return err_set(e, -EBADMSG, "a checkpoint has three lines");
	origin = (size_t)(first - text);
	size = (size_t)(second - first - 1);
	if (origin == 0 || origin > NOTE_NAME_MAX || memchr(text, 0, origin) ||
	    !text_ok((const uint8_t *)text, origin))
		return err_set(e, -EBADMSG, "a checkpoint's origin is a line of at most %d bytes",
		    NOTE_NAME_MAX);
	if (size == 0 || size > DIGITS)
		return err_set(e, -EBADMSG, "a checkpoint's size is a decimal number");
	memcpy(digits, first + 1, size);
	digits[size] = '\0';
	if (strlen(digits) != size || str_to_u64(digits, 0, INT64_MAX, &c.size) < 0)
		return err_set(e, -EBADMSG, "a checkpoint's size is a decimal number");
	if ((size_t)(text + len - second) != 1 + ROOT_B64 + 1 || text[len - 1] != '\n' ||
	    b64_decode(c.root, sizeof c.root, second + 1, ROOT_B64, &got) < 0 || got != DIGEST_LEN)
		return err_set(e, -EBADMSG, "a checkpoint ends with its root in base64");
	memcpy(c.origin, text, origin);
	*ret = c;
	return 0;
}
