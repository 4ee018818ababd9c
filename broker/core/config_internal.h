/*
 * What config.c and config_templates.c share. Nobody else includes this.
 */
#ifndef POSTERN_CORE_CONFIG_INTERNAL_H
#define POSTERN_CORE_CONFIG_INTERNAL_H

#include "broker/core/config.h"

struct digest;

struct config_names {
	char (*name)[NAME_MAX_LEN + 1];
	size_t n, max;
};

/* The names of DIR/NAME.yaml, sorted; no directory: none. */
int config_names(int dirfd, const char *dir, struct config_names *l, struct err *e);
/* Reads DIR/NAME.yaml and adds it to the digest of everything. */
int config_file(int dirfd, const char *dir, const char *name, struct digest *all,
    struct yaml_doc **ret, uint8_t digest[DIGEST_LEN], struct err *e);
/* The host's templates; the tenants' own, once there are tenants; and the images they name. l is
 * scratch. */
int config_load_templates(
    int dirfd, struct config_names *l, struct digest *all, struct config *c, struct err *e);
int config_load_own(
    int dirfd, struct config_names *l, struct digest *all, struct config *c, struct err *e);
int config_load_images(int dirfd, struct digest *all, struct config *c, struct err *e);

#endif
