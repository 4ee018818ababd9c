#include "broker/lease/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/lease/request.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

#define ANSWER_MAX (48u * 1024)

struct client {
	struct service *service;
	int fd; /* -1: free */
	struct loop_source *source, *idle;
	struct buf in, out;
	uint64_t question; /* at the core; 0: none */
	bool closing;      /* after what is in out */
};

struct service {
	struct loop *loop;
	struct chan *core;
	int listen_fd;
	struct loop_source *listen_src, *core_src, *lonely;
	struct client client[SERVICE_CLIENTS];
	size_t nclients;
	int64_t window_ns; /* of the rate */
	unsigned in_window;
};

static void client_end(struct client *c)
{
	struct service *s = c->service;

	loop_remove(c->source);
	loop_remove(c->idle);
	c->source = c->idle = NULL;
	util_close(&c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	c->question = 0;
	c->closing = false;
	s->nclients--;
	loop_fd_watch(s->listen_src, LOOP_READ);
	if (s->nclients == 0)
		loop_timer_set(s->lonely, SERVICE_LONELY_S * NSEC_PER_SEC);
}

static void patience(struct client *c)
{
	loop_timer_set(c->idle, SERVICE_IDLE_S * NSEC_PER_SEC);
}

/* Sends what there is. False if the client is gone. */
static bool client_flush(struct client *c)
{
	ssize_t n;

	while (c->out.len > 0) {
		n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			client_end(c);
			return false;
		}
		buf_consume(&c->out, (size_t)n);
		patience(c);
	}
	if (c->closing && c->out.len == 0) {
		client_end(c);
		return false;
	}
	return true;
}

/* Reads only who has no question under way and has read its last answer. */
static void client_watch(struct client *c)
{
	if (c->out.len > 0)
		loop_fd_watch(c->source, LOOP_WRITE);
	else
		loop_fd_watch(c->source, c->question || c->closing ? 0 : LOOP_READ);
}

static bool within_rate(struct service *s)
{
	int64_t now = clock_mono_ns();

	if (now - s->window_ns >= NSEC_PER_SEC) {
		s->window_ns = now;
		s->in_window = 0;
	}
	return s->in_window++ < SERVICE_RATE;
}

/* One line: answered at once when it is bad, else asked of the core. */
static void client_line(struct client *c, const void *line, size_t len)
{
	struct service *s = c->service;
	struct err e = ERR_INIT;
	struct lease_request q;
	const char *type;
	json_t *body;
	uint64_t id;

	if (!within_rate(s)) {
		lease_answer_error(&c->out, "too many requests; try again in a second");
		return;
	}
	if (lease_request_parse(line, len, &q, &e) < 0) {
		lease_answer_error(&c->out, err_text(&e));
		return;
	}
	id = chan_next_id(s->core);
	type = lease_request_message(&q, &body);
	if (!body || chan_send(s->core, type, id, body, NULL, 0) < 0) {
		lease_answer_error(&c->out, "the core cannot be asked");
		return;
	}
	c->question = id;
	chan_watch(s->core, s->core_src);
}

/* Whole lines, one after the other, until one has to wait for the core. False if the client is
 * gone. */
static bool client_lines(struct client *c)
{
	while (!c->question && !c->closing && c->in.len > 0) {
		const uint8_t *end = memchr(c->in.data, '\n', c->in.len);
		size_t len = end ? (size_t)(end - c->in.data) : c->in.len;

		if (!end && len <= LEASE_LINE_MAX)
			break;
		if (len > LEASE_LINE_MAX) {
			lease_answer_error(&c->out, "a request is longer than 4096 bytes");
			c->closing = true;
			break;
		}
		client_line(c, c->in.data, len);
		buf_consume(&c->in, len + 1);
	}
	if (buf_status(&c->out) < 0) {
		client_end(c);
		return false;
	}
	return client_flush(c);
}

/* False: gone, or at its end. */
static bool client_read(struct client *c)
{
	uint8_t chunk[1024];
	ssize_t n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		client_end(c);
		return false;
	}
	buf_put(&c->in, chunk, (size_t)n);
	if (buf_status(&c->in) < 0) {
		client_end(c);
		return false;
	}
	return true;
}

static void on_client(struct loop *l, int fd, unsigned what, void *arg)
{
	struct client *c = arg;

	(void)l;
	(void)fd;
	if ((what & LOOP_WRITE) && !client_flush(c))
		return;
	if ((what & LOOP_READ) && !client_read(c))
		return;
	if (client_lines(c))
		client_watch(c);
}

static void on_idle(struct loop *l, void *arg)
{
	(void)l;
	client_end(arg);
}

static void client_start(struct service *s, int fd)
{
	struct client *c = s->client;

	while (c->fd >= 0)
		c++;
	c->fd = fd;
	c->service = s;
	buf_init(&c->in, LEASE_LINE_MAX + 2048);
	buf_init(&c->out, ANSWER_MAX);
	s->nclients++;
	loop_timer_set(s->lonely, -1);
	c->source = loop_fd(s->loop, fd, LOOP_READ, on_client, c);
	c->idle = loop_timer(s->loop, SERVICE_IDLE_S * NSEC_PER_SEC, on_idle, c);
	if (!c->source || !c->idle)
		client_end(c);
}

static void on_listen(struct loop *l, int fd, unsigned what, void *arg)
{
	struct service *s = arg;
	int client;

	(void)l;
	(void)what;
	if (s->nclients < SERVICE_CLIENTS &&
	    (client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		client_start(s, client);
	if (s->nclients == SERVICE_CLIENTS)
		loop_fd_watch(s->listen_src, 0);
}

/* The answer to whoever asked; one that has left meanwhile does not get it. */
static int answer(struct msg *m, void *arg)
{
	struct service *s = arg;

	for (size_t i = 0; i < SERVICE_CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0 || c->question == 0 || c->question != m->id)
			continue;
		c->question = 0;
		patience(c);
		lease_answer(&c->out, m);
		if (client_lines(c))
			client_watch(c);
		break;
	}
	return 0;
}

static void on_core(struct loop *l, int fd, unsigned what, void *arg)
{
	struct service *s = arg;
	struct err e = ERR_INIT;
	int r = chan_serve(s->core, s->core_src, what, answer, s, &e);

	(void)fd;
	if (r < 0)
		log_warn("the core broke a rule: %s", err_text(&e));
	if (r != 1)
		loop_stop(l);
}

static void on_lonely(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

struct service *service_new(struct loop *l, int listen_fd, struct chan *core)
{
	struct service *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = l;
	s->core = core;
	s->listen_fd = listen_fd;
	for (size_t i = 0; i < SERVICE_CLIENTS; i++)
		s->client[i].fd = -1;
	(void)fd_set_nonblock(listen_fd, true);
	s->listen_src = loop_fd(l, listen_fd, LOOP_READ, on_listen, s);
	s->core_src = loop_fd(l, chan_fd(core), LOOP_READ, on_core, s);
	s->lonely = loop_timer(l, SERVICE_LONELY_S * NSEC_PER_SEC, on_lonely, s);
	if (!s->listen_src || !s->core_src || !s->lonely) {
		service_free(s);
		errno = ENOMEM;
		return NULL;
	}
	return s;
}

void service_free(struct service *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SERVICE_CLIENTS; i++)
		if (s->client[i].fd >= 0)
			client_end(&s->client[i]);
	loop_remove(s->listen_src);
	loop_remove(s->core_src);
	loop_remove(s->lonely);
	util_close(&s->listen_fd);
	free(s);
}
