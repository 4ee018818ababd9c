/*
 * What the core does for the exporter, the process that has the network: it tells what there is,
 * gives out records and notes, keeps how far each sink has come, and checks and keeps what
 * witnesses sign.
 *
 * The exporter is not believed. It gets the logs that a configured sink is to have and no other,
 * personal values only for a sink that may have them; a cursor never goes back, and never beyond
 * the log; a cosignature counts when it verifies against the configured key and the note that we
 * stored. What it says makes records only at state changes and at a bounded rate, and a record
 * about the exporter's own work never causes another one: else the log would feed itself.
 *
 *   export.c          the state, and what has grown
 *   export_cursor.c   how far each sink has come; records that a sink will never take
 *   export_pull.c     records and notes
 *   export_witness.c  proofs and cosignatures, what is witnessed
 *   export_conflict.c a witness has seen another log: nothing new starts until that is accepted
 *   export_lag.c      how old the oldest record is that no quorum has signed
 *   export_view.c     postern status
 *
 * Without a store (tests) there is nothing of this.
 */
#ifndef POSTERN_CORE_EXPORT_H
#define POSTERN_CORE_EXPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct core;

#define EXPORT_GROWN_MS                                                                            \
	200 /* what has grown is told so often at most, cursors are kept so often                  \
	     */
#define EXPORT_LAG_S       60 /* from here on the lag is an alarm */
#define EXPORT_SINK_S      60 /* and the time for which a sink has been failing */
#define EXPORT_SKIPS_PER_S 1  /* records that are skipped, of all sinks */
#define EXPORT_SKIPS_BURST 60
#define EXPORT_ARCHIVE     "archive" /* pulls as a sink of this name */

int export_start(struct core *c); /* c->export, if there is a store. 0 or -ENOMEM */
void export_free(struct core *c);
void export_finish(struct core *c); /* what is known goes with the next commit, the last */
void export_linked(struct core *c);
void export_reloaded(struct core *c);

/* The newest size of this log that a quorum has cosigned; 0: none. Without witnesses INT64_MAX. */
uint64_t export_witnessed(struct core *c, const char *log);
/* What every sink that wants this log has taken; without such a sink INT64_MAX. */
uint64_t export_taken(struct core *c, const char *log);

/* False: a witness has seen another log than ours, and nobody has accepted that. */
bool export_ok(struct core *c, char *why, size_t size);
/* The operator does; recorded, and on the disk when 0 is returned. */
int export_accept(struct core *c);
/* The verifier keys of the configured witnesses: [text]. */
json_t *export_witness_keys(const struct core *c);
/* For ctl.status: broker/core/ctl_answers.h. */
json_t *export_status(struct core *c);

#endif
