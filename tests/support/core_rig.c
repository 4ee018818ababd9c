#include "tests/support/core_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/audit/record_store.h"
#include "broker/core/config.h"
#include "broker/store/store.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/util.h"
#include "tests/support/record_memory.h"

#define DEADLINE_NS (3 * NSEC_PER_SEC)
#define TURNS       8

/* ---- the directory ---- */

static void write_file(const struct rig *r, const char *path, const char *text)
{
	assert_int_equal(fd_write_file(r->config_fd, path, text, strlen(text), 0600, NULL), 0);
}

static void write_tenant(
    const struct rig *r, const char *name, const struct key_private *ca, const char *more)
{
	cleanup_buf struct buf line, text;
	char path[64];

	buf_init(&line, 4096);
	buf_init(&text, 16384);
	key_format_line(key_private_public(ca), name, &line);
	buf_printf(&text,
	    "ca:\n  - \"%.*s\"\nlimits: {sessions: 3}\nroles:\n"
	    "  agent:\n    allow: [exec, shell, pty, sftp, credential]\n"
	    "    credentials: [\"jwt:https://api.example.com\"]\n"
	    "    env: [LANG, \"GIT_*\"]\n    channels: 4\n%s",
	    (int)(line.len - 1), (const char *)line.data, more);
	(void)snprintf(path, sizeof path, "tenants/%s.yaml", name);
	write_file(r, path, buf_cstr(&text));
}

static void make_dir(struct rig *r)
{
	char path[96];

	(void)snprintf(r->dir, sizeof r->dir, "/tmp/core-rig-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	(void)snprintf(path, sizeof path, "%s/etc", r->dir);
	r->config_fd = fd_open_dir(AT_FDCWD, path, 0700);
	(void)snprintf(path, sizeof path, "%s/core", r->dir);
	r->state_fd = fd_open_dir(AT_FDCWD, path, 0700);
	(void)snprintf(path, sizeof path, "%s/proc", r->dir);
	r->proc_fd = fd_open_dir(AT_FDCWD, path, 0700);
	assert_true(r->config_fd >= 0 && r->state_fd >= 0 && r->proc_fd >= 0);
	(void)close(fd_open_dir(r->config_fd, "tenants", 0700));
	write_file(r, "postern.yaml", "store: {map_size: 16M}\n");
	write_tenant(r, "demo", r->ca, "  narrow:\n    allow: [exec]\n");
	write_tenant(r, "other", r->other_ca, "");
}

static void remove_dir(struct rig *r)
{
	static const char *const files[] = {"etc/tenants/demo.yaml", "etc/tenants/other.yaml",
	    "etc/tenants/bad.yaml", "etc/postern.yaml", "core/data.mdb", "core/lock.mdb",
	    "ctl.sock", "pam.sock", "run.sock"};
	static const char *const dirs[] = {"etc/tenants", "etc", "core", "proc", "."};
	char path[128];

	(void)snprintf(path, sizeof path, "%d/cgroup", (int)getpid());
	(void)unlinkat(r->proc_fd, path, 0);
	(void)snprintf(path, sizeof path, "%d/status", (int)getpid());
	(void)unlinkat(r->proc_fd, path, 0);
	(void)snprintf(path, sizeof path, "%d", (int)getpid());
	(void)unlinkat(r->proc_fd, path, AT_REMOVEDIR);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		(void)snprintf(path, sizeof path, "%s/%s", r->dir, files[i]);
		(void)unlink(path);
	}
	for (size_t i = 0; i + 1 < ARRAY_LEN(dirs); i++) {
		(void)snprintf(path, sizeof path, "%s/%s", r->dir, dirs[i]);
		(void)rmdir(path);
	}
	(void)rmdir(r->dir);
}

/* ---- running ---- */

static void on_deadline(struct loop *l, void *arg)
{
	struct rig *r = arg;

	r->late = true;
	loop_stop(l);
}

static void on_ready(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	loop_stop(l);
}

static void on_turn(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

static void run(struct rig *r)
{
	assert_int_equal(loop_run(r->loop), 0);
}

void rig_turns(struct rig *r)
{
	for (int i = 0; i < TURNS; i++) {
		struct loop_source *s = loop_timer(r->loop, 1000000, on_turn, NULL);

		run(r);
		loop_remove(s);
	}
}

struct rig_end *rig_end_new(struct rig *r, int fd, unsigned self)
{
	struct rig_end *e = calloc(1, sizeof *e);

	assert_non_null(e);
	e->rig = r;
	e->chan = chan_new(fd, self, MSG_CORE);
	assert_non_null(e->chan);
	e->source = loop_fd(r->loop, fd, 0, on_ready, e);
	assert_non_null(e->source);
	return e;
}

void rig_end_free(struct rig_end *e)
{
	if (!e)
		return;
	loop_remove(e->source);
	chan_free(e->chan);
	free(e);
}

/* What chan_recv() says once there is something. */
static int receive(struct rig_end *e, struct msg *m, struct err *why)
{
	struct rig *r = e->rig;
	int got;

	r->late = false;
	loop_timer_set(r->deadline, DEADLINE_NS);
	while ((got = chan_recv(e->chan, m, why)) == -EAGAIN && !r->late) {
		loop_fd_watch(e->source, LOOP_READ);
		run(r);
		loop_fd_watch(e->source, 0);
	}
	loop_timer_set(r->deadline, -1);
	return got;
}

void rig_expect(struct rig_end *e, const char *type, struct msg *m)
{
	struct msg own = MSG_INIT;
	struct err why = ERR_INIT;
	int r = receive(e, &own, &why);

	if (r != 1)
		fail_msg("%s was expected, and %s", type,
		    r == 0         ? "the link was closed"
		    : r == -EAGAIN ? "nothing came"
		                   : err_text(&why));
	if (!msg_is(&own, type)) {
		char *text = json_dumps(own.body, JSON_COMPACT);

		fail_msg("%s was expected, not %s %s", type, own.type->name, text);
	}
	if (m)
		*m = own;
	else
		msg_done(&own);
}

void rig_expect_closed(struct rig_end *e)
{
	struct msg m = MSG_INIT;
	int64_t until = clock_mono_ns() + DEADLINE_NS;
	int r;

	for (;;) {
		while ((r = chan_recv(e->chan, &m, NULL)) == 1)
			msg_done(&m);
		if (r != -EAGAIN || clock_mono_ns() > until)
			break;
		rig_turns(e->rig);
		/* the supervisor keeps the core's end as well, until it is told to drop it */
		while (
		    e != e->rig->supervisor && chan_recv(e->rig->supervisor->chan, &m, NULL) == 1)
			msg_done(&m);
	}
	assert_int_equal(r, 0);
}

void rig_expect_nothing(struct rig_end *e)
{
	struct msg m = MSG_INIT;
	int r;

	rig_turns(e->rig);
	r = chan_recv(e->chan, &m, NULL);
	if (r == 1)
		fail_msg("nothing was expected, not %s", m.type->name);
	assert_int_equal(r, -EAGAIN);
}

void rig_send(struct rig_end *e, const char *type, uint64_t id, json_t *body)
{
	if (chan_send(e->chan, type, id, body, NULL, 0) < 0)
		fail_msg("%s: %s", type, chan_why(e->chan));
}

/* ---- starting ---- */

/* A link between the core and a part that we play. */
static struct rig_end *link_part(struct rig *r, const char *role, unsigned self)
{
	int pair[2];
	struct rig_end *e;

	assert_int_equal(fd_seqpacket_pair(pair), 0);
	e = rig_end_new(r, pair[0], self);
	assert_int_equal(chan_send(r->supervisor->chan, "link", 0, json_pack("{s:s}", "role", role),
	                     &pair[1], 1),
	    0);
	(void)close(pair[1]);
	return e;
}

void rig_start(struct rig *r, struct decider *d)
{
	struct core_options o = {.loop = r->loop,
	    .config_fd = r->config_fd,
	    .proc_fd = r->proc_fd,
	    .etc_fd = -1,
	    .decider = d,
	    .instance = "test",
	    .idcount = HOST_IDS_COUNT};
	struct err e = ERR_INIT;
	int pair[2];

	if (config_load(r->config_fd, &o.config, &e) < 0 && !r->config_wrong)
		fail_msg("%s", err_text(&e));
	o.config_why = err_text(&e);
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	r->supervisor = rig_end_new(r, pair[0], MSG_SUPERVISOR);
	o.supervisor_fd = pair[1];
	if (r->state_fd >= 0 && r->store == NULL && r->log == NULL) {
		struct store_config sc = {.map_size = 16 << 20};

		if (store_open(r->state_fd, &sc, &r->store, &e) < 0 ||
		    record_store_open(r->store, r->loop, &r->limits, &r->log, &e) < 0)
			fail_msg("%s", err_text(&e));
	}
	o.store = r->store;
	o.log = r->log;
	r->core = core_new(&o, &e);
	assert_non_null(r->core);
	r->spawn = link_part(r, "spawn", MSG_SPAWN);
	r->signer = link_part(r, "signer", MSG_SIGNER);
	r->listener = link_part(r, "listener", MSG_LISTENER);
}

void rig_restore(struct rig *r, const char *name, int fd)
{
	assert_int_equal(chan_send(r->supervisor->chan, "store.restore", 0,
	                     json_pack("{s:s}", "name", name), &fd, 1),
	    0);
}

void rig_ready(struct rig *r)
{
	rig_send(r->supervisor, "store.done", 0, json_object());
	rig_expect(r->supervisor, "ready", NULL);
	/* what a core asks of a new spawn */
	rig_expect(r->spawn, "probe", NULL);
	rig_expect(r->spawn, "sandbox.list", NULL);
	rig_expect(r->spawn, "template.forget", NULL);
	rig_expect(r->spawn, "template.prepare", NULL);
	rig_expect(r->spawn, "sandbox.list", NULL);
	if (r->store) /* what it asks of a new signer; not answered, so nothing is sealed */
		rig_expect(r->signer, "seal.keys", NULL);
}

void rig_stop(struct rig *r)
{
	core_free(r->core);
	r->core = NULL;
	if (r->store) {
		r->log->ops->free(r->log);
		store_close(r->store);
		r->log = NULL;
		r->store = NULL;
	}
	rig_end_free(r->supervisor);
	rig_end_free(r->spawn);
	rig_end_free(r->signer);
	rig_end_free(r->listener);
	r->supervisor = r->spawn = r->signer = r->listener = NULL;
}

struct rig *core_rig_new(bool stored, struct decider *d)
{
	struct rig *r = calloc(1, sizeof *r);

	record_options_default(&r->limits);
	assert_non_null(r);
	log_open("test", LOG_EMERG);
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &r->ca, NULL), 0);
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &r->other_ca, NULL), 0);
	assert_int_equal(key_private_generate(KEY_ED25519, 0, &r->subject, NULL), 0);
	make_dir(r);
	r->loop = loop_new();
	assert_non_null(r->loop);
	r->deadline = loop_timer(r->loop, -1, on_deadline, r);
	if (!stored)
		r->log = record_memory_new(r->loop);
	rig_start(r, d);
	rig_ready(r);
	return r;
}

void core_rig_free(struct rig *r)
{
	bool stored = r->store != NULL;

	rig_stop(r);
	if (!stored && r->log)
		r->log->ops->free(r->log);
	loop_remove(r->deadline);
	loop_free(r->loop);
	(void)close(r->config_fd);
	(void)close(r->state_fd);
	remove_dir(r);
	(void)close(r->proc_fd);
	key_private_free(r->ca);
	key_private_free(r->other_ca);
	key_private_free(r->subject);
	free(r);
}
