#include "broker/ctl/audit_record.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/show.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/ctl.h"
#include "lib/buf.h"
#include "lib/err.h"

static int reveal_one(const char *text, size_t len, struct buf *ret, void *arg)
{
	return audit_reveal(arg, text, len, ret);
}

static void add_body(const struct audit_record *r, json_t *record)
{
	uint8_t digest[DIGEST_LEN];
	cleanup_buf struct buf b;
	size_t n;
	int rc;

	buf_init(&b, BODY_MAX);
	if (body_named(r->data, r->len, digest, &n) < 0)
		return;
	if ((rc = audit_body(r, &b)) == 0)
		rc = show_body(record, b.data, b.len);
	if (rc < 0)
		(void)json_object_set_new(json_object_get(record, "body"),
		    rc == -EBADMSG ? "body_broken" : "body_missing", json_true());
}

int audit_record_json(const struct audit_record *r, bool with_body, json_t **ret)
{
	struct err e = ERR_INIT;
	json_t *record = NULL;
	char shown[512];

	if (show_parse(r->data, r->len, &record, &e) < 0)
		return ctl_fail(EXIT_UNREADABLE, "log %s: record %llu: %s", r->log,
		    (unsigned long long)r->seq,
		    str_escape(shown, sizeof shown, err_text(&e), strlen(err_text(&e))));
	if (with_body)
		add_body(r, record);
	show_reveal(record, reveal_one, r->source);
	*ret = record;
	return EXIT_OK;
}
