#include "broker/core/core_seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "broker/core/config.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/export.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "broker/core/seal_store.h"
#include "broker/store/store.h"
#include "creds/sealer.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/loop.h"
#include "lib/str.h"

_Static_assert(HOST_ORIGIN_MAX <= SEALER_ORIGIN_MAX, "an origin has to fit the sealer");

#define ORIGIN_KEY   "origin"
#define KEYS_LOOK_NS (NSEC_PER_SEC / 20)
#define KEYS_LOOKS   100

/* ---- what sealing reaches us by ---- */

static int ask(void *arg, const char *type, json_t *body, uint64_t *ret_id)
{
	struct core *c = arg;

	if (!c->signer) {
		json_decref(body);
		return -EPIPE;
	}
	*ret_id = peer_question(c->signer);
	return peer_send(c->signer, type, *ret_id, body);
}

static int record(void *arg, const char *class_name, const char *tenant, json_t *body,
    record_fn done, void *done_arg)
{
	struct core *c = arg;

	return record_append(c->log, class_name, tenant, NULL, body, false, done, done_arg);
}

static bool active(void *arg, const char *tenant)
{
	const struct core *c = arg;

	return c->config && config_tenant(c->config, tenant) != NULL;
}

/* ---- the origin ---- */

/* postern.invalid/HOSTNAME/RANDOM, for a host that was told no better name; made once for a store.
 */
static void make_origin(struct core *c, char *dst, size_t size)
{
	char random[17], name[65] = "";
	uint8_t bytes[8];
	struct utsname u;

	if (uname(&u) == 0)
		(void)str_copy(name, sizeof name, u.nodename);
	for (char *p = name; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", *p))
			*p = '-';
	fd_random(bytes, sizeof bytes);
	hex_encode(random, bytes, sizeof bytes);
	(void)snprintf(dst, size, "postern.invalid/%s/%s", *name ? name : "host", random);
	(void)store_later(c->store, STORE_META, ORIGIN_KEY, dst, strlen(dst));
}

static void origin_of(struct core *c, char *dst, size_t size)
{
	cleanup_buf struct buf b;
	const char *text;

	buf_init(&b, HOST_ORIGIN_MAX);
	if (c->config && *c->config->host.origin)
		(void)str_copy(dst, size, c->config->host.origin);
	else if (store_get(c->store, STORE_META, ORIGIN_KEY, strlen(ORIGIN_KEY), &b) == 0 &&
	         (text = buf_cstr(&b)) != NULL)
		(void)str_copy(dst, size, text);
	else
		make_origin(c, dst, size);
}

int core_seal_start(struct core *c)
{
	char origin[HOST_ORIGIN_MAX + 1];
	struct seal_env env = {
	    .loop = c->loop,
	    .logs = &seal_store_logs,
	    .logs_arg = c->store,
	    .ask = ask,
	    .record = record,
	    .active = active,
	    .arg = c,
	    .origin = origin,
	    .checkpoint_s = c->config ? c->config->host.checkpoint_s : SEAL_CHECKPOINT_S,
	    .epoch_s = c->config ? c->config->host.epoch_s : SEAL_EPOCH_S,
	};

	if (!c->store)
		return 0;
	origin_of(c, origin, sizeof origin);
	c->seal = seal_new(&env);
	return c->seal ? 0 : -ENOMEM;
}

void core_seal_reloaded(struct core *c)
{
	if (c->seal && c->config)
		seal_times(c->seal, c->config->host.checkpoint_s, c->config->host.epoch_s);
}

static void on_ended(int r, uint64_t seq, void *arg)
{
	struct core *c = arg;

	(void)seq;
	if (r == 0 && c->seal) /* r < 0: the core itself may be gone */
		seal_soon(c->seal);
}

void core_seal_after(
    struct core *c, const char *class_name, const char *tenant, json_t *subject, json_t *body)
{
	(void)record_append(c->log, class_name, tenant, subject, body, false, on_ended, c);
}

/* ---- operators ---- */

struct asked {
	struct core *core;
	uint64_t peer, question;
};

static void on_turned(int r, uint64_t epoch, const char *why, void *arg)
{
	struct asked *a = arg;
	struct peer *p = peer_find(a->core, a->peer);

	if (r < 0)
		ctl_error(p, a->question, CTL_FAILED, why);
	else
		(void)peer_send(p, "ctl.answer", a->question,
		    json_pack("{s:{s:I}}", "data", "epoch", (json_int_t)epoch));
	free(a);
}

void ctl_seal_epoch(struct peer *p, uint64_t question)
{
	struct core *c = p->core;
	struct asked *a = c->seal ? malloc(sizeof *a) : NULL;
	int r;

	if (!a) {
		ctl_error(p, question, CTL_FAILED, "nothing is sealed here");
		return;
	}
	*a = (struct asked){c, p->serial, question};
	r = seal_turn(c->seal, on_turned, a);
	if (r == 0)
		return;
	free(a);
	ctl_error(p, question, CTL_FAILED,
	    r == -EBUSY ? "an epoch is being turned already" : "the signer cannot be reached");
}

void ctl_seal_accept(struct peer *p, uint64_t question)
{
	struct core *c = p->core;
	char why[256];
	bool due =
	    (c->seal && !seal_ok(c->seal, why, sizeof why)) || !export_ok(c, why, sizeof why);

	if ((c->seal && seal_accept(c->seal) < 0) || export_accept(c) < 0) {
		ctl_error(p, question, CTL_FAILED, "the log cannot be written");
		return;
	}
	(void)peer_send(p, "ctl.answer", question, json_pack("{s:{s:b}}", "data", "accepted", due));
}

/* Right after a start the signer has not told its keys yet: they are waited for. */
struct keys_wait {
	struct asked asked;
	struct loop_source *timer;
	unsigned looks; /* left */
};

static bool keys_answer(struct core *c, struct peer *p, uint64_t question)
{
	json_t *keys = c->seal ? seal_keys(c->seal) : NULL;

	if (!keys)
		return false;
	(void)json_object_set_new(keys, "witnesses", export_witness_keys(c));
	(void)peer_send(p, "ctl.answer", question, json_pack("{s:o}", "data", keys));
	return true;
}

static void on_keys_look(struct loop *l, void *arg)
{
	struct keys_wait *w = arg;
	struct peer *p = peer_find(w->asked.core, w->asked.peer);

	(void)l;
	if (p && !keys_answer(w->asked.core, p, w->asked.question)) {
		if (w->looks-- > 0) {
			loop_timer_set(w->timer, KEYS_LOOK_NS);
			return;
		}
		ctl_error(p, w->asked.question, CTL_FAILED, "the signer has not told its keys");
	}
	loop_remove(w->timer);
	free(w);
}

void ctl_seal_keys(struct peer *p, uint64_t question)
{
	struct core *c = p->core;
	struct keys_wait *w;

	if (keys_answer(c, p, question))
		return;
	w = c->seal ? malloc(sizeof *w) : NULL;
	if (w)
		*w = (struct keys_wait){{c, p->serial, question}, NULL, KEYS_LOOKS};
	if (w && (w->timer = loop_timer(c->loop, KEYS_LOOK_NS, on_keys_look, w)) != NULL)
		return;
	free(w);
	ctl_error(p, question, CTL_FAILED, "nothing is sealed here");
}
