/*
 * A tenant's CA keys: the lines of `ca`, and the files of `ca_files` (tenant.h).
 */
#ifndef POSTERN_CORE_TENANT_CA_H
#define POSTERN_CORE_TENANT_CA_H

struct err;
struct tenant;
struct yaml_doc;

/* Each adds to t->ca, which tenant_done() frees; 0 or -errno, with the line that is wrong. */
int tenant_parse_cas(const struct yaml_doc *d, struct tenant *t, struct err *e);
int tenant_parse_ca_files(const struct yaml_doc *d, int dirfd, struct tenant *t, struct err *e);

#endif
