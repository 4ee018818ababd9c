#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

/* audit keys, audit epoch, audit ack. */

#define KEYS_MAX (256u * 1024)

/* As audit verify reads them: the last word of each line. */
static void keys_text(const json_t *data, struct buf *b)
{
	char name[64], key[640];
	json_t *o;
	size_t i;

	buf_printf(b,
	    "# The verifier keys of this host's logs. Whoever verifies keeps a copy elsewhere.\n"
	    "first epoch %s\n",
	    json_text(data, "first", key, sizeof key));
	json_array_foreach(json_object_get(data, "logs"), i, o) buf_printf(b, "log %s %s\n",
	    json_text(o, "log", name, sizeof name), json_text(o, "key", key, sizeof key));
	json_array_foreach(json_object_get(data, "witnesses"), i, o)
	    buf_printf(b, "witness %s\n", json_text(o, NULL, key, sizeof key));
}

/* A log's key does not change: a file that says something else is not replaced. */
static int keys_write(struct ctl *c, const json_t *data)
{
	char path[PATH_MAX], first[640];
	cleanup_buf struct buf b, old;
	cleanup_close int dir = -1;
	struct err e = ERR_INIT;

	buf_init(&b, KEYS_MAX);
	buf_init(&old, KEYS_MAX);
	if (json_array_size(json_object_get(data, "logs")) == 0)
		return ctl_fail(EXIT_FAILED, "nothing was sealed yet");
	if ((dir = open(
	         ctl_path(c, "etc", "/etc/postern", path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_FAILED, "%s: %m", path);
	keys_text(data, &b);
	if (faccessat(dir, "log.keys", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		if (fd_read_file(dir, "log.keys", KEYS_MAX, &old, &e) < 0 || !buf_cstr(&old))
			return ctl_fail(EXIT_FAILED, "%s/log.keys: %s", path, err_text(&e));
		if (!strstr((const char *)old.data, json_text(data, "first", first, sizeof first)))
			return ctl_fail(EXIT_SIGNATURE,
			    "%s/log.keys has other keys: remove it if that is right", path);
	}
	if (buf_status(&b) < 0 || fd_write_file(dir, "log.keys", b.data, b.len, 0644, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s/log.keys: %s", path, err_text(&e));
	(void)printf("%s/log.keys\n", path);
	return EXIT_OK;
}

int ctl_audit_keys(struct ctl *c)
{
	json_auto_t *data = NULL;
	char name[64], key[640];
	int code = ctl_query(c, "ctl.keys", json_object(), &data);
	json_t *o;
	size_t i;

	if (code == EXIT_OK && ctl_opt(c, "write"))
		return keys_write(c, data);
	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "first epoch", json_text(data, "first", key, sizeof key));
	json_array_foreach(json_object_get(data, "logs"), i, o)
	{
		char title[80];

		(void)snprintf(
		    title, sizeof title, "log %s", json_text(o, "log", name, sizeof name));
		field_print(stdout, title, json_text(o, "key", key, sizeof key));
	}
	json_array_foreach(json_object_get(data, "witnesses"), i, o)
	{
		field_print(stdout, "witness", json_text(o, NULL, key, sizeof key));
	}
	(void)puts("Whoever verifies a log keeps its key and the first epoch's elsewhere.");
	return EXIT_OK;
}

int ctl_audit_epoch(struct ctl *c)
{
	json_auto_t *data = NULL;
	char text[32];
	int code = ctl_query(c, "ctl.epoch", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "epoch", json_text(data, "epoch", text, sizeof text));
	return EXIT_OK;
}

int ctl_audit_ack(struct ctl *c)
{
	json_auto_t *data = NULL;
	int code = ctl_query(c, "ctl.rollback", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	if (!json_is_true(json_object_get(data, "accepted"))) {
		(void)puts("nothing to accept: no log is behind what was sealed or witnessed, or "
		           "that was accepted before");
		return EXIT_OK;
	}
	(void)puts("accepted, and recorded: what is missing stays missing in every proof; each log "
	           "goes on behind a signed break");
	return EXIT_OK;
}
