#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/seal_internal.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/msg.h"

/*
 * A new epoch. From the first note on nothing is sealed until the signer has turned, as each note
 * is about its log's last sealed size. All notes are durable before the signer is told to forget
 * the old key; the host's comes last, so that who reads it finds the others.
 */

#define AGAIN_S 60 /* after a turn that failed */

bool seal_epoch_due(const struct seal *s)
{
	int64_t now = clock_wall_ns() / NSEC_PER_SEC;

	return s->turn == TURN_NONE && now - s->turned_s >= s->env.epoch_s;
}

int seal_turn(struct seal *s, seal_turn_fn done, void *arg)
{
	if (!s->learned)
		return -EPIPE;
	if (s->turn != TURN_NONE)
		return -EBUSY;
	s->turn = TURN_WANTED;
	s->turn_done = done;
	s->turn_arg = arg;
	if (!s->round)
		seal_round(s);
	return 0;
}

static void answer(struct seal *s, int r, const char *why)
{
	seal_turn_fn done = s->turn_done;

	s->turn = TURN_NONE;
	s->turn_done = NULL;
	if (done)
		done(r, s->epoch, why, s->turn_arg);
}

void seal_epoch_failed(struct seal *s, int r, const char *why)
{
	log_warn("epoch %llu goes on: %s", (unsigned long long)s->epoch, why);
	s->turned_s = clock_wall_ns() / NSEC_PER_SEC - s->env.epoch_s + AGAIN_S;
	answer(s, r, why);
}

static struct seal_log *next_log(struct seal *s, bool host)
{
	for (size_t i = 0; i < s->nlogs; i++) {
		struct seal_log *l = &s->logs[i];

		if (l->known && !l->noted && (strcmp(l->name, SEALER_HOST) == 0) == host)
			return l;
	}
	return NULL;
}

bool seal_epoch_step(struct seal *s)
{
	struct seal_log *l;

	if (s->turn == TURN_WANTED) {
		s->turn = TURN_NOTES;
		for (size_t i = 0; i < s->nlogs; i++)
			s->logs[i].noted = false;
	}
	if ((l = next_log(s, false)) == NULL) {
		if (s->pending > 0)
			return true;
		l = next_log(s, true);
	}
	if (l) {
		if (seal_ask(s, "epoch.note", json_pack("{s:s}", "log", l->name), l) < 0)
			seal_epoch_failed(s, -EPIPE, "the signer is gone");
		return true;
	}
	s->turn = TURN_ASKED;
	if (seal_ask(s, "epoch.next", json_pack("{s:I}", "epoch", (json_int_t)s->epoch + 1), NULL) <
	    0)
		seal_epoch_failed(s, -EPIPE, "the signer is gone");
	return true;
}

void seal_epoch_noted(struct seal *s, const struct msg *m)
{
	uint64_t epoch = (uint64_t)msg_int(m, "epoch", 0);
	struct seal_log *l = s->asked;
	cleanup_buf struct buf note;

	buf_init(&note, NOTE_MAX);
	if (s->turn != TURN_NOTES)
		return;
	if (epoch != s->epoch + 1 || msg_bytes(m, "note", &note) < 0 ||
	    (l->stored && s->env.logs->put_epoch(
	                      s->env.logs_arg, l->number, epoch, note.data, note.len) < 0)) {
		seal_epoch_failed(s, -EIO, "an epoch note cannot be kept");
		return;
	}
	l->noted = true;
	/* of a log that the store has lost, in the host's */
	seal_record(s, "log.epoch", l->stored && strcmp(l->name, SEALER_HOST) != 0 ? l->name : NULL,
	    json_pack("{s:s, s:I, s:s%}", "log", l->name, "epoch", (json_int_t)epoch, "note",
	        (const char *)note.data, note.len));
}

/* The newest epoch that signed a checkpoint of the host's log, or ended. */
static uint64_t epoch_seen(struct seal *s, const struct seal_log *host)
{
	size_t len = strlen(s->origin);
	uint64_t seen = 0, n, size;
	cleanup_buf struct buf b;
	struct note note;

	buf_init(&b, NOTE_MAX);
	if (s->env.logs->last_epoch(s->env.logs_arg, host->number, &n) == 0 && n > 0)
		seen = n - 1;
	if (s->env.logs->checkpoint(s->env.logs_arg, host->number, INT64_MAX, &size, &b) < 0 ||
	    note_parse((const char *)b.data, b.len, &note, NULL) < 0)
		return seen;
	for (size_t i = 0; i < note.nsignatures; i++) {
		const char *name = note.signatures[i].name;

		if (strncmp(name, s->origin, len) == 0 && strncmp(name + len, "/epoch/", 7) == 0 &&
		    str_to_u64(name + len + 7, 0, INT64_MAX, &n) == 0 && n > seen)
			seen = n;
	}
	note_done(&note);
	return seen;
}

bool seal_epoch_follow(struct seal *s)
{
	const struct seal_log *host = seal_find(s, SEALER_HOST, false);
	cleanup_buf struct buf b;
	json_t *body;

	buf_init(&b, NOTE_MAX);
	if (!host || !host->stored || epoch_seen(s, host) <= s->epoch ||
	    s->env.logs->epoch_note(s->env.logs_arg, host->number, s->epoch + 1, &b) < 0)
		return false;
	body = json_pack(
	    "{s:I, s:o}", "epoch", (json_int_t)s->epoch + 1, "note", msg_json_bytes(b.data, b.len));
	if (seal_ask(s, "epoch.next", body, NULL) < 0)
		return false;
	s->following = true;
	return true;
}

void seal_epoch_turned(struct seal *s, const struct msg *m)
{
	char text[24];

	if (s->following) {
		s->following = s->learned = false;
		log_info("the signer has followed to epoch %llu",
		    (unsigned long long)msg_int(m, "epoch", 0));
		(void)seal_ask(s, "seal.keys", NULL, NULL);
		return;
	}
	if (s->turn != TURN_ASKED)
		return;
	s->epoch = (uint64_t)msg_int(m, "epoch", 0);
	s->turned_s = clock_wall_ns() / NSEC_PER_SEC;
	(void)snprintf(text, sizeof text, "%lld", (long long)s->turned_s);
	(void)s->env.logs->remember(s->env.logs_arg, "seal.turned", text);
	log_info("epoch %llu", (unsigned long long)s->epoch);
	answer(s, 0, NULL);
	/* the new key is learned with the rest, and what the notes have added is sealed with it */
	s->learned = false;
	(void)seal_ask(s, "seal.keys", NULL, NULL);
}
