#include <string.h>

#include "broker/core/seal_internal.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"

#define SHOWN_MAX 128 /* logs in one answer */

/* What is said of sealing: postern status, postern audit keys. */

static const char *state_of(const struct seal *s)
{
	return *s->alarm     ? s->alarm
	       : *s->why     ? s->why
	       : !s->linked  ? "the signer is not there"
	       : !s->learned ? "the signer has not answered yet"
	                     : "good";
}

static json_t *one_log(const struct seal_log *l)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:s}", "log", l->name, "size", (json_int_t)l->size,
	    "sealed", (json_int_t)l->sealed, "state", *l->why ? l->why : "good");

	if (o && l->sealed_boot_ns) {
		(void)json_object_set_new(o, "epoch", json_integer((json_int_t)l->epoch));
		(void)json_object_set_new(o, "sealed_s",
		    json_integer((clock_boot_ns() - l->sealed_boot_ns) / NSEC_PER_SEC));
	}
	return o;
}

json_t *seal_status(struct seal *s)
{
	json_t *logs = json_array();

	seal_refresh(s);
	for (size_t i = 0; i < s->nlogs && i < SHOWN_MAX; i++)
		(void)json_array_append_new(logs, one_log(&s->logs[i]));
	return json_pack("{s:s, s:I, s:s, s:b, s:o, s:b}", "origin", s->origin, "epoch",
	    (json_int_t)s->epoch, "state", state_of(s), "accepted", s->accepted, "logs", logs,
	    "more", s->more || s->nlogs > SHOWN_MAX);
}

static json_t *key_text(const struct note_key *k)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	note_key_format(k, &b);
	return json_string(buf_cstr(&b));
}

static json_t *epoch_text(const struct seal *s, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN])
{
	struct note_key k;

	return sealer_epoch_key(s->origin, epoch, key, &k, NULL) < 0 ? NULL : key_text(&k);
}

json_t *seal_keys(struct seal *s)
{
	json_t *logs = json_array();

	seal_refresh(s);
	for (size_t i = 0; s->learned && i < s->nlogs && i < SHOWN_MAX; i++) {
		char origin[NOTE_NAME_MAX + 1];
		struct note_key k;

		if ((s->logs[i].known || s->logs[i].stored) &&
		    sealer_origin_of(s->origin, s->logs[i].name, origin, sizeof origin) == 0 &&
		    note_key_init(&k, origin, NOTE_ED25519, s->log_key, NULL) == 0)
			(void)json_array_append_new(logs,
			    json_pack("{s:s, s:o}", "log", s->logs[i].name, "key", key_text(&k)));
	}
	if (!s->learned) {
		json_decref(logs);
		return NULL;
	}
	return json_pack("{s:s, s:I, s:o, s:o, s:o}", "origin", s->origin, "epoch",
	    (json_int_t)s->epoch, "first", epoch_text(s, 0, s->first_key), "current",
	    epoch_text(s, s->epoch, s->epoch_key), "logs", logs);
}
