#include "broker/ctl/audit_shelf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/segment_file.h"
#include "broker/ctl/ctl.h"
#include "lib/util.h"

struct shelf {
	json_t *seen;
	audit_fn fn;
	void *arg;
};

bool audit_shelf_seen(const json_t *seen, const struct audit_record *r)
{
	return (json_int_t)r->seq <= json_integer_value(json_object_get(seen, r->log));
}

static int one(const struct audit_record *r, void *arg)
{
	const struct shelf *s = arg;

	if (audit_shelf_seen(s->seen, r))
		return 0;
	if (json_object_set_new(s->seen, r->log, json_integer((json_int_t)r->seq)) < 0)
		return ctl_fail(EXIT_FAILED, "no memory");
	return s->fn(r, s->arg);
}

int audit_shelf_walk(struct ctl *c, json_t *seen, audit_fn fn, void *arg)
{
	struct shelf s = {seen, fn, arg};
	const char *path = ctl_opt(c, "archive");
	cleanup_free struct segment *list = NULL;
	cleanup_close int dir = -1;
	size_t n = 0;
	int code = EXIT_OK, r;

	if (!path)
		return EXIT_OK;
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %m", path);
	if ((r = segment_list(dir, ctl_opt(c, "log"), &list, &n)) < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", path, strerror(-r));
	for (size_t i = 0; code == EXIT_OK && i < n; i++) {
		cleanup_audit struct audit_source *source = NULL;
		char file[PATH_MAX + SEGMENT_NAME_MAX];

		(void)snprintf(file, sizeof file, "%s/%s", path, list[i].file);
		if ((code = audit_open(c, file, false, &source)) == EXIT_OK)
			code = audit_walk(source, true, one, &s);
	}
	return code;
}
