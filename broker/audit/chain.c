#include "broker/audit/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/record_class.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/merkle.h"
#include "lib/str.h"

#define CUT_STEPS 64

#define LITERAL(out, s) buf_put((out), (s), sizeof(s) - 1)

static void put_text(struct buf *out, const char *s)
{
	record_json_string(out, s, strlen(s));
}

static void put_object(struct buf *out, const struct chain_what *w, const json_t *o)
{
	if (o)
		record_json(out, o, w->personal, w->personal_arg);
	else
		LITERAL(out, "{}");
}

/* clock_format() costs as much as all the rest: within a second only the fraction changes. */
static void put_time(struct buf *out, int64_t time_ns)
{
	static char text[32];
	static int64_t second = -1;
	int64_t us = time_ns % NSEC_PER_SEC / 1000;

	if (time_ns < 0 || time_ns / NSEC_PER_SEC != second) {
		clock_format(text, sizeof text, time_ns);
		second = time_ns < 0 ? -1 : time_ns / NSEC_PER_SEC;
	} else {
		for (size_t i = 25; i >= 20; i--, us /= 10)
			text[i] = (char)('0' + us % 10);
	}
	put_text(out, text);
}

static void put_record(struct buf *out, const struct log_head *head, const struct chain_what *w,
    const struct chain_next *n, const json_t *body)
{
	const struct record_class *c = record_class_find(w->class_name);
	char prev[DIGEST_HEX_LEN + 1];

	hex_encode(prev, head->leaf, DIGEST_LEN);
	LITERAL(out, "{\"v\":2,\"log\":");
	put_text(out, w->log);
	LITERAL(out, ",\"seq\":");
	record_json_int(out, (long long)n->seq);
	LITERAL(out, ",\"time\":");
	put_time(out, n->time_ns);
	LITERAL(out, ",\"boot\":");
	put_text(out, clock_boot_id());
	LITERAL(out, ",\"mono_ns\":");
	record_json_int(out, clock_mono_ns());
	LITERAL(out, ",\"class\":");
	put_text(out, w->class_name);
	LITERAL(out, ",\"class_uid\":");
	record_json_int(out, c->class_uid);
	LITERAL(out, ",\"activity_id\":");
	record_json_int(out, c->activity_id);
	LITERAL(out, ",\"type_uid\":");
	record_json_int(out, (long long)c->class_uid * 100 + c->activity_id);
	LITERAL(out, ",\"tenant\":");
	put_text(out, w->tenant ? w->tenant : "");
	LITERAL(out, ",\"subject\":");
	put_object(out, w, w->subject);
	LITERAL(out, ",\"body\":");
	put_object(out, w, body);
	LITERAL(out, ",\"prev\":");
	put_text(out, prev);
	LITERAL(out, "}");
}

/* -EMSGSIZE, with nothing appended. */
static int put_within(struct buf *out, const struct log_head *head, const struct chain_what *w,
    const struct chain_next *n, const json_t *body)
{
	size_t start = out->len;

	put_record(out, head, w, n, body);
	if (out->error == 0 && out->len - start <= RECORD_MAX)
		return 0;
	if (out->error == -ENOMEM)
		return -ENOMEM;
	out->len = start;
	out->error = 0;
	return -EMSGSIZE;
}

static int put_cut(struct buf *out, const struct log_head *head, const struct chain_what *w,
    const struct chain_next *n)
{
	json_auto_t *copy = w->body ? json_deep_copy(w->body) : json_object(), *all = NULL;
	int r = -EMSGSIZE;

	if (!copy)
		return -ENOMEM;
	for (int i = 0; i < CUT_STEPS && r == -EMSGSIZE && body_cut(copy); i++)
		r = put_within(out, head, w, n, copy);
	if (r != -EMSGSIZE)
		return r;
	all = json_pack("{s:s}", "cut", "all");
	return all ? put_within(out, head, w, n, all) : -ENOMEM;
}

/* The body beside the record, which names it. */
static int put_beside(
    struct buf *out, const struct log_head *head, const struct chain_what *w, struct chain_next *n)
{
	json_auto_t *small = NULL;
	int r = w->spill && w->body
	            ? body_spill(w->body, w->personal, w->personal_arg, w->spill, &small)
	            : -EMSGSIZE;

	if (r == 0 && (r = put_within(out, head, w, n, small)) == 0)
		n->body_len = w->spill->len;
	return r == -EMSGSIZE ? put_cut(out, head, w, n) : r;
}

int chain_format(const struct log_head *head, const struct chain_what *w, struct buf *out,
    struct chain_next *ret)
{
	struct chain_next n = {.seq = head->seq + 1, .time_ns = w->wall_ns};
	size_t start = out->len;
	int r;

	if (strlen(w->class_name) > CHAIN_CLASS_MAX)
		return -EINVAL;
	if (w->wall_ns < head->time_ns && strcmp(w->class_name, CHAIN_CLOCK_CLASS) != 0)
		n.time_ns = head->time_ns;
	r = put_within(out, head, w, &n, w->body);
	if (r == -EMSGSIZE)
		r = put_beside(out, head, w, &n);
	if (r < 0)
		return r;
	n.len = out->len - start;
	merkle_leaf(out->data + start, n.len, n.leaf);
	*ret = n;
	return 0;
}

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int chain_prev(const void *data, size_t len, uint8_t ret[DIGEST_LEN])
{
	static const char head[] = "{\"v\":2,", name[] = ",\"prev\":\"";
	const size_t tail = sizeof name - 1 + DIGEST_HEX_LEN + 2;
	uint8_t digest[DIGEST_LEN];
	const char *at = data;

	if (len < sizeof head + tail || memcmp(at, head, sizeof head - 1) != 0)
		return -EBADMSG;
	at += len - tail;
	if (memcmp(at, name, sizeof name - 1) != 0)
		return -EBADMSG;
	at += sizeof name - 1;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int high = unhex(at[2 * i]), low = unhex(at[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EBADMSG;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, digest, DIGEST_LEN);
	return 0;
}

void chain_advance(struct log_head *head, const struct chain_next *n)
{
	head->seq = n->seq;
	head->time_ns = n->time_ns;
	head->bytes += n->len + n->body_len;
	memcpy(head->leaf, n->leaf, DIGEST_LEN);
}
