#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/export_file.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/audit_origin.h"
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

struct export
{
	struct ctl *c;
	FILE *f;
};

static int export_into(void *arg)
{
	struct export *x = arg;
	const char *log = ctl_opt(x->c, "log");
	int code = log ? export_bundle(x->c, log, x->f) : export_lines(x->c, x->f);

	if (code == EXIT_OK && (fflush(x->f) != 0 || fsync(fileno(x->f)) < 0))
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", x->c->word[0]);
	return code;
}

/* Whoever reads the core's store is not root any more, so the file is made before, a child fills
 * it, and what failed is taken away by us. */
int ctl_audit_export(struct ctl *c)
{
	int fd = open(c->word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), code;
	struct export x = {c, fd < 0 ? NULL : fdopen(fd, "w")};

	if (!x.f) {
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
		util_close(&fd);
		return code;
	}
	code = audit_in_child(export_into, &x);
	(void)fclose(x.f);
	if (code != EXIT_OK)
		(void)unlink(c->word[0]);
	return code;
}
