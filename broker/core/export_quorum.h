/*
 * Whether a quorum of the configured witnesses has signed a note.
 */
#ifndef POSTERN_CORE_EXPORT_QUORUM_H
#define POSTERN_CORE_EXPORT_QUORUM_H

#include <stdbool.h>
#include <stddef.h>

struct export_config;

/* A note that too few have signed costs no verification: while a witness is away, there are
 * thousands of them, and the core looks at many in one turn. */
bool export_quorum(const struct export_config *c, const void *note, size_t len);

#endif
