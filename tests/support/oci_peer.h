/*
 * A stock OCI runtime as somebody to compare with: a bundle of the host's /usr, as `runc spec`
 * would write it for one command without a terminal.
 */
#ifndef POSTERN_TESTS_OCI_PEER_H
#define POSTERN_TESTS_OCI_PEER_H

/* In a mount namespace of its own, which it leaves the caller in. 0 or -errno. */
int oci_peer_new(const char *command);
void oci_peer_free(void);
/* For execve(2); NULL at the end. */
const char *const *oci_peer_crun(void);
const char *const *oci_peer_runc(void);

#endif
