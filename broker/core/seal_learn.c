#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/seal_internal.h"
#include "lib/buf.h"
#include "lib/log.h"
#include "lib/msg.h"

/*
 * What the signer has sealed, against what the store has. The signer keeps its state in a file of
 * its own, so a store that was set back, or a log that was cut or replaced, shows here.
 */

#define ACCEPTED_KEY "seal.accepted"

static const struct msg_field log_fields[] = {
    {"log", MSG_STRING, NAME_MAX_LEN, false},
    {"size", MSG_INT, INT64_MAX, false},
    {"root", MSG_BYTES, DIGEST_LEN, false},
    {"breaks", MSG_INT, SEALER_BREAKS_MAX, true},
    {NULL},
};

static void set_alarm(struct seal *s, const char *log, uint64_t size, const char *what)
{
	if (*s->alarm)
		return; /* one is enough to stop for */
	(void)snprintf(
	    s->alarm, sizeof s->alarm, "log %s: %s %llu", log, what, (unsigned long long)size);
}

static int bytes(const json_t *v, uint8_t ret[DIGEST_LEN])
{
	cleanup_buf struct buf b;

	buf_init(&b, DIGEST_LEN);
	if (msg_json_decode(v, &b) < 0 || b.len != DIGEST_LEN)
		return -EBADMSG;
	memcpy(ret, b.data, DIGEST_LEN);
	return 0;
}

/* Is what the signer sealed still there, as it was? */
static void compare(struct seal *s, struct seal_log *l)
{
	uint8_t here[DIGEST_LEN];

	if (l->last == 0) /* it was set back to its beginning */
		return;
	l->rolled = !l->stored || l->size < l->last ||
	            s->env.logs->root(s->env.logs_arg, l->number, l->last, here) < 0 ||
	            memcmp(here, l->root, DIGEST_LEN) != 0;
	if (!l->rolled)
		return;
	(void)str_copy(l->why, sizeof l->why, "what was sealed is not there any more");
	l->accepted = seal_break_accepted(s, l);
	if (!l->accepted)
		set_alarm(s, l->name, l->last, "the store is not the one that was sealed at size");
}

static void read_log(struct seal *s, const json_t *o)
{
	uint64_t breaks, kept = 0;
	struct seal_log *l;
	const char *name;

	if (msg_check_fields("log", o, log_fields, NULL) < 0)
		return;
	name = json_string_value(json_object_get(o, "log"));
	l = seal_find(s, name, true);
	if (!l || bytes(json_object_get(o, "root"), l->root) < 0)
		return;
	l->last = (uint64_t)json_integer_value(json_object_get(o, "size"));
	l->known = l->last > 0;
	compare(s, l);
	breaks = (uint64_t)json_integer_value(json_object_get(o, "breaks"));
	l->owed = !l->rolled && l->stored && breaks > 0 &&
	          s->env.logs->last_break(s->env.logs_arg, l->number, &kept) == 0 && kept < breaks;
}

/* The other way round: the signer's state is older than what it has signed, or another one. */
static void check_signer(struct seal *s)
{
	const struct seal_log *host = seal_find(s, SEALER_HOST, false);
	uint64_t epoch = 0;

	for (size_t i = 0; i < s->nlogs; i++)
		if (s->logs[i].sealed > s->logs[i].last)
			set_alarm(s, s->logs[i].name, s->logs[i].sealed,
			    "the signer does not know that it was sealed at size");
	if (host && host->stored &&
	    s->env.logs->last_epoch(s->env.logs_arg, host->number, &epoch) == 0 &&
	    epoch > s->epoch + 1)
		set_alarm(s, SEALER_HOST, epoch, "the signer does not know epoch");
}

static void say(struct seal *s)
{
	cleanup_buf struct buf b;
	const char *text;

	buf_init(&b, SEAL_REASON_MAX + 1);
	s->accepted = s->env.logs->recall(s->env.logs_arg, ACCEPTED_KEY, &b) == 0 &&
	              (text = buf_cstr(&b)) != NULL && strcmp(text, s->alarm) == 0;
	if (s->accepted)
		return;
	log_error(
	    "%s: nothing new starts until an operator accepts it (postern audit ack)", s->alarm);
	seal_record(s, "log.rollback", NULL, json_pack("{s:s}", "reason", s->alarm));
}

void seal_learn(struct seal *s, const struct msg *m)
{
	json_t *logs = msg_obj(m, "logs"), *o;
	char before[sizeof s->alarm];
	size_t i;

	if (bytes(json_object_get(m->body, "log_key"), s->log_key) < 0 ||
	    bytes(json_object_get(m->body, "epoch_key"), s->epoch_key) < 0 ||
	    bytes(json_object_get(m->body, "first_key"), s->first_key) < 0)
		return;
	s->epoch = (uint64_t)msg_int(m, "epoch", 0);
	s->learned = true;
	s->why[0] = '\0';
	(void)str_copy(before, sizeof before, s->alarm);
	s->alarm[0] = '\0';
	for (i = 0; i < s->nlogs; i++) {
		s->logs[i].known = s->logs[i].rolled = s->logs[i].owed = false;
		s->logs[i].accepted = s->logs[i].refused = false;
		s->logs[i].last = 0;
	}
	seal_refresh(s);
	if (seal_epoch_follow(s)) {
		s->learned = false;
		return;
	}
	json_array_foreach(logs, i, o) read_log(s, o);
	check_signer(s);
	if (*s->alarm && strcmp(before, s->alarm) != 0)
		say(s);
	seal_round(s);
}

bool seal_ok(const struct seal *s, char *why, size_t size)
{
	if (!*s->alarm || s->accepted)
		return true;
	(void)snprintf(why, size, "%s; an operator has to accept it", s->alarm);
	return false;
}

int seal_accept(struct seal *s)
{
	int r;

	if (!*s->alarm || s->accepted)
		return 0;
	if ((r = s->env.logs->remember(s->env.logs_arg, ACCEPTED_KEY, s->alarm)) < 0 ||
	    (r = seal_break_accept(s)) < 0)
		return r;
	s->accepted = true;
	seal_record(s, "log.rollback.accepted", NULL, json_pack("{s:s}", "reason", s->alarm));
	seal_step(s);
	return 0;
}
