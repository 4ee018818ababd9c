/*
 * The tier oci: sandboxes that an OCI runtime (crun, runc) makes, from a bundle of ours. Ids,
 * cgroups, the parts of the root, terminals and the end are those of the back end of namespaces;
 * what differs is who enters (oci_enter.h).
 */
#ifndef POSTERN_SPAWN_BACKEND_OCI_H
#define POSTERN_SPAWN_BACKEND_OCI_H

struct backend;

/* ns: the back end of namespaces, borrowed. NULL without memory. */
struct backend *backend_oci_new(struct backend *ns);

#endif
