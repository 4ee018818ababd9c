#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "creds/sealer_internal.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/merkle.h"

/*
 * Logs that were set back. The sealer goes back only to where it has been: to a checkpoint that its
 * own log key signed.
 */

#define TEXT_MAX 2048

uint32_t sealer_breaks(const struct sealer *s, const char *log)
{
	const struct sealed *l = sealer_find(s, log);

	return l ? l->breaks : 0;
}

/* What the note says, if we signed it; an empty one is the beginning. */
static int read_own(const struct sealer *s, const char *origin, const void *data, size_t len,
    struct checkpoint *ret, struct err *e)
{
	uint8_t log[NOTE_KEY_LEN];
	struct note_key key;
	struct merkle empty;
	struct note n;
	int r;

	if (len == 0) {
		merkle_init(&empty);
		merkle_root(&empty, ret->root);
		ret->size = 0;
		return 0;
	}
	if (note_public(sealer_log_seed(s), log) < 0 ||
	    note_key_init(&key, origin, NOTE_ED25519, log, e) < 0)
		return err_set(e, -EIO, "a key for seals cannot be made");
	if (note_parse(data, len, &n, e) < 0)
		return err_wrap(e, -EPERM, "not a checkpoint of this log");
	r = checkpoint_parse(n.text, n.text_len, ret, e);
	if (r == 0 && (strcmp(ret->origin, origin) != 0 || note_verify(&n, &key, NULL, NULL) != 1))
		r = -EPERM;
	note_done(&n);
	return r < 0 ? err_set(e, -EPERM, "not a checkpoint of this log that was signed here") : 0;
}

static bool again(const struct sealer *s, const struct sealed *l, const struct checkpoint *c)
{
	return l->breaks > 0 && l->size == c->size && s->broken.size == c->size &&
	       strcmp(s->broken.name, l->name) == 0 &&
	       memcmp(s->broken.root, c->root, DIGEST_LEN) == 0;
}

static int go_back(struct sealer *s, struct sealed *l, const struct checkpoint *c, struct err *e)
{
	struct sealed_break before = s->broken;
	struct sealed old = *l;
	int r;

	if (c->size >= l->size)
		return err_set(e, -EPERM,
		    "%llu records are not fewer than the %llu that were sealed",
		    (unsigned long long)c->size, (unsigned long long)l->size);
	if (l->breaks == SEALER_BREAKS_MAX)
		return err_set(e, -EPERM, "this log was set back %d times", SEALER_BREAKS_MAX);
	s->broken = (struct sealed_break){
	    .old_size = l->size, .size = c->size, .time_s = clock_wall_ns() / NSEC_PER_SEC};
	memcpy(s->broken.name, l->name, sizeof s->broken.name);
	memcpy(s->broken.old_root, l->root, DIGEST_LEN);
	memcpy(s->broken.root, c->root, DIGEST_LEN);
	l->breaks++;
	l->size = c->size;
	memcpy(l->root, c->root, DIGEST_LEN);
	l->noted = false;
	if ((r = sealer_store(s, e)) == 0)
		return 0;
	*l = old;
	s->broken = before;
	return r;
}

static int write_note(
    struct sealer *s, const struct sealed *l, const char *origin, struct buf *out, struct err *e)
{
	char old_root[B64_LEN(DIGEST_LEN) + 1], root[B64_LEN(DIGEST_LEN) + 1];
	const struct sealed_break *b = &s->broken;
	uint8_t epoch[NOTE_KEY_LEN];
	struct note_key key;
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, TEXT_MAX);
	if ((r = sealer_epoch_public(s, epoch)) < 0 ||
	    (r = sealer_epoch_key(s->origin, s->epoch, epoch, &key, e)) < 0)
		return err_set(e, r, "the epoch's key cannot be named");
	b64_encode(old_root, b->old_root, DIGEST_LEN);
	b64_encode(root, b->root, DIGEST_LEN);
	buf_printf(&text, SEALER_BREAK_TEXT "\n%s\n%u\n%llu\n%s\n%llu\n%s\n%llu\n", origin,
	    (unsigned)l->breaks, (unsigned long long)b->old_size, old_root,
	    (unsigned long long)b->size, root, (unsigned long long)s->epoch);
	note_key_format(&key, &text);
	buf_printf(&text, "\n%lld\n", (long long)b->time_s);
	return sealer_sign(s, origin, &text, out, e);
}

int sealer_break(
    struct sealer *s, const char *log, const void *note, size_t len, struct buf *out, struct err *e)
{
	struct sealed *l = sealer_find(s, log);
	char origin[NOTE_NAME_MAX + 1];
	struct checkpoint c = {0};
	int r;

	if (!l)
		return err_set(e, -ENOENT, "this log was never sealed");
	if ((r = sealer_origin_of(s->origin, log, origin, sizeof origin)) < 0)
		return err_set(e, r, "no log has such a name");
	if ((r = read_own(s, origin, note, len, &c, e)) < 0 || (r = sealer_scrub(s, e)) < 0)
		return r;
	if (!again(s, l, &c) && (r = go_back(s, l, &c, e)) < 0)
		return r;
	return write_note(s, l, origin, out, e);
}
