/* The lease process's clients, over real sockets: the service runs in a child, the test is the core
 * and the agents. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/lease/request.h"
#include "broker/lease/service.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/loop.h"
#include "lib/msg.h"

struct world {
	pid_t pid;
	struct chan *core;
	struct sockaddr_in at;
};

static _Noreturn void serve(int listen_fd, int core_fd)
{
	struct loop *l = loop_new();
	struct chan *core = chan_new(core_fd, MSG_LEASE, MSG_CORE);
	struct service *s = l && core ? service_new(l, listen_fd, core) : NULL;

	if (!s || loop_run(l) < 0)
		_exit(1);
	service_free(s);
	chan_free(core);
	loop_free(l);
	_exit(0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	socklen_t len = sizeof w->at;
	int pair[2], fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	w->at =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)&w->at, len) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&w->at, &len) < 0 || fd_seqpacket_pair(pair) < 0)
		return -1;
	if ((w->pid = fork()) == 0) {
		(void)close(pair[0]);
		serve(fd, pair[1]);
	}
	(void)close(fd);
	(void)close(pair[1]);
	w->core = chan_new(pair[0], MSG_CORE, MSG_LEASE);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	int status = -1;

	chan_free(w->core); /* the service ends with its link */
	(void)waitpid(w->pid, &status, 0);
	free(w);
	return status == 0 ? 0 : -1;
}

static int client(const struct world *w)
{
	const struct timeval patience = {15, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&w->at, sizeof w->at), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One line, without its newline; "" at the end of file. */
static const char *line(int fd)
{
	static char text[8192];
	size_t n = 0;

	while (n < sizeof text - 1 && recv(fd, text + n, 1, 0) == 1 && text[n] != '\n')
		n++;
	text[n] = '\0';
	return text;
}

/* The core's next message; the caller calls msg_done(). */
static struct msg heard(struct world *w)
{
	struct pollfd p = {chan_fd(w->core), POLLIN, 0};
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(chan_recv(w->core, &m, &e), 1);
	return m;
}

static void grant(struct world *w, struct msg *m, const char *value)
{
	assert_int_equal(
	    chan_send(w->core, "lease.granted", m->id,
	        json_pack("{s:s, s:s, s:i}", "lease", "l1", "value", value, "expires_s", 5), NULL,
	        0),
	    0);
	msg_done(m);
}

#define GET "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":\"https://a\"}\n"

static void asks_the_core_and_answers_the_one_who_asked(void **state)
{
	struct world *w = *state;
	int a = client(w), b = client(w);
	struct msg first, second;

	say(a, GET);
	first = heard(w);
	assert_true(msg_is(&first, "lease.get"));
	assert_string_equal(msg_str(&first, "audience"), "https://a");
	say(b, "{\"op\":\"release\",\"lease\":\"l9\"}\n");
	second = heard(w);
	assert_string_equal(msg_str(&second, "lease"), "l9");
	/* in the other order */
	assert_int_equal(chan_send(w->core, "lease.denied", second.id,
	                     json_pack("{s:s}", "reason", "not yours"), NULL, 0),
	    0);
	assert_string_equal(line(b), "{\"ok\":false,\"error\":\"not yours\"}");
	grant(w, &first, "token");
	assert_string_equal(
	    line(a), "{\"ok\":true,\"lease\":\"l1\",\"value\":\"token\",\"expires\":5}");
	msg_done(&second);
	(void)close(a);
	(void)close(b);
}

static void a_bad_line_is_answered_without_asking_the_core(void **state)
{
	struct world *w = *state;
	int a = client(w);
	struct msg m;

	say(a, "nonsense\n");
	assert_memory_equal(line(a), "{\"ok\":false,", 12);
	say(a, "{\"op\":\"list\"}\n"); /* the connection goes on */
	m = heard(w);
	assert_true(msg_is(&m, "lease.list"));
	msg_done(&m);
	(void)close(a);
}

static void a_line_that_never_ends_is_cut_off(void **state)
{
	struct world *w = *state;
	int a = client(w);
	char chunk[1024];

	memset(chunk, 'x', sizeof chunk);
	for (int i = 0; i < 5; i++)
		(void)send(a, chunk, sizeof chunk, MSG_NOSIGNAL);
	assert_non_null(strstr(line(a), "longer than"));
	assert_string_equal(line(a), "");
	(void)close(a);
}

static void lines_that_come_in_pieces_or_together_are_answered_in_order(void **state)
{
	struct world *w = *state;
	int a = client(w);
	struct msg m;

	say(a, "{\"op\":");
	say(a, "\"list\"}\n" GET "x\n");
	m = heard(w);
	assert_int_equal(
	    chan_send(w->core, "lease.listing", m.id,
	        json_pack("{s:[{s:s, s:s}]}", "credentials", "kind", "jwt", "audience", "a"), NULL,
	        0),
	    0);
	msg_done(&m);
	assert_string_equal(
	    line(a), "{\"ok\":true,\"credentials\":[{\"kind\":\"jwt\",\"audience\":\"a\"}]}");
	m = heard(w);
	grant(w, &m, "t");
	assert_memory_equal(line(a), "{\"ok\":true,\"lease\"", 18);
	assert_memory_equal(line(a), "{\"ok\":false,", 12);
	(void)close(a);
}

static void requests_are_limited_in_rate(void **state)
{
	struct world *w = *state;
	int a = client(w), refused = 0;

	for (int i = 0; i < SERVICE_RATE + 4; i++)
		say(a, "x\n");
	for (int i = 0; i < SERVICE_RATE + 4; i++)
		refused += strstr(line(a), "too many") != NULL;
	assert_int_equal(refused, 4);
	(void)close(a);
}

static void a_ninth_client_waits_until_one_leaves(void **state)
{
	struct world *w = *state;
	int fd[SERVICE_CLIENTS + 1];
	struct pollfd p;

	for (int i = 0; i <= SERVICE_CLIENTS; i++)
		fd[i] = client(w);
	say(fd[SERVICE_CLIENTS], "x\n");
	p = (struct pollfd){fd[SERVICE_CLIENTS], POLLIN, 0};
	assert_int_equal(poll(&p, 1, 300), 0);
	(void)close(fd[0]);
	assert_memory_equal(line(fd[SERVICE_CLIENTS]), "{\"ok\":false,", 12);
	for (int i = 1; i <= SERVICE_CLIENTS; i++)
		(void)close(fd[i]);
}

static void a_client_that_leaves_does_not_get_its_answer_to_another(void **state)
{
	struct world *w = *state;
	int a = client(w), b;
	struct msg m;

	say(a, GET);
	m = heard(w);
	(void)close(a);
	b = client(w);
	grant(w, &m, "for a");
	say(b, "x\n");
	assert_memory_equal(line(b), "{\"ok\":false,", 12);
	(void)close(b);
}

static void a_silent_client_is_shown_out(void **state)
{
	struct world *w = *state;
	int a = client(w);

	say(a, "{\"op\":");
	assert_string_equal(line(a), ""); /* after SERVICE_IDLE_S */
	(void)close(a);
}

int main(void)
{
#define WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    WORLD(asks_the_core_and_answers_the_one_who_asked),
	    WORLD(a_bad_line_is_answered_without_asking_the_core),
	    WORLD(a_line_that_never_ends_is_cut_off),
	    WORLD(lines_that_come_in_pieces_or_together_are_answered_in_order),
	    WORLD(requests_are_limited_in_rate),
	    WORLD(a_ninth_client_waits_until_one_leaves),
	    WORLD(a_client_that_leaves_does_not_get_its_answer_to_another),
	    WORLD(a_silent_client_is_shown_out),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
