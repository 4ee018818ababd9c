/*
 * What a connection and a session can become: states, events, and a table of both. An event that a
 * state does not expect is refused and changes nothing.
 */
#ifndef POSTERN_CORE_LIFECYCLE_H
#define POSTERN_CORE_LIFECYCLE_H

enum conn_state {
	CONN_SPARE, /* a worker without a client */
	CONN_AUTH,  /* client known */
	CONN_OPEN,  /* grant cut and recorded */
	CONN_ENDED,
	CONN_STATES
};

enum conn_event { CONN_ACCEPTED, CONN_GRANTED, CONN_CLOSED, CONN_EVENTS };

enum session_state {
	SESSION_NEW,      /* recorded, or about to be; spawn knows nothing of it */
	SESSION_STARTING, /* ordered from spawn */
	SESSION_LIVE,
	SESSION_ENDING, /* its end is ordered */
	SESSION_ENDED,  /* nothing of it is left */
	SESSION_STATES
};

enum session_event {
	SESSION_ORDERED, /* sandbox.start was sent */
	SESSION_STARTED, /* sandbox.started came */
	SESSION_FAILED,  /* sandbox.failed came, or the record could not be written */
	SESSION_END,     /* somebody wants it to end, and spawn has to be told */
	SESSION_GONE,    /* sandbox.ended came, or spawn is gone */
	SESSION_EVENTS
};

/* The next state, or -1. */
int conn_next(enum conn_state s, enum conn_event e);
int session_next(enum session_state s, enum session_event e);
const char *conn_state_name(enum conn_state s);
const char *session_state_name(enum session_state s);
/* -1 for an unknown name. */
int conn_state_find(const char *name);
int session_state_find(const char *name);

#endif
