/*
 * The core's own end of sealing: its store, its signer, its records, its operators
 * (broker/core/seal.h).
 */
#ifndef POSTERN_CORE_CORE_SEAL_H
#define POSTERN_CORE_CORE_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/core/core.h"

struct err;
struct msg;
struct peer;

/* c->seal, if there is a store. 0 or -ENOMEM. */
int core_seal_start(struct core *c);
/* Records the end of a session, and has its log sealed once that is on the disk. Takes over subject
 * and body. */
void core_seal_after(
    struct core *c, const char *class_name, const char *tenant, json_t *subject, json_t *body);
/* The new configuration's times. */
void core_seal_reloaded(struct core *c);

/* ctl.epoch, ctl.rollback, ctl.keys: as handle_ctl.c has them, after the question was recorded. */
void ctl_seal_epoch(struct peer *p, uint64_t question);
void ctl_seal_accept(struct peer *p, uint64_t question);
void ctl_seal_keys(struct peer *p, uint64_t question);

#endif
