#include "broker/export/ocsf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/audit/body.h"
#include "broker/audit/private.h"
#include "broker/audit/record_class.h"
#include "broker/audit/record_json.h"
#include "creds/note.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define MS             (NSEC_PER_SEC / 1000)
#define REVEAL_DEPTH   3
#define CLASS_FINDING  2004
#define CLASS_CATEGORY 1000
#define UID_MAX        512
#define YEAR_MAX       2261 /* the last whole one that nanoseconds in 64 bits hold */

enum { STATUS_SUCCESS = 1, STATUS_FAILURE = 2 };

void ocsf_done(struct ocsf_event *ev)
{
	buf_done(&ev->line);
}

int ocsf_time(const char *text, int64_t *ret)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";
	int n[7] = {0};
	size_t at = 0;
	struct tm tm = {0};

	if (strlen(text) != sizeof form - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof form - 1; i++) {
		if (form[i] != '0') {
			if (text[i] != form[i])
				return -EINVAL;
			at++;
		} else if (text[i] < '0' || text[i] > '9') {
			return -EINVAL;
		} else if (at < 7) {
			n[at] = n[at] * 10 + (text[i] - '0');
		}
	}
	if (n[0] < 1970 || n[0] > YEAR_MAX)
		return -EINVAL;
	tm.tm_year = n[0] - 1900;
	tm.tm_mon = n[1] - 1;
	tm.tm_mday = n[2];
	tm.tm_hour = n[3];
	tm.tm_min = n[4];
	tm.tm_sec = n[5];
	*ret = (int64_t)timegm(&tm) * NSEC_PER_SEC + (int64_t)n[6] * 1000;
	return 0;
}

/* ---- pieces ---- */

static json_t *take(json_t *o, const char *key)
{
	json_t *v = json_incref(json_object_get(o, key));

	(void)json_object_del(o, key);
	return v;
}

static const char *text_of(const json_t *v)
{
	const char *s = json_string_value(v);

	return s ? s : "";
}

/* The values behind the commitments, where there are any; erased ones stay commitments. */
static void reveal(json_t *o, const json_t *personal, int depth)
{
	const char *key;
	json_t *v, *value;

	json_object_foreach(o, key, v)
	{
		if (json_is_object(v) && depth > 0)
			reveal(v, personal, depth - 1);
		if (json_is_string(v) && private_field(key) &&
		    (value = json_object_get(personal, json_string_value(v))) != NULL)
			(void)json_object_set(o, key, value); /* a member that is there: allowed */
	}
}

static json_t *fingerprint(const char *hex)
{
	return json_pack("{s:i, s:s, s:s}", "algorithm_id", 99, "algorithm",
	    "SHA-256, RFC 6962 leaf of raw_data", "value", hex);
}

static void uid_of(const struct ocsf_from *f, uint64_t number, struct buf *out)
{
	buf_printf(out, "%s/%s/%llu", f->origin, f->log, (unsigned long long)number);
}

static json_t *metadata(const struct ocsf_from *f, const struct ocsf_event *ev, const char *code)
{
	cleanup_buf struct buf uid;
	const char *text;

	buf_init(&uid, UID_MAX);
	uid_of(f, ev->number, &uid);
	if (ev->checkpoint)
		buf_printf(&uid, "/checkpoint");
	text = buf_cstr(&uid);
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:[s], s:s, s:I, s:s, s:s, s:s, s:I}", "version",
	    OCSF_VERSION, "product", "name", "Postern", "vendor_name", "Postern", "version",
	    POSTERN_VERSION, "profiles", "record_integrity", "uid", text ? text : "", "sequence",
	    (json_int_t)ev->number, "log_name", f->log, "log_provider", f->origin, "event_code",
	    code, "logged_time", (json_int_t)(f->now_ns / MS));
}

static json_t *attestation(
    const struct ocsf_from *f, const struct ocsf_event *ev, const char *prev_hex)
{
	json_t *o =
	    json_pack("{s:s, s:o}", "chain_uid", f->origin, "fingerprint", fingerprint(ev->leaf));
	cleanup_buf struct buf uid;
	const char *text;

	buf_init(&uid, UID_MAX);
	if (!o || !prev_hex || ev->number <= 1)
		return o;
	uid_of(f, ev->number - 1, &uid);
	text = buf_cstr(&uid);
	(void)json_object_set_new(o, "prev_event",
	    json_pack("{s:s, s:o}", "uid", text ? text : "", "fingerprint", fingerprint(prev_hex)));
	return o;
}

/* "192.0.2.1:4711", "[2001:db8::1]:22", or a commitment. */
static json_t *endpoint(const char *peer)
{
	const char *colon = strrchr(peer, ':');
	bool six = peer[0] == '[';
	uint64_t port;

	if (private_is_text(peer, strlen(peer)))
		return json_pack("{s:s}", "uid", peer);
	if (!colon || str_to_u64(colon + 1, 0, 65535, &port) < 0 || (six && colon[-1] != ']'))
		return json_pack("{s:s}", "ip", peer);
	return json_pack("{s:s%, s:I}", "ip", peer + six, (size_t)(colon - peer) - (six ? 2u : 0u),
	    "port", (json_int_t)port);
}

static enum ocsf_severity severity(const struct record_class *c)
{
	if (c->class_uid == CLASS_FINDING)
		return OCSF_HIGH;
	if (c->kind == RECORD_DENIAL || strcmp(c->name, "log.lost") == 0 ||
	    strcmp(c->name, "clock.stepped") == 0)
		return OCSF_MEDIUM;
	return OCSF_INFORMATIONAL;
}

static const char *severity_name(enum ocsf_severity s)
{
	static const char *const names[] = {"Unknown", "Informational", "Low", "Medium", "High"};

	return names[s];
}

/* The members that every event has. */
static json_t *event_new(const struct ocsf_from *f, const struct ocsf_event *ev, int activity,
    const char *code, bool good)
{
	json_t *o = json_pack("{s:i, s:i, s:i, s:I, s:I, s:i, s:s, s:i, s:s, s:s}", "class_uid",
	    ev->class_uid, "category_uid", ev->class_uid / CLASS_CATEGORY, "activity_id", activity,
	    "type_uid", (json_int_t)ev->class_uid * 100 + activity, "time",
	    (json_int_t)(ev->time_ns / MS), "severity_id", (int)ev->severity, "severity",
	    severity_name(ev->severity), "status_id", good ? STATUS_SUCCESS : STATUS_FAILURE,
	    "status", good ? "Success" : "Failure", "message", code);

	if (o)
		(void)json_object_set_new(o, "metadata", metadata(f, ev, code));
	return o;
}

static int put_line(const json_t *o, struct buf *line)
{
	buf_reset(line);
	record_json(line, o, NULL, NULL);
	return buf_status(line);
}

/* As one line; what is too long again without its larger members, and then with those alone whose
 * length is ours. */
static int finish(json_t *o, const struct ocsf_from *f, size_t raw_len, struct ocsf_event *ev)
{
	static const char *const larger[] = {"raw_data", "unmapped", "status_detail"},
	                         *const foreign[] = {"actor", "session", "src_endpoint"};
	json_t *meta = json_object_get(o, "metadata");
	int r;

	buf_init(&ev->line, f->max);
	if ((r = put_line(o, &ev->line)) == -ENOBUFS) {
		for (size_t i = 0; i < ARRAY_LEN(larger); i++)
			(void)json_object_del(o, larger[i]);
		(void)json_object_set_new(meta, "is_truncated", json_true());
		(void)json_object_set_new(
		    meta, "untruncated_size", json_integer((json_int_t)raw_len));
		r = put_line(o, &ev->line);
	}
	if (r == -ENOBUFS) {
		for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
			(void)json_object_del(o, foreign[i]);
		(void)json_object_set_new(o, "message", json_string("too long"));
		(void)json_object_set_new(meta, "event_code", json_string("too long"));
		r = put_line(o, &ev->line);
	}
	if (r < 0)
		buf_done(&ev->line);
	return r;
}

static void set_raw(json_t *o, const void *data, size_t len)
{
	json_t *text = json_stringn(data, len); /* NULL: not UTF-8 */
	json_t *unmapped = json_object_get(o, "unmapped");

	(void)json_object_set_new(o, "raw_data_size", json_integer((json_int_t)len));
	if (text) {
		(void)json_object_set_new(o, "raw_data", text);
		return;
	}
	if (!unmapped) {
		unmapped = json_object();
		(void)json_object_set_new(o, "unmapped", unmapped);
	}
	(void)json_object_set_new(unmapped, "raw_base64", msg_json_bytes(data, len));
}

/* ---- a record ---- */

/* Moves what OCSF has a place for out of the subject and the body. */
static void map(json_t *o, json_t *subject, json_t *body)
{
	json_auto_t *person = take(subject, "person"), *peer = take(subject, "peer"),
	            *session = take(subject, "session"), *why = take(body, "reason");
	json_t *actor = json_object();

	if (json_is_string(person))
		(void)json_object_set_new(actor, "user", json_pack("{s:O}", "name", person));
	if (json_is_string(session)) {
		(void)json_object_set_new(actor, "session", json_pack("{s:O}", "uid", session));
		(void)json_object_set_new(o, "session", json_pack("{s:O}", "uid", session));
	}
	if (json_object_size(actor) > 0)
		(void)json_object_set(o, "actor", actor);
	json_decref(actor);
	if (json_is_string(peer))
		(void)json_object_set_new(o, "src_endpoint", endpoint(json_string_value(peer)));
	if (json_is_string(why))
		(void)json_object_set(o, "status_detail", why);
}

static bool went_well(const struct record_class *c, const json_t *body)
{
	const json_t *code = json_object_get(body, "exit");

	return c->kind != RECORD_DENIAL &&
	       (!json_is_integer(code) || json_integer_value(code) == 0);
}

static json_t *mapped(const struct ocsf_from *f, json_t *record, struct ocsf_event *ev)
{
	const char *name = text_of(json_object_get(record, "class"));
	const struct record_class *c = record_class_find(name);
	json_auto_t *subject = take(record, "subject"), *body = take(record, "body"),
	            *prev = take(record, "prev"), *class_uid = take(record, "class_uid"),
	            *activity = take(record, "activity_id");
	json_t *o;

	/* the record's own, where it has them: it may be of a later version than this program */
	ev->class_uid = json_is_integer(class_uid) && json_integer_value(class_uid) >= 0 &&
	                        json_integer_value(class_uid) <= INT32_MAX / 100
	                    ? (int)json_integer_value(class_uid)
	                    : c->class_uid;
	ev->severity = severity(c);
	ev->of_skip = strcmp(name, "export.skipped") == 0;
	if (ocsf_time(text_of(json_object_get(record, "time")), &ev->time_ns) < 0)
		ev->time_ns = f->now_ns;
	o = event_new(f, ev,
	    json_is_integer(activity) && json_integer_value(activity) >= 0 &&
	            json_integer_value(activity) < 100
	        ? (int)json_integer_value(activity)
	        : c->activity_id,
	    name, went_well(c, body));
	if (!o)
		return NULL;
	if (f->personal) {
		reveal(subject, f->personal, REVEAL_DEPTH);
		reveal(body, f->personal, REVEAL_DEPTH);
	}
	map(o, subject, body);
	(void)json_object_set_new(o, "attestation",
	    attestation(f, ev,
	        json_string_length(prev) == DIGEST_HEX_LEN ? json_string_value(prev) : NULL));
	/* what is left: v, boot, mono_ns, tenant; the rest of subject and body */
	(void)json_object_del(record, "log");
	(void)json_object_del(record, "seq");
	(void)json_object_del(record, "class");
	(void)json_object_del(record, "type_uid");
	(void)json_object_set(record, "subject", subject);
	(void)json_object_set(record, "body", body);
	(void)json_object_set(o, "unmapped", record);
	return o;
}

int ocsf_record(const struct ocsf_from *from, uint64_t seq, const void *data, size_t len,
    struct ocsf_event *ret)
{
	struct ocsf_event ev = {.number = seq, .time_ns = from->now_ns, .severity = OCSF_MEDIUM};
	json_auto_t *record = NULL, *o = NULL;
	uint8_t leaf[DIGEST_LEN];
	int r;

	digest_sha256_2("\0", 1, data, len, leaf);
	hex_encode(ev.leaf, leaf, DIGEST_LEN);
	if (msg_json_parse(data, len, &record, NULL) == 0 && json_is_object(record)) {
		o = mapped(from, record, &ev);
	} else {
		o = event_new(from, &ev, 99, "not a record", false);
		if (o)
			(void)json_object_set_new(o, "attestation", attestation(from, &ev, NULL));
	}
	if (!o)
		return -ENOMEM;
	set_raw(o, data, len);
	if (body_named(data, len, ev.body, &ev.body_len) < 0)
		ev.body_len = 0;
	r = finish(o, from, len, &ev);
	if (r == 0)
		*ret = ev;
	return r;
}

int ocsf_body(const struct ocsf_from *from, const void *data, size_t len, struct ocsf_event *ev)
{
	json_auto_t *o = NULL;
	json_t *unmapped, *text;
	uint8_t digest[DIGEST_LEN];
	struct buf line;
	int r;

	digest_sha256(data, len, digest);
	if (len != ev->body_len || memcmp(digest, ev->body, DIGEST_LEN) != 0 ||
	    msg_json_parse(ev->line.data, ev->line.len, &o, NULL) < 0 ||
	    !(unmapped = json_object_get(o, "unmapped")) || !(text = json_stringn(data, len)))
		return 0;
	(void)json_object_set_new(unmapped, "body_data", text);
	if (from->personal && json_object_size(from->personal) > 0)
		(void)json_object_set_new(
		    unmapped, "body_personal", json_deep_copy(from->personal));
	buf_init(&line, from->max);
	record_json(&line, o, NULL, NULL);
	r = buf_status(&line);
	if (r < 0) {
		buf_done(&line);
		return r == -ENOBUFS ? 0 : r;
	}
	buf_done(&ev->line);
	ev->line = line;
	return 0;
}

/* ---- a checkpoint ---- */

int ocsf_checkpoint(const struct ocsf_from *from, uint64_t size, const void *note, size_t len,
    struct ocsf_event *ret)
{
	struct ocsf_event ev = {.number = size,
	    .checkpoint = true,
	    .time_ns = from->now_ns,
	    .severity = OCSF_INFORMATIONAL};
	struct checkpoint c;
	struct note n;
	json_auto_t *o = NULL;
	int r;

	if (note_parse(note, len, &n, NULL) == 0) {
		if (checkpoint_parse(n.text, n.text_len, &c, NULL) == 0)
			hex_encode(ev.leaf, c.root, DIGEST_LEN);
		note_done(&n);
	}
	o = event_new(from, &ev, 99, "checkpoint", *ev.leaf != '\0');
	if (!o)
		return -ENOMEM;
	(void)json_object_set_new(o, "attestation",
	    json_pack("{s:s, s:{s:i, s:s, s:s}}", "chain_uid", from->origin, "fingerprint",
	        "algorithm_id", 99, "algorithm", "SHA-256, RFC 6962 root", "value", ev.leaf));
	(void)json_object_set_new(
	    o, "unmapped", json_pack("{s:I, s:s}", "size", (json_int_t)size, "root", ev.leaf));
	set_raw(o, note, len);
	r = finish(o, from, len, &ev);
	if (r == 0)
		*ret = ev;
	return r;
}
