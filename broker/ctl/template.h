/*
 * What the commands about templates share.
 */
#ifndef POSTERN_CTL_TEMPLATE_H
#define POSTERN_CTL_TEMPLATE_H

struct config;
struct ctl;

/* The configuration of --config, --state, or what is installed; both are the caller's, *ret_fd (its
 * directory) as soon as it is not -1. An exit status; what is wrong is said. */
int template_load(const struct ctl *c, struct config **ret, int *ret_fd);

#endif
