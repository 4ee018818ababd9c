#include "broker/export/otlp_text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/record_json.h"
#include "broker/export/sink.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"

#define LITERAL(out, s) buf_put((out), (s), sizeof(s) - 1)

static void put_text(struct buf *out, const char *s)
{
	record_json_string(out, s, strlen(s));
}

static void put_attribute(struct buf *out, const char *key, const char *value)
{
	LITERAL(out, "{\"key\":");
	put_text(out, key);
	LITERAL(out, ",\"value\":{\"stringValue\":");
	put_text(out, value);
	LITERAL(out, "}}");
}

/* 64-bit numbers are strings in protobuf's JSON. */
static void put_number(struct buf *out, const char *key, uint64_t value)
{
	buf_printf(out, "{\"key\":\"%s\",\"value\":{\"intValue\":\"%llu\"}}", key,
	    (unsigned long long)value);
}

static void put_event(struct buf *out, const struct ocsf_event *ev)
{
	static const struct {
		int number;
		const char *text;
	} severities[] = {{0, ""}, {9, "INFO"}, {10, "INFO2"}, {13, "WARN"}, {17, "ERROR"}};

	buf_printf(out,
	    "{\"timeUnixNano\":\"%lld\",\"severityNumber\":%d,\"severityText\":\"%s\",\"body\":{"
	    "\"stringValue\":",
	    (long long)ev->time_ns, severities[ev->severity].number, severities[ev->severity].text);
	record_json_string(out, (const char *)ev->line.data, ev->line.len);
	LITERAL(out, "},\"attributes\":[");
	put_attribute(out, "postern.kind", ev->checkpoint ? "checkpoint" : "record");
	LITERAL(out, ",");
	put_number(out, "postern.seq", ev->number);
	LITERAL(out, ",");
	put_attribute(out, ev->checkpoint ? "postern.root" : "postern.leaf", ev->leaf);
	LITERAL(out, ",");
	put_number(out, "ocsf.class_uid", (uint64_t)ev->class_uid);
	LITERAL(out, "]}");
}

void otlp_request(const struct sink_batch *b, size_t from, size_t to, struct buf *out)
{
	if (from == to) {
		LITERAL(out, "{\"resourceLogs\":[]}");
		return;
	}
	LITERAL(out, "{\"resourceLogs\":[{\"resource\":{\"attributes\":[");
	put_attribute(out, "service.name", "postern");
	LITERAL(out, ",");
	put_attribute(out, "service.version", POSTERN_VERSION);
	LITERAL(out, ",");
	put_attribute(out, "postern.origin", b->origin);
	LITERAL(out, ",");
	put_attribute(out, "postern.log", b->log);
	LITERAL(out, "]},\"scopeLogs\":[{\"scope\":{\"name\":\"postern\"},\"logRecords\":[");
	for (size_t i = from; i < to; i++) {
		if (i > from)
			LITERAL(out, ",");
		put_event(out, &b->events[i]);
	}
	LITERAL(out, "]}]}]}");
}

static int count_of(const json_t *v, uint64_t *ret)
{
	*ret = 0;
	if (!v || json_is_null(v))
		return 0;
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return 0;
	}
	return json_is_string(v) ? str_to_u64(json_string_value(v), 0, INT64_MAX, ret) : -EBADMSG;
}

int otlp_answer(const void *body, size_t len, struct otlp_answer *ret, struct err *e)
{
	struct otlp_answer out = {0};
	json_auto_t *o = NULL;
	const json_t *partial, *text;

	if (len == 0) {
		*ret = out;
		return 0;
	}
	if (msg_json_parse(body, len, &o, NULL) < 0 || !json_is_object(o))
		return err_set(e, -EBADMSG, "the server's answer is not OTLP");
	partial = json_object_get(o, "partialSuccess");
	if (partial && !json_is_object(partial) && !json_is_null(partial))
		return err_set(e, -EBADMSG, "the server's answer is not OTLP");
	if (count_of(json_object_get(partial, "rejectedLogRecords"), &out.rejected) < 0)
		return err_set(e, -EBADMSG, "the server's answer has no count in it");
	text = json_object_get(partial, "errorMessage");
	if (json_is_string(text))
		str_escape(out.message, sizeof out.message, json_string_value(text),
		    json_string_length(text));
	*ret = out;
	return 0;
}
