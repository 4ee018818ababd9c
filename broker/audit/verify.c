#include "broker/audit/verify.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "lib/err.h"

#define LLU(x) ((unsigned long long)(x))

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

/* ---- the chain ---- */

static int check(struct verify *v, uint64_t seq, const struct envelope *o, const void *data,
    size_t len, struct err *e)
{
	/* of the version that o is of: v 2 links to the leaf hash of a record of any version */
	const uint8_t *before = o->version == 1 ? v->plain : v->digest;

	if (o->version < v->version)
		return broken(v, seq, e, "is of an unknown version");
	if (memcmp(o->prev, before, DIGEST_LEN) != 0)
		/* the one before was read as it is: it, or this one's link, was changed */
		return v->seq == 0 ? broken(v, seq, e, "is not the first of a log")
		                   : broken(v, v->seq, e,
		                         "was changed: the next record holds another digest of it");
	if (memcmp(o->time, v->time, ENVELOPE_TIME) < 0 && !envelope_clock(data, len))
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
	memcpy(v->time, o->time, sizeof v->time);
	if (o->version > 1 && !*v->log)
		(void)str_copy(v->log, sizeof v->log, v->reader.log);
	v->seq = seq;
	v->version = o->version;
}

/* Until it is told otherwise, the log is the one that the first record names. */
static int name_reader(struct verify *v, const void *data, size_t len)
{
	char named[NAME_MAX_LEN + 1] = LOG_HOST;
	const char *name = v->log;

	if (!*name) {
		(void)envelope_log(data, len, named);
		name = named;
	}
	return strcmp(v->reader.log, name) == 0 ? 0 : envelope_init(&v->reader, name);
}

/* resume: the record is taken as it is. */
static int take(
    struct verify *v, uint64_t seq, const void *data, size_t len, bool resume, struct err *e)
{
	struct err why = ERR_INIT;
	struct envelope o;
	int r;

	if (name_reader(v, data, len) < 0)
		return broken(v, seq, e, "is of another log");
	if (envelope_read(&v->reader, seq, data, len, &o, &why) < 0)
		return broken(v, seq, e, err_text(&why));
	if (!resume && (r = check(v, seq, &o, data, len, e)) < 0)
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
