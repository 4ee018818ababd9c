#include "pam/query.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "lib/chan.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"
#include "pam/denial.h"
#include "pam/dial.h"

int query_peer(char *dst, const char *rhost, struct err *e)
{
	char text[QUERY_PEER_MAX];
	struct in6_addr a;
	char *zone;

	if (!rhost || !str_copy(text, sizeof text, rhost))
		return err_set(e, -EINVAL, "sshd does not say where the login comes from");
	zone = strchr(text, '%');
	if (zone)
		*zone = '\0';
	if (inet_pton(AF_INET, text, &a) != 1 && inet_pton(AF_INET6, text, &a) != 1)
		return err_set(e, -EINVAL, "sshd gives no numeric address (it needs `UseDNS no')");
	memcpy(dst, text, sizeof text);
	return 0;
}

static json_t *question(const struct query *q)
{
	return json_pack("{s:o*, s:o*, s:s}", "user", msg_json_bytes(q->user, strlen(q->user)),
	    "key", msg_json_bytes(q->key, q->key_len), "peer", q->peer);
}

int query_open(const struct query *q, struct query_answer *ret, struct err *e)
{
	cleanup_chan struct chan *c = NULL;
	struct msg m = MSG_INIT;
	int r;

	if (q->user[0] == '\0' || strlen(q->user) > QUERY_USER_MAX)
		return err_set(e, -EINVAL, "no user name that could be asked about");
	if ((r = dial_core(q->socket, MSG_PAM, q->deadline_ns, &c, e)) < 0)
		return r;
	r = chan_call(c, "pam.open", question(q), NULL, 0, q->deadline_ns, &m, e);
	if (r < 0)
		return err_wrap(e, r, "the broker does not answer");
	if (msg_is(&m, "pam.opened") &&
	    str_copy(ret->session, sizeof ret->session, msg_str(&m, "session"))) {
		ret->procs = msg_take_fd(&m, 0);
		ret->chan = steal_ptr(&c);
		r = 0;
	} else if (msg_is(&m, "pam.denied")) {
		r = denial_text(&m, e);
	} else {
		r = err_set(e, -EPROTO, "the broker answers with something else");
	}
	msg_done(&m);
	return r;
}

void query_close(struct query_answer *a)
{
	if (a->chan) /* when it is gone, the session is over anyway */
		(void)chan_send(a->chan, "pam.close", 0, NULL, NULL, 0);
	query_done(a);
}

void query_done(struct query_answer *a)
{
	util_close(&a->procs);
	chan_free(a->chan);
	a->chan = NULL;
}
