#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/export_file.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/ctl.h"
#include "lib/err.h"
#include "lib/util.h"

/* audit export: one log with its seals as a bundle, or every record a line of JSON. */

static int export_line(const struct audit_record *r, void *arg)
{
	FILE *f = arg;

	if (fwrite(r->data, 1, r->len, f) != r->len || fputc('\n', f) == EOF)
		return ctl_fail(EXIT_FAILED, "cannot write: %m");
	return 0;
}

static int export_lines(struct ctl *c, FILE *f)
{
	cleanup_audit struct audit_source *source = NULL;
	int code = audit_open(c, NULL, ctl_opt(c, "offline") != NULL, &source);

	return code == EXIT_OK ? audit_walk(source, true, export_line, f) : code;
}

static int export_bundle(struct ctl *c, const char *log, FILE *f)
{
	cleanup_audit_log struct audit_log *source = NULL;
	struct export_writer *w = NULL;
	bool complete;
	int code = audit_log_open(c, &source);

	if (code != EXIT_OK)
		return code;
	if (export_writer_new(f, &w) < 0)
		return ctl_fail(EXIT_FAILED, "no memory");
	code = audit_log_feed(source, log, &export_sink, w, &complete);
	if (code == EXIT_OK && export_writer_end(w) < 0)
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
	export_writer_free(w);
	return code;
}

int ctl_audit_export(struct ctl *c)
{
	const char *log = ctl_opt(c, "log");
	int fd = open(c->word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), code;
	FILE *f;

	if (fd < 0 || !(f = fdopen(fd, "w"))) {
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
		util_close(&fd);
		return code;
	}
	code = log ? export_bundle(c, log, f) : export_lines(c, f);
	if (code == EXIT_OK && (fflush(f) != 0 || fsync(fd) < 0))
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
	if (fclose(f) != 0 && code == EXIT_OK)
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
	if (code != EXIT_OK)
		(void)unlink(c->word[0]);
	return code;
}
