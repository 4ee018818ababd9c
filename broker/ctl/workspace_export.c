#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "lib/digest.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern workspace export: lines, then a tar, of broker/walk/export.h. The file is there only when
 * it is the tar whose digest is on record, to its last byte.
 */

#define LINE_MAX_BYTES (64 * 1024)

static int copy(FILE *f, int out, const json_t *told)
{
	const char *promised = json_string_value(json_object_get(told, "sha256"));
	struct digest *d = digest_new();
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t digest[DIGEST_LEN];
	static char block[65536];
	size_t n;
	int r = 0;

	if (!d)
		return ctl_fail(EXIT_FAILED, "no memory");
	while (r == 0 && (n = fread(block, 1, sizeof block, f)) > 0) {
		digest_update(d, block, n);
		r = fd_write_full(out, block, n);
	}
	digest_final(d, digest);
	digest_free(d);
	hex_encode(hex, digest, sizeof digest);
	if (r < 0 || fsync(out) < 0)
		return ctl_fail(EXIT_FAILED, "cannot write: %s", strerror(r < 0 ? -r : errno));
	if (!promised || strcmp(hex, promised) != 0)
		return ctl_fail(EXIT_FAILED, "it broke off, or was not what is on record");
	return EXIT_OK;
}

static int save(const struct ctl *c, FILE *f, json_t *told)
{
	const char *name = c->word[1];
	cleanup_close int out = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int code;

	if (out < 0)
		return ctl_fail(EXIT_FAILED, "%s: %s", name, strerror(errno));
	if ((code = copy(f, out, told)) != EXIT_OK) {
		(void)unlink(name);
		return code;
	}
	if (c->json) {
		(void)json_object_del(told, "done");
		return ctl_json(told);
	}
	(void)printf("%s: %lld entries, %lld bytes, sha256 %s\n", name,
	    json_integer_value(json_object_get(told, "files")),
	    json_integer_value(json_object_get(told, "bytes")),
	    json_string_value(json_object_get(told, "sha256")));
	return EXIT_OK;
}

static int last(const struct ctl *c, FILE *f, json_t *told, json_t *list)
{
	json_int_t refused = json_integer_value(json_object_get(told, "refused"));
	const char *failed = json_string_value(json_object_get(told, "failed"));
	char text[256];

	if (failed)
		return ctl_fail(EXIT_FAILED, "not exported: %s",
		    str_escape(text, sizeof text, failed, strlen(failed)));
	if (refused == 0)
		return save(c, f, told);
	if (c->json) {
		(void)json_object_del(told, "done");
		(void)json_object_set(told, "kept_back", list);
		(void)ctl_json(told);
	}
	return ctl_fail(EXIT_FLAGGED,
	    "not exported: %lld of its files are flagged; --allow FLAG lets those leave",
	    (long long)refused);
}

static int receive(const struct ctl *c, FILE *f)
{
	json_auto_t *list = json_array();
	static char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof line, f)) {
		json_auto_t *o = json_loads(line, 0, NULL);

		if (!json_is_object(o))
			return ctl_fail(EXIT_FAILED, "the answer cannot be understood");
		if (json_is_true(json_object_get(o, "done")))
			return last(c, f, o, list);
		if (c->json)
			(void)json_array_append(list, o);
		else
			ctl_workspace_line(o);
	}
	return ctl_fail(EXIT_FAILED, "the reading broke off");
}

int ctl_workspace_export(struct ctl *c)
{
	json_t *body = json_pack("{s:s, s:s, s:s*}", "op", "export", "workspace", c->word[0],
	    "tenant", ctl_opt(c, "tenant"));
	json_t *allow = json_array();
	const char *v;
	FILE *f = NULL;
	struct stat st;
	int code;

	for (size_t i = 0; (v = ctl_opt_nth(c, "allow", i)); i++)
		(void)json_array_append_new(allow, json_string(v));
	(void)json_object_set_new(body, "allow", allow);
	if (lstat(c->word[1], &st) == 0) { /* before anything is on record */
		json_decref(body);
		return ctl_fail(EXIT_FAILED, "%s: %s", c->word[1], strerror(EEXIST));
	}
	if ((code = ctl_stream_open(c, body, &f)) != EXIT_OK)
		return code;
	code = receive(c, f);
	(void)fclose(f);
	return code;
}
