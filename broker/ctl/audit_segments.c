#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/audit/export_file.h"
#include "broker/audit/ranges.h"
#include "broker/audit/segment_file.h"
#include "broker/ctl/audit_archive.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/util.h"

/*
 * audit archive: which segments there are, whether they follow one another, and with --verify
 * whether each is whole. What they prove as a log says audit verify.
 */

struct shelf {
	struct ctl *c;
	struct audit_archive *archive;
	struct audit_keys keys;
	json_t *list;
	int code; /* the worst so far */
};

/* The verdict on one segment by itself; *ret_word is "unreadable" when it breaks off or is
 * damaged. */
static int verify(struct shelf *s, size_t i, const struct segment *g, const char **ret_word)
{
	cleanup_ranges struct ranges *v = NULL;
	struct log_ranges to = {0};
	struct ranges_result result;
	struct ranges_keys keys;
	struct err e = ERR_INIT;
	bool complete = false;
	FILE *f;
	int r;

	if (ranges_keys(s->keys.key, s->keys.n, g->log, &keys, &e) < 0 ||
	    ranges_new(g->log, &keys, NULL, 0, &v, &e) < 0)
		return ctl_fail(EXIT_USAGE, "%s", err_text(&e));
	if (!(f = audit_archive_stream(s->archive, i)))
		return ctl_fail(EXIT_UNREADABLE, "%s: %m", g->file);
	to.ranges = v;
	r = export_read_file(f, &log_ranges_sink, &to, &complete, &e);
	(void)fclose(f);
	if (r < 0) {
		*ret_word = "damaged";
		return EXIT_BROKEN;
	}
	ranges_end(v, to.head, complete);
	ranges_result(v, &result);
	if (result.records != g->to || result.archived != g->from - 1) {
		*ret_word = complete ? "of another name" : "cut off";
		return complete ? EXIT_BROKEN : EXIT_LOST;
	}
	/* what is before it is in other segments; a segment ends with a seal */
	if ((result.verdict == VERDICT_ARCHIVED || result.verdict == VERDICT_RESTORED) &&
	    result.sealed < g->to) {
		*ret_word = verdict_word(VERDICT_TAIL);
		return EXIT_TAIL;
	}
	*ret_word = result.verdict == VERDICT_ARCHIVED ? verdict_word(VERDICT_GOOD)
	                                               : verdict_word(result.verdict);
	return result.verdict == VERDICT_GOOD || result.verdict == VERDICT_ARCHIVED ? EXIT_OK
	       : result.verdict == VERDICT_RESTORED                                 ? EXIT_RESTORED
	       : result.verdict == VERDICT_NO_KEY                                   ? EXIT_NO_KEY
	       : result.verdict == VERDICT_MISSING                                  ? EXIT_LOST
	                                                                            : EXIT_BROKEN;
}

static void worse(struct shelf *s, int code)
{
	static const int mild[] = {EXIT_OK, EXIT_RESTORED, EXIT_NO_KEY};
	size_t is = 0, was = 0;

	/* a missing key says less than a fault, and a break that is signed less than that */
	while (is < ARRAY_LEN(mild) && mild[is] != code)
		is++;
	while (was < ARRAY_LEN(mild) && mild[was] != s->code)
		was++;
	if (is > was)
		s->code = code;
}

static int one(struct shelf *s, size_t i, const struct segment *g, const struct segment *before)
{
	bool first = !before || strcmp(before->log, g->log) != 0;
	uint64_t next = first ? 1 : before->to + 1;
	const char *word = "";
	char when[32], size[24];
	struct stat st = {0};
	int code = EXIT_OK;

	if (ctl_opt(s->c, "verify"))
		code = verify(s, i, g, &word);
	if (code != EXIT_OK && !*word)
		return code; /* said */
	worse(s, code);
	if (g->from > next)
		worse(s, EXIT_LOST);
	audit_archive_stat(s->archive, i, &st);
	clock_format(when, sizeof when, st.st_mtim.tv_sec * NSEC_PER_SEC);
	if (s->list) {
		(void)json_array_append_new(s->list,
		    json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:s}", "file", g->file, "log",
		        g->log, "from", (json_int_t)g->from, "to", (json_int_t)g->to,
		        "missing_before", (json_int_t)(g->from > next ? g->from - next : 0),
		        "verdict", word, "bytes", (json_int_t)st.st_size, "time", when));
		return EXIT_OK;
	}
	if (g->from > next)
		(void)printf("%s: records %llu to %llu are in no segment\n", g->log,
		    (unsigned long long)next, (unsigned long long)g->from - 1);
	if (strchr(when, '.'))
		memcpy(strchr(when, '.'), "Z", sizeof "Z");
	(void)printf("%s%s%s  %llu records, %s, %s\n", g->file, *word ? "  " : "", word,
	    (unsigned long long)(g->to - g->from + 1), size_text(size, sizeof size, st.st_size),
	    when);
	return EXIT_OK;
}

int ctl_audit_archive(struct ctl *c)
{
	struct shelf *s = calloc(1, sizeof *s);
	const struct segment *list;
	size_t n = 0;
	int code;

	if (!s)
		return ctl_fail(EXIT_FAILED, "no memory");
	s->c = c;
	s->list = c->json ? json_array() : NULL;
	code = audit_archive_open(c, true, ctl_opt(c, "log"), &s->archive);
	if (code == EXIT_OK && !s->archive)
		code = ctl_fail(EXIT_MISSING, "there is no archive, or it may not be read");
	if (code == EXIT_OK && ctl_opt(c, "verify"))
		code = audit_keys_load(c, &s->keys);
	if (code == EXIT_OK) {
		list = audit_archive_segments(s->archive, &n);
		for (size_t i = 0; code == EXIT_OK && i < n; i++)
			code = one(s, i, &list[i], i ? &list[i - 1] : NULL);
	}
	if (code == EXIT_OK) {
		if (s->list)
			(void)ctl_json(s->list);
		code = s->code;
	}
	audit_archive_close(s->archive);
	json_decref(s->list);
	free(s);
	return code;
}
