/*
 * Blocks of 65,536 ids: which are free, and user namespaces that map one.
 *
 * Block 0 is our own daemons'; a session gets one of the others, and no two live sessions share
 * one. A block is handed out again as late as possible: the search goes round.
 */
#ifndef POSTERN_SPAWN_IDMAP_H
#define POSTERN_SPAWN_IDMAP_H

#include <stdint.h>

#define IDMAP_BLOCK      65536u
#define IDMAP_BLOCKS_MAX 16384u

struct idmap;
struct err;

/* count: of ids, at least two blocks. NULL with errno. */
struct idmap *idmap_new(uint32_t base, uint32_t count);
void idmap_free(struct idmap *m);
/* A block number >= 1, or -EAGAIN when every one is taken. */
int idmap_take(struct idmap *m);
void idmap_return(struct idmap *m, int block);
/* A block for good, from the upper end: the ids of a tenant's files on disk. At most half of all
 * are kept; -EAGAIN. */
int idmap_keep(struct idmap *m);
/* The same for one that was kept before, by its first id, if it is one of ours. */
void idmap_keep_base(struct idmap *m, uint32_t base);
uint32_t idmap_base(const struct idmap *m, int block); /* the id that 0 inside maps to */
unsigned idmap_taken(const struct idmap *m);
unsigned idmap_blocks(const struct idmap *m); /* with block 0 */

/* A new user namespace that maps 0..65535 to the block, in which no further user namespace can be
 * made (a second layer under the seccomp filter). A descriptor, or -errno. */
int idmap_userns(const struct idmap *m, int block, struct err *e);
/* One for idmapped mounts: what is `from` on, on the disk, is seen as `to` on. */
int idmap_shift(uint32_t from, uint32_t to, struct err *e);

#endif
