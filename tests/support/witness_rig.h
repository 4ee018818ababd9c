/*
 * A log and a witness of it, for tests: a directory of its own, a log whose leaves are numbers, and
 * requests made of them.
 */
#ifndef POSTERN_TESTS_WITNESS_RIG_H
#define POSTERN_TESTS_WITNESS_RIG_H

#include <stddef.h>
#include <stdint.h>

#include "broker/witness/judge.h"
#include "broker/witness/key.h"
#include "broker/witness/state.h"
#include "broker/witness/trust.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/digest.h"

#define RIG_ORIGIN  "log.example/host"
#define RIG_WITNESS "witness.example/w1"
#define RIG_TIME    1700000000

struct witness_rig {
	char path[64];
	struct witness_state state;
	struct witness_key key;
	struct witness witness;
	uint8_t seed[NOTE_KEY_LEN]; /* of the log */
	struct buf body, out;       /* the last request, its answer */
	const char *type;
};

/* What a request consists of; origin NULL: RIG_ORIGIN. */
struct rig_request {
	uint64_t old, size;
	uint8_t branch; /* leaves differ from the first on that this one has for its own */
	uint64_t branch_at;
	const char *origin, *extension;
};

void witness_rig_open(struct witness_rig *w);
void witness_rig_close(struct witness_rig *w); /* removes the directory */
void rig_root(const struct rig_request *q, uint64_t size, uint8_t ret[DIGEST_LEN]);
/* The checkpoint's text, and the whole body with a right proof, into w->body. */
void rig_body(struct witness_rig *w, const struct rig_request *q);
/* Asks what is in w->body. */
unsigned rig_ask(struct witness_rig *w);
unsigned rig_add(struct witness_rig *w, const struct rig_request *q);
/* The answer is a good cosignature of that tree. */
void rig_check_cosigned(struct witness_rig *w, const struct rig_request *q);

#endif
