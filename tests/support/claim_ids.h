/*
 * A range of ids that no other test on this machine has now, so that two runs can go on at a time.
 * The same locks and ranges as in postern.py.
 */
#ifndef POSTERN_TESTS_SUPPORT_CLAIM_IDS_H
#define POSTERN_TESTS_SUPPORT_CLAIM_IDS_H

#include <stdint.h>

/* The first of them; they are this process's until it ends, which is at once if none are free. */
uint32_t claim_ids(void);

#endif
