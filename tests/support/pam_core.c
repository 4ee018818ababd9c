#include "tests/support/pam_core.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

struct pam_core pam_core;

static void answer(const struct msg *m)
{
	json_t *opened = json_pack("{s:s}", "session", PAM_CORE_SESSION);
	char procs[200];
	int fd;

	(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", pam_core.cgroup);
	fd = open(pam_core.answer == NO_CGROUP ? "/dev/null" : procs, O_WRONLY | O_CLOEXEC);
	if (pam_core.answer == OPENED || pam_core.answer == NO_CGROUP)
		(void)chan_send(pam_core.chan, "pam.opened", m->id, json_incref(opened), &fd, 1);
	else if (pam_core.answer == DENIED)
		(void)chan_send(pam_core.chan, "pam.denied", m->id,
		    json_pack("{s:s, s:i}", "reason", "no such role\n\x1b[2J", "record", 41), NULL,
		    0);
	else if (pam_core.answer == NONSENSE)
		(void)send(chan_fd(pam_core.chan), "{}", 2, MSG_NOSIGNAL);
	util_close(&fd);
	json_decref(opened);
}

static void *play(void *arg)
{
	struct msg m = MSG_INIT;
	struct pollfd p = {pam_core.listener, POLLIN, 0};
	cleanup_buf struct buf b;

	(void)arg;
	buf_init(&b, 64 * 1024);
	if (poll(&p, 1, 10000) != 1)
		return NULL;
	pam_core.chan =
	    chan_new(accept4(pam_core.listener, NULL, NULL, SOCK_CLOEXEC), MSG_CORE, MSG_PAM);
	chan_set_phase(pam_core.chan, MSG_PHASE_AUTH);
	p.fd = chan_fd(pam_core.chan);
	if (poll(&p, 1, 10000) != 1 || chan_recv(pam_core.chan, &m, NULL) != 1)
		return NULL;
	pam_core.asked = msg_is(&m, "pam.open");
	(void)msg_bytes(&m, "user", &b);
	(void)snprintf(
	    pam_core.user, sizeof pam_core.user, "%.*s", (int)b.len, (const char *)b.data);
	(void)snprintf(pam_core.peer, sizeof pam_core.peer, "%s", msg_str(&m, "peer"));
	buf_reset(&b);
	(void)msg_bytes(&m, "key", &b);
	pam_core.key_len = b.len < sizeof pam_core.key ? b.len : 0;
	memcpy(pam_core.key, b.data, pam_core.key_len);
	answer(&m);
	msg_done(&m);
	if (pam_core.answer == HANGS_UP || pam_core.answer == NONSENSE) {
		chan_free(pam_core.chan);
		pam_core.chan = NULL;
	} else {
		chan_set_phase(pam_core.chan, MSG_PHASE_OPEN);
	}
	return NULL;
}

void pam_core_listen(uid_t as)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	assert_true(str_copy(a.sun_path, sizeof a.sun_path, pam_core.socket));
	pam_core.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(pam_core.listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(seteuid(as), 0); /* what the client sees is who calls listen(2) */
	assert_int_equal(listen(pam_core.listener, 4), 0);
	assert_int_equal(seteuid(0), 0);
}

void pam_core_start(enum pam_answer how)
{
	pam_core.answer = how;
	pam_core.asked = false;
	pam_core_listen(0);
	assert_int_equal(pthread_create(&pam_core.thread, NULL, play, NULL), 0);
}

void pam_core_stop(void)
{
	(void)pthread_join(pam_core.thread, NULL);
	chan_free(pam_core.chan);
	pam_core.chan = NULL;
	util_close(&pam_core.listener);
	(void)unlink(pam_core.socket);
}

const char *pam_core_heard(void)
{
	static char name[32];
	struct pollfd p = {chan_fd(pam_core.chan), POLLIN, 0};
	struct msg m = MSG_INIT;
	int r;

	assert_int_equal(poll(&p, 1, 5000), 1);
	r = chan_recv(pam_core.chan, &m, NULL);
	assert_true(r >= 0);
	(void)snprintf(name, sizeof name, "%s", r == 1 ? m.type->name : "");
	msg_done(&m);
	return name;
}
