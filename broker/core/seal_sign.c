#include "broker/core/seal_internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/merkle.h"
#include "lib/msg.h"

void seal_unsealed(struct seal *s, struct seal_log *l, const char *why)
{
	l->wanted = false;
	if (strcmp(l->why, why) == 0)
		return;
	(void)str_copy(l->why, sizeof l->why, why);
	log_error("log %s is not sealed: %s", l->name, why);
	seal_record(
	    s, "log.unsealed", NULL, json_pack("{s:s, s:s}", "log", l->name, "reason", l->why));
}

static json_t *question_of(struct seal *s, struct seal_log *l)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	char origin[NOTE_NAME_MAX + 1];
	json_t *list = json_array();
	size_t n = 0;

	if (sealer_origin_of(s->origin, l->name, origin, sizeof origin) < 0 ||
	    s->env.logs->root(s->env.logs_arg, l->number, l->size, l->asked_root) < 0 ||
	    (l->last > 0 && l->last < l->size &&
	        s->env.logs->consistency(s->env.logs_arg, l->number, l->last, l->size, proof, &n) <
	            0)) {
		json_decref(list);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, msg_json_bytes(proof[i], DIGEST_LEN));
	l->asked = l->size;
	return json_pack("{s:s, s:s, s:I, s:o, s:o}", "log", l->name, "origin", origin, "size",
	    (json_int_t)l->size, "root", msg_json_bytes(l->asked_root, DIGEST_LEN), "proof", list);
}

bool seal_sign(struct seal *s, struct seal_log *l)
{
	json_t *body = question_of(s, l);

	if (!body) {
		seal_unsealed(s, l, "its tree cannot be read");
		return false;
	}
	if (seal_ask(s, "checkpoint.sign", body, l) < 0) {
		l->wanted = false;
		return false;
	}
	return true;
}

void seal_signed(struct seal *s, struct seal_log *l, const struct msg *m)
{
	cleanup_buf struct buf note;

	buf_init(&note, NOTE_MAX);
	l->wanted = false;
	l->last = l->asked;
	l->known = true;
	if (msg_bytes(m, "note", &note) < 0 || s->env.logs->put_checkpoint(s->env.logs_arg,
	                                           l->number, l->asked, note.data, note.len) < 0) {
		seal_unsealed(s, l, "its checkpoint cannot be kept");
		return;
	}
	l->sealed = l->asked;
	l->epoch = s->epoch;
	l->sealed_boot_ns = clock_boot_ns();
	l->why[0] = '\0';
	if (!seal_is_host(l))
		seal_record(s, "log.checkpoint", NULL,
		    json_pack("{s:s, s:I, s:s%}", "log", l->name, "size", (json_int_t)l->asked,
		        "note", (const char *)note.data, note.len));
}
