/*
 * A core with a store (tests/support/core_rig.h) and the exporter, which the test plays: three
 * sinks, `all`, `people` (the host's log with personal values) and `demos` (demo's log), and as
 * many witnesses as it likes.
 */
#ifndef POSTERN_TESTS_SUPPORT_EXPORTER_RIG_H
#define POSTERN_TESTS_SUPPORT_EXPORTER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/msg.h"
#include "tests/support/core_rig.h"

#define WITNESSES 3

struct xr {
	struct rig *r;
	struct rig_end *x;
};

void xr_seed(size_t i, uint8_t ret[NOTE_KEY_LEN]);
void xr_witness_key(size_t i, struct note_key *ret);
/* And reloads; 0 witnesses: none. */
void xr_configure(struct xr *f, size_t witnesses, size_t quorum);
/* A new link in the place of the old one. */
void xr_link(struct xr *f);
/* What waits is in the store. */
void xr_commit(struct xr *f);
/* cmocka's; without witnesses. */
int xr_setup(void **state);
int xr_teardown(void **state);
/* The core ends as it should, and is started again. */
void xr_restart(struct xr *f);
uint64_t xr_size(struct xr *f, uint32_t log);
void xr_write(struct xr *f, const char *tenant, int n);
/* What the core says without being asked. */
bool xr_by_itself(const struct msg *m);
/* The next message that is an answer. */
void xr_expect(struct xr *f, const char *type, struct msg *m);
/* export.refused, for this reason. */
void xr_refused(struct xr *f, const char *reason);
/* export.at, with these. */
void xr_at(struct xr *f, uint64_t seq, uint64_t checkpoint);
/* What an exporter says, with an id. */
void xr_open(struct xr *f, const char *sink, const char *log);
void xr_done(struct xr *f, const char *sink, const char *log, uint64_t seq);
void xr_pull(struct xr *f, const char *sink, const char *log, uint64_t from);
void xr_skip(struct xr *f, const char *sink, const char *log, uint64_t seq);
/* How many records of the host's log hold this text. */
int xr_records_with(struct xr *f, const char *text);
/* How many of the status's alarms. */
size_t xr_alarms(struct xr *f, const char *text);

#endif
