#include "broker/ctl/audit_body.h"

#include <errno.h>

#include "broker/ctl/ctl.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/msg.h"

static int ask_piece(struct chan *link, const char *log, uint64_t seq, json_t **ret_private,
    struct buf *ret, size_t *ret_size)
{
	struct msg m = MSG_INIT;
	size_t before = ret->len;
	int code = ctl_try(link, "ctl.body",
	    json_pack("{s:s, s:I, s:I, s:b}", "log", log, "seq", (json_int_t)seq, "at",
	        (json_int_t)before, "private", ret_private ? 1 : 0),
	    &m);

	if (code != EXIT_OK)
		return code == EXIT_NOT_FOUND ? -ENOENT : -EIO;
	code = msg_is(&m, "ctl.bodypart") ? msg_bytes(&m, "data", ret) : -EPROTO;
	*ret_size = (size_t)msg_int(&m, "size", 0);
	if (code == 0 && before == 0 && ret_private)
		*ret_private = json_incref(msg_obj(&m, "private"));
	if (code == 0 && ret->len == before && before < *ret_size)
		code = -EPROTO; /* or we would ask for ever */
	msg_done(&m);
	return code;
}

int audit_ask_body(
    struct chan *link, const char *log, uint64_t seq, json_t **ret_private, struct buf *ret)
{
	size_t size = 0;
	int r;

	if (ret_private)
		*ret_private = NULL;
	do
		r = ask_piece(link, log, seq, ret_private, ret, &size);
	while (r == 0 && ret->len < size);
	return r;
}
