#include "broker/core/exec_deny.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/conn.h"
#include "broker/core/decide.h"
#include "broker/core/peer.h"
#include "lib/digest.h"
#include "lib/msg.h"
#include "lib/str.h"

#define SHOWN_COMMAND (64u * 1024) /* no message brings a longer one */

/* What is left of a channel while its refusal is being recorded. */
struct denial {
	struct core *core;
	uint64_t peer, question;
	uint32_t channel;
	const char *answer; /* and the record's class */
	char reason[CORE_REASON_MAX + 1];
};

static void on_denied(int r, uint64_t seq, void *arg)
{
	struct denial *d = arg;
	json_t *body =
	    json_pack("{s:I, s:s}", "channel", (json_int_t)d->channel, "reason", d->reason);

	if (r == 0 && body)
		(void)json_object_set_new(body, "record", json_integer((json_int_t)seq));
	(void)peer_send(peer_find(d->core, d->peer), d->answer, d->question, body);
	free(d);
}

json_t *exec_text(const char *s)
{
	size_t n = strlen(s);
	json_t *v = n <= SHOWN_COMMAND ? json_string(s) : NULL;
	char *shown;

	if (v)
		return v;
	shown = malloc(SHOWN_COMMAND);
	if (!shown)
		return NULL;
	v = json_string(str_escape(shown, SHOWN_COMMAND, s, n));
	free(shown);
	return v;
}

json_t *exec_body(const struct channel *ch)
{
	const struct command *c = &ch->command;
	json_t *o = json_pack(
	    "{s:I, s:s}", "channel", (json_int_t)ch->id, "kind", command_kind_name(c->kind));

	if (o && c->text) {
		(void)json_object_set_new(o, "command", exec_text(c->text));
		if (strlen(c->text) > SHOWN_COMMAND) {
			char hex[DIGEST_HEX_LEN + 1];
			uint8_t digest[DIGEST_LEN];

			digest_sha256(c->text, strlen(c->text), digest);
			hex_encode(hex, digest, DIGEST_LEN);
			(void)json_object_set_new(o, "command_sha256", json_string(hex));
		}
	}
	if (o && c->pty)
		(void)json_object_set_new(o, "pty", json_true());
	return o;
}

void exec_deny(struct channel *ch, const char *reason, const char *rule)
{
	struct core *c = ch->conn->core;
	struct denial *d = calloc(1, sizeof *d);
	json_t *body = exec_body(ch);

	if (body) {
		(void)json_object_set_new(body, "reason", json_string(reason));
		decide_note(body, false, rule, &ch->conn->grant);
	}
	if (d) {
		d->core = c;
		d->peer = ch->peer->serial;
		d->question = ch->question;
		d->channel = ch->id;
		d->answer = ch->state == CHANNEL_RUNNING ? "channel.failed" : "channel.denied";
		(void)str_copy(d->reason, sizeof d->reason, reason);
		if (note_then(c, d->answer, ch->conn->grant.tenant, conn_subject(ch->conn), body,
		        on_denied, d) < 0)
			on_denied(-EIO, 0, d);
	} else {
		json_decref(body);
		peer_close(ch->peer); /* no memory even for a refusal */
	}
	channel_free(ch);
}
