/*
 * One layer over those below it: read twice. First its digests are verified, its names checked, and
 * what it hides is taken away; then it is written. So a whiteout never hides what comes with it,
 * wherever it stands (OCI image specification, "Whiteouts").
 */
#ifndef POSTERN_IMAGE_LAYER_H
#define POSTERN_IMAGE_LAYER_H

#include "broker/image/unpack.h"

struct layout_layer;
struct place;

struct layer_work {
	int fd;
	struct place *place;
	const struct image_unpack *u;
	struct image_counts *counts;
};

int layer_apply(const struct layer_work *w, const struct layout_layer *l, struct err *e);

#endif
