/*
 * What the files of the core's exporting share. Nobody else includes it.
 */
#ifndef POSTERN_CORE_EXPORT_INTERNAL_H
#define POSTERN_CORE_EXPORT_INTERNAL_H

#include "broker/audit/logs.h"
#include "broker/core/export.h"
#include "broker/core/export_config.h"
#include "broker/core/rate.h"
#include "creds/note.h"
#include "lib/buf.h"

struct err;
struct loop_source;
struct msg;
struct peer;

#define EXPORT_STATE_MAX  24
#define EXPORT_REASON_MAX 200

/* What a witness says that it has, and we do not. */
struct export_conflict {
	struct export_conflict *next;
	char witness[NOTE_NAME_MAX + 1];
	uint64_t size;
	char reason[EXPORT_REASON_MAX + 1];
	int64_t since_s;
	bool accepted; /* by an operator */
};

struct export_log {
	char name[NAME_MAX_LEN + 1];
	uint32_t number;
	uint64_t size, sealed;           /* as committed when last looked at */
	uint64_t told_size, told_sealed; /* to the exporter */
	bool counted;                    /* witnessed holds for the configuration of now */
	uint64_t witnessed;
	bool ever;           /* a quorum has signed something of it, sometime */
	uint64_t merged;     /* the size that note is of, which may wait for its commit; 0: none */
	uint64_t merged_at;  /* which commit was the last one then */
	struct buf note;     /* with the cosignatures that came */
	uint64_t oldest_seq; /* the record whose time oldest_ns is */
	int64_t oldest_ns;
	bool late;   /* the lag is on record */
	bool loaded; /* its conflicts are those that were kept */
	struct export_conflict *conflicts;
};

struct export_cursor {
	char sink[NAME_MAX_LEN + 1];
	struct export_log *log;
	uint64_t seq, checkpoint;
	bool dirty;    /* not queued yet */
	bool skipping; /* a skip waits for its record */
};

/* What the exporter says of a sink or a witness. */
struct export_said {
	char name[NOTE_NAME_MAX + 1];
	char state[EXPORT_STATE_MAX + 1], reason[EXPORT_REASON_MAX + 1];
	uint64_t sent;
	int64_t since_s;
};

struct export_ticket { /* a record that is waited for; outlives us */
	struct export_ticket *next;
	struct exporter *x; /* NULL: gone */
	struct export_cursor *cursor;
	uint64_t seq, peer, question;
};

struct exporter {
	struct core *core;
	struct loop_source *grown; /* timer */
	bool grown_armed;
	uint64_t commits; /* so far */
	uint64_t listed;  /* commits + 1 when the logs were listed last; 0: never */
	int64_t grown_ns;
	struct loop_source *lag; /* timer; NULL without witnesses */
	int64_t since_boot_ns;   /* of the configuration */
	size_t nlogs, ncursors, max_cursors, nsaid;
	struct export_log *log[LOGS_MAX]; /* each allocated, never freed before the end */
	struct export_cursor **cursor;
	struct export_said said[EXPORT_SINKS_MAX + EXPORT_WITNESSES_MAX];
	struct export_ticket *tickets;
	struct rate skips, refusals, told_conflicts;
	uint64_t skipped; /* since the core started */
};

/* NULL: there is none, or it cannot be read. */
struct export_log *export_log_find(struct exporter *x, const char *name);
/* All logs, with sizes as committed. */
void export_look(struct exporter *x);
const struct export_config *export_config_of(const struct exporter *x);
/* Whether anything is to leave this host at all. */
bool export_wanted(const struct exporter *x);
/* export.refused, if an answer is waited for. Returns 0. */
int export_refuse(struct peer *p, const struct msg *m, const char *why);
/* The cursors are kept soon. */
void export_soon(struct exporter *x);

/* export_cursor.c */
struct export_cursor *export_cursor_get(struct exporter *x, const char *sink, struct export_log *l);
void export_cursors_keep(struct exporter *x);
uint64_t export_first(struct exporter *x, const struct export_log *l); /* that is in the store */
int export_open(struct peer *p, struct msg *m, struct err *e);
int export_done(struct peer *p, struct msg *m, struct err *e);
int export_skip(struct peer *p, struct msg *m, struct err *e);

/* export_pull.c */
int export_pull(struct peer *p, struct msg *m, struct err *e);
int export_body(struct peer *p, struct msg *m, struct err *e);
int export_notes(struct peer *p, struct msg *m, struct err *e);

/* export_witness.c */
void export_witness_count(struct exporter *x, struct export_log *l);
int export_witness_ask(struct peer *p, struct msg *m, struct err *e);
int export_witness_signed(struct peer *p, struct msg *m, struct err *e);

/* export_conflict.c */
/* Once. */
void export_conflicts_load(struct exporter *x, struct export_log *l);
/* Those of witnesses that are not configured any more. */
void export_conflicts_forget(struct exporter *x, struct export_log *l);
/* The witness has signed the log at this size. */
void export_conflict_over(
    struct exporter *x, struct export_log *l, const char *witness, uint64_t size);
/* Whether nobody has accepted it. */
bool export_conflict_stands(struct exporter *x, struct export_log *l, struct export_conflict *c);
int export_witness_conflict(struct peer *p, struct msg *m, struct err *e);

/* export_lag.c */
int64_t export_lag_s(
    struct exporter *x, struct export_log *l); /* 0: nothing is sealed and unwitnessed */
void export_lag_check(struct exporter *x);
void export_lag_check_log(struct exporter *x, struct export_log *l);

/* export_view.c */
int export_state(struct peer *p, struct msg *m, struct err *e);

#endif
