/*
 * An image, given as a docker-archive or oci-layout tar, becomes a tree. The image is hostile: all
 * of this runs in a process that can write one directory and nothing else
 * (broker/image/confined.h), and keeps to these rules on its own as well:
 *
 *   - A name is looked up below the tree, and no link is ever followed. Absolute names, "..", names
 *     through a link and hard links to what is no file inside are refused.
 *   - Layers lie over each other by the OCI image specification ("Applying Changesets"). Twice the
 *     same name in one layer: the last of two files or of two directories; all else is refused.
 *   - Devices, pipes and sockets are left out, setuid and setgid bits are cleared, extended
 *     attributes are dropped, and all of those are counted. A file capability is refused.
 *   - Bytes, entries, depth, layers and the ratio of a decompression have maxima (struct
 *     image_limits). Digests, where the image states them, are verified before a layer is applied.
 *
 * Owners are kept as far as they are within 0..65535, the ids of a sandbox, else the image is
 * refused; as they are shifted by an id-mapped mount when used. A link keeps the unpacker's.
 */
#ifndef POSTERN_IMAGE_UNPACK_H
#define POSTERN_IMAGE_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define IMAGE_LAYERS_MAX 128
#define IMAGE_JSON_MAX   (4u * 1024 * 1024)
#define IMAGE_ROOT       "root"
#define IMAGE_TRASH      "trash"

struct image_limits {
	uint64_t bytes;   /* of files, and of what a layer comes to */
	uint64_t entries; /* of all layers */
	unsigned depth;   /* components of a name */
	unsigned ratio;   /* of a layer beyond its first 64 MiB */
};
#define IMAGE_LIMITS                                                                               \
	{                                                                                          \
		UINT64_C(16) << 30, 1000000, 64, 200                                               \
	}

struct image_counts {
	uint64_t bytes, entries, layers, devices, setids, xattrs;
};

struct image_unpack {
	struct image_limits limits;
	bool own; /* owners are set, which needs CAP_CHOWN and CAP_FOWNER */
	void (*progress)(void *arg, const struct image_counts *c); /* may be NULL */
	void *arg;
};

/* dir: an empty directory. IMAGE_ROOT in it becomes the tree. *ret is valid on failure, too. */
int image_unpack(
    int fd, int dir, const struct image_unpack *u, struct image_counts *ret, struct err *e);

#endif
