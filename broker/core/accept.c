#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/core/conn.h"
#include "broker/core/handlers.h"
#include "broker/core/session.h"
#include "broker/core/who.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

/*
 * The three sockets that others connect to, and who may: operators are root or of the control
 * socket's group; pam_postern.so is root; anybody may be a postern-run, and is then known by the
 * cgroup it is in.
 */

#define ACCEPT_MAX 16 /* in one turn */

static const struct {
	const char *kind;
	unsigned role;
	const struct peer_class *cls;
	unsigned most;
} kinds[] = {
    {"ctl", MSG_CTL, &class_ctl, CORE_CTL_MAX},
    {"pam", MSG_PAM, &class_pam, CORE_PAM_MAX},
    {"run", MSG_RUN, &class_run, CORE_RUN_MAX},
};

static unsigned count(const struct core *c, const struct peer_class *cls, long uid)
{
	unsigned n = 0;

	for (const struct peer *p = c->peers; p; p = p->next)
		n += p->cls == cls && !p->closed && (uid < 0 || p->uid == (uid_t)uid);
	return n;
}

/* The login whose processes are in this process's cgroup. */
static struct conn *login_of(struct core *c, const struct ucred *u)
{
	char path[WHO_CGROUP_MAX];

	if (who_cgroup(c->proc_fd, u->pid, u->uid, path) < 0)
		return NULL;
	for (struct session *s = c->sessions; s; s = s->next)
		if (s->conn && *s->tie_path && who_cgroup_within(path, s->tie_path))
			return s->conn;
	return NULL;
}

static void refused(struct core *c, const struct ucred *u, const char *kind, const char *why)
{
	unsigned unsaid;

	if (!peer_rude(c, &unsaid))
		return;
	log_warn("%s: uid %u is refused: %s", kind, u->uid, why);
	(void)note(c, "peer.refused", NULL, who_json(c->proc_fd, c->etc_fd, u->uid, u->pid),
	    json_pack(
	        "{s:s, s:s, s:I}", "socket", kind, "reason", why, "unsaid", (json_int_t)unsaid));
}

/* Why not; NULL: come in. */
static const char *check(
    struct core *c, const struct core_listener *l, int fd, const struct ucred *u)
{
	size_t i = (size_t)(l - c->listeners);

	if (l->role == MSG_CTL && u->uid != 0 &&
	    (l->admin_gid < 0 || !who_in_group(fd, (gid_t)l->admin_gid)))
		return "neither root nor of the operators' group";
	if (l->role == MSG_PAM && u->uid != 0)
		return "not root";
	if (count(c, kinds[i].cls, -1) >= kinds[i].most)
		return "too many connections";
	if (l->role == MSG_RUN && count(c, kinds[i].cls, (long)u->uid) >= CORE_RUN_UID_MAX)
		return "too many connections of this user";
	return NULL;
}

static void welcome(struct core *c, const struct core_listener *l, int fd, const struct ucred *u)
{
	size_t i = (size_t)(l - c->listeners);
	struct conn *k = NULL;
	struct peer *p;

	if (l->role == MSG_RUN)
		k = login_of(c, u);
	if (l->role == MSG_PAM) {
		k = conn_new(c, ROUTE_SSHD, NULL);
		if (!k) {
			util_close(&fd);
			return;
		}
	}
	p = peer_new(c, fd, kinds[i].cls, k);
	if (l->role != MSG_PAM)
		return;
	if (!p) {
		conn_free(k);
		return;
	}
	k->peer = p;
	(void)conn_event_apply(k, CONN_ACCEPTED);
}

static void on_accept(struct loop *loop, int listening, unsigned what, void *arg)
{
	struct core_listener *l = NULL;
	struct core *c = arg;

	(void)loop;
	(void)what;
	for (size_t i = 0; i < CORE_LISTENERS; i++)
		if (c->listeners[i].fd == listening)
			l = &c->listeners[i];
	for (int n = 0; l && n < ACCEPT_MAX; n++) {
		cleanup_close int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		socklen_t size = sizeof(struct ucred);
		const char *why;
		struct ucred u;

		if (fd < 0)
			return;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &size) < 0)
			continue;
		why = check(c, l, fd, &u);
		if (why)
			refused(c, &u, kinds[l - c->listeners].kind, why);
		else
			welcome(c, l, steal_fd(&fd), &u);
	}
}

/* The group that the supervisor gave the control socket: operators. -1 for root's and for none. */
static long group_of(int fd)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof a;
	struct stat st;

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 || a.sun_family != AF_UNIX ||
	    a.sun_path[0] != '/' || stat(a.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
	    st.st_gid == 0)
		return -1;
	return (long)st.st_gid;
}

int core_listen(struct core *c, const char *kind, int fd, struct err *e)
{
	for (size_t i = 0; i < CORE_LISTENERS; i++) {
		struct core_listener *l = &c->listeners[i];

		if (strcmp(kinds[i].kind, kind) != 0)
			continue;
		if (l->fd >= 0) {
			util_close(&fd);
			return err_set(e, -EPROTO, "listen: %s twice", kind);
		}
		l->fd = fd;
		l->role = kinds[i].role;
		l->admin_gid = group_of(fd);
		/* clients wait in the backlog until we are ready */
		l->source = loop_fd(c->loop, fd, c->ready ? LOOP_READ : 0, on_accept, c);
		return l->source ? 0 : err_set(e, -ENOMEM, "no memory");
	}
	util_close(&fd);
	return err_set(e, -EPROTO, "listen: no such kind");
}
