/* CA keys on disk, as `ca init` and `up` make them: NAME (0600) and NAME.pub. */
#ifndef POSTERN_CTL_KEYFILE_H
#define POSTERN_CTL_KEYFILE_H

#include <stdbool.h>

struct buf;
struct err;

/* type: "ed25519", "ecdsa", "rsa". -EEXIST if there is one; with keep that is fine. */
int keyfile_make(const char *path, const char *type, const char *comment, bool keep, struct err *e);
/* Appends the line of the public key beside a private one. */
int keyfile_public(const char *path, struct buf *line, struct err *e);

#endif
