/*
 * What a denied person reads: "REASON (record N)", harmless on a terminal and in a log.
 */
#ifndef POSTERN_PAM_DENIAL_H
#define POSTERN_PAM_DENIAL_H

struct err;
struct msg;

#define DENIAL_PREFIX "postern: denied: "
#define DENIAL_STATUS 254 /* as sshd itself ends a session that PAM refused */

/* Fills e from a message with `reason` and, perhaps, `record` (pam.denied, channel.denied,
 * channel.failed). Returns -EACCES. */
int denial_text(const struct msg *m, struct err *e);

#endif
