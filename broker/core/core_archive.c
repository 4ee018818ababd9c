#include "broker/core/core_archive.h"

#include <errno.h>

#include "broker/core/archive.h"
#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/export.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"

static const struct export_config *config(void *arg)
{
	const struct core *c = arg;

	return c->config ? &c->config->export : NULL;
}

static int ask(void *arg, json_t *body, uint64_t *ret_id)
{
	struct core *c = arg;

	if (!c->exporter) {
		json_decref(body);
		return -EPIPE;
	}
	*ret_id = peer_question(c->exporter);
	return peer_send(c->exporter, "archive.cut", *ret_id, body);
}

static uint64_t witnessed(void *arg, const char *log)
{
	return export_witnessed(arg, log);
}

int core_archive_start(struct core *c)
{
	struct archive_env env = {.loop = c->loop,
	    .store = c->store,
	    .log = c->log,
	    .config = config,
	    .ask = ask,
	    .witnessed = witnessed,
	    .arg = c};

	if (!c->store)
		return 0;
	c->archive = archive_new(&env);
	return c->archive ? 0 : -ENOMEM;
}

void core_archive_linked(struct core *c)
{
	if (c->archive)
		archive_linked(c->archive);
}

void core_archive_lost(struct core *c)
{
	if (c->archive)
		archive_lost(c->archive);
}

int core_archive_answer(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	if (p->core->archive)
		(void)archive_answer(p->core->archive, m);
	return 0;
}
