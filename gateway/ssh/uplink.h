/*
 * Our side of what a worker and the core say to each other (lib/msg_table.c, "a worker").
 *
 * The core may die and come back: our end stays open meanwhile, questions wait in the socket, and
 * each has a deadline here. When our end reads as closed there will be no core again, and the
 * connection ends.
 */
#ifndef POSTERN_GATEWAY_UPLINK_H
#define POSTERN_GATEWAY_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;
struct conn;
struct err;
struct msg;

/* Asks auth.check and waits. 0 and *ret is an auth.verdict (msg_done()), or as chan_call(). */
int uplink_auth(struct conn *c, const char *method, const char *key_b64, bool proved,
    struct msg *ret, struct err *e);
/* Handles everything that has come in. */
void uplink_receive(struct conn *c);

/* channel.exec for a channel that asked to run something. 0; -E2BIG when it does not fit a message;
 * -EPIPE. */
int uplink_exec(struct conn *c, struct channel *ch);
void uplink_signal(struct conn *c, uint32_t channel, const char *name);
/* exit -1: by a signal (its name), or unknown (signal NULL). */
void uplink_ended(struct conn *c, const struct channel *ch, int code, const char *signal);
/* Something refused here that the log should know; at most CONN_EVENTS_MAX for a connection. */
void uplink_event(struct conn *c, const char *what, const void *detail, size_t len);
void uplink_farewell(struct conn *c);

#endif
