/*
 * What the signer of this host remembers of its seals, when its keys come back from a backup. The
 * memory (creds/sealer.h) is a file of the key directory, so a backup of the keys has an older one;
 * were that put back, the signer would not know what it had sealed since, and would sign the same
 * numbers once more: a fork, for every witness to see. So the newer memory stays.
 */
#ifndef POSTERN_CTL_BACKUP_SEAL_H
#define POSTERN_CTL_BACKUP_SEAL_H

#include <stdbool.h>

struct err;

/* Directories of keys. If `now` has the memory of the keys in `restored`, and is behind it in no
 * log, its content goes into the file in `restored`, and *ret_kept is true. It is not where there
 * is none, none that can be read, or one of other keys. -errno. */
int backup_keep_seal(int now, int restored, bool *ret_kept, struct err *e);

#endif
