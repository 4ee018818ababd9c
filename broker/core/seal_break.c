#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/seal_internal.h"
#include "lib/buf.h"
#include "lib/log.h"
#include "lib/msg.h"

/*
 * Breaks: an operator has accepted that logs are not what was sealed of them. One after the other,
 * each kept before the next is asked for, as the signer can repeat only the last.
 */

#define KEY_MAX (sizeof "seal.accepted." + NAME_MAX_LEN)

/* What was sealed and is gone: the acceptance holds for that and for nothing else. */
static void name_it(const struct seal_log *l, char key[KEY_MAX], char text[SEAL_REASON_MAX])
{
	char hex[DIGEST_HEX_LEN + 1];

	hex_encode(hex, l->root, DIGEST_LEN);
	(void)snprintf(key, KEY_MAX, "seal.accepted.%s", l->name);
	(void)snprintf(text, SEAL_REASON_MAX, "%llu %s", (unsigned long long)l->last, hex);
}

bool seal_break_accepted(const struct seal *s, const struct seal_log *l)
{
	char key[KEY_MAX], text[SEAL_REASON_MAX];
	cleanup_buf struct buf b;
	const char *have;

	buf_init(&b, SEAL_REASON_MAX);
	name_it(l, key, text);
	return s->env.logs->recall(s->env.logs_arg, key, &b) == 0 &&
	       (have = buf_cstr(&b)) != NULL && strcmp(have, text) == 0;
}

int seal_break_accept(struct seal *s)
{
	char key[KEY_MAX], text[SEAL_REASON_MAX];
	int r;

	for (size_t i = 0; i < s->nlogs; i++) {
		struct seal_log *l = &s->logs[i];

		if (!l->rolled || l->accepted)
			continue;
		name_it(l, key, text);
		if ((r = s->env.logs->remember(s->env.logs_arg, key, text)) < 0)
			return r;
		l->accepted = true;
	}
	return 0;
}

/* The newest checkpoint that was sealed before the last and that the log still holds; none: its
 * beginning. */
static int find_base(struct seal *s, const struct seal_log *l, struct buf *ret)
{
	uint64_t most = l->owed ? l->last : l->last - 1, size;
	uint8_t root[DIGEST_LEN];
	struct checkpoint c;
	struct note n;
	int r;

	if (most > l->size)
		most = l->size;
	for (; most > 0; most = size - 1) {
		buf_reset(ret);
		r = s->env.logs->checkpoint(s->env.logs_arg, l->number, most, &size, ret);
		if (r < 0)
			break;
		if (size == 0)
			break;
		if (note_parse((const char *)ret->data, ret->len, &n, NULL) < 0)
			continue;
		r = checkpoint_parse(n.text, n.text_len, &c, NULL);
		note_done(&n);
		if (r == 0 && c.size == size &&
		    s->env.logs->root(s->env.logs_arg, l->number, size, root) == 0 &&
		    memcmp(root, c.root, DIGEST_LEN) == 0)
			return 0;
	}
	buf_reset(ret);
	return 0;
}

static bool ask(struct seal *s, struct seal_log *l)
{
	cleanup_buf struct buf note;
	json_t *body;

	buf_init(&note, NOTE_MAX);
	if (find_base(s, l, &note) < 0)
		return false;
	body = json_pack("{s:s}", "log", l->name);
	if (body && note.len > 0)
		(void)json_object_set_new(body, "note", msg_json_bytes(note.data, note.len));
	if (seal_ask(s, "break.sign", body, l) < 0)
		return false;
	s->breaking = true;
	return true;
}

static bool due(const struct seal_log *l)
{
	return l->stored && !l->refused && (l->owed || (l->rolled && l->accepted));
}

bool seal_break_step(struct seal *s)
{
	if (s->turn == TURN_NOTES || s->turn == TURN_ASKED)
		return false;
	for (size_t i = 0; i < s->nlogs; i++) {
		if (!due(&s->logs[i]))
			continue;
		if (s->pending > 0) /* the one before is not on the disk yet */
			return true;
		if (ask(s, &s->logs[i]))
			return true;
	}
	if (!s->breaking)
		return false;
	/* where each log stands now is learned anew, and what has grown is sealed */
	s->breaking = s->learned = false;
	(void)seal_ask(s, "seal.keys", NULL, NULL);
	return true;
}

void seal_break_signed(struct seal *s, const struct msg *m)
{
	uint64_t number = (uint64_t)msg_int(m, "number", 0);
	bool host = strcmp(s->asked->name, SEALER_HOST) == 0;
	struct seal_log *l = s->asked;
	struct break_note b;
	cleanup_buf struct buf note;
	struct note n;
	json_t *body;
	int r;

	buf_init(&note, NOTE_MAX);
	l->refused = true; /* unless all goes well */
	if (msg_bytes(m, "note", &note) < 0 ||
	    note_parse((const char *)note.data, note.len, &n, NULL) < 0) {
		seal_unsealed(s, l, "its break note cannot be read");
		return;
	}
	r = break_note_parse(n.text, n.text_len, &b, NULL);
	note_done(&n);
	if (r < 0 || b.number != number ||
	    s->env.logs->put_break(s->env.logs_arg, l->number, number, note.data, note.len) < 0) {
		seal_unsealed(s, l, "its break note cannot be kept");
		return;
	}
	l->rolled = l->owed = l->refused = false;
	l->last = b.size;
	l->why[0] = '\0';
	log_warn("log %s goes on from size %llu: it was sealed at %llu", l->name,
	    (unsigned long long)b.size, (unsigned long long)b.old_size);
	body = json_pack("{s:s, s:I, s:I, s:I, s:s%}", "log", l->name, "number", (json_int_t)number,
	    "size", (json_int_t)b.size, "old", (json_int_t)b.old_size, "note",
	    (const char *)note.data, note.len);
	if (!host)
		seal_record(s, "log.break", l->name, json_incref(body));
	seal_record(s, "log.break", NULL, body);
}
