/*
 * Proofs for operators, from the tiles of the log's tree: as much work for a log of ten records as
 * for one of ten million.
 */
#ifndef POSTERN_CORE_CTL_PROVE_H
#define POSTERN_CORE_CTL_PROVE_H

struct err;
struct msg;
struct peer;

int ctl_prove(struct peer *p, struct msg *m, struct err *e);

#endif
