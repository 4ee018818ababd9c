#include "tests/support/exporter_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/audit/logs.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"

void xr_seed(size_t i, uint8_t ret[NOTE_KEY_LEN])
{
	memset(ret, (int)i + 1, NOTE_KEY_LEN);
}

void xr_witness_key(size_t i, struct note_key *ret)
{
	uint8_t seed[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
	char name[32];

	xr_seed(i, seed);
	(void)snprintf(name, sizeof name, "w%zu.example.com", i);
	assert_int_equal(note_public(seed, public), 0);
	assert_int_equal(note_key_init(ret, name, NOTE_COSIGNATURE, public, NULL), 0);
}

void xr_configure(struct xr *f, size_t witnesses, size_t quorum)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;

	buf_init(&b, 8192);
	buf_printf(&b, "export:\n"
	               "  - {name: all, kind: jsonl}\n"
	               "  - {name: people, kind: jsonl, logs: [host], personal: true}\n"
	               "  - {name: demos, kind: jsonl, logs: [demo]}\n");
	if (witnesses > 0)
		buf_printf(&b, "witnesses:\n  quorum: %zu\n  list:\n", quorum);
	for (size_t i = 0; i < witnesses; i++) {
		struct note_key k;

		xr_witness_key(i, &k);
		buf_printf(&b, "    - {url: \"http://127.0.0.1/\", key: \"");
		note_key_format(&k, &b);
		buf_printf(&b, "\"}\n");
	}
	assert_int_equal(buf_status(&b), 0);
	assert_int_equal(
	    fd_write_file(f->r->config_fd, "postern.yaml", b.data, b.len, 0600, NULL), 0);
	if (f->r->core && core_reload(f->r->core, "test", &e) < 0)
		fail_msg("%s", err_text(&e));
}

void xr_link(struct xr *f)
{
	int pair[2];

	rig_end_free(f->x);
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	f->x = rig_end_new(f->r, pair[0], MSG_EXPORT);
	assert_int_equal(chan_send(f->r->supervisor->chan, "link", 0,
	                     json_pack("{s:s}", "role", "export"), &pair[1], 1),
	    0);
	(void)close(pair[1]);
}

void xr_commit(struct xr *f)
{
	assert_int_equal(f->r->log->ops->flush(f->r->log), 0);
}

int xr_setup(void **state)
{
	struct xr *f = calloc(1, sizeof *f);

	f->r = core_rig_new(true, NULL);
	xr_configure(f, 0, 0);
	xr_commit(f);
	xr_link(f);
	rig_expect(f->x, "export.grown", NULL);
	*state = f;
	return 0;
}

int xr_teardown(void **state)
{
	struct xr *f = *state;

	rig_end_free(f->x);
	core_rig_free(f->r);
	free(f);
	return 0;
}

void xr_restart(struct xr *f)
{
	rig_end_free(f->x);
	f->x = NULL;
	export_finish(f->r->core);
	xr_commit(f);
	rig_stop(f->r);
	rig_start(f->r, NULL);
	rig_ready(f->r);
	xr_link(f);
}

uint64_t xr_size(struct xr *f, uint32_t log)
{
	struct log_head head;

	assert_int_equal(logs_head(f->r->store, log, &head, NULL), 0);
	return head.seq;
}

void xr_write(struct xr *f, const char *tenant, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(
		    note(f->r->core, "ctl", tenant, NULL, json_pack("{s:i}", "n", i)), 0);
	xr_commit(f);
}

bool xr_by_itself(const struct msg *m)
{
	return msg_is(m, "export.grown") || msg_is(m, "export.reload");
}

/* The next message that is an answer. */
void xr_expect(struct xr *f, const char *type, struct msg *m)
{
	struct msg got = MSG_INIT;

	for (int i = 0; i < 200; i++) {
		int r = chan_recv(f->x->chan, &got, NULL);

		if (r == 1 && !xr_by_itself(&got)) {
			if (!msg_is(&got, type))
				fail_msg("%s was expected, not %s: %s", type, got.type->name,
				    msg_is(&got, "export.refused") ? msg_str(&got, "reason") : "");
			*m = got;
			return;
		}
		if (r == 1)
			msg_done(&got);
		assert_true(r == 1 || r == -EAGAIN);
		rig_turns(f->r);
	}
	fail_msg("%s was expected, and nothing came", type);
}

void xr_refused(struct xr *f, const char *reason)
{
	struct msg m = MSG_INIT;

	xr_expect(f, "export.refused", &m);
	if (!strstr(msg_str(&m, "reason"), reason))
		fail_msg("\"%s\" was expected, not: %s", reason, msg_str(&m, "reason"));
	msg_done(&m);
}

void xr_at(struct xr *f, uint64_t seq, uint64_t checkpoint)
{
	struct msg m = MSG_INIT;

	xr_expect(f, "export.at", &m);
	assert_int_equal(msg_int(&m, "seq", -1), seq);
	assert_int_equal(msg_int(&m, "checkpoint", -1), checkpoint);
	msg_done(&m);
}

void xr_open(struct xr *f, const char *sink, const char *log)
{
	rig_send(f->x, "export.open", 1, json_pack("{s:s, s:s}", "sink", sink, "log", log));
}

void xr_done(struct xr *f, const char *sink, const char *log, uint64_t seq)
{
	rig_send(f->x, "export.done", 2,
	    json_pack("{s:s, s:s, s:I, s:i}", "sink", sink, "log", log, "seq", (json_int_t)seq,
	        "checkpoint", 0));
}

void xr_pull(struct xr *f, const char *sink, const char *log, uint64_t from)
{
	rig_send(f->x, "export.pull", 3,
	    json_pack("{s:s, s:s, s:I, s:i}", "sink", sink, "log", log, "from", (json_int_t)from,
	        "max", 1024));
}

void xr_skip(struct xr *f, const char *sink, const char *log, uint64_t seq)
{
	rig_send(f->x, "export.skip", 4,
	    json_pack("{s:s, s:s, s:I, s:s}", "sink", sink, "log", log, "seq", (json_int_t)seq,
	        "reason", "400 \"bad\"\n"));
}

/* How many records of the host's log hold this text. */
struct count {
	const char *text;
	int n;
};

static int on_count(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct count *c = arg;

	(void)seq;
	c->n += memmem(data, len, c->text, strlen(c->text)) != NULL;
	return 0;
}

int xr_records_with(struct xr *f, const char *text)
{
	struct count c = {text, 0};

	xr_commit(f);
	assert_int_equal(
	    logs_walk(f->r->store, LOG_HOST_NUMBER, 1, STORE_WALK_MAX, on_count, &c), 0);
	return c.n;
}

size_t xr_alarms(struct xr *f, const char *text)
{
	json_auto_t *s = export_status(f->r->core);
	size_t i, n = 0;
	json_t *a;

	json_array_foreach(json_object_get(s, "alarms"), i, a)
	{
		assert_null(strchr(json_string_value(a), '\x1b'));
		n += strstr(json_string_value(a), text) != NULL;
	}
	return n;
}
