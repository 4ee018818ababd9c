/*
 * An operator's question that others have to answer first: who asked, whom we asked, and until when
 * we wait.
 */
#ifndef POSTERN_CORE_QUESTION_H
#define POSTERN_CORE_QUESTION_H

#include <jansson.h>
#include <stdint.h>

#include "broker/core/core.h"

struct question;
typedef void (*question_fn)(struct question *q);

struct question {
	struct question *next;
	struct core *core;
	question_fn late; /* the deadline has passed: answer with what is there; frees q */
	struct loop_source *timer;
	uint64_t peer, id;
	uint64_t supervisor, spawn,
	    signer; /* ids of our own questions; 0: answered, or not asked */
	json_t *processes;
	json_t *asked; /* of a workspace: the body of workspace.do; may be NULL */
};

#define QUESTION_NS INT64_C(2000000000)

/* peer: the serial number of who asked; id: of its question. The core has it;
 * NULL without memory. */
struct question *question_new(struct core *c, uint64_t peer, uint64_t id, question_fn late);
void question_free(struct question *q);
void question_free_all(struct core *c); /* at the end of the core; answers nobody */

#endif
