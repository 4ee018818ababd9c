/*
 * What an image's tar says of itself: which files in it are the layers, in their order, and what
 * their digests are. As `docker save` writes it (manifest.json) or as an OCI image layout
 * (index.json, blobs/sha256).
 */
#ifndef POSTERN_IMAGE_LAYOUT_H
#define POSTERN_IMAGE_LAYOUT_H

#include "broker/image/tar.h"
#include "broker/image/unpack.h"
#include "lib/digest.h"

#define LAYOUT_DEPTH_MAX 4 /* an index that names an index ... */

struct layout_layer {
	char name[256];
	char stored[DIGEST_HEX_LEN + 1]; /* "": not said */
	char plain[DIGEST_HEX_LEN + 1];  /* decompressed */
};

struct layout {
	unsigned nlayers;
	struct layout_layer layer[IMAGE_LAYERS_MAX];
};

int layout_read(int fd, struct layout *ret, struct err *e);

#endif
