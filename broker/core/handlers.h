/*
 * The classes of peers, each in a file of its own (handle_*.c).
 */
#ifndef POSTERN_CORE_HANDLERS_H
#define POSTERN_CORE_HANDLERS_H

#include "broker/audit/record.h"
#include "broker/core/peer.h"

struct conn;
struct msg;
struct session;

extern const struct peer_class class_supervisor, class_spawn, class_signer, class_listener,
    class_worker, class_lease, class_ctl, class_pam, class_run, class_export, class_walk,
    class_watch, class_leave;

/* handle_spawn.c: a new link to spawn is there. */
void spawn_linked(struct core *c);
/* The configuration is another: what is made ready ahead follows it. */
void spawn_prepare(struct core *c);
/* handle_signer.c: the JWT provider's way to the signer. */
int signer_ask(void *core, json_t *body, uint64_t *ret_id);
/* handle_pam.c: the tie is there, or not (then procs is -1). */
void pam_tied(struct session *s, const char *path, int procs, const char *reason);
/* handle_ctl.c: code as in ctl_answers.h; p may be NULL. */
void ctl_error(struct peer *p, uint64_t question, int code, const char *reason);
/* That this operator asked this. */
void ctl_record(struct peer *p, const struct msg *m);
int ctl_record_then(struct peer *p, const struct msg *m, record_fn done, void *arg);
/* Likewise of who reads the log, once for each reader (that is, connection): his first question,
 * and as a record log.read the first one by which he may see personal values. */
void ctl_reading(struct peer *p, const struct msg *m);
/* Ends the connection when sshd's privileged process does. 0 or -errno. */
int pam_watch(struct conn *k);
/* status.c */
void status_ask(struct peer *p, uint64_t question);
void status_told(struct core *c, uint64_t question, const json_t *processes);
void status_probed(struct core *c, uint64_t question);

#endif
