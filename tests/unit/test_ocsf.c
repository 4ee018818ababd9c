/* What every sink sends: OCSF events, and their syslog frames. */
#include "broker/export/ocsf.h"

#include <jansson.h>
#include <stdarg.h>
#include <setjmp.h> /* cmocka */
#include <string.h>

#include <cmocka.h>

#include "broker/export/rfc5424.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/str.h"

#define GRANT                                                                                      \
	"{\"v\":2,\"log\":\"demo\",\"seq\":7,\"time\":\"2026-11-23T15:38:48.123456Z\",\"boot\":"   \
	"\"b\",\"mono_ns\":1,\"class\":\"grant\",\"class_uid\":3003,\"activity_id\":1,\"type_"     \
	"uid\":300301,\"tenant\":\"demo\",\"subject\":{\"conn\":\"c1\",\"peer\":\"192.0.2.1:"      \
	"4711\",\"person\":\"alice\",\"session\":\"s1\"},\"body\":{\"rule\":\"r\"},\"prev\":"      \
	"\"00000000000000000000000000000000000000000000000000000000000000ff\"}"

static const struct ocsf_from from = {"log.example/gw", "demo", NULL, OCSF_LINE_MAX, 1000000000};

static json_t *event(const struct ocsf_from *f, const void *data, size_t len, struct ocsf_event *ev)
{
	json_t *o;

	assert_int_equal(ocsf_record(f, 7, data, len, ev), 0);
	assert_null(memchr(ev->line.data, '\n', ev->line.len));
	o = json_loadb((const char *)ev->line.data, ev->line.len, JSON_ALLOW_NUL, NULL);
	assert_non_null(o);
	return o;
}

static const char *at(const json_t *o, const char *a, const char *b)
{
	const char *s = json_string_value(json_object_get(json_object_get(o, a), b));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void puts_a_record_where_ocsf_has_a_place(void **state)
{
	struct ocsf_event ev;
	json_auto_t *o = event(&from, GRANT, strlen(GRANT), &ev);
	uint8_t leaf[DIGEST_LEN];
	char hex[DIGEST_HEX_LEN + 1];

	(void)state;
	digest_sha256_2("\0", 1, GRANT, strlen(GRANT), leaf);
	hex_encode(hex, leaf, DIGEST_LEN);
	assert_int_equal(number(o, "class_uid"), 3003);
	assert_int_equal(number(o, "category_uid"), 3);
	assert_int_equal(number(o, "type_uid"), 300301);
	assert_int_equal(number(o, "time"), 1795448328123);
	assert_int_equal(number(json_object_get(o, "src_endpoint"), "port"), 4711);
	assert_string_equal(at(o, "src_endpoint", "ip"), "192.0.2.1");
	assert_string_equal(at(o, "metadata", "uid"), "log.example/gw/demo/7");
	assert_string_equal(at(json_object_get(o, "actor"), "user", "name"), "alice");
	assert_string_equal(at(o, "session", "uid"), "s1");
	assert_string_equal(at(json_object_get(o, "attestation"), "fingerprint", "value"), hex);
	assert_string_equal(ev.leaf, hex);
	assert_string_equal(json_string_value(json_object_get(o, "raw_data")), GRANT);
	assert_string_equal(at(json_object_get(o, "unmapped"), "body", "rule"), "r");
	assert_null(
	    json_object_get(json_object_get(json_object_get(o, "unmapped"), "subject"), "person"));
	ocsf_done(&ev);
}

static void reveals_only_what_it_was_given(void **state)
{
	static const char text[] =
	    "{\"class\":\"grant\",\"subject\":{\"person\":\"c:1\",\"role\":\"c:1\"},\"body\":{}}";
	json_auto_t *values = json_pack("{s:s}", "c:1", "alice");
	struct ocsf_from f = from;
	struct ocsf_event ev;
	json_t *o = event(&f, text, strlen(text), &ev);

	(void)state;
	assert_string_equal(at(json_object_get(o, "actor"), "user", "name"), "c:1");
	json_decref(o);
	ocsf_done(&ev);
	f.personal = values;
	o = event(&f, text, strlen(text), &ev);
	assert_string_equal(at(json_object_get(o, "actor"), "user", "name"), "alice");
	assert_string_equal(at(json_object_get(o, "unmapped"), "subject", "role"), "c:1");
	json_decref(o);
	ocsf_done(&ev);
}

static void makes_an_event_of_anything(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "null", "{\"class\":7,\"time\":[]}",
	    "{\"subject\":1,\"body\":null,\"prev\":3}", "\xff\xfe",
	    "{\"class_uid\":-1,\"activity_id\":1e9}"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct ocsf_event ev;
		json_auto_t *o = event(&from, texts[i], strlen(texts[i]), &ev);

		assert_int_equal(number(json_object_get(o, "metadata"), "sequence"), 7);
		assert_true(ev.time_ns == from.now_ns);
		ocsf_done(&ev);
	}
}

static void keeps_bytes_that_are_no_text_as_base64(void **state)
{
	struct ocsf_event ev;
	json_auto_t *o = event(&from, "\xff\0x", 3, &ev);

	(void)state;
	assert_null(json_object_get(o, "raw_data"));
	assert_string_equal(at(o, "unmapped", "raw_base64"), "/wB4");
	ocsf_done(&ev);
}

/* Each limit, and the bytes around it. */
static void writes_no_line_longer_than_the_sink_takes(void **state)
{
	size_t full;
	struct ocsf_event ev;
	struct ocsf_from f = from;
	json_t *o = event(&f, GRANT, strlen(GRANT), &ev);

	(void)state;
	full = ev.line.len;
	json_decref(o);
	ocsf_done(&ev);
	for (size_t max = full - 2; max <= full + 2; max++) {
		bool cut = max < full;

		f.max = max;
		o = event(&f, GRANT, strlen(GRANT), &ev);
		assert_true(ev.line.len <= max);
		assert_int_equal(json_object_get(o, "raw_data") == NULL, cut);
		assert_int_equal(
		    json_is_true(json_object_get(json_object_get(o, "metadata"), "is_truncated")),
		    cut);
		assert_string_equal(at(o, "metadata", "uid"), "log.example/gw/demo/7");
		json_decref(o);
		ocsf_done(&ev);
	}
}

/* A sink that cannot make a line of a record would ask for it for ever. */
static void no_record_is_too_long_for_a_line(void **state)
{
	static const char *const before[] = {"\"class\":\"",
	    "\"class\":\"x\",\"subject\":{\"person\":\"",
	    "\"class\":\"x\",\"subject\":{\"session\":\"",
	    "\"class\":\"x\",\"subject\":{\"peer\":\""};
	static char much[OCSF_LINE_MAX - 1024];
	struct ocsf_from f = from;
	struct ocsf_event ev;

	(void)state;
	f.max = OCSF_LINE_MAX;
	memset(much, '\x7f', sizeof much - 1);
	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
		cleanup_buf struct buf b;
		json_t *o;

		buf_init(&b, 2 * OCSF_LINE_MAX);
		buf_printf(&b, "{\"v\":2,%s%s\"%s}", before[i], much, i == 0 ? "" : "}");
		o = event(&f, (const char *)b.data, b.len, &ev);
		assert_true(ev.line.len <= f.max);
		assert_string_equal(at(o, "metadata", "uid"), "log.example/gw/demo/7");
		json_decref(o);
		ocsf_done(&ev);
	}
}

static void reads_the_time_strictly(void **state)
{
	static const char *const bad[] = {"", "2026-11-23T15:38:48Z", "2026-11-23 15:38:48.123456Z",
	    "2262-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z",
	    "2026-11-23T15:38:48.12345xZ", "2026-11-23T15:38:48.123456Zz"};
	int64_t t = 5;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_true(ocsf_time(bad[i], &t) < 0);
	assert_int_equal(t, 5);
	assert_int_equal(ocsf_time("1970-01-01T00:00:01.000002Z", &t), 0);
	assert_int_equal(t, 1000002000);
}

static void makes_an_event_of_a_checkpoint(void **state)
{
	static const char note[] = "not a note";
	struct ocsf_event ev;
	json_auto_t *o = NULL;

	(void)state;
	assert_int_equal(ocsf_checkpoint(&from, 9, note, strlen(note), &ev), 0);
	o = json_loadb((const char *)ev.line.data, ev.line.len, 0, NULL);
	assert_string_equal(at(o, "metadata", "uid"), "log.example/gw/demo/9/checkpoint");
	assert_int_equal(number(o, "status_id"), 2);
	assert_string_equal(json_string_value(json_object_get(o, "raw_data")), note);
	ocsf_done(&ev);
}

static void frames_a_message_with_its_length_in_bytes(void **state)
{
	struct ocsf_event ev;
	json_t *o = event(&from, GRANT, strlen(GRANT), &ev);
	struct buf b;
	uint64_t len;
	char digits[8] = "", *space;

	(void)state;
	json_decref(o);
	buf_init(&b, 1 << 20);
	rfc5424_frame(&ev, "log.example/gw", "demo", &b);
	assert_int_equal(buf_status(&b), 0);
	space = memchr(b.data, ' ', b.len);
	memcpy(digits, b.data, (size_t)(space - (char *)b.data));
	assert_int_equal(str_to_u64(digits, 1, 1 << 20, &len), 0);
	assert_int_equal(len, b.len - strlen(digits) - 1);
	assert_memory_equal(space,
	    " <86>1 2026-11-23T15:38:48.123456Z log.example postern - record [postern@32473 "
	    "origin=\"log.example/gw\" log=\"demo\" seq=\"7\" leaf=\"",
	    118);
	ocsf_done(&ev);
	buf_done(&b);
}

static void escapes_what_would_end_a_parameter(void **state)
{
	struct ocsf_event ev = {.number = 1, .severity = OCSF_HIGH};
	struct buf b;

	(void)state;
	buf_init(&ev.line, 16);
	buf_put(&ev.line, "{}", 2);
	buf_init(&b, 4096);
	rfc5424_frame(&ev, "a b\x01/x\"]\\\n", "de\"]", &b);
	assert_non_null(memmem(b.data, b.len, "<83>1 ", 6));
	assert_non_null(memmem(b.data, b.len, " a?b? postern - ", 16));
	assert_non_null(memmem(b.data, b.len, "origin=\"a b?/x\\\"\\]\\\\?\"", 21));
	assert_non_null(memmem(b.data, b.len, "log=\"de\\\"\\]\"", 12));
	assert_null(memchr(b.data, '\n', b.len));
	assert_null(memmem(b.data, b.len, "leaf=", 5));
	ocsf_done(&ev);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(puts_a_record_where_ocsf_has_a_place),
	    cmocka_unit_test(reveals_only_what_it_was_given),
	    cmocka_unit_test(makes_an_event_of_anything),
	    cmocka_unit_test(keeps_bytes_that_are_no_text_as_base64),
	    cmocka_unit_test(writes_no_line_longer_than_the_sink_takes),
	    cmocka_unit_test(reads_the_time_strictly),
	    cmocka_unit_test(no_record_is_too_long_for_a_line),
	    cmocka_unit_test(makes_an_event_of_a_checkpoint),
	    cmocka_unit_test(frames_a_message_with_its_length_in_bytes),
	    cmocka_unit_test(escapes_what_would_end_a_parameter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
