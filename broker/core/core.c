#include "broker/core/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "broker/core/archive.h"
#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/core_archive.h"
#include "broker/core/core_seal.h"
#include "broker/core/ctl_sessions.h"
#include "broker/core/decide.h"
#include "broker/core/export.h"
#include "broker/core/handlers.h"
#include "broker/core/lease.h"
#include "broker/core/question.h"
#include "broker/core/seal.h"
#include "broker/core/session.h"
#include "broker/store/store.h"
#include "creds/provider.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define MINUTE_NS (60 * NSEC_PER_SEC)

/* ---- small things that every file uses ---- */

void core_id(char *dst, char kind)
{
	uint8_t random[8];

	fd_random(random, sizeof random);
	dst[0] = kind;
	dst[1] = '-';
	hex_encode(dst + 2, random, sizeof random);
}

int64_t core_now_s(struct core *c)
{
	return c->log->ops->now_ns(c->log) / NSEC_PER_SEC;
}

int note(struct core *c, const char *class_name, const char *tenant, json_t *subject, json_t *body)
{
	return record_append(c->log, class_name, tenant, subject, body, false, NULL, NULL);
}

const char *note_why(int r)
{
	return r == -EBUSY || r == -EDQUOT
	           ? "the tenant has filled its share of the log; try again later"
	           : "the log cannot be written";
}

int note_then(struct core *c, const char *class_name, const char *tenant, json_t *subject,
    json_t *body, record_fn done, void *arg)
{
	return record_append(c->log, class_name, tenant, subject, body, true, done, arg);
}

bool core_clock_ok(struct core *c, char *why, size_t size)
{
	struct err e = ERR_INIT;

	if (c->log->ops->clock_ok(c->log, &e) == 0)
		return true;
	if (!c->clock_bad) {
		c->clock_bad = true;
		log_error("%s: nothing new starts until an operator accepts it "
		          "(postern clock accept)",
		    err_text(&e));
		(void)note(
		    c, "clock.stepped", NULL, NULL, json_pack("{s:s}", "reason", err_text(&e)));
	}
	(void)snprintf(why, size, "%s; an operator has to accept it", err_text(&e));
	return false;
}

bool core_may_start(struct core *c, char *why, size_t size)
{
	return core_clock_ok(c, why, size) && (!c->seal || seal_ok(c->seal, why, size)) &&
	       export_ok(c, why, size);
}

void core_keep(struct core *c, const char *kind, const char *id, int fd)
{
	char name[64];

	(void)snprintf(name, sizeof name, "%s:%s", kind, id);
	(void)peer_send_fds(
	    c->supervisor, "store.put", 0, json_pack("{s:s}", "name", name), &fd, 1);
}

void core_forget(struct core *c, const char *kind, const char *id)
{
	char name[64];

	(void)snprintf(name, sizeof name, "%s:%s", kind, id);
	(void)peer_send(c->supervisor, "store.drop", 0, json_pack("{s:s}", "name", name));
}

/* ---- links ---- */

void core_link(struct core *c, const char *role, int fd)
{
	struct peer **at = strcmp(role, "spawn") == 0    ? &c->spawn
	                   : strcmp(role, "signer") == 0 ? &c->signer
	                   : strcmp(role, "export") == 0 ? &c->exporter
	                                                 : &c->listener;
	const struct peer_class *cls = at == &c->spawn      ? &class_spawn
	                               : at == &c->signer   ? &class_signer
	                               : at == &c->exporter ? &class_export
	                                                    : &class_listener;
	struct peer *old = *at;

	if (old) { /* the new end came before the old one read as closed */
		cls->gone(old);
		peer_close(old);
	}
	*at = peer_new(c, fd, cls, NULL);
	if (*at && at == &c->spawn)
		spawn_linked(c);
	if (*at && at == &c->signer && c->seal)
		seal_linked(c->seal);
	if (*at && at == &c->exporter)
		export_linked(c);
	if (*at && at == &c->exporter)
		core_archive_linked(c);
}

/* ---- once a turn, once a minute ---- */

static void on_reap(struct loop *l, void *arg)
{
	struct core *c = arg;

	(void)l;
	peers_reap(c);
	if (c->stopping && !c->sessions)
		core_quit(c);
}

static void on_minute(struct loop *l, void *arg)
{
	struct core *c = arg;
	char why[CORE_REASON_MAX];

	(void)l;
	loop_timer_set(c->minute, MINUTE_NS);
	if (c->store) {
		(void)store_reader_check(c->store);
		ctl_sessions_prune(c);
		space_look(c);
	}
	lease_expire(c);
	(void)core_clock_ok(c, why, sizeof why);
	/* the machine may have slept: the timers have not noticed */
	for (struct conn *k = c->conns; k; k = k->next)
		if (k->timer)
			conn_arm(k);
	for (struct session *s = c->sessions; s; s = s->next)
		if (s->timer)
			session_arm(s);
}

/* ---- the end ---- */

static void on_sealed(void *arg)
{
	struct core *c = arg;

	export_finish(c);
	(void)c->log->ops->flush(c->log);
	loop_stop(c->loop);
}

void core_quit(struct core *c)
{
	struct utsname u;

	if (c->quit)
		return;
	c->quit = true;
	if (uname(&u) < 0)
		u.release[0] = '\0';
	(void)note(c, "host.stop", NULL, NULL,
	    json_pack("{s:i, s:s}", "status", c->status, "kernel", u.release));
	(void)c->log->ops->flush(c->log);
	if (c->seal)
		seal_finish(c->seal, on_sealed, c);
	else
		loop_stop(c->loop);
}

static void on_stop_late(struct loop *l, void *arg)
{
	(void)l;
	core_quit(arg);
}

void core_stop(struct core *c, int status)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->status = status;
	while (c->conns)
		conn_end(c->conns, "Postern is stopping", true);
	loop_remove(c->minute);
	c->minute = loop_timer(c->loop, CORE_STOP_S * NSEC_PER_SEC, on_stop_late, c);
	loop_defer_arm(c->reap);
}

/* ---- the beginning ---- */

static int setup(struct core *c, const struct core_options *o)
{
	c->reap = loop_defer(o->loop, on_reap, c);
	c->minute = loop_timer(o->loop, MINUTE_NS, on_minute, c);
	c->decider = o->decider ? o->decider : decide_grant_new();
	c->jwt = provider_jwt_new(signer_ask, c);
	if (!c->reap || !c->minute || !c->decider || !c->jwt)
		return -ENOMEM;
	if (core_seal_start(c) < 0 || export_start(c) < 0 || core_archive_start(c) < 0)
		return -ENOMEM;
	c->supervisor = peer_new(c, o->supervisor_fd, &class_supervisor, NULL);
	return c->supervisor ? 0 : -ENOMEM;
}

static void record_start(struct core *c, const char *config_why)
{
	char hex[DIGEST_HEX_LEN + 1] = "";
	struct utsname u;

	if (uname(&u) < 0)
		u.release[0] = '\0';
	(void)note(c, "host.start", NULL, NULL,
	    json_pack("{s:s, s:s, s:s}", "version", POSTERN_VERSION, "kernel", u.release,
	        "instance", c->instance));
	if (!c->config) {
		(void)note(c, "config.refused", NULL, NULL,
		    json_pack("{s:s, s:s}", "by", "start", "reason",
		        config_why ? config_why : "the configuration is wrong"));
		return;
	}
	hex_encode(hex, c->config->digest, DIGEST_LEN);
	(void)note(c, "config.loaded", NULL, NULL,
	    json_pack("{s:s, s:s, s:I, s:I}", "by", "start", "digest", hex, "tenants",
	        (json_int_t)c->config->ntenants, "templates", (json_int_t)c->config->ntemplates));
}

struct core *core_new(const struct core_options *o, struct err *e)
{
	struct core *c = calloc(1, sizeof *c);
	int fd = o->supervisor_fd;

	if (!c) {
		util_close(&fd);
		(void)err_set(e, -ENOMEM, "no memory for the core");
		return NULL;
	}
	c->loop = o->loop;
	c->store = o->store;
	c->log = o->log;
	c->config = o->config;
	c->config_fd = o->config_fd;
	c->hostkey = o->hostkey ? o->hostkey : "";
	c->proc_fd = o->proc_fd;
	c->etc_fd = o->etc_fd;
	c->idcount = o->idcount;
	(void)str_copy(c->instance, sizeof c->instance, o->instance ? o->instance : "");
	for (size_t i = 0; i < CORE_LISTENERS; i++)
		c->listeners[i].fd = -1;
	c->started_boot_ns = clock_boot_ns();
	c->config_loaded_ns = clock_wall_ns();
	c->patience_ns = CORE_PATIENCE_NS;
	if (setup(c, o) < 0) {
		core_free(c);
		(void)err_set(e, -ENOMEM, "no memory for the core");
		return NULL;
	}
	record_start(c, o->config_why);
	return c;
}

void core_free(struct core *c)
{
	if (!c)
		return;
	peers_abandon(c);
	while (c->conns)
		conn_free(c->conns);
	while (c->sessions)
		session_free(c->sessions);
	peers_free(c);
	question_free_all(c);
	while (c->restored) {
		struct core_restored *r = c->restored;

		c->restored = r->next;
		util_close(&r->fd);
		free(r);
	}
	for (size_t i = 0; i < CORE_LISTENERS; i++) {
		loop_remove(c->listeners[i].source);
		util_close(&c->listeners[i].fd);
	}
	loop_remove(c->reap);
	loop_remove(c->minute);
	seal_free(c->seal);
	export_free(c);
	archive_free(c->archive);
	if (c->jwt)
		c->jwt->ops->free(c->jwt);
	if (c->decider)
		c->decider->free(c->decider);
	json_decref(c->host);
	config_free(c->config);
	free(c);
}
