/*
 * Somebody the core talks with: one link, its class (who it is, what it may say, who handles that),
 * and what it stands for.
 *
 * A peer that breaks a rule, of the table or of its handler, loses its link; a record peer.dropped
 * says which rule; nobody else notices. A peer is freed at the end of the loop's turn, so that a
 * handler may close any peer, its own included. After peer_close(), and before gone(), its link
 * carries nothing any more.
 */
#ifndef POSTERN_CORE_PEER_H
#define POSTERN_CORE_PEER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct core;
struct err;
struct loop_source;
struct msg;
struct peer;

#define PEER_RUDE_MAX 16 /* records a second of peers that were refused or dropped */

struct peer_handler {
	const char *type; /* NULL ends the list */
	/* 0; or -errno with e: the peer has broken a rule. */
	int (*fn)(struct peer *p, struct msg *m, struct err *e);
};

struct peer_class {
	const char *who;
	unsigned role; /* enum msg_role */
	bool urgent;
	const struct peer_handler *handlers;
	/* Before each message is read; may be NULL. False: not now,
	 * but in one of the next turns. */
	bool (*before)(struct peer *p);
	/* The link has closed or was dropped, not by peer_close(). */
	void (*gone)(struct peer *p);
};

struct peer {
	struct peer *next;
	struct core *core;
	const struct peer_class *cls;
	struct chan *chan;
	struct loop_source *source;
	void *owner;     /* conn, session, ...: by class */
	uint64_t serial; /* never used twice */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool closed, lost;
};

/* Takes fd over in every case. NULL when there is no memory or descriptor left (logged). */
struct peer *peer_new(struct core *c, int fd, const struct peer_class *cls, void *owner);
/* Takes body over. 0 or -errno; failures need no handling: gone() follows.
 * p may be NULL (-EPIPE). */
int peer_send(struct peer *p, const char *type, uint64_t id, json_t *body);
int peer_send_fds(
    struct peer *p, const char *type, uint64_t id, json_t *body, const int *fds, size_t nfds);
uint64_t peer_question(struct peer *p); /* a fresh id */
/* Reads what is waiting. */
void peer_pump(struct peer *p);
void peer_close(struct peer *p); /* NULL is fine */
struct peer *peer_find(struct core *c, uint64_t serial);
/* Whether one more refused or dropped peer is put on record. Anybody on the host can be one, as
 * often as he likes: what is over PEER_RUDE_MAX is counted, and told with the next record as
 * "unsaid". */
bool peer_rude(struct core *c, unsigned *ret_unsaid);
/* Called once a turn, and when the core ends. */
void peers_reap(struct core *c);
/* When the core ends, in two steps: nobody is heard or told anything any more (descriptors that the
 * supervisor has copies of stay connected); then the memory, when nothing points to it. */
void peers_abandon(struct core *c);
void peers_free(struct core *c);

#endif
