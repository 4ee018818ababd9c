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

#define TAIL     ",\"prev\":\""
#define TAIL_LEN (sizeof TAIL - 1 + DIGEST_HEX_LEN + 2)
#define HEAD_MAX 128

int envelope_init(struct envelope_reader *r, const char *log)
{
	return str_copy(r->log, sizeof r->log, log) ? 0 : -EINVAL;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex(const char *p, uint8_t ret[DIGEST_LEN])
{
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int hi = digit(p[2 * i]), lo = digit(p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static bool time_ok(const char *p)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";

	for (size_t i = 0; i < ENVELOPE_TIME; i++)
		if (form[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != form[i])
			return false;
	return true;
}

static bool plain(const uint8_t *p, size_t len)
{
	unsigned bad = 0;

	for (size_t i = 0; i < len; i++)
		bad |= p[i] < ' ';
	return !bad;
}

/* {"v":2,"log":"demo","seq":7,"time":"2026-...Z",  ...  ,"prev":"<64 hex>"} */
static bool quick(const struct envelope_reader *r, uint64_t seq, const void *data, size_t len,
    struct envelope *ret)
{
	const char *p = data, *tail;
	char head[HEAD_MAX];
	int n = snprintf(head, sizeof head, "{\"v\":2,\"log\":\"%s\",\"seq\":%llu,\"time\":\"",
	    r->log, (unsigned long long)seq);
	size_t at = n > 0 ? (size_t)n : 0;

	if (at == 0 || at >= sizeof head || len < at + ENVELOPE_TIME + 2 + TAIL_LEN ||
	    memcmp(p, head, at) != 0 || !time_ok(p + at) || p[at + ENVELOPE_TIME] != '"' ||
	    p[at + ENVELOPE_TIME + 1] != ',')
		return false;
	tail = p + len - TAIL_LEN;
	if (memcmp(tail, TAIL, sizeof TAIL - 1) != 0 || !hex(tail + sizeof TAIL - 1, ret->prev) ||
	    tail[TAIL_LEN - 2] != '"' || tail[TAIL_LEN - 1] != '}' || !plain(data, len))
		return false;
	ret->version = 2;
	memcpy(ret->time, p + at, ENVELOPE_TIME);
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
