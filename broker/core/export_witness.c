#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/tree.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/export_quorum.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"

/*
 * Witnesses: a cosignature is kept in the note of the checkpoint that it signs, once it has been
 * verified against the witness's configured key and our own note's text. What a quorum has signed
 * is witnessed. Notes with more signatures make no record: only state changes do.
 */

#define QUORUM_KEY "@witnessed" /* beside the cursors; no sink has such a name */
#define LOOK_BACK  32           /* checkpoints, for one that counts */

static size_t key_of(const struct export_log *l, char dst[STORE_KEY_MAX])
{
	memcpy(dst, QUORUM_KEY, sizeof QUORUM_KEY);
	memcpy(dst + sizeof QUORUM_KEY, l->name, strlen(l->name));
	return sizeof QUORUM_KEY + strlen(l->name);
}

/* ---- what counts ---- */

static void set_witnessed(struct exporter *x, struct export_log *l, uint64_t size)
{
	cleanup_buf struct buf b;
	char key[STORE_KEY_MAX];

	buf_init(&b, 8);
	buf_put_u64(&b, size);
	l->witnessed = size;
	if (!l->ever)
		(void)note(x->core, "log.witnessed", NULL, NULL,
		    json_pack("{s:s, s:I}", "log", l->name, "size", (json_int_t)size));
	l->ever = true;
	(void)store_later_key(x->core->store, STORE_CURSORS, key, key_of(l, key), b.data, b.len);
	export_lag_check_log(x, l);
}

/* From the store: what it says was witnessed is counted again, by the keys of now. */
void export_witness_count(struct exporter *x, struct export_log *l)
{
	const struct export_config *c = export_config_of(x);
	struct store *s = x->core->store;
	uint64_t most = INT64_MAX, size;
	cleanup_buf struct buf b;
	char key[STORE_KEY_MAX];

	buf_init(&b, NOTE_MAX);
	if (l->counted)
		return;
	l->counted = true;
	l->witnessed = 0;
	l->ever = store_get(s, STORE_CURSORS, key, key_of(l, key), &b) == 0;
	for (int i = 0; i < LOOK_BACK && c->nwitnesses > 0; i++) {
		buf_reset(&b);
		if (logs_checkpoint_latest(s, l->number, most, &size, &b) < 0 || size == 0)
			return;
		if (export_quorum(c, b.data, b.len)) {
			l->witnessed = size;
			return;
		}
		most = size - 1;
	}
	buf_reset(&b);
	if (store_get(s, STORE_CURSORS, key, key_of(l, key), &b) < 0 || b.len != 8)
		return;
	size = 0;
	for (size_t i = 0; i < 8; i++)
		size = size << 8 | b.data[i];
	buf_reset(&b);
	if (logs_checkpoint_get(s, l->number, size, &b) == 0 && export_quorum(c, b.data, b.len))
		l->witnessed = size;
}

/* ---- the note of a checkpoint ---- */

/* As stored, or as it waits to be. */
static int note_of(struct exporter *x, struct export_log *l, uint64_t size, struct buf *ret)
{
	if (l->merged == size) {
		buf_put(ret, l->note.data, l->note.len);
		return buf_status(ret);
	}
	return logs_checkpoint_get(x->core->store, l->number, size, ret);
}

/* The signature line alone, verified: it is by this key, of this text. */
static int verify_line(
    const struct note *ours, const struct note_key *k, const struct buf *line, struct err *e)
{
	cleanup_buf struct buf b;
	struct note n;
	int r;

	buf_init(&b, NOTE_MAX);
	buf_put(&b, ours->text, ours->text_len);
	buf_put_u8(&b, '\n');
	buf_put(&b, line->data, line->len);
	if ((r = buf_status(&b)) < 0)
		return err_set(e, r, "it is too long");
	if ((r = note_parse(b.data, b.len, &n, e)) < 0)
		return r;
	/* one line, and no text of its own before it */
	if (n.nsignatures != 1 || n.text_len != ours->text_len)
		r = err_set(e, -EBADMSG, "it is not one signature");
	else if ((r = note_verify(&n, k, NULL, e)) == 0)
		r = err_set(e, -EBADMSG, "it is by another key");
	note_done(&n);
	return r < 0 ? r : 0;
}

/* Our note with this line in the place of an older one by the same key. */
static int merge(const struct note *n, const struct buf *note, const struct note_key *k,
    const struct buf *line, struct buf *out)
{
	const char *p = (const char *)note->data + n->text_len + 1;
	const char *end = (const char *)note->data + note->len;

	buf_put(out, note->data, n->text_len + 1);
	for (size_t i = 0; i < n->nsignatures && p < end; i++) {
		const struct note_signature *s = &n->signatures[i];
		const char *next = memchr(p, '\n', (size_t)(end - p));

		next = next ? next + 1 : end;
		if (memcmp(s->id, k->id, sizeof s->id) != 0 || strcmp(s->name, k->name) != 0)
			buf_put(out, p, (size_t)(next - p));
		p = next;
	}
	buf_put(out, line->data, line->len);
	return buf_status(out);
}

/* Said before, word for word: proves nothing new. */
static bool is_there(const struct note *n, const struct buf *note, const struct buf *line)
{
	return memmem(note->data + n->text_len, note->len - n->text_len, line->data, line->len) !=
	       NULL;
}

static int add(struct exporter *x, struct export_log *l, uint64_t size,
    const struct export_witness *w, const struct buf *line, struct err *e)
{
	cleanup_buf struct buf before, after;
	struct note n;
	int r;

	buf_init(&before, NOTE_MAX);
	buf_init(&after, NOTE_MAX);
	/* one of another size may wait: it must be there before it is merged into again */
	if (l->merged != 0 && l->merged != size && l->merged_at == x->commits &&
	    (r = x->core->log->ops->flush(x->core->log)) < 0)
		return err_set(e, r, "the log cannot be written");
	if ((r = note_of(x, l, size, &before)) < 0)
		return err_set(e, r, "there is no such checkpoint");
	if ((r = note_parse(before.data, before.len, &n, e)) < 0)
		return r;
	r = verify_line(&n, &w->key, line, e);
	if (r == 0 && is_there(&n, &before, line)) {
		note_done(&n);
		return 0;
	}
	if (r == 0 &&
	    (merge(&n, &before, &w->key, line, &after) < 0 ||
	        logs_checkpoint_put(x->core->store, l->number, size, after.data, after.len) < 0))
		r = err_set(e, -ENOBUFS, "it cannot be kept");
	note_done(&n);
	if (r < 0)
		return r;
	buf_reset(&l->note);
	buf_put(&l->note, after.data, after.len);
	l->merged = buf_status(&l->note) == 0 ? size : 0;
	l->merged_at = x->commits;
	export_witness_count(x, l);
	if (size > l->witnessed && export_quorum(export_config_of(x), after.data, after.len))
		set_witnessed(x, l, size);
	export_conflict_over(x, l, w->key.name, size);
	return 0;
}

/* ---- messages ---- */

int export_witness_signed(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	const struct export_witness *w =
	    export_config_witness(export_config_of(x), msg_str(m, "witness"));
	struct export_log *l = w ? export_log_find(x, msg_str(m, "log")) : NULL;
	struct err why = ERR_INIT;
	cleanup_buf struct buf line;

	(void)e;
	buf_init(&line, 1024);
	if (!w || !l)
		return export_refuse(p, m, "there is no such witness or log");
	if (msg_bytes(m, "line", &line) < 0)
		return export_refuse(p, m, "the signature is too long");
	if (add(x, l, (uint64_t)msg_int(m, "size", 0), w, &line, &why) == 0)
		return 0;
	if (rate_take(&x->refusals, clock_mono_ns(), 1, 10))
		log_warn("a cosignature of %s for log %s does not count: %s", w->key.name, l->name,
		    err_text(&why));
	return export_refuse(p, m, err_text(&why));
}

int export_witness_ask(struct peer *p, struct msg *m, struct err *e)
{
	uint64_t old = (uint64_t)msg_int(m, "old", 0), size = (uint64_t)msg_int(m, "size", 0);
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct exporter *x = p->core->exporting;
	cleanup_buf struct buf b;
	struct export_log *l;
	json_t *list;
	size_t n = 0;

	(void)e;
	buf_init(&b, NOTE_MAX);
	if (export_config_of(x)->nwitnesses == 0 || !(l = export_log_find(x, msg_str(m, "log"))))
		return export_refuse(p, m, "there is no such log");
	if (old > size || note_of(x, l, size, &b) < 0)
		return export_refuse(p, m, "there is no such checkpoint");
	if (old > 0 && old < size &&
	    tree_consistency(p->core->store, l->number, old, size, proof, &n, NULL) < 0)
		return export_refuse(p, m, "the tree cannot be read");
	list = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, msg_json_bytes(proof[i], DIGEST_LEN));
	(void)peer_send(p, "witness.proof", m->id,
	    json_pack("{s:o, s:o}", "proof", list, "note", msg_json_bytes(b.data, b.len)));
	return 0;
}
