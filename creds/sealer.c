#include "creds/sealer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/sealer_internal.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/merkle.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

#define INFO_RATCHET "postern ratchet"
#define INFO_SIGN    "postern sign"
#define TEXT_MAX     1024

/* ---- the beginning and the end ---- */

int sealer_epoch_public(const struct sealer *s, uint8_t ret[NOTE_KEY_LEN])
{
	cleanup_secret struct secret *seed = secret_new(SEED_LEN);
	int r;

	if (!seed)
		return -ENOMEM;
	r = sealer_derive(sealer_epoch_seed(s), INFO_SIGN, secret_data(seed));
	return r < 0 ? r : note_public(secret_data(seed), ret);
}

static int begin(struct sealer *s, int keys_fd, struct err *e)
{
	int r;

	fd_random(secret_data(s->seeds), secret_len(s->seeds));
	if ((r = sealer_epoch_public(s, s->first)) < 0)
		return err_set(e, r, "a key for seals cannot be made");
	return sealer_create(s, keys_fd, e);
}

/* No older seed is left anywhere before anything is signed. */
int sealer_scrub(struct sealer *s, struct err *e)
{
	int r = s->stale ? sealer_store(s, e) : 0;

	if (r == 0)
		s->stale = false;
	return r;
}

int sealer_open(int keys_fd, struct sealer **ret, struct err *e)
{
	struct sealer *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "cannot hold the sealer");
	s->fd = -1;
	s->seeds = secret_new(2 * (size_t)SEED_LEN);
	s->image = secret_new(SEALER_SLOT);
	if (!s->seeds || !s->image) {
		sealer_free(s);
		return err_set(e, -ENOMEM, "cannot hold the sealer");
	}
	r = sealer_load(s, keys_fd, e);
	if (r == -ENOENT)
		r = begin(s, keys_fd, e);
	else if (r == 0)
		r = sealer_scrub(s, e);
	if (r < 0) {
		sealer_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void sealer_free(struct sealer *s)
{
	if (!s)
		return;
	util_close(&s->fd);
	secret_free(s->seeds);
	secret_free(s->image);
	util_free(&s);
}

/* ---- what it knows ---- */

struct sealed *sealer_find(const struct sealer *s, const char *log)
{
	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i].name, log) == 0)
			return (struct sealed *)(uintptr_t)&s->logs[i];
	return NULL;
}

void sealer_last(const struct sealer *s, const char *log, struct checkpoint *ret)
{
	const struct sealed *l = sealer_find(s, log);

	memset(ret, 0, sizeof *ret);
	if (!l)
		return;
	(void)sealer_origin_of(s->origin, log, ret->origin, sizeof ret->origin);
	ret->size = l->size;
	memcpy(ret->root, l->root, DIGEST_LEN);
}

const char *sealer_log(const struct sealer *s, size_t i)
{
	return i < s->nlogs ? s->logs[i].name : NULL;
}

uint64_t sealer_epoch(const struct sealer *s)
{
	return s->epoch;
}

const char *sealer_origin(const struct sealer *s)
{
	return s->origin;
}

void sealer_keys(const struct sealer *s, uint8_t log[NOTE_KEY_LEN], uint8_t epoch[NOTE_KEY_LEN],
    uint8_t first[NOTE_KEY_LEN])
{
	memset(log, 0, NOTE_KEY_LEN);
	memset(epoch, 0, NOTE_KEY_LEN);
	(void)note_public(sealer_log_seed(s), log);
	(void)sealer_epoch_public(s, epoch);
	memcpy(first, s->first, NOTE_KEY_LEN);
}

/* ---- signing ---- */

int sealer_sign(
    struct sealer *s, const char *origin, struct buf *text, struct buf *out, struct err *e)
{
	cleanup_secret struct secret *seed = secret_new(SEED_LEN);
	struct note_key log_key, epoch_key;
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN];
	int r;

	if (!seed || buf_status(text) < 0)
		return err_set(e, -ENOMEM, "cannot hold a note");
	if ((r = sealer_scrub(s, e)) < 0)
		return r;
	if ((r = note_public(sealer_log_seed(s), log)) < 0 ||
	    (r = sealer_epoch_public(s, epoch)) < 0 ||
	    (r = sealer_derive(sealer_epoch_seed(s), INFO_SIGN, secret_data(seed))) < 0)
		return err_set(e, r, "a key for seals cannot be made");
	if ((r = note_key_init(&log_key, origin, NOTE_ED25519, log, e)) < 0 ||
	    (r = sealer_epoch_key(s->origin, s->epoch, epoch, &epoch_key, e)) < 0)
		return r;
	buf_put(out, text->data, text->len);
	buf_put(out, "\n", 1);
	if ((r = note_sign(
	         (const char *)text->data, text->len, &log_key, sealer_log_seed(s), 0, out, e)) < 0)
		return r;
	return note_sign(
	    (const char *)text->data, text->len, &epoch_key, secret_data(seed), 0, out, e);
}

/* The host's origin that c->origin stands for, which has to be the one we know. */
static int check_origin(
    const struct sealer *s, const char *log, const struct checkpoint *c, char *host, struct err *e)
{
	char expected[NOTE_NAME_MAX + 1];
	struct note_key k;
	size_t n = strlen(c->origin), tail = strcmp(log, SEALER_HOST) == 0 ? 0 : 3 + strlen(log);

	if (n <= tail || n - tail > SEALER_ORIGIN_MAX)
		return err_set(e, -EPERM, "the origin does not fit the log's name");
	memcpy(host, c->origin, n - tail);
	host[n - tail] = '\0';
	if (sealer_origin_of(host, log, expected, sizeof expected) < 0 ||
	    strcmp(expected, c->origin) != 0)
		return err_set(e, -EPERM, "the origin does not fit the log's name");
	if (note_key_init(&k, c->origin, NOTE_ED25519, s->first, e) < 0)
		return err_wrap(e, -EPERM, "the origin cannot be a key's name");
	if (*s->origin && strcmp(s->origin, host) != 0)
		return err_set(e, -EPERM, "another origin than the one sealed before");
	return 0;
}

static int check_growth(const struct sealed *l, const struct checkpoint *c,
    const uint8_t (*proof)[DIGEST_LEN], size_t nproof, struct err *e)
{
	uint64_t old = l ? l->size : 0;

	if (c->size == 0 || c->size > INT64_MAX)
		return err_set(e, -EPERM, "an empty log is not sealed");
	if (c->size < old)
		return err_set(e, -EPERM, "size %llu is smaller than the sealed %llu",
		    (unsigned long long)c->size, (unsigned long long)old);
	if (old == 0 || c->size == old) {
		if (nproof != 0 || (old > 0 && memcmp(l->root, c->root, DIGEST_LEN) != 0))
			return err_set(e, -EPERM,
			    "not consistent with what was sealed at size %llu",
			    (unsigned long long)old);
		return 0;
	}
	if (merkle_verify_consistency(old, l->root, c->size, c->root, proof, nproof) < 0)
		return err_set(e, -EPERM, "not proved consistent with what was sealed at size %llu",
		    (unsigned long long)old);
	return 0;
}

/* The state first, then the signature: what has left is never denied later. */
static int remember(
    struct sealer *s, const char *log, const char *host, const struct checkpoint *c, struct err *e)
{
	struct sealed *l = sealer_find(s, log), old = {0};
	bool first = !*s->origin;
	int r;

	if (!l && s->nlogs == SEALER_LOGS_MAX)
		return err_set(
		    e, -ENOBUFS, "the signer seals %d logs and no more", SEALER_LOGS_MAX);
	if (l)
		old = *l;
	else
		l = &s->logs[s->nlogs++];
	(void)str_copy(l->name, sizeof l->name, log);
	l->size = c->size;
	memcpy(l->root, c->root, DIGEST_LEN);
	l->noted = old.noted && old.size == c->size;
	(void)str_copy(s->origin, sizeof s->origin, host);
	if (old.size == c->size) /* nothing new */
		return 0;
	r = sealer_store(s, e);
	if (r == 0)
		return 0;
	*l = old;
	s->nlogs -= !*old.name;
	if (first)
		*s->origin = '\0';
	return r;
}

int sealer_seal(struct sealer *s, const char *log, const struct checkpoint *c,
    const uint8_t (*proof)[DIGEST_LEN], size_t nproof, struct buf *out, struct err *e)
{
	char host[SEALER_ORIGIN_MAX + 1];
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, TEXT_MAX);
	if ((r = check_origin(s, log, c, host, e)) < 0 ||
	    (r = check_growth(sealer_find(s, log), c, proof, nproof, e)) < 0 ||
	    (r = sealer_scrub(s, e)) < 0 || (r = remember(s, log, host, c, e)) < 0)
		return r;
	checkpoint_text(c, &text);
	return sealer_sign(s, c->origin, &text, out, e);
}

/* ---- epochs ---- */

/* The next epoch's seed and its public key. */
static int look_ahead(const struct sealer *s, struct secret *seed, uint8_t key[NOTE_KEY_LEN])
{
	cleanup_secret struct secret *sign = secret_new(SEED_LEN);
	int r;

	if (!sign)
		return -ENOMEM;
	if ((r = sealer_derive(sealer_epoch_seed(s), INFO_RATCHET, secret_data(seed))) < 0 ||
	    (r = sealer_derive(secret_data(seed), INFO_SIGN, secret_data(sign))) < 0)
		return r;
	return note_public(secret_data(sign), key);
}

int sealer_epoch_note(struct sealer *s, const char *log, struct buf *out, struct err *e)
{
	cleanup_secret struct secret *seed = secret_new(SEED_LEN);
	struct sealed *l = sealer_find(s, log);
	char origin[NOTE_NAME_MAX + 1], root[B64_LEN(DIGEST_LEN) + 1];
	uint8_t key[NOTE_KEY_LEN];
	struct note_key next;
	cleanup_buf struct buf text;
	int r;

	buf_init(&text, TEXT_MAX);
	if (!l || l->size == 0)
		return err_set(e, -ENOENT, "this log was never sealed");
	if (!seed || (r = look_ahead(s, seed, key)) < 0)
		return err_set(e, seed ? r : -ENOMEM, "the next epoch's key cannot be made");
	if ((r = sealer_origin_of(s->origin, log, origin, sizeof origin)) < 0 ||
	    (r = sealer_epoch_key(s->origin, s->epoch + 1, key, &next, e)) < 0)
		return err_set(e, r, "the next epoch's key cannot be named");
	b64_encode(root, l->root, DIGEST_LEN);
	buf_printf(
	    &text, SEALER_EPOCH_TEXT "\n%s\n%llu\n", origin, (unsigned long long)s->epoch + 1);
	note_key_format(&next, &text);
	buf_printf(&text, "\n%llu\n%s\n", (unsigned long long)l->size, root);
	if ((r = sealer_sign(s, origin, &text, out, e)) < 0)
		return r;
	l->noted = true;
	return 0;
}

static int ratchet(struct sealer *s, struct err *e)
{
	cleanup_secret struct secret *old = secret_new(SEED_LEN);
	int r;

	if (!old)
		return err_set(e, -ENOMEM, "cannot hold a seed");
	if ((r = sealer_scrub(s, e)) < 0)
		return r;
	memcpy(secret_data(old), sealer_epoch_seed(s), SEED_LEN);
	if ((r = sealer_derive(secret_data(old), INFO_RATCHET, sealer_epoch_seed(s))) < 0) {
		memcpy(sealer_epoch_seed(s), secret_data(old), SEED_LEN);
		return err_set(e, r, "the next epoch's key cannot be made");
	}
	s->epoch++;
	if ((r = sealer_store(s, e)) < 0) {
		/* it may be there or not, so the slot is written again before anything else */
		memcpy(sealer_epoch_seed(s), secret_data(old), SEED_LEN);
		s->epoch--;
		s->stale = true;
		return r;
	}
	for (size_t i = 0; i < s->nlogs; i++)
		s->logs[i].noted = false;
	s->stale = true;
	return sealer_scrub(s, e);
}

int sealer_next_epoch(struct sealer *s, uint64_t epoch, struct err *e)
{
	if (epoch != s->epoch + 1)
		return err_set(
		    e, -EPERM, "the epoch after %llu is another", (unsigned long long)s->epoch);
	if (s->nlogs == 0)
		return err_set(e, -EAGAIN, "nothing was sealed in this epoch");
	for (size_t i = 0; i < s->nlogs; i++)
		if (s->logs[i].size > 0 && !s->logs[i].noted)
			return err_set(e, -EAGAIN, "log %s has no note into epoch %llu",
			    s->logs[i].name, (unsigned long long)epoch);
	return ratchet(s, e);
}

int sealer_follow(struct sealer *s, const void *note, size_t len, struct err *e)
{
	cleanup_secret struct secret *seed = secret_new(SEED_LEN);
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], next[NOTE_KEY_LEN];
	struct note_key log_key, epoch_key;
	struct epoch_note said;
	struct note n;
	int r;

	if (!seed || note_public(sealer_log_seed(s), log) < 0 ||
	    sealer_epoch_public(s, epoch) < 0 || look_ahead(s, seed, next) < 0)
		return err_set(e, -EIO, "the next epoch's key cannot be made");
	if ((r = note_key_init(&log_key, s->origin, NOTE_ED25519, log, e)) < 0 ||
	    (r = sealer_epoch_key(s->origin, s->epoch, epoch, &epoch_key, e)) < 0)
		return r;
	if (note_parse(note, len, &n, e) < 0)
		return err_wrap(e, -EPERM, "not an epoch note");
	r = epoch_note_parse(n.text, n.text_len, &said, e) == 0 &&
	            strcmp(said.last.origin, s->origin) == 0 && said.epoch == s->epoch + 1 &&
	            memcmp(said.key.key, next, NOTE_KEY_LEN) == 0 &&
	            note_verify(&n, &log_key, NULL, NULL) == 1 &&
	            note_verify(&n, &epoch_key, NULL, NULL) == 1
	        ? 0
	        : -EPERM;
	note_done(&n);
	return r < 0 ? err_set(e, r, "not the note by which this epoch ended") : ratchet(s, e);
}
