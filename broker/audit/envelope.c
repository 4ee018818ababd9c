#include "broker/audit/envelope.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "lib/err.h"
#include "lib/msg.h"

#define TIME     ",\"time\":\""
#define TAIL     ",\"prev\":\""
#define TIME_LEN (sizeof TIME - 1 + ENVELOPE_TIME + 2)
#define TAIL_LEN (sizeof TAIL - 1 + DIGEST_HEX_LEN + 2)

static const char beginning[] = "{\"v\":2,\"log\":\"";

int envelope_init(struct envelope_reader *r, const char *log)
{
	int n;

	if (!str_copy(r->log, sizeof r->log, log))
		return -EINVAL;
	n = snprintf(r->head, sizeof r->head, "%s%s\",\"seq\":", beginning, log);
	r->head_len = (size_t)n;
	return n > 0 && r->head_len < sizeof r->head ? 0 : -EINVAL;
}

bool envelope_log(const void *data, size_t len, char ret[NAME_MAX_LEN + 1])
{
	const char *from = (const char *)data + sizeof beginning - 1, *end;
	size_t left = len - (sizeof beginning - 1), n;

	if (len < sizeof beginning || memcmp(data, beginning, sizeof beginning - 1) != 0 ||
	    !(end = memchr(from, '"', left < NAME_MAX_LEN + 1 ? left : NAME_MAX_LEN + 1)))
		return false;
	n = (size_t)(end - from);
	if (!name_valid(from, n))
		return false;
	memcpy(ret, from, n);
	ret[n] = '\0';
	return true;
}

static bool hex(const char *p, uint8_t ret[DIGEST_LEN])
{
	/* one more than the digit's value; 0: none */
	static const uint8_t digit[256] = {
	    ['0'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ['a'] = 11, 12, 13, 14, 15, 16};
	unsigned bad = 0;

	for (size_t i = 0; i < DIGEST_LEN; i++) {
		unsigned hi = digit[(uint8_t)p[2 * i]], lo = digit[(uint8_t)p[2 * i + 1]];

		bad |= !hi | !lo;
		ret[i] = (uint8_t)((hi - 1) << 4 | ((lo - 1) & 15));
	}
	return !bad;
}

static bool time_ok(const char *p)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";

	for (size_t i = 0; i < ENVELOPE_TIME; i++)
		if (form[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != form[i])
			return false;
	return true;
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
static bool plain(const char *data, size_t len)
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

/* Of at most 19 digits; its length, 0: it is not that number. */
static size_t number(const char *p, size_t len, uint64_t want)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < len && i < 19 && p[i] >= '0' && p[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(p[i] - '0');
	return n == want && i > 0 && (*p != '0' || i == 1) ? i : 0;
}

/* {"v":2,"log":"demo","seq":7,"time":"2026-...Z",  ...  ,"prev":"<64 hex>"} */
static bool quick(const struct envelope_reader *r, uint64_t seq, const void *data, size_t len,
    struct envelope *ret)
{
	const char *p = data, *tail;
	size_t n;

	if (len < r->head_len + TIME_LEN + TAIL_LEN + 20 || memcmp(p, r->head, r->head_len) != 0 ||
	    (n = number(p + r->head_len, 20, seq)) == 0)
		return false;
	p += r->head_len + n;
	if (memcmp(p, TIME, sizeof TIME - 1) != 0 || !time_ok(p + sizeof TIME - 1) ||
	    memcmp(p + TIME_LEN - 2, "\",", 2) != 0)
		return false;
	tail = (const char *)data + len - TAIL_LEN;
	if (memcmp(tail, TAIL, sizeof TAIL - 1) != 0 || !hex(tail + sizeof TAIL - 1, ret->prev) ||
	    memcmp(tail + TAIL_LEN - 2, "\"}", 2) != 0 || !plain(data, len))
		return false;
	ret->version = 2;
	memcpy(ret->time, p + sizeof TIME - 1, ENVELOPE_TIME);
	ret->time[ENVELOPE_TIME] = '\0';
	return true;
}

static const struct msg_field fields_1[] = {
    {"v", MSG_INT, INT32_MAX, false},
    {"seq", MSG_INT, INT64_MAX, false},
    {"time", MSG_STRING, 32, false},
    {"boot", MSG_STRING, 64, false},
    {"mono_ns", MSG_INT, INT64_MAX, false},
    {"class", MSG_STRING, CHAIN_CLASS_MAX, false},
    {"tenant", MSG_STRING, NAME_MAX_LEN, false},
    {"subject", MSG_OBJECT, 64, false},
    {"body", MSG_OBJECT, 256, false},
    {"prev", MSG_STRING, DIGEST_HEX_LEN, false},
    {NULL, MSG_INT, 0, false},
};
static const struct msg_field fields_2[] = {
    {"v", MSG_INT, INT32_MAX, false},
    {"log", MSG_STRING, NAME_MAX_LEN, false},
    {"seq", MSG_INT, INT64_MAX, false},
    {"time", MSG_STRING, 32, false},
    {"boot", MSG_STRING, 64, false},
    {"mono_ns", MSG_INT, INT64_MAX, false},
    {"class", MSG_STRING, CHAIN_CLASS_MAX, false},
    {"class_uid", MSG_INT, INT32_MAX, false},
    {"activity_id", MSG_INT, INT32_MAX, false},
    {"type_uid", MSG_INT, INT64_MAX, false},
    {"tenant", MSG_STRING, NAME_MAX_LEN, false},
    {"subject", MSG_OBJECT, 64, false},
    {"body", MSG_OBJECT, 256, false},
    {"prev", MSG_STRING, DIGEST_HEX_LEN, false},
    {NULL, MSG_INT, 0, false},
};

static int parsed(const struct envelope_reader *r, uint64_t seq, const json_t *o,
    struct envelope *ret, struct err *e)
{
	json_int_t v = json_integer_value(json_object_get(o, "v"));
	struct envelope out = {.version = v == 1 ? 1 : 2};
	const char *prev, *time;
	struct err why = ERR_INIT;

	if (json_is_integer(json_object_get(o, "v")) && v != 1 && v != 2)
		return err_set(e, -EBADMSG, "is of an unknown version");
	if (msg_check_fields("record", o, v == 1 ? fields_1 : fields_2, &why) < 0)
		return err_set(e, -EBADMSG, "is not a record");
	if (v == 2 && strcmp(json_string_value(json_object_get(o, "log")), r->log) != 0)
		return err_set(e, -EBADMSG, "is of another log");
	if (v == 1 && strcmp(r->log, LOG_HOST) != 0)
		return err_set(e, -EBADMSG, "is of an unknown version");
	if ((uint64_t)json_integer_value(json_object_get(o, "seq")) != seq)
		return err_set(e, -EBADMSG, "has another number inside");
	prev = json_string_value(json_object_get(o, "prev"));
	time = json_string_value(json_object_get(o, "time"));
	if (strlen(prev) != DIGEST_HEX_LEN || !hex(prev, out.prev))
		return err_set(e, -EBADMSG, "holds no digest of the record before");
	if (strlen(time) != ENVELOPE_TIME || !time_ok(time))
		return err_set(e, -EBADMSG, "has no time");
	memcpy(out.time, time, ENVELOPE_TIME);
	*ret = out;
	return 0;
}

int envelope_read(const struct envelope_reader *r, uint64_t seq, const void *data, size_t len,
    struct envelope *ret, struct err *e)
{
	json_auto_t *o = NULL;

	if (len > RECORD_MAX)
		return err_set(e, -EBADMSG, "is too long");
	if (quick(r, seq, data, len, ret))
		return 0;
	if (msg_json_parse(data, len, &o, NULL) < 0)
		return err_set(e, -EBADMSG, "is not JSON");
	if (!plain(data, len))
		return err_set(e, -EBADMSG, "is more than one line");
	return parsed(r, seq, o, ret, e);
}

bool envelope_clock(const void *data, size_t len)
{
	json_auto_t *o = NULL;
	const char *name;

	if (msg_json_parse(data, len, &o, NULL) < 0)
		return false;
	name = json_string_value(json_object_get(o, "class"));
	return name && strcmp(name, CHAIN_CLOCK_CLASS) == 0;
}
