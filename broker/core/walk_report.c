#include "broker/core/walk_report.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/msg.h"

static const struct msg_field fields[] = {{"path", MSG_STRING, WALK_PATH_MAX, false},
    {"change", MSG_STRING, 16, false}, {"kind", MSG_STRING, 16, false},
    {"mode", MSG_STRING, 8, false}, {"uid", MSG_INT, UINT32_MAX, false},
    {"gid", MSG_INT, UINT32_MAX, false}, {"size", MSG_INT, INT64_MAX, true},
    {"links", MSG_INT, INT64_MAX, true}, {"sha256", MSG_STRING, 64, true},
    {"skipped", MSG_STRING, 16, true}, {"flags", MSG_STRINGS, 32, true}, {"cut", MSG_BOOL, 0, true},
    {"deep", MSG_BOOL, 0, true}, {"unstable", MSG_BOOL, 0, true}, {NULL, 0, 0, false}};

static int check_digest(const json_t *file, struct err *e)
{
	const char *hex = json_string_value(json_object_get(file, "sha256"));

	if (hex &&
	    (strlen(hex) != DIGEST_HEX_LEN || strspn(hex, "0123456789abcdef") != strlen(hex)))
		return err_set(e, -EBADMSG, "a file: sha256 is no digest");
	return 0;
}

int walk_report_check(const json_t *files, struct err *e)
{
	json_t *one;
	size_t i;
	int r;

	if (!json_is_array(files))
		return err_set(e, -EBADMSG, "files: no array");
	json_array_foreach(files, i, one)
	{
		if ((r = msg_check_fields("a file", one, fields, e)) < 0 ||
		    (r = check_digest(one, e)) < 0)
			return r;
	}
	return 0;
}
