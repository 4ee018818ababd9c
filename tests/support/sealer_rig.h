/*
 * A sealer over a key directory of the test's own, a tree of leaves to seal, and its state file to
 * look at and to put back.
 */
#ifndef POSTERN_TESTS_SUPPORT_SEALER_RIG_H
#define POSTERN_TESTS_SUPPORT_SEALER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

#define ORIGIN "log.example/1"
#define LEAVES 64

struct buf;
struct sealer;

extern int sealer_rig_keys;

/* For the group, for each test, for the group. */
int sealer_rig_enter(void **state);
int sealer_rig_fresh(void **state);
int sealer_rig_leave(void **state);
void sealer_rig_root(uint64_t from, uint64_t to, uint8_t ret[DIGEST_LEN]);
size_t sealer_rig_proof(
    uint64_t m, uint64_t from, uint64_t to, bool whole, uint8_t (*out)[DIGEST_LEN]);
struct sealer *sealer_rig_open(void);
int sealer_rig_seal_as(
    struct sealer *s, const char *log, const char *origin, uint64_t size, struct buf *note);
int sealer_rig_seal(struct sealer *s, const char *log, uint64_t size);
void sealer_rig_turn(struct sealer *s);
bool sealer_rig_in_file(const void *what, size_t len);
void sealer_rig_save(uint8_t *image);
void sealer_rig_put(const uint8_t *image);

#endif
