#include "tests/support/witness_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/witness/request.h"
#include "lib/err.h"
#include "lib/merkle.h"
#include "lib/str.h"

static void trust_key(struct witness_rig *w)
{
	uint8_t point[NOTE_KEY_LEN];
	struct note_key k;
	struct buf b;

	buf_init(&b, 1024);
	memset(w->seed, 7, sizeof w->seed);
	assert_int_equal(note_public(w->seed, point), 0);
	assert_int_equal(note_key_init(&k, RIG_ORIGIN, NOTE_ED25519, point, NULL), 0);
	note_key_format(&k, &b);
	assert_int_equal(trust_add(w->witness.trust, (const char *)b.data, b.len, NULL), 0);
	buf_done(&b);
}

void witness_rig_open(struct witness_rig *w)
{
	struct err e = ERR_INIT;

	memset(w, 0, sizeof *w);
	(void)snprintf(w->path, sizeof w->path, "/tmp/postern-witness-XXXXXX");
	assert_non_null(mkdtemp(w->path));
	if (witness_state_open(&w->state, w->path, true, (uid_t)-1, (gid_t)-1, &e) < 0 ||
	    witness_key_make(w->state.dir, RIG_WITNESS, &w->key, &e) < 0)
		fail_msg("%s", err_text(&e));
	w->witness = (struct witness){&w->state, &w->key, trust_new(), 0};
	assert_non_null(w->witness.trust);
	trust_key(w);
	buf_init(&w->body, 2 * REQUEST_MAX);
	buf_init(&w->out, JUDGE_ANSWER_MAX);
	assert_int_equal(witness_begin(&w->witness), 0);
}

static void empty(int dir)
{
	DIR *d = fdopendir(dup(dir));
	const struct dirent *n;

	assert_non_null(d);
	rewinddir(d);
	while ((n = readdir(d)))
		(void)unlinkat(dir, n->d_name, 0);
	(void)closedir(d);
}

void witness_rig_close(struct witness_rig *w)
{
	empty(w->state.logs);
	empty(w->state.forks);
	(void)unlinkat(w->state.dir, "logs", AT_REMOVEDIR);
	(void)unlinkat(w->state.dir, "forks", AT_REMOVEDIR);
	empty(w->state.dir);
	witness_state_close(&w->state);
	(void)rmdir(w->path);
	witness_key_done(&w->key);
	trust_free(w->witness.trust);
	buf_done(&w->body);
	buf_done(&w->out);
}

/* ---- trees, the slow way: every hash is that of a range of leaves ---- */

static void leaf(const struct rig_request *q, uint64_t n, uint8_t ret[DIGEST_LEN])
{
	uint8_t data[9];

	memcpy(data, &n, 8);
	data[8] = q->branch && n >= q->branch_at ? q->branch : 0;
	merkle_leaf(data, sizeof data, ret);
}

static uint64_t split(uint64_t n)
{
	uint64_t k = 1;

	while (k * 2 < n)
		k *= 2;
	return k;
}

static void range(const struct rig_request *q, uint64_t from, uint64_t to, uint8_t ret[DIGEST_LEN])
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = from; i < to; i++) {
		uint8_t h[DIGEST_LEN];

		leaf(q, i, h);
		assert_int_equal(merkle_append(&m, h), 0);
	}
	merkle_root(&m, ret);
}

void rig_root(const struct rig_request *q, uint64_t size, uint8_t ret[DIGEST_LEN])
{
	range(q, 0, size, ret);
}

static void put_hash(struct buf *b, const uint8_t h[DIGEST_LEN])
{
	char b64[B64_LEN(DIGEST_LEN) + 1];

	b64_encode(b64, h, DIGEST_LEN);
	buf_printf(b, "%s\n", b64);
}

/* RFC 6962 section 2.1.2, without recursion: down to the old tree's edge, then what was passed. */
static void put_proof(const struct rig_request *q, struct buf *b)
{
	struct {
		uint64_t from, to;
	} passed[64];
	uint64_t from = 0, to = q->size, m = q->old;
	bool whole = true;
	uint8_t h[DIGEST_LEN];
	size_t n = 0;

	while (m != to) {
		uint64_t k = from + split(to - from);

		if (m <= k) {
			passed[n].from = k;
			passed[n++].to = to;
			to = k;
		} else {
			passed[n].from = from;
			passed[n++].to = k;
			from = k;
			whole = false;
		}
	}
	if (!whole) {
		range(q, from, to, h);
		put_hash(b, h);
	}
	while (n-- > 0) {
		range(q, passed[n].from, passed[n].to, h);
		put_hash(b, h);
	}
}

/* ---- requests ---- */

static void put_text(const struct rig_request *q, struct buf *b)
{
	struct checkpoint c = {.size = q->size};

	(void)str_copy(c.origin, sizeof c.origin, q->origin ? q->origin : RIG_ORIGIN);
	rig_root(q, q->size, c.root);
	checkpoint_text(&c, b);
	if (q->extension)
		buf_printf(b, "%s", q->extension);
}

void rig_body(struct witness_rig *w, const struct rig_request *q)
{
	const char *origin = q->origin ? q->origin : RIG_ORIGIN;
	uint8_t point[NOTE_KEY_LEN];
	struct note_key k;
	struct buf text;

	buf_init(&text, NOTE_MAX);
	buf_reset(&w->body);
	buf_printf(&w->body, "old %llu\n", (unsigned long long)q->old);
	if (q->old > 0 && q->old <= q->size)
		put_proof(q, &w->body);
	buf_put(&w->body, "\n", 1);
	put_text(q, &text);
	buf_put(&w->body, text.data, text.len);
	buf_put(&w->body, "\n", 1);
	assert_int_equal(note_public(w->seed, point), 0);
	assert_int_equal(note_key_init(&k, origin, NOTE_ED25519, point, NULL), 0);
	assert_int_equal(
	    note_sign((const char *)text.data, text.len, &k, w->seed, 0, &w->body, NULL), 0);
	assert_int_equal(buf_status(&w->body), 0);
	buf_done(&text);
}

unsigned rig_ask(struct witness_rig *w)
{
	buf_reset(&w->out);
	w->witness.warned_ns = INT64_MAX / 2; /* not a word */
	return witness_answer(&w->witness, w->body.data, w->body.len, RIG_TIME, &w->out, &w->type);
}

unsigned rig_add(struct witness_rig *w, const struct rig_request *q)
{
	rig_body(w, q);
	return rig_ask(w);
}

void rig_check_cosigned(struct witness_rig *w, const struct rig_request *q)
{
	struct note note;
	int64_t when = 0;
	struct buf b;

	buf_init(&b, NOTE_MAX);
	put_text(q, &b);
	buf_put(&b, "\n", 1);
	buf_put(&b, w->out.data, w->out.len);
	assert_int_equal(note_parse(b.data, b.len, &note, NULL), 0);
	assert_int_equal(note.nsignatures, 1);
	assert_int_equal(note_verify(&note, &w->key.public, &when, NULL), 1);
	assert_int_equal(when, RIG_TIME);
	note_done(&note);
	buf_done(&b);
}
