/*
 * What the files that read where logs go share. Nobody else includes it.
 *
 *   export_config.c    sinks, witnesses, the archive
 *   export_address.c   what a text in it may be: addresses, URLs, paths
 *   export_files.c     the files that a sink names
 */
#ifndef POSTERN_CORE_EXPORT_CONFIG_INTERNAL_H
#define POSTERN_CORE_EXPORT_CONFIG_INTERNAL_H

#include <jansson.h>

#include "broker/core/export_config.h"
#include "lib/yaml.h"

/* One entry of a list, and where to put what is wrong with it. */
struct export_at {
	const struct yaml_doc *d;
	json_t *list;
	size_t index;
	json_t *o;
	const char *what; /* "export" */
	struct err *e;
};

#define WRONG(a, key, ...) yaml_fail((a)->d, (a)->o, key, 0, (a)->e, -EINVAL, __VA_ARGS__)

/* Each fills dst[size], or says where what is wrong. */
/* Printable, without spaces; "" if it is not there. */
int export_get_text(
    const struct export_at *a, const char *key, char *dst, size_t size, bool needed);
/* HOST:PORT */
int export_get_to(const struct export_at *a, char *dst, size_t size);
/* any_http: without TLS not to loopback addresses only. */
int export_get_url(const struct export_at *a, char *dst, size_t size, bool any_http);
int export_get_path(const struct export_at *a, const char *key, char *dst, size_t size);

#endif
