/* An image's layer, applied to a directory as the unpacker does it, and a whole tar that says which
 * its layers are. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/image/layer.h"
#include "broker/image/layout.h"
#include "broker/image/name.h"
#include "broker/image/place.h"
#include "broker/workspace/remove.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"

#define BLOCK 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[] = "/tmp/fuzz-image-XXXXXX";
static int top_fd = -1;

static void clean(void)
{
	(void)remove_step(top_fd, UINT_MAX);
	(void)rmdir(top);
}

/* A tar of one file, `l`. */
static int wrap(const uint8_t *data, size_t size)
{
	static const char zeros[2 * BLOCK];
	char head[BLOCK] = "l";
	int fd = memfd_create("image", MFD_CLOEXEC);
	unsigned sum = 0;

	(void)snprintf(head + 100, 8, "0000644");
	(void)snprintf(head + 108, 8, "0000000");
	(void)snprintf(head + 116, 8, "0000000");
	(void)snprintf(head + 124, 12, "%011zo", size);
	(void)snprintf(head + 136, 12, "00000000000");
	memset(head + 148, ' ', 8);
	head[156] = '0';
	memcpy(head + 257,
	    "ustar\0"
	    "00",
	    8);
	for (size_t i = 0; i < sizeof head; i++)
		sum += (unsigned char)head[i];
	(void)snprintf(head + 148, 8, "%06o", sum);
	if (fd < 0 || fd_write_full(fd, head, sizeof head) < 0 ||
	    fd_write_full(fd, data, size) < 0 ||
	    fd_write_full(fd, zeros, (BLOCK - size % BLOCK) % BLOCK + BLOCK) < 0)
		abort();
	return fd;
}

static void check_beside(void)
{
	DIR *d = opendir(top);

	for (struct dirent *x; d && (x = readdir(d));)
		if (x->d_name[0] != '.' && strcmp(x->d_name, IMAGE_ROOT) != 0 &&
		    strcmp(x->d_name, IMAGE_TRASH) != 0)
			abort(); /* written beside the tree */
	(void)closedir(d);
}

static void apply(const uint8_t *data, size_t size)
{
	const struct image_unpack u = {.limits = {1u << 20, 200, 8, 200}};
	struct layout_layer l = {.name = "l"};
	struct image_counts counts = {0};
	struct err e = ERR_INIT;
	uint8_t sum[DIGEST_LEN];
	int root = fd_open_dir(top_fd, IMAGE_ROOT, 0700);
	int trash = fd_open_dir(top_fd, IMAGE_TRASH, 0700);
	struct layer_work w = {.fd = wrap(data, size), .u = &u, .counts = &counts};

	digest_sha256(data, size, sum);
	hex_encode(l.plain, sum, sizeof sum);
	if (root < 0 || trash < 0 || place_new(root, trash, false, &w.place, &e) < 0)
		abort();
	if (layer_apply(&w, &l, &e) == 0 && (counts.bytes > u.limits.bytes || counts.entries > 200))
		abort();
	(void)place_finish(w.place, &e);
	place_free(w.place);
	check_beside();
	(void)close(w.fd);
	(void)close(root);
	(void)close(trash);
	while (remove_step(top_fd, UINT_MAX) > 0)
		;
}

static void read_layout(const uint8_t *data, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct layout *l = malloc(sizeof *l);
	struct err e = ERR_INIT;

	if (fd < 0 || !l || fd_write_full(fd, data, size) < 0)
		abort();
	if (layout_read(fd, l, &e) == 0) {
		if (l->nlayers == 0 || l->nlayers > IMAGE_LAYERS_MAX)
			abort();
		for (unsigned i = 0; i < l->nlayers; i++)
			if (strlen(l->layer[i].plain) != DIGEST_HEX_LEN ||
			    l->layer[i].name[0] == '/')
				abort();
	}
	free(l);
	(void)close(fd);
}

static void clean_name(const uint8_t *data, size_t size)
{
	char text[TAR_NAME_MAX + 1], out[TAR_NAME_MAX + 1], padded[TAR_NAME_MAX + 3];
	size_t n = size < TAR_NAME_MAX ? size : TAR_NAME_MAX;

	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	if (name_clean(text, out, NULL, NULL) < 0)
		return;
	(void)snprintf(padded, sizeof padded, "/%s/", out);
	if (*out && (strstr(padded, "//") || strstr(padded, "/./") || strstr(padded, "/../")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (top_fd < 0) {
		if (!mkdtemp(top) || (top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(clean);
	}
	apply(data, size);
	read_layout(data, size);
	clean_name(data, size);
	return 0;
}
