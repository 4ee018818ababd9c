#include "broker/audit/verify.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/record.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/reader.h"
#include "lib/str.h"

#define LLU(x) ((unsigned long long)(x))

void verify_init(struct verify *v)
{
	memset(v, 0, sizeof *v);
}

void verify_init_at(struct verify *v, uint64_t seq, const uint8_t digest[DIGEST_LEN])
{
	verify_init(v);
	v->seq = seq;
	memcpy(v->digest, digest, DIGEST_LEN);
}

/* The first break is the one that is told; later ones follow from it. */
static int broken(struct verify *v, uint64_t seq, struct err *e, const char *how)
{
	v->broken = seq;
	return err_set(e, -EBADMSG, "record %llu %s", LLU(seq), how);
}

static const struct msg_field envelope[] = {
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

static int check_envelope(struct verify *v, uint64_t seq, const json_t *o, struct err *e)
{
	char prev[DIGEST_HEX_LEN + 1];
	struct err why = ERR_INIT;
	const char *time;

	if (msg_check_fields("record", o, envelope, &why) < 0)
		return broken(v, seq, e, "is not a record");
	if (json_integer_value(json_object_get(o, "v")) != CHAIN_VERSION)
		return broken(v, seq, e, "is of an unknown version");
	if ((uint64_t)json_integer_value(json_object_get(o, "seq")) != seq)
		return broken(v, seq, e, "has another number inside");
	hex_encode(prev, v->digest, DIGEST_LEN);
	if (strcmp(json_string_value(json_object_get(o, "prev")), prev) != 0)
		/* the one before was read as it is: it, or this one's link, was changed */
		return v->seq == 0 ? broken(v, seq, e, "is not the first of a log")
		                   : broken(v, v->seq, e,
		                         "was changed: the next record holds another digest of it");
	time = json_string_value(json_object_get(o, "time"));
	if (strcmp(time, v->time) < 0 &&
	    strcmp(json_string_value(json_object_get(o, "class")), CHAIN_CLOCK_CLASS) != 0)
		return broken(v, seq, e, "is older than the one before it");
	return 0;
}

int verify_record(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e)
{
	json_auto_t *o = NULL;
	int r;

	if (v->broken)
		return broken(v, v->broken, e, "is broken");
	if (seq != v->seq + 1)
		return broken(v, v->seq + 1, e, "is missing");
	if (len > RECORD_MAX)
		return broken(v, seq, e, "is too long");
	if (msg_json_parse(data, len, &o, NULL) < 0)
		return broken(v, seq, e, "is not JSON");
	if ((r = check_envelope(v, seq, o, e)) < 0)
		return r;
	digest_sha256(data, len, v->digest);
	(void)str_copy(v->time, sizeof v->time, json_string_value(json_object_get(o, "time")));
	v->seq = seq;
	return 0;
}

int verify_head(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e)
{
	if (v->broken)
		return broken(v, v->broken, e, "is broken");
	if (v->seq < seq)
		return broken(v, v->seq + 1, e, "is missing");
	if (v->seq > seq)
		return broken(v, seq + 1, e, "is newer than the log's head");
	if (digest && memcmp(digest, v->digest, DIGEST_LEN) != 0)
		return broken(v, seq, e, "was changed: the log's head holds another digest of it");
	return 0;
}

/* ---- a whole store ---- */

struct walk {
	struct verify *v;
	struct err *e;
	size_t n;
};

static int on_record(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct walk *w = arg;
	struct reader r;
	uint64_t seq;

	reader_init(&r, key, klen);
	if (reader_u64(&r, &seq) < 0 || reader_end(&r) < 0)
		return broken(w->v, w->v->seq + 1, w->e, "has a damaged key");
	w->n++;
	return verify_record(w->v, seq, value, len, w->e);
}

int verify_store(struct store *s, struct verify *v, struct err *e)
{
	struct walk w = {.v = v, .e = e};
	struct chain_head head = {0};
	cleanup_buf struct buf b;
	uint8_t from[8];
	int r;

	verify_init(v);
	buf_init(&b, 256);
	r = store_get(s, STORE_HEADS, "records", 7, &b);
	if (r < 0 && r != -ENOENT)
		return err_set(e, r, "the log's head cannot be read");
	if (r == 0 && chain_head_parse(b.data, b.len, &head) < 0)
		return err_set(e, -EBADMSG, "the log's head is damaged");
	do {
		w.n = 0;
		chain_key(v->seq + 1, from);
		/* record 0 does not exist; were it there, it would be found here */
		r = store_walk(s, STORE_RECORDS, from, v->seq ? sizeof from : 0, STORE_WALK_MAX,
		    on_record, &w);
		if (r < 0)
			return v->broken ? r : err_set(e, r, "the records cannot be read");
	} while (w.n == STORE_WALK_MAX);
	return verify_head(v, head.seq, head.digest, e);
}
