/*
 * ctl.jwks: a tenant's public keys, from the signer.
 */
#ifndef POSTERN_CORE_CTL_JWKS_H
#define POSTERN_CORE_CTL_JWKS_H

#include <jansson.h>
#include <stdint.h>

struct core;
struct peer;

void ctl_jwks_ask(struct peer *p, uint64_t question, const char *tenant);
/* jwks NULL: refused for this reason. */
void ctl_jwks_told(struct core *c, uint64_t question, const json_t *jwks, const char *reason);
void ctl_jwks_lost(struct core *c);

#endif
