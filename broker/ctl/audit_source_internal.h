/*
 * What the files of the source share: audit_source.c walks, audit_fetch.c gets pages, audit_lines.c
 * reads files. Nobody else includes it.
 */
#ifndef POSTERN_CTL_AUDIT_SOURCE_INTERNAL_H
#define POSTERN_CTL_AUDIT_SOURCE_INTERNAL_H

#include <jansson.h>

#include "broker/ctl/audit_origin.h"
#include "broker/ctl/audit_source.h"

#define AUDIT_PAGE       256
#define AUDIT_PAGE_BYTES (64u * 1024) /* and its first record, whatever that has */
#define AUDIT_LOGS       1024
#define AUDIT_TIME_LEN   27

struct fetched {
	char *data;
	size_t len;
};

/* A log, and what of it has been read and not handed on. */
struct cursor {
	char log[NAME_MAX_LEN + 1];
	uint32_t number;
	uint64_t next; /* to be read */
	uint64_t seq;  /* of page[at] */
	size_t n, at;
	bool dry; /* there is no more now */
	struct fetched page[AUDIT_PAGE];
	json_t *private; /* of the page: commitment -> base64 of salt and value */
};

struct audit_source {
	struct audit_origin from;
	const char *only;
	bool values;
	char since[AUDIT_TIME_LEN + 1]; /* of logs that are met later, too */
	struct cursor *logs[AUDIT_LOGS];
	size_t nlogs;
	json_t *body_private; /* of the body that was asked for last */
};

int audit_add_log(struct audit_source *s, const char *name, uint32_t number, struct cursor **ret);
void audit_drop_page(struct cursor *c);
/* The text of a record's time; "" if it has none. */
void audit_time(const void *data, size_t len, char dst[AUDIT_TIME_LEN + 1]);

/* audit_fetch.c: an exit status, its reason said. */
int audit_list(struct audit_source *s);
int audit_fetch(struct audit_source *s, struct cursor *c, size_t max);
int audit_size(struct audit_source *s, struct cursor *c, uint64_t *ret);
/* audit_lines.c */
int audit_walk_file(struct audit_source *s, audit_fn fn, void *arg);

#endif
