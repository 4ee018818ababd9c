#include "broker/audit/verify.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/record.h"
#include "lib/err.h"
#include "lib/msg.h"

#define LLU(x)   ((unsigned long long)(x))
#define TIME_LEN 27
#define TAIL_LEN (sizeof ",\"prev\":\"" - 1 + DIGEST_HEX_LEN + 2)

void verify_init(struct verify *v)
{
	memset(v, 0, sizeof *v);
}

void verify_init_at(struct verify *v, uint64_t seq, const uint8_t digest[DIGEST_LEN])
{
	verify_init(v);
	v->seq = seq;
	v->partial = true;
	v->version = CHAIN_VERSION;
	memcpy(v->digest, digest, DIGEST_LEN);
}

/* The first break is the one that is told; later ones follow from it. */
static int broken(struct verify *v, uint64_t seq, struct err *e, const char *how)
{
	v->broken = seq;
	if (*v->log)
		return err_set(e, -EBADMSG, "log %s: record %llu %s", v->log, LLU(seq), how);
	return err_set(e, -EBADMSG, "record %llu %s", LLU(seq), how);
}

/* What a record says of itself. The strings are not terminated. */
struct envelope {
	int version;
	const char *log, *time, *class_name, *prev;
	size_t log_len, time_len, class_len;
	uint64_t seq;
};

/* ---- version 1: JSON in any form ---- */

static const struct msg_field fields_1[] = {
    {"v", MSG_INT, INT32_MAX, false},
    {"seq", MSG_INT, INT64_MAX, false},
    {"time", MSG_STRING, 31, false},
    {"boot", MSG_STRING, 64, false},
    {"mono_ns", MSG_INT, INT64_MAX, false},
    {"class", MSG_STRING, CHAIN_CLASS_MAX, false},
    {"tenant", MSG_STRING, NAME_MAX_LEN, false},
    {"subject", MSG_OBJECT, 64, false},
    {"body", MSG_OBJECT, 256, false},
    {"prev", MSG_STRING, DIGEST_HEX_LEN, false},
    {NULL, MSG_INT, 0, false},
};

static const char *text(const json_t *o, const char *key, size_t *ret_len)
{
	const json_t *s = json_object_get(o, key);

	*ret_len = json_string_length(s);
	return json_string_value(s);
}

static int read_1(const json_t *o, struct envelope *ret)
{
	size_t prev_len;

	if (msg_check_fields("record", o, fields_1, NULL) < 0)
		return -EBADMSG;
	*ret = (struct envelope){.version = (int)json_integer_value(json_object_get(o, "v")),
	    .seq = (uint64_t)json_integer_value(json_object_get(o, "seq"))};
	ret->time = text(o, "time", &ret->time_len);
	ret->class_name = text(o, "class", &ret->class_len);
	ret->prev = text(o, "prev", &prev_len);
	return prev_len == DIGEST_HEX_LEN ? 0 : -EBADMSG;
}

/* ---- version 2: as chain.c writes it ---- */

struct scan {
	const char *at, *end;
	bool bad;
};

static void literal(struct scan *s, const char *want, size_t len)
{
	if (s->bad || (size_t)(s->end - s->at) < len || memcmp(s->at, want, len) != 0)
		s->bad = true;
	else
		s->at += len;
}
#define LITERAL(s, text) literal((s), text, sizeof(text) - 1)

/* Up to the quote mark. Of these texts none has anything to escape. */
static const char *string(struct scan *s, size_t max, size_t *ret_len)
{
	size_t left = (size_t)(s->end - s->at), most = left < max + 1 ? left : max + 1;
	const char *from = s->at, *end = s->bad ? NULL : memchr(from, '"', most);

	if (!end || memchr(from, '\\', (size_t)(end - from))) {
		s->bad = true;
		end = from;
	}
	*ret_len = (size_t)(end - from);
	s->at = s->bad ? from : end + 1;
	return from;
}

static uint64_t number(struct scan *s)
{
	const char *from = s->at;
	uint64_t n = 0;

	while (!s->bad && s->at < s->end && *s->at >= '0' && *s->at <= '9' && s->at - from < 19)
		n = n * 10 + (uint64_t)(*s->at++ - '0');
	if (s->at == from || (*from == '0' && s->at - from > 1))
		s->bad = true;
	return n;
}

/* Below 0x20 in any of eight bytes: their high bits. */
static uint64_t controls(const char *data)
{
	const uint64_t high = UINT64_C(0x8080808080808080), space = UINT64_C(0x2020202020202020);
	uint64_t word;

	memcpy(&word, data, sizeof word);
	/* without borrows between bytes, since the high bit is set first */
	return ~(((word | high) - space) | word) & high;
}

/* One line, whatever is in it. */
static bool printable(const char *data, size_t len)
{
	uint64_t any = 0;
	size_t i = 0;

	for (; i + 32 <= len; i += 32)
		any |= controls(data + i) | controls(data + i + 8) | controls(data + i + 16) |
		       controls(data + i + 24);
	for (; i < len; i++)
		if ((unsigned char)data[i] < 0x20)
			return false;
	return any == 0;
}

static int read_2(const char *data, size_t len, struct envelope *ret)
{
	struct envelope v = {.version = 2};
	struct scan s = {data, data + len, false};
	size_t ignored;

	if (len <= TAIL_LEN || !printable(data, len))
		return -EBADMSG;
	LITERAL(&s, "{\"v\":2,\"log\":\"");
	v.log = string(&s, NAME_MAX_LEN, &v.log_len);
	LITERAL(&s, ",\"seq\":");
	v.seq = number(&s);
	LITERAL(&s, ",\"time\":\"");
	v.time = string(&s, TIME_LEN, &v.time_len);
	LITERAL(&s, ",\"boot\":\"");
	(void)string(&s, 64, &ignored);
	LITERAL(&s, ",\"mono_ns\":");
	(void)number(&s);
	LITERAL(&s, ",\"class\":\"");
	v.class_name = string(&s, CHAIN_CLASS_MAX, &v.class_len);
	LITERAL(&s, ",\"class_uid\":");
	(void)number(&s);
	LITERAL(&s, ",\"activity_id\":");
	(void)number(&s);
	LITERAL(&s, ",\"type_uid\":");
	(void)number(&s);
	LITERAL(&s, ",\"tenant\":\"");
	(void)string(&s, NAME_MAX_LEN, &ignored);
	LITERAL(&s, ",\"subject\":{");
	if (s.bad || (size_t)(s.end - s.at) < TAIL_LEN)
		return -EBADMSG;
	s.at = s.end - TAIL_LEN - 1;
	LITERAL(&s, "},\"prev\":\"");
	v.prev = string(&s, DIGEST_HEX_LEN, &ignored);
	LITERAL(&s, "}");
	if (s.bad || s.at != s.end || v.time_len != TIME_LEN)
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* ---- the chain ---- */

static int check(struct verify *v, uint64_t seq, const struct envelope *o, struct err *e)
{
	/* of the version that o is of: v 2 links to the leaf hash of a record of any version */
	const uint8_t *before = o->version == 1 ? v->plain : v->digest;
	char prev[DIGEST_HEX_LEN + 1];
	int back;

	if (o->version < 1 || o->version > CHAIN_VERSION || o->version < v->version)
		return broken(v, seq, e, "is of an unknown version");
	if (o->seq != seq)
		return broken(v, seq, e, "has another number inside");
	if (o->log && *v->log &&
	    (strlen(v->log) != o->log_len || memcmp(v->log, o->log, o->log_len) != 0))
		return broken(v, seq, e, "is of another log");
	hex_encode(prev, before, DIGEST_LEN);
	if (memcmp(o->prev, prev, DIGEST_HEX_LEN) != 0)
		/* the one before was read as it is: it, or this one's link, was changed */
		return v->seq == 0 ? broken(v, seq, e, "is not the first of a log")
		                   : broken(v, v->seq, e,
		                         "was changed: the next record holds another digest of it");
	back = memcmp(o->time, v->time, o->time_len < TIME_LEN ? o->time_len : TIME_LEN);
	if (back < 0 && (o->class_len != strlen(CHAIN_CLOCK_CLASS) ||
	                    memcmp(o->class_name, CHAIN_CLOCK_CLASS, o->class_len) != 0))
		return broken(v, seq, e, "is older than the one before it");
	return 0;
}

static void advance(
    struct verify *v, uint64_t seq, const struct envelope *o, const void *data, size_t len)
{
	if (o->version == 1)
		digest_sha256(data, len, v->plain);
	merkle_leaf(data, len, v->digest);
	if (!v->partial)
		(void)merkle_append(&v->tree, v->digest);
	memcpy(v->time, o->time, o->time_len);
	v->time[o->time_len] = '\0';
	if (o->log && !*v->log) {
		memcpy(v->log, o->log, o->log_len);
		v->log[o->log_len] = '\0';
	}
	v->seq = seq;
	v->version = o->version;
}

/* resume: the record is taken as it is. */
static int take(
    struct verify *v, uint64_t seq, const void *data, size_t len, bool resume, struct err *e)
{
	json_auto_t *json = NULL;
	struct envelope o;
	int r;

	if (len > 6 && memcmp(data, "{\"v\":2", 6) == 0) {
		if (read_2(data, len, &o) < 0)
			return broken(v, seq, e, "is not a record");
	} else {
		if (msg_json_parse(data, len, &json, NULL) < 0)
			return broken(v, seq, e, "is not JSON");
		if (read_1(json, &o) < 0)
			return broken(v, seq, e, "is not a record");
	}
	if (!resume && (r = check(v, seq, &o, e)) < 0)
		return r;
	advance(v, seq, &o, data, len);
	return 0;
}

int verify_record(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e)
{
	if (v->broken)
		return broken(v, v->broken, e, "is broken");
	if (seq != v->seq + 1)
		return broken(v, v->seq + 1, e, "is missing");
	if (len > RECORD_MAX)
		return broken(v, seq, e, "is too long");
	return take(v, seq, data, len, false, e);
}

int verify_resume(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e)
{
	verify_init(v);
	v->partial = true;
	return take(v, seq, data, len, true, e);
}

static int head(
    struct verify *v, uint64_t seq, const uint8_t *digest, const uint8_t *ours, struct err *e)
{
	if (v->broken)
		return broken(v, v->broken, e, "is broken");
	if (v->seq < seq)
		return broken(v, v->seq + 1, e, "is missing");
	if (v->seq > seq)
		return broken(v, seq + 1, e, "is newer than the log's head");
	if (digest && memcmp(digest, ours, DIGEST_LEN) != 0)
		return broken(v, seq, e, "was changed: the log's head holds another digest of it");
	return 0;
}

int verify_head(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e)
{
	return head(v, seq, digest, v->digest, e);
}

int verify_head_v1(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e)
{
	return head(v, seq, digest, v->plain, e);
}
