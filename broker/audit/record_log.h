/*
 * One log as its writer has it: its head and tree, the records that wait for it, and how much it
 * may take. The pieces of record_store; nobody else includes it.
 */
#ifndef POSTERN_AUDIT_RECORD_LOG_H
#define POSTERN_AUDIT_RECORD_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/record_class.h"
#include "broker/audit/record_share.h"
#include "broker/audit/tree.h"
#include "lib/str.h"

struct err;
struct private_values;
struct store;

struct waiting {
	struct waiting *next;
	struct record_log_state *log;
	char class_name[CHAIN_CLASS_MAX + 1];
	enum record_kind kind;
	bool critical;
	bool stranger; /* nobody has let in who made it */
	json_t *subject, *body;
	record_fn done;
	void *arg;
	int64_t queued_ns;
	int r; /* what done() is told */
	uint64_t seq;
};

#define COALESCED_CLASSES 32

/* What was left out since the last record that says so. */
struct coalesced {
	size_t n;
	uint64_t total;
	struct {
		char class_name[CHAIN_CLASS_MAX + 1];
		uint64_t count;
	} classes[COALESCED_CLASSES + 1]; /* the last one: all others */
};
void coalesced_add(struct coalesced *c, const char *class_name);
json_t *coalesced_body(const struct coalesced *c, const char *reason); /* NULL without memory */

struct record_log_state {
	struct record_log_state *next; /* by number */
	uint32_t number;
	char name[NAME_MAX_LEN + 1];
	bool known;   /* its row is in the store */
	bool touched; /* by the transaction under way */
	bool suspect; /* a transaction has failed: to be loaded before the next */
	struct log_head head, work;
	struct tree_tail *tail;
	struct waiting *first, **last;
	size_t nwaiting;
	uint64_t lost; /* records that could not be written since the last that were */
	struct record_share share;
	struct coalesced coalesced;
	const char *coalesced_why;
	int64_t coalesced_ns; /* of the last record that told of such */
};

/* Checks the newest record against the head: -EUCLEAN if they differ or there is one behind it. */
int record_log_load(struct store *s, struct record_log_state *l, struct err *e);
void record_log_free(struct record_log_state *l);
void waiting_free(struct waiting *w);

/* Inside a transaction. time_ns: the newest time of all logs. quota: bytes that l may have, 0: any;
 * what would be more is not written, w->r is -EDQUOT. scratch and spill: room for a record and for
 * a body beside it. */
int record_log_put(struct store *s, struct private_values *p, struct waiting *w, int64_t time_ns,
    uint64_t quota, struct buf *scratch, struct buf *spill, struct err *e);
/* The row and head of a log that was touched. */
int record_log_put_head(struct store *s, struct record_log_state *l, struct err *e);

#endif
