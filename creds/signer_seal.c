#include "creds/signer_seal.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "creds/sealer.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/merkle.h"
#include "lib/msg.h"
#include "lib/str.h"

static void fill(struct bucket *b, int64_t full_ns)
{
	b->tokens_ns = full_ns;
	b->filled_ns = clock_boot_ns();
}

static bool take(struct bucket *b, int64_t cost_ns, int64_t full_ns)
{
	int64_t now = clock_boot_ns();

	b->tokens_ns += now - b->filled_ns;
	b->filled_ns = now;
	if (b->tokens_ns > full_ns)
		b->tokens_ns = full_ns;
	if (b->tokens_ns < cost_ns)
		return false;
	b->tokens_ns -= cost_ns;
	return true;
}

#define NOTE_NS  (NSEC_PER_SEC / SEAL_RATE)
#define EPOCH_NS (NSEC_PER_SEC * EPOCH_EVERY)

void signer_seal_init(struct signer_seal *s, int keys_fd)
{
	memset(s, 0, sizeof *s);
	s->keys_fd = keys_fd;
	fill(&s->notes, NOTE_NS * SEAL_BURST);
	fill(&s->epochs, EPOCH_NS * EPOCH_BURST);
}

void signer_seal_done(struct signer_seal *s)
{
	sealer_free(s->sealer);
	s->sealer = NULL;
}

/* number: of the epoch, or of the break; its name is in the table. */
static json_t *pack_note(struct buf *note, const char *key, json_t *number)
{
	json_t *o = json_pack("{s:o}", "note", msg_json_bytes(note->data, note->len));

	if (key && (!o || json_object_set_new(o, key, number) < 0)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int fixed_bytes(const struct msg *m, const char *field, uint8_t ret[DIGEST_LEN])
{
	cleanup_buf struct buf b;

	buf_init(&b, DIGEST_LEN);
	if (msg_bytes(m, field, &b) < 0 || b.len != DIGEST_LEN)
		return -EINVAL;
	memcpy(ret, b.data, DIGEST_LEN);
	return 0;
}

static int read_proof(const json_t *list, uint8_t (*ret)[DIGEST_LEN], size_t *ret_n)
{
	size_t i;
	json_t *v;

	if (json_array_size(list) > MERKLE_PROOF_MAX)
		return -EINVAL;
	json_array_foreach(list, i, v)
	{
		cleanup_buf struct buf b;

		buf_init(&b, DIGEST_LEN);
		if (msg_json_decode(v, &b) < 0 || b.len != DIGEST_LEN)
			return -EINVAL;
		memcpy(ret[i], b.data, DIGEST_LEN);
	}
	*ret_n = json_array_size(list);
	return 0;
}

static int seal(struct signer_seal *s, const struct msg *m, json_t **ret, struct err *e)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct checkpoint c = {.size = (uint64_t)msg_int(m, "size", 0)};
	cleanup_buf struct buf note;
	size_t n = 0;
	int r;

	buf_init(&note, NOTE_MAX);
	if (!str_copy(c.origin, sizeof c.origin, msg_str(m, "origin")) ||
	    fixed_bytes(m, "root", c.root) < 0 || read_proof(msg_obj(m, "proof"), proof, &n) < 0)
		return err_set(
		    e, -EINVAL, "a root and the hashes of a proof have %d bytes", DIGEST_LEN);
	if (!take(&s->notes, NOTE_NS, NOTE_NS * SEAL_BURST))
		return err_set(e, -EAGAIN, "too many seals at once");
	r = sealer_seal(s->sealer, msg_str(m, "log"), &c, proof, n, &note, e);
	if (r == 0)
		*ret = pack_note(&note, NULL, NULL);
	return r;
}

static int epoch_note(struct signer_seal *s, const struct msg *m, json_t **ret, struct err *e)
{
	cleanup_buf struct buf note;
	int r;

	buf_init(&note, NOTE_MAX);
	if (!take(&s->notes, NOTE_NS, NOTE_NS * SEAL_BURST))
		return err_set(e, -EAGAIN, "too many seals at once");
	r = sealer_epoch_note(s->sealer, msg_str(m, "log"), &note, e);
	if (r == 0)
		*ret = pack_note(
		    &note, "epoch", json_integer((json_int_t)sealer_epoch(s->sealer) + 1));
	return r;
}

static int set_back(struct signer_seal *s, const struct msg *m, json_t **ret, struct err *e)
{
	cleanup_buf struct buf from, note;
	int r;

	buf_init(&from, NOTE_MAX);
	buf_init(&note, NOTE_MAX);
	if (json_object_get(m->body, "note") && msg_bytes(m, "note", &from) < 0)
		return err_set(e, -EINVAL, "a checkpoint that is too long");
	if (!take(&s->notes, NOTE_NS, NOTE_NS * SEAL_BURST))
		return err_set(e, -EAGAIN, "too many seals at once");
	r = sealer_break(s->sealer, msg_str(m, "log"), from.data, from.len, &note, e);
	if (r == 0)
		*ret = pack_note(
		    &note, "number", json_integer(sealer_breaks(s->sealer, msg_str(m, "log"))));
	return r;
}

static int next_epoch(struct signer_seal *s, const struct msg *m, json_t **ret, struct err *e)
{
	cleanup_buf struct buf note;
	int r;

	buf_init(&note, NOTE_MAX);
	if (json_object_get(m->body, "note") && msg_bytes(m, "note", &note) < 0)
		return err_set(e, -EINVAL, "a note that is too long");
	if (!take(&s->epochs, EPOCH_NS, EPOCH_NS * EPOCH_BURST))
		return err_set(e, -EAGAIN, "too many epochs at once");
	r = note.len > 0 ? sealer_follow(s->sealer, note.data, note.len, e)
	                 : sealer_next_epoch(s->sealer, (uint64_t)msg_int(m, "epoch", 0), e);
	if (r == 0)
		*ret = json_pack("{s:I}", "epoch", (json_int_t)sealer_epoch(s->sealer));
	return r;
}

static int tell_keys(struct signer_seal *s, json_t **ret)
{
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	json_t *logs = json_array();
	const char *name;

	for (size_t i = 0; logs && (name = sealer_log(s->sealer, i)) != NULL; i++) {
		struct checkpoint c;

		sealer_last(s->sealer, name, &c);
		(void)json_array_append_new(
		    logs, json_pack("{s:s, s:I, s:o, s:I}", "log", name, "size", (json_int_t)c.size,
		              "root", msg_json_bytes(c.root, DIGEST_LEN), "breaks",
		              (json_int_t)sealer_breaks(s->sealer, name)));
	}
	sealer_keys(s->sealer, log, epoch, first);
	*ret = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "origin", sealer_origin(s->sealer),
	    "epoch", (json_int_t)sealer_epoch(s->sealer), "log_key",
	    msg_json_bytes(log, sizeof log), "epoch_key", msg_json_bytes(epoch, sizeof epoch),
	    "first_key", msg_json_bytes(first, sizeof first), "logs", logs);
	return 0;
}

static const char *answer_of(const struct msg *m)
{
	return msg_is(m, "checkpoint.sign") ? "checkpoint.signed"
	       : msg_is(m, "epoch.note")    ? "epoch.noted"
	       : msg_is(m, "epoch.next")    ? "epoch.turned"
	       : msg_is(m, "break.sign")    ? "break.signed"
	       : msg_is(m, "seal.keys")     ? "seal.keys.tell"
	                                    : NULL;
}

int signer_seal_handle(struct signer_seal *s, const struct msg *m, const char **ret_type,
    json_t **ret_body, struct err *e)
{
	const char *answer = answer_of(m);
	json_t *body = NULL;
	int r;

	if (!answer)
		return -ENOMSG;
	if (!s->sealer && (r = sealer_open(s->keys_fd, &s->sealer, e)) < 0)
		return r;
	if (msg_is(m, "checkpoint.sign"))
		r = seal(s, m, &body, e);
	else if (msg_is(m, "epoch.note"))
		r = epoch_note(s, m, &body, e);
	else if (msg_is(m, "break.sign"))
		r = set_back(s, m, &body, e);
	else if (msg_is(m, "epoch.next"))
		r = next_epoch(s, m, &body, e);
	else
		r = tell_keys(s, &body);
	if (r < 0)
		return r;
	if (!body)
		return err_set(e, -ENOMEM, "cannot hold an answer");
	*ret_type = answer;
	*ret_body = body;
	return 0;
}
