/*
 * The host key: made once, at the first start, by a child of a moment, so that the supervisor
 * itself never holds a secret.
 */
#ifndef POSTERN_SUPERVISOR_HOSTKEY_H
#define POSTERN_SUPERVISOR_HOSTKEY_H

struct err;

#define HOSTKEY_NAME "ssh_host_ed25519_key"

/* Makes HOSTKEY_NAME and HOSTKEY_NAME.pub below dirfd unless the key is there. */
int hostkey_ensure(int dirfd, struct err *e);
/* The fingerprint in HOSTKEY_NAME.pub, KEY_FINGERPRINT_LEN bytes; empty with a warning if it cannot
 * be read. */
void hostkey_fingerprint(int dirfd, char *ret);

#endif
