/*
 * The back end of back ends: one for each isolation tier that this host has, chosen by the plan.
 * A plan whose tier is not there fails at the step "tier", with the reason: nothing is ever
 * started in another tier than the one that was asked for.
 */
#ifndef POSTERN_SPAWN_BACKEND_TIERS_H
#define POSTERN_SPAWN_BACKEND_TIERS_H

#include "broker/spawn/plan.h"

struct backend;

/* No tier at all. NULL without memory. */
struct backend *backend_tiers_new(void);
/* Takes b over. */
void backend_tiers_have(struct backend *t, enum plan_tier tier, struct backend *b);
/* Why there is none; cut to what fits. */
void backend_tiers_lack(struct backend *t, enum plan_tier tier, const char *why);

#endif
