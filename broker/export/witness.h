/*
 * One witness (c2sp.org/tlog-witness): is asked to cosign the newest checkpoint of each log, one
 * request in flight. What size it has of a log is remembered while the process lives and learned
 * from its 409 otherwise; the core gives the proof from there.
 *
 * A cosignature is verified here before it is handed to the core, which verifies it again. A log
 * that the witness refuses does not hold up the others.
 */
#ifndef POSTERN_EXPORT_WITNESS_H
#define POSTERN_EXPORT_WITNESS_H

#include <jansson.h>

#include "broker/core/export_config.h"

struct err;
struct exporter;
struct witness;

int witness_new(
    struct exporter *x, const struct export_witness *config, struct witness **ret, struct err *e);
void witness_free(struct witness *w); /* NULL is fine */
const struct export_witness *witness_config(const struct witness *w);
void witness_wake(struct witness *w);
void witness_linked(struct witness *w);
json_t *witness_report(const struct witness *w);

#endif
