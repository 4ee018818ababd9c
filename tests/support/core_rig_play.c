#include "tests/support/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "creds/ca.h"
#include "creds/cert.h"
#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"

/*
 * The parts of others that a test plays: who connects to the core's sockets, and workers with their
 * clients.
 */

/* ---- the sockets that others connect to ---- */

static void socket_address(const struct rig *r, const char *kind, struct sockaddr_un *a)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	(void)snprintf(a->sun_path, sizeof a->sun_path, "%.64s/%.3s.sock", r->dir, kind);
}

void rig_listen(struct rig *r, const char *kind)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	socket_address(r, kind, &a);
	assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(
	    chan_send(r->supervisor->chan, "listen", 0, json_pack("{s:s}", "kind", kind), &fd, 1),
	    0);
	(void)close(fd);
	rig_turns(r);
}

struct rig_end *rig_connect(struct rig *r, const char *kind, unsigned self)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	socket_address(r, kind, &a);
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
	return rig_end_new(r, fd, self);
}

void rig_cgroup(struct rig *r, const char *path)
{
	char name[64], text[256];

	(void)snprintf(name, sizeof name, "%d", (int)getpid());
	(void)mkdirat(r->proc_fd, name, 0700);
	(void)snprintf(name, sizeof name, "%d/cgroup", (int)getpid());
	(void)snprintf(text, sizeof text, "4:memory:/x\n0::%s\n", path);
	assert_int_equal(fd_write_file(r->proc_fd, name, text, strlen(text), 0600, NULL), 0);
	(void)snprintf(name, sizeof name, "%d/status", (int)getpid());
	(void)snprintf(text, sizeof text, "Name:\tx\nUid:\t%u\t%u\t%u\t%u\n", getuid(), geteuid(),
	    getuid(), getuid());
	assert_int_equal(fd_write_file(r->proc_fd, name, text, strlen(text), 0600, NULL), 0);
}

/* ---- playing a worker ---- */

struct rig_end *rig_worker(struct rig *r, const char *peer)
{
	struct msg m = MSG_INIT;
	struct rig_end *w;

	rig_send(r->listener, "worker.pair", 1, json_pack("{s:i}", "slot", 3));
	rig_expect(r->listener, "worker.paired", &m);
	w = rig_end_new(r, msg_take_fd(&m, 0), MSG_WORKER);
	(void)snprintf(w->conn, sizeof w->conn, "%s", msg_str(&m, "conn"));
	msg_done(&m);
	if (peer)
		rig_send(r->listener, "conn.accepted", 0,
		    json_pack(
		        "{s:s, s:s, s:s}", "conn", w->conn, "peer", peer, "local", "127.0.0.1"));
	return w;
}

json_t *rig_cert(struct rig *r, const struct rig_cert *c)
{
	struct ca_request q = {.subject = key_private_public(r->subject),
	    .serial = 42,
	    .key_id = "alice",
	    .principals = &c->principal,
	    .nprincipals = 1,
	    .valid_after = (uint64_t)(time(NULL) + c->from_s),
	    .valid_before = (uint64_t)(time(NULL) + c->to_s),
	    .source_address = c->source,
	    .force_command = c->command,
	    .scope = c->scope,
	    .permit = c->permit};
	struct err e = ERR_INIT;
	cleanup_buf struct buf b;

	buf_init(&b, CERT_BLOB_MAX);
	if (ca_issue(c->ca ? c->ca : r->ca, &q, &b, &e) < 0)
		fail_msg("%s", err_text(&e));
	return msg_json_bytes(b.data, b.len);
}

void rig_auth(struct rig_end *w, const char *user, json_t *key, bool proved)
{
	json_t *body = json_pack("{s:o, s:s, s:b}", "user", msg_json_bytes(user, strlen(user)),
	    "method", key ? "publickey" : "password", "proved", proved ? 1 : 0);

	if (key)
		(void)json_object_set_new(body, "key", key);
	rig_send(w, "auth.check", 7, body);
}

struct rig_end *rig_agent(struct rig *r)
{
	struct rig_cert c = {
	    .principal = "agent", .from_s = -60, .to_s = 300, .permit = CERT_PERMIT_PTY};
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;

	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	return w;
}

void rig_exec(struct rig_end *w, int channel, const char *command, bool pty)
{
	json_t *body =
	    json_pack("{s:i, s:s}", "channel", channel, "kind", command ? "exec" : "shell");

	if (command)
		(void)json_object_set_new(
		    body, "command", msg_json_bytes(command, strlen(command)));
	if (pty)
		(void)json_object_set_new(body, "pty",
		    json_pack("{s:s, s:i, s:i, s:i, s:i}", "term", "xterm", "cols", 80, "rows", 24,
		        "xpixel", 0, "ypixel", 0));
	rig_send(w, "channel.exec", 100 + (uint64_t)channel, body);
}

int rig_session(struct rig *r, struct rig_end *w, char dst[CORE_ID_MAX + 1])
{
	struct msg m = MSG_INIT;
	int fd;

	rig_exec(w, 1, "true", false);
	rig_expect(r->spawn, "sandbox.start", &m);
	(void)snprintf(dst, CORE_ID_MAX + 1, "%s", msg_str(&m, "session"));
	fd = msg_take_fd(&m, 0);
	rig_send(r->spawn, "sandbox.started", m.id,
	    json_pack("{s:s, s:i, s:{}}", "session", dst, "pid", 4711, "enforced"));
	msg_done(&m);
	rig_expect(w, "channel.started", NULL);
	rig_turns(r);
	return fd;
}

void rig_denied(struct rig_end *w, int channel, const char *reason)
{
	struct msg m = MSG_INIT;

	rig_expect(w, "channel.denied", &m);
	assert_int_equal(m.id, 100 + channel);
	assert_int_equal(msg_int(&m, "channel", -1), channel);
	if (!strstr(msg_str(&m, "reason"), reason))
		fail_msg("%s", msg_str(&m, "reason"));
	msg_done(&m);
}
