#include "broker/walk/line.h"

#include <stdio.h>
#include <string.h>

#include "broker/walk/changes.h"
#include "broker/walk/gate.h"
#include "lib/str.h"

#define BLOCK 65536u

static json_int_t inside(uint32_t id, uint32_t ids)
{
	return ids && id >= ids && id - ids < BLOCK ? (json_int_t)(id - ids) : (json_int_t)id;
}

static json_t *flags_of(unsigned gate)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < GATE_COUNT; i++)
		if (gate >> i & 1)
			(void)json_array_append_new(a, json_string(gate_word(1u << i)));
	return a;
}

json_t *line_of(const struct change *x, uint32_t ids)
{
	size_t len = strlen(x->path), most = (LINE_PATH_MAX - 1) / 4;
	char path[LINE_PATH_MAX + 1], hex[DIGEST_HEX_LEN + 1], mode[8];
	json_t *o;

	(void)snprintf(mode, sizeof mode, "%04o", (unsigned)(x->mode & 07777));
	o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "path",
	    str_escape(path, sizeof path, x->path, len > most ? most : len), "change",
	    change_kinds[x->what], "kind", change_type(x->mode), "mode", mode, "uid",
	    inside(x->uid, ids), "gid", inside(x->gid, ids));
	if (!o)
		return NULL;
	if (len > most)
		(void)json_object_set_new(o, "cut", json_true());
	if (S_ISREG(x->mode))
		(void)json_object_set_new(o, "size", json_integer((json_int_t)x->size));
	if (x->links > 1)
		(void)json_object_set_new(o, "links", json_integer((json_int_t)x->links));
	if (x->hashed) {
		hex_encode(hex, x->digest, DIGEST_LEN);
		(void)json_object_set_new(o, "sha256", json_string(hex));
	}
	if (x->skipped)
		(void)json_object_set_new(o, "skipped", json_string(x->skipped));
	if (x->gate)
		(void)json_object_set_new(o, "flags", flags_of(x->gate));
	if (x->deep)
		(void)json_object_set_new(o, "deep", json_true());
	if (x->unstable)
		(void)json_object_set_new(o, "unstable", json_true());
	return o;
}
