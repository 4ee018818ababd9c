#include "broker/image/layout.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "broker/image/blob.h"
#include "broker/image/name.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define BLOB "blobs/sha256/"

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE ""
#endif

static int load_json(int fd, const char *name, const char *hex, json_t **ret, struct err *e)
{
	cleanup_buf struct buf b;
	json_error_t why;
	int r;

	buf_init(&b, IMAGE_JSON_MAX);
	if ((r = blob_load(fd, name, hex, &b, e)) < 0)
		return err_wrap(e, r, "%s", name);
	*ret = json_loadb((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, &why);
	return *ret ? 0 : err_set(e, -EBADMSG, "%s: not JSON, line %d", name, why.line);
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* The digits of "sha256:HEX", or NULL. */
static const char *hex_of(const char *digest)
{
	if (!digest || strncmp(digest, "sha256:", 7) != 0 || !blob_digest_valid(digest + 7))
		return NULL;
	return digest + 7;
}

/* What the layers come to, from the image's configuration. */
static int set_plain(const json_t *config, struct layout *l, struct err *e)
{
	const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");

	if (json_array_size(ids) != l->nlayers)
		return err_set(e, -EBADMSG, "rootfs.diff_ids: %zu for %u layers",
		    json_array_size(ids), l->nlayers);
	for (unsigned i = 0; i < l->nlayers; i++) {
		const char *hex = hex_of(json_string_value(json_array_get(ids, i)));

		if (!hex)
			return err_set(e, -EBADMSG, "rootfs.diff_ids: no SHA-256");
		(void)str_copy(l->layer[i].plain, sizeof l->layer[i].plain, hex);
	}
	return 0;
}

static int set_count(const json_t *layers, struct layout *l, struct err *e)
{
	size_t n = json_array_size(layers);

	if (n == 0 || n > IMAGE_LAYERS_MAX)
		return err_set(e, -EBADMSG, "%zu layers, must be 1 to %d", n, IMAGE_LAYERS_MAX);
	l->nlayers = (unsigned)n;
	return 0;
}

/* ---- docker-archive ---- */

static int docker(int fd, const json_t *manifest, struct layout *l, struct err *e)
{
	const json_t *image = json_array_get(manifest, 0), *layers;
	char name[TAR_NAME_MAX + 1];
	const char *config = text_of(image, "Config");
	json_auto_t *o = NULL;
	int r;

	if (json_array_size(manifest) != 1)
		return err_set(e, -EBADMSG, "manifest.json: %zu images, must be one",
		    json_array_size(manifest));
	layers = json_object_get(image, "Layers");
	if (!config || name_clean(config, name, NULL, NULL) < 0)
		return err_set(e, -EBADMSG, "manifest.json: Config must be a name");
	if ((r = set_count(layers, l, e)) < 0 || (r = load_json(fd, name, NULL, &o, e)) < 0 ||
	    (r = set_plain(o, l, e)) < 0)
		return r;
	for (unsigned i = 0; i < l->nlayers; i++) {
		const char *layer = json_string_value(json_array_get(layers, i));

		if (!layer || name_clean(layer, name, NULL, NULL) < 0 ||
		    !str_copy(l->layer[i].name, sizeof l->layer[i].name, name))
			return err_set(e, -EBADMSG, "manifest.json: Layers must be names");
	}
	return 0;
}

/* ---- oci-layout ---- */

static void blob_name(char dst[256], const char *hex)
{
	(void)snprintf(dst, 256, BLOB "%s", hex);
}

static int load_blob(int fd, const json_t *descriptor, json_t **ret, struct err *e)
{
	const char *hex = hex_of(text_of(descriptor, "digest"));
	char name[256];

	if (!hex)
		return err_set(e, -EBADMSG, "a descriptor without a SHA-256");
	blob_name(name, hex);
	return load_json(fd, name, hex, ret, e);
}

/* The only one, or the only one for this machine. */
static const json_t *choose(const json_t *manifests, struct err *e)
{
	const json_t *fits = NULL;
	size_t n = 0, i;
	json_t *m;

	json_array_foreach(manifests, i, m)
	{
		const json_t *p = json_object_get(m, "platform");
		const char *arch = text_of(p, "architecture"), *os = text_of(p, "os");

		if (p &&
		    (!arch || !os || strcmp(os, "linux") != 0 || (strcmp(arch, ARCHITECTURE) != 0)))
			continue;
		fits = m;
		n++;
	}
	if (n == 1)
		return fits;
	(void)err_set(e, -EBADMSG, "index: %zu images for this machine, must be one", n);
	return NULL;
}

static bool layer_type(const char *type)
{
	static const char *const known[] = {"application/vnd.oci.image.layer.v1.tar",
	    "application/vnd.oci.image.layer.v1.tar+gzip",
	    "application/vnd.oci.image.layer.v1.tar+zstd",
	    "application/vnd.docker.image.rootfs.diff.tar",
	    "application/vnd.docker.image.rootfs.diff.tar.gzip",
	    "application/vnd.docker.image.rootfs.diff.tar.zstd"};

	for (size_t i = 0; type && i < ARRAY_LEN(known); i++)
		if (strcmp(type, known[i]) == 0)
			return true;
	return false;
}

static int manifest(int fd, const json_t *m, struct layout *l, struct err *e)
{
	const json_t *layers = json_object_get(m, "layers");
	json_auto_t *config = NULL;
	int r;

	if ((r = set_count(layers, l, e)) < 0 ||
	    (r = load_blob(fd, json_object_get(m, "config"), &config, e)) < 0 ||
	    (r = set_plain(config, l, e)) < 0)
		return r;
	for (unsigned i = 0; i < l->nlayers; i++) {
		const json_t *d = json_array_get(layers, i);
		const char *hex = hex_of(text_of(d, "digest"));

		if (!hex || !layer_type(text_of(d, "mediaType")))
			return err_set(e, -EBADMSG,
			    "layer %u: must be a tar, as it is or by gzip or zstd, with a SHA-256",
			    i + 1);
		(void)str_copy(l->layer[i].stored, sizeof l->layer[i].stored, hex);
		blob_name(l->layer[i].name, hex);
	}
	return 0;
}

static int oci(int fd, json_t *index, struct layout *l, struct err *e)
{
	json_auto_t *at = json_incref(index);

	for (unsigned depth = 0; depth < LAYOUT_DEPTH_MAX; depth++) {
		const json_t *list = json_object_get(at, "manifests"), *one;
		json_t *next = NULL;
		int r;

		if (!list)
			return manifest(fd, at, l, e);
		if (!(one = choose(list, e)))
			return e->code;
		if ((r = load_blob(fd, one, &next, e)) < 0)
			return r;
		json_decref(at);
		at = next;
	}
	return err_set(e, -EBADMSG, "an index below %d others", LAYOUT_DEPTH_MAX);
}

int layout_read(int fd, struct layout *ret, struct err *e)
{
	json_auto_t *o = NULL;
	int r;

	memset(ret, 0, sizeof *ret);
	r = load_json(fd, "index.json", NULL, &o, e);
	if (r == 0)
		return oci(fd, o, ret, e);
	if (r != -ENOENT)
		return r;
	*e = (struct err)ERR_INIT;
	r = load_json(fd, "manifest.json", NULL, &o, e);
	if (r == -ENOENT)
		return err_set(
		    e, -EBADMSG, "neither a docker-archive nor an oci-layout tar: no manifest");
	return r < 0 ? r : docker(fd, o, ret, e);
}
