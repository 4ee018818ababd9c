#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "lib/chan.h"
#include "lib/msg.h"
#include "lib/util.h"

/*
 * postern workspace diff: lines of broker/walk/diff.h, as they come. Who writes them has read a
 * hostile tree, so nothing of it reaches the terminal but printable ASCII.
 */

#define LINE_MAX_BYTES (64 * 1024)
#define FIELD          4200

/* A field's text, "-" if there is none. */
static const char *text(const json_t *o, const char *key, char dst[FIELD])
{
	const char *s = json_string_value(json_object_get(o, key));
	size_t n = 0;

	for (; s && s[n] && n < FIELD - 1; n++)
		dst[n] = isascii((unsigned char)s[n]) && isprint((unsigned char)s[n]) ? s[n] : '?';
	if (n == 0)
		dst[n++] = '-';
	dst[n] = '\0';
	return dst;
}

static void print_flags(const json_t *list)
{
	char word[FIELD];
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		json_auto_t *o = json_pack("{s:O}", "w", v);

		(void)printf("%s%s", i == 0 ? "  [" : " ", text(o, "w", word));
	}
	if (json_array_size(list) > 0)
		(void)putchar(']');
}

void ctl_workspace_line(const json_t *o)
{
	char change[FIELD], mode[FIELD], hash[FIELD], path[FIELD], kind[FIELD];

	(void)printf("%-8s  %-7s  %s  %-64s  %s", text(o, "change", change), text(o, "kind", kind),
	    text(o, "mode", mode), text(o, "sha256", hash), text(o, "path", path));
	print_flags(json_object_get(o, "flags"));
	(void)putchar('\n');
}

static int last(const struct ctl *c, json_t *o, json_t *list)
{
	const char *const counts[] = {"added", "changed", "deleted", "metadata"};

	if (c->json) {
		(void)json_object_del(o, "done");
		(void)json_object_set(o, "files", list);
		(void)ctl_json(o);
	} else {
		for (size_t i = 0; i < ARRAY_LEN(counts); i++)
			(void)printf("%s%lld %s", i ? ", " : "",
			    json_integer_value(json_object_get(o, counts[i])), counts[i]);
		(void)putchar('\n');
	}
	if (fflush(stdout) != 0)
		return ctl_fail(EXIT_FAILED, "cannot write: %m");
	if (json_is_true(json_object_get(o, "incomplete")))
		return ctl_fail(EXIT_FAILED, "not everything could be read in time");
	return EXIT_OK;
}

static int show(const struct ctl *c, FILE *f)
{
	json_auto_t *list = json_array();
	static char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof line, f)) {
		json_auto_t *o = json_loads(line, 0, NULL);

		if (!json_is_object(o))
			return ctl_fail(EXIT_FAILED, "the answer cannot be understood");
		if (json_is_true(json_object_get(o, "done")))
			return last(c, o, list);
		if (c->json)
			(void)json_array_append(list, o);
		else
			ctl_workspace_line(o);
	}
	return ctl_fail(EXIT_FAILED, "the reading broke off: this is not all");
}

int ctl_stream_open(struct ctl *c, json_t *body, FILE **ret)
{
	cleanup_chan struct chan *link = NULL;
	struct msg m = MSG_INIT;
	int code, fd;

	if ((code = ctl_dial(c, &link, 0)) != EXIT_OK) {
		json_decref(body);
		return code;
	}
	if ((code = ctl_ask(link, "ctl.workspace", body, &m)) != EXIT_OK)
		return code;
	fd = msg_is(&m, "ctl.stream") ? msg_take_fd(&m, 0) : -1;
	msg_done(&m);
	if (fd < 0 || !(*ret = fdopen(fd, "r"))) {
		util_close(&fd);
		return ctl_fail(EXIT_FAILED, "an answer to another question");
	}
	return EXIT_OK;
}

int ctl_workspace_diff(struct ctl *c)
{
	json_t *body = json_pack("{s:s, s:s, s:s*, s:s*}", "op", "diff", "workspace", c->word[0],
	    "tenant", ctl_opt(c, "tenant"), "snapshot", ctl_opt(c, "snapshot"));
	FILE *f = NULL;
	int code = ctl_stream_open(c, body, &f);

	if (code != EXIT_OK)
		return code;
	code = show(c, f);
	(void)fclose(f);
	return code;
}
