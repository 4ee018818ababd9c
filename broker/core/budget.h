/*
 * How much of the log a tenant may fill in a time, and all strangers together. Records are durable,
 * so without this one agent that starts commands in a loop fills the disk, and then nobody gets a
 * session.
 *
 * What is over the budget is not done (a command, a login, a credential), or not written down one
 * by one (strangers who are refused); a record log.unsaid tells how many there were.
 */
#ifndef POSTERN_CORE_BUDGET_H
#define POSTERN_CORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

struct core;
struct grant;

#define BUDGET_BURST (32u << 20)   /* bytes at once */
#define BUDGET_RATE  (128u * 1024) /* bytes a second, for ever */
#define BUDGET_SMALL 1024          /* a record without foreign text */

/* tenant NULL: strangers. False: over it, and counted. */
bool budget_take(struct core *c, const char *tenant, size_t bytes);
/* A record about this grant, with this foreign text, which may be NULL: what it costs at most. */
size_t budget_cost(const struct grant *g, const char *text);
void budget_free(struct core *c);

#endif
