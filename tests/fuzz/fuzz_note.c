/* Notes, verifier keys, checkpoints, epoch notes: what was read and written again is the same. */
#include "creds/note.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "creds/sealer.h"
#include "lib/buf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct buf *b, const void *data, size_t size)
{
	if (buf_status(b) < 0 || b->len != size || memcmp(b->data, data, size) != 0)
		abort();
	buf_reset(b);
}

static void one_note(const struct note *n)
{
	if (n->nsignatures == 0 || n->nsignatures > NOTE_SIGNATURES_MAX || n->text_len == 0 ||
	    n->text[n->text_len - 1] != '\n' || strlen(n->text) != n->text_len)
		abort();
	for (size_t i = 0; i < n->nsignatures; i++) {
		const struct note_signature *s = &n->signatures[i];
		uint8_t zero[NOTE_KEY_LEN] = {0};
		struct note_key k;

		if (note_key_init(&k, s->name, NOTE_ED25519, zero, NULL) < 0)
			abort();
		memcpy(k.id, s->id, sizeof k.id);
		if (note_verify(n, &k, NULL, NULL) != -EBADMSG) /* nobody has that key */
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct err e = ERR_INIT;
	struct epoch_note en;
	struct checkpoint c;
	struct note_key k;
	struct note n;
	struct buf b;

	if (size == 0)
		return 0;
	buf_init(&b, NOTE_MAX);
	if (note_key_parse(text, size, &k, &e) == 0) {
		note_key_format(&k, &b);
		same(&b, data, size);
	}
	if (checkpoint_parse(text, size, &c, &e) == 0) {
		checkpoint_text(&c, &b);
		same(&b, data, size);
	}
	if (epoch_note_parse(text, size, &en, &e) == 0 && en.epoch == 0)
		abort();
	if (note_parse(data, size, &n, &e) == 0) {
		one_note(&n);
		(void)checkpoint_parse(n.text, n.text_len, &c, &e);
		(void)epoch_note_parse(n.text, n.text_len, &en, &e);
		note_done(&n);
	}
	buf_done(&b);
	return 0;
}
