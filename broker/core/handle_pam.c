#include "broker/core/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/core/auth.h"
#include "broker/core/conn.h"
#include "broker/core/session.h"
#include "creds/cert.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5, asm-generic/socket.h */
#endif

/*
 * pam_postern.so in the privileged process of a stock sshd, which has verified the certificate and
 * the possession of its key. Judged like any other; then the session is recorded, and spawn makes
 * the cgroup that ties the login's processes to it. The sandbox itself is made when the first
 * postern-run asks.
 */

struct parked {
	struct core *core;
	char conn[CORE_ID_MAX + 1];
	uint64_t question;
	struct grant grant;
	char reason[CORE_REASON_MAX + 1];
};

static struct parked *park(const struct conn *k, uint64_t question)
{
	struct parked *w = calloc(1, sizeof *w);

	if (w) {
		w->core = k->core;
		(void)str_copy(w->conn, sizeof w->conn, k->id);
		w->question = question;
	}
	return w;
}

/* Ends the login with the reason. Also for one that is not open yet. */
static void refuse(struct conn *k, uint64_t question, const char *reason, uint64_t seq)
{
	json_t *body = json_pack("{s:s}", "reason", reason);

	if (body && seq > 0)
		(void)json_object_set_new(body, "record", json_integer((json_int_t)seq));
	(void)peer_send(k->peer, "pam.denied", question, body);
	conn_end(k, reason, false);
}

static void on_started(int r, uint64_t seq, void *arg)
{
	struct parked *w = arg;
	struct conn *k = conn_find(w->core, w->conn);
	struct session *s = k ? k->session : NULL;

	(void)seq;
	if (s && r < 0) {
		refuse(k, w->question, note_why(r), 0);
	} else if (s && !w->core->spawn) {
		refuse(k, w->question, "spawn cannot be reached", 0);
	} else if (s) {
		s->tied = true;
		s->tie_question = peer_question(w->core->spawn);
		(void)peer_send(w->core->spawn, "tie.make", s->tie_question,
		    json_pack("{s:s}", "session", s->id));
	}
	free(w);
}

void pam_tied(struct session *s, const char *path, int procs, const char *reason)
{
	struct conn *k = s->conn;

	if (!k || k->route != ROUTE_SSHD || !k->peer || *s->tie_path)
		return;
	if (procs < 0 || !str_copy(s->tie_path, sizeof s->tie_path, path)) {
		refuse(k, k->asking_id, reason ? reason : "the login could not be tied", 0);
		return;
	}
	core_keep(k->core, "conn", k->id, chan_fd(k->peer->chan));
	session_arm(s);
	session_save(s);
	(void)peer_send_fds(
	    k->peer, "pam.opened", k->asking_id, json_pack("{s:s}", "session", s->id), &procs, 1);
}

static void on_granted(int r, uint64_t seq, void *arg)
{
	struct parked *w = arg;
	struct conn *k = conn_find(w->core, w->conn);
	char why[CORE_REASON_MAX];
	struct parked *next;

	(void)seq;
	if (!k || k->state != CONN_AUTH) {
		grant_done(&w->grant);
	} else if (r < 0) {
		grant_done(&w->grant);
		refuse(k, w->question, note_why(r), 0);
	} else {
		conn_open(k, &w->grant);
		next = park(k, w->question);
		if (!next || !session_new(k, why, sizeof why)) {
			free(next);
			refuse(k, w->question, next ? why : "no memory", 0);
		} else if ((r = session_record_start(k->session, on_started, next)) < 0) {
			free(next);
			refuse(k, w->question, note_why(r), 0);
		}
	}
	free(w);
}

static void on_refused(int r, uint64_t seq, void *arg)
{
	struct parked *w = arg;
	struct conn *k = conn_find(w->core, w->conn);

	if (k)
		refuse(k, w->question, w->reason, r < 0 ? 0 : seq);
	free(w);
}

/* ---- the end of sshd's process ---- */

static void on_login_gone(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l;
	(void)fd;
	(void)what;
	conn_end(arg, "sshd's process has gone", false);
}

/* sshd forks its unprivileged half without exec, which then holds the socket too: when the
 * privileged process is killed, the socket does not close. */
int pam_watch(struct conn *k)
{
	socklen_t size = sizeof k->login_fd;
	int r;

	/* of who connected, also if the number has been used again; from Linux 6.5 */
	if (getsockopt(chan_fd(k->peer->chan), SOL_SOCKET, SO_PEERPIDFD, &k->login_fd, &size) < 0) {
		r = fd_pidfd_open(k->peer->pid);
		if (r < 0)
			return r;
		k->login_fd = r;
	}
	k->login = loop_fd(k->core->loop, k->login_fd, LOOP_READ, on_login_gone, k);
	return k->login ? 0 : -errno;
}

static int on_open(struct peer *p, struct msg *m, struct err *e)
{
	struct conn *k = p->owner;
	struct auth_try t = {.method = "publickey", .proved = true};
	struct authorize_answer a;
	cleanup_buf struct buf user, key;
	struct parked *w;
	int r;

	buf_init(&user, CONN_USER_MAX);
	buf_init(&key, CERT_BLOB_MAX);
	if (k->asking)
		return err_set(e, -EPROTO, "pam.open: twice");
	if (msg_bytes(m, "user", &user) < 0 || msg_bytes(m, "key", &key) < 0 || key.len == 0 ||
	    user.len == 0)
		return err_set(e, -EBADMSG, "pam.open: user or key");
	(void)str_copy(k->remote, sizeof k->remote, msg_str(m, "peer"));
	if (pam_watch(k) < 0)
		return err_set(e, -ESRCH, "pam.open: sshd's process cannot be watched");
	k->asking = true;
	k->asking_id = m->id;
	t.user = user.data;
	t.user_len = user.len;
	t.key = key.data;
	t.key_len = key.len;
	if (!(w = park(k, m->id)))
		return err_set(e, -ENOMEM, "no memory");
	if (auth_judge(k, &t, &a) < 0) {
		(void)str_copy(w->reason, sizeof w->reason, a.reason);
		if (auth_refused(k, &t, &a, on_refused, w) < 0)
			on_refused(-EIO, 0, w);
		return 0;
	}
	w->grant = a.grant;
	if ((r = auth_record(k, &t, &a, on_granted, w)) < 0) {
		grant_done(&w->grant);
		free(w);
		refuse(k, m->id, note_why(r), 0);
	}
	return 0;
}

static int on_close(struct peer *p, struct msg *m, struct err *e)
{
	(void)m;
	(void)e;
	conn_end(p->owner, "the login has ended", false);
	return 0;
}

static void gone(struct peer *p)
{
	struct conn *k = p->owner;

	if (!k)
		return;
	k->peer = NULL;
	conn_end(k, "sshd's process has gone", false);
}

static const struct peer_handler handlers[] = {
    {"pam.open", on_open},
    {"pam.close", on_close},
    {NULL, NULL},
};

const struct peer_class class_pam = {
    .who = "sshd", .role = MSG_PAM, .handlers = handlers, .gone = gone};
