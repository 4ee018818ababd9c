#include "broker/audit/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/record.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/reader.h"
#include "lib/str.h"

#define CUT_STRING 1024 /* what stays of a long string when the record is too long */
#define CUT_STEPS  64

void chain_key(uint64_t seq, uint8_t out[8])
{
	for (int i = 7; i >= 0; i--) {
		out[i] = (uint8_t)seq;
		seq >>= 8;
	}
}

void chain_head_pack(const struct chain_head *head, uint8_t out[CHAIN_HEAD_LEN])
{
	chain_key(head->seq, out);
	chain_key((uint64_t)head->time_ns, out + 8);
	memcpy(out + 16, head->digest, DIGEST_LEN);
}

int chain_head_parse(const void *data, size_t len, struct chain_head *ret)
{
	struct chain_head h;
	const uint8_t *digest;
	struct reader r;
	uint64_t time;

	reader_init(&r, data, len);
	if (reader_u64(&r, &h.seq) < 0 || reader_u64(&r, &time) < 0 ||
	    reader_bytes(&r, DIGEST_LEN, &digest) < 0 || reader_end(&r) < 0 || time > INT64_MAX)
		return -EBADMSG;
	h.time_ns = (int64_t)time;
	memcpy(h.digest, digest, DIGEST_LEN);
	*ret = h;
	return 0;
}

/* A prefix of s that does not end within a UTF-8 sequence. */
static json_t *cut_string(const json_t *s)
{
	const char *text = json_string_value(s);
	size_t n = CUT_STRING;

	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return json_stringn(text, n);
}

/* Cuts the longest string at the top of body; its name and true length go to "cut". False when
 * nothing is left to cut. */
static bool cut_longest(json_t *body)
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

static int dump(const json_t *record, struct buf *out)
{
	size_t n = json_dumpb(record, NULL, 0, JSON_COMPACT);
	char small[1024];

	if (n == 0)
		return -ENOMEM;
	if (n > RECORD_MAX)
		return -EMSGSIZE;
	if (n <= sizeof small) {
		(void)json_dumpb(record, small, sizeof small, JSON_COMPACT);
		buf_put(out, small, n);
	} else {
		char *text = json_dumps(record, JSON_COMPACT);

		if (!text)
			return -ENOMEM;
		buf_put(out, text, n);
		free(text);
	}
	return buf_status(out);
}

static int dump_within(json_t *record, const json_t *body, struct buf *out)
{
	int r = dump(record, out);
	json_t *copy;

	if (r != -EMSGSIZE)
		return r;
	copy = json_deep_copy(body);
	if (!copy || json_object_set_new(record, "body", copy) < 0)
		return -ENOMEM;
	for (int i = 0; i < CUT_STEPS && r == -EMSGSIZE && cut_longest(copy); i++)
		r = dump(record, out);
	if (r == -EMSGSIZE) {
		if (json_object_set_new(record, "body", json_pack("{s:s}", "cut", "all")) < 0)
			return -ENOMEM;
		r = dump(record, out);
	}
	return r;
}

int chain_format(struct chain_head *head, int64_t wall_ns, const char *class_name,
    const char *tenant, const json_t *subject, const json_t *body, struct buf *out)
{
	struct chain_head next = {.seq = head->seq + 1, .time_ns = wall_ns};
	char time[32], prev[DIGEST_HEX_LEN + 1];
	json_auto_t *none = json_object(), *record = NULL;
	size_t start = out->len;
	json_t *body_copy, *subject_copy;
	int r;

	if (strlen(class_name) > CHAIN_CLASS_MAX || !none)
		return none ? -EINVAL : -ENOMEM;
	if (wall_ns < head->time_ns && strcmp(class_name, CHAIN_CLOCK_CLASS) != 0)
		next.time_ns = head->time_ns;
	clock_format(time, sizeof time, next.time_ns);
	hex_encode(prev, head->digest, DIGEST_LEN);
	/* copies: jansson would count references of what is const here */
	subject_copy = subject ? json_deep_copy(subject) : json_incref(none);
	body_copy = body ? json_deep_copy(body) : json_incref(none);
	record = json_pack("{s:i, s:I, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:s}", "v", CHAIN_VERSION,
	    "seq", (json_int_t)next.seq, "time", time, "boot", clock_boot_id(), "mono_ns",
	    (json_int_t)clock_mono_ns(), "class", class_name, "tenant", tenant ? tenant : "",
	    "subject", subject_copy, "body", body_copy, "prev", prev);
	if (!record)
		return -ENOMEM;
	if ((r = dump_within(record, body ? body : none, out)) < 0)
		return r;
	digest_sha256(out->data + start, out->len - start, next.digest);
	*head = next;
	return 0;
}
