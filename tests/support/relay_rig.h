/*
 * For tests of postern-run's relay: one in a thread of its own, with the test on both sides of it,
 * as the client and as the sandbox, and a core that listens. Every function asserts (cmocka).
 */
#ifndef POSTERN_TESTS_SUPPORT_RELAY_RIG_H
#define POSTERN_TESTS_SUPPORT_RELAY_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "pam/run_relay.h"

struct chan;

struct relay_rig {
	struct relay r;
	struct relay_end end;
	struct chan *core;     /* the core's side */
	int client[3], box[3]; /* the other ends; -1 once closed */
	int status;
	int result;
	pthread_t thread;
};

/* sockets: stdin and stdout are one socket with two descriptors, as sshd's are. */
void rr_pipes(struct relay_rig *g, bool sockets);
/* sshd's terminal on one side (its master is *ret_client), the sandbox's on the other. */
void rr_pty(struct relay_rig *g, int *ret_client, int *ret_slave);
void rr_start(struct relay_rig *g);
void rr_wait(struct relay_rig *g); /* until the relay has ended, without an error */
void rr_done(struct relay_rig *g);

/* A record into the status pipe (lib/status.h). */
void rr_put_status(struct relay_rig *g, uint8_t kind, uint32_t value);
void rr_put(int fd, const char *s);
/* Exactly s, then (end) the end of file. */
void rr_expect(int fd, const char *s, bool end);
/* channel.ended with this exit status and signal (NULL: none), and the relay's own counts. */
void rr_expect_ended(struct relay_rig *g, int exit_code, const char *signal_name);

#endif
