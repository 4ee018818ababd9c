#include "broker/image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/image/layer.h"
#include "broker/image/layout.h"
#include "broker/image/place.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

static int apply(const struct layer_work *w, const struct layout *l, struct err *e)
{
	int r;

	for (unsigned i = 0; i < l->nlayers; i++)
		if ((r = layer_apply(w, &l->layer[i], e)) < 0)
			return err_wrap(e, r, "layer %u", i + 1);
	return place_finish(w->place, e);
}

int image_unpack(
    int fd, int dir, const struct image_unpack *u, struct image_counts *ret, struct err *e)
{
	struct layer_work w = {.fd = fd, .u = u, .counts = ret};
	cleanup_close int root = -1, trash = -1;
	cleanup_free struct layout *l = NULL;
	int r;

	*ret = (struct image_counts){0};
	if ((root = fd_open_dir(dir, IMAGE_ROOT, 0700)) < 0)
		return err_set(e, root, IMAGE_ROOT ": %s", strerror(-root));
	if ((trash = fd_open_dir(dir, IMAGE_TRASH, 0700)) < 0)
		return err_set(e, trash, IMAGE_TRASH ": %s", strerror(-trash));
	if (!(l = malloc(sizeof *l)))
		return err_set(e, -ENOMEM, "no memory");
	if ((r = layout_read(fd, l, e)) < 0 ||
	    (r = place_new(root, trash, u->own, &w.place, e)) < 0)
		return r;
	r = apply(&w, l, e);
	place_free(w.place);
	return r;
}
