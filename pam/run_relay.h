/*
 * postern-run at work: bytes between sshd's descriptors and the sandbox's, until the command has
 * ended.
 *
 * Three flows (with a pty two), a status pipe, a signalfd and the socket to the core, in one poll
 * loop. What sshd gave us may be sockets: they stay here, and what comes from the sandbox is pipes
 * or a pty. The sandbox's side is hostile: it can end its channel, and nothing else.
 *
 * After the command's end only what it had written is still passed on; processes that it left
 * behind with its descriptors are not waited for. When the core goes away bytes flow on; when the
 * status pipe ends without a word the sandbox is gone.
 *
 * Depends on lib and pam's own files.
 */
#ifndef POSTERN_PAM_RUN_RELAY_H
#define POSTERN_PAM_RUN_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct chan;

struct relay {
	struct chan *core;
	uint32_t channel;
	bool pty;
	int tty;      /* with a pty: the terminal whose size is followed (borrowed) */
	int local[3]; /* stdin, stdout, stderr towards sshd; taken over */
	int box[3];   /* the sandbox's stdin, stdout, stderr; with a pty: master, its duplicate, -1;
	                 taken over */
	int status;   /* taken over */
	int signals;  /* a signalfd (borrowed), or -1 */
};

struct relay_end {
	int exit;    /* 0 .. 255, or -1 */
	int signo;   /* when a signal ended the command, else 0 */
	int failed;  /* errno of what failed before the command ran, else 0 */
	bool denied; /* the core took it back (channel.failed): why says so */
	bool lost;   /* the sandbox went away */
	uint64_t in, out, err;
	struct err why;
};

/* Runs to the end and tells the core (channel.ended). 0, or -errno when it could not begin or go
 * on. Every taken descriptor is closed in any case. */
int relay_run(struct relay *r, struct relay_end *ret);

#endif
