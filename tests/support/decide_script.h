/*
 * A decider that does what the test says: allow everything, refuse one action, or park the
 * questions.
 */
#ifndef POSTERN_TESTS_SUPPORT_DECIDE_SCRIPT_H
#define POSTERN_TESTS_SUPPORT_DECIDE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/core/decide.h"

struct decider *decide_script_new(void);
/* NULL: nothing is refused. action is kept by pointer. */
void decide_script_refuse(struct decider *d, const char *action);
void decide_script_park(struct decider *d, bool on);
/* Answers the oldest parked question. False if there is none. */
bool decide_script_answer(struct decider *d, enum verdict v);
size_t decide_script_parked(const struct decider *d);
/* "exec", "pty", ...: of the newest question. */
const char *decide_script_asked(const struct decider *d);

#endif
