#include "broker/core/handlers.h"

#include <errno.h>

#include "broker/core/core.h"
#include "broker/core/core_archive.h"
#include "broker/core/export_internal.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * The exporter: sinks, witnesses and the archive. Its questions are answered at once, from the
 * store; it is one peer among others, and its death stops nothing.
 */

/* Without a store there is nothing to export. */
static bool before(struct peer *p)
{
	return p->core->exporting != NULL;
}

static void gone(struct peer *p)
{
	if (p->core->exporter != p)
		return;
	p->core->exporter = NULL;
	core_archive_lost(p->core);
}

static const struct peer_handler handlers[] = {
    {"export.open", export_open},
    {"export.pull", export_pull},
    {"export.body", export_body},
    {"export.notes", export_notes},
    {"export.done", export_done},
    {"export.skip", export_skip},
    {"export.state", export_state},
    {"witness.ask", export_witness_ask},
    {"witness.signed", export_witness_signed},
    {"witness.conflict", export_witness_conflict},
    {"archive.written", core_archive_answer},
    {"archive.failed", core_archive_answer},
    {NULL, NULL},
};

const struct peer_class class_export = {
    .who = "exporter", .role = MSG_EXPORT, .handlers = handlers, .before = before, .gone = gone};
