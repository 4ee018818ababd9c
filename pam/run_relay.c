#include "pam/run_relay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/signame.h"
#include "lib/status.h"
#include "lib/util.h"
#include "pam/denial.h"
#include "pam/flow.h"
#include "pam/run_tty.h"

/* A pty passes bytes on through a work queue of the kernel's, so its last ones may come after the
 * news of the exit; when the last slave has closed it says so itself. */
#define PTY_GRACE_MS 100
#define PTY_LAST_MAX (128u * 1024)
/* When a sandbox goes, its status pipe may close before the core has heard why. */
#define WHY_MS 500

enum { IN, OUT, ERR, FLOWS };
enum { P_STATUS = 2 * FLOWS, P_SIGNALS, P_CORE, POLLS };

struct loop_state {
	struct relay *r;
	struct relay_end *end;
	bool over; /* the command has ended, or will never begin */
	struct flow flow[FLOWS];
	size_t status_len;
	uint8_t status[STATUS_LEN];
};

/* No more input; output that is already there. */
static void finish(struct loop_state *s)
{
	if (s->over)
		return;
	s->over = true;
	util_close(&s->r->status);
	flow_done(&s->flow[IN]);
	flow_last(&s->flow[OUT], s->r->pty ? PTY_LAST_MAX : 0);
	flow_last(&s->flow[ERR], 0);
}

static void on_record(struct loop_state *s)
{
	enum status_kind kind;
	uint32_t value;

	if (status_parse(s->status, &kind, &value) < 0) {
		s->end->lost = true;
		finish(s);
		return;
	}
	switch (kind) {
	case STATUS_FAILED:
		s->end->failed = (int)value;
		return;
	case STATUS_EXITED:
		s->end->exit = (int)value;
		break;
	case STATUS_SIGNALED:
		s->end->signo = (int)value;
		break;
	}
	finish(s);
}

static void on_status(struct loop_state *s)
{
	ssize_t n;

	do
		n = read(s->r->status, s->status + s->status_len, STATUS_LEN - s->status_len);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		s->end->lost = true;
		finish(s);
		return;
	}
	s->status_len += (size_t)n;
	if (s->status_len == STATUS_LEN) {
		s->status_len = 0;
		on_record(s);
	}
}

static void on_signal(struct loop_state *s)
{
	struct signalfd_siginfo i;
	const char *name;

	if (read(s->r->signals, &i, sizeof i) != sizeof i)
		return;
	if (i.ssi_signo == SIGWINCH) {
		/* the duplicate, which stays open as long as there is output */
		if (s->r->pty && s->flow[OUT].from >= 0)
			(void)run_tty_copy_size(s->r->tty, s->flow[OUT].from);
		return;
	}
	name = signame((int)i.ssi_signo);
	if (name && chan_fd(s->r->core) >= 0)
		(void)chan_send(s->r->core, "channel.signal", 0,
		    json_pack("{s:i, s:s}", "channel", (int)s->r->channel, "signal", name), NULL,
		    0);
}

/* The core may say one thing to a running channel: that it has failed. What else it says is no
 * harm. */
static void on_core(struct loop_state *s)
{
	for (;;) {
		struct msg m = MSG_INIT;

		if (chan_recv(s->r->core, &m, NULL) != 1)
			return;
		if (msg_is(&m, "channel.failed")) {
			(void)denial_text(&m, &s->end->why);
			s->end->denied = true;
			finish(s);
		}
		msg_done(&m);
	}
}

static void fill_polls(struct loop_state *s, struct pollfd *p)
{
	for (size_t i = 0; i < FLOWS; i++)
		flow_poll(&s->flow[i], &p[2 * i]);
	p[P_STATUS] = (struct pollfd){s->r->status, POLLIN, 0};
	p[P_SIGNALS] = (struct pollfd){s->r->signals, POLLIN, 0};
	p[P_CORE] = (struct pollfd){chan_fd(s->r->core), POLLIN, 0};
	if (chan_wants_write(s->r->core))
		p[P_CORE].events |= POLLOUT;
}

/* While output waits for a slow client there is no hurry; otherwise the end is near. */
static int patience(const struct loop_state *s)
{
	if (!s->over || s->flow[OUT].len > 0 || s->flow[ERR].len > 0)
		return -1;
	return s->r->pty ? PTY_GRACE_MS : 0;
}

static int turn(struct loop_state *s, bool *ret_more)
{
	struct pollfd p[POLLS];
	int n;

	fill_polls(s, p);
	n = poll(p, POLLS, patience(s));
	if (n < 0 && errno != EINTR)
		return -errno;
	if (n == 0) { /* what was left to read is read */
		*ret_more = false;
		return 0;
	}
	if (n < 0)
		return 0;
	for (size_t i = 0; i < FLOWS; i++)
		flow_run(&s->flow[i], &p[2 * i]);
	if (p[P_SIGNALS].revents)
		on_signal(s);
	if (p[P_CORE].revents & POLLOUT)
		(void)chan_flush(s->r->core);
	if (p[P_CORE].revents)
		on_core(s);
	if (p[P_STATUS].revents && s->r->status >= 0)
		on_status(s);
	*ret_more = !s->over || !flow_ended(&s->flow[OUT]) || !flow_ended(&s->flow[ERR]);
	return 0;
}

static int set_up(struct loop_state *s)
{
	struct relay *r = s->r;
	int first = 0, n;

	for (size_t i = 0; i < FLOWS; i++) {
		int from = i == IN ? r->local[IN] : r->box[i];
		int to = i == IN ? r->box[IN] : r->local[i];

		s->flow[i].from = s->flow[i].to = -1;
		if (i == ERR && r->pty) {
			util_close(&r->local[ERR]);
			continue;
		}
		n = flow_init(&s->flow[i], from, to);
		first = first < 0 ? first : n;
	}
	n = fd_set_nonblock(r->status, true);
	return first < 0 ? first : n;
}

static void hear_why(struct loop_state *s)
{
	struct pollfd p = {chan_fd(s->r->core), POLLIN, 0};

	if (p.fd >= 0 && poll(&p, 1, WHY_MS) > 0)
		on_core(s);
}

static void tell_core(const struct loop_state *s)
{
	const struct relay_end *end = s->end;
	const char *name = signame(end->signo);

	if (chan_fd(s->r->core) < 0)
		return;
	(void)chan_send(s->r->core, "channel.ended", 0,
	    json_pack("{s:i, s:i, s:s*, s:I, s:I, s:I}", "channel", (int)s->r->channel, "exit",
	        end->exit, "signal", name, "bytes_in", (json_int_t)end->in, "bytes_out",
	        (json_int_t)end->out, "bytes_err", (json_int_t)end->err),
	    NULL, 0);
}

int relay_run(struct relay *r, struct relay_end *ret)
{
	cleanup_free struct loop_state *s = calloc(1, sizeof *s);
	bool more = true;
	int n;

	*ret = (struct relay_end){.exit = -1};
	if (!s) {
		for (size_t i = 0; i < FLOWS; i++) {
			util_close(&r->local[i]);
			util_close(&r->box[i]);
		}
		util_close(&r->status);
		return -ENOMEM;
	}
	s->r = r;
	s->end = ret;
	n = set_up(s);
	while (n == 0 && more)
		n = turn(s, &more);
	ret->in = s->flow[IN].bytes;
	ret->out = s->flow[OUT].bytes;
	ret->err = s->flow[ERR].bytes;
	for (size_t i = 0; i < FLOWS; i++)
		flow_done(&s->flow[i]);
	util_close(&r->status);
	if (ret->lost)
		hear_why(s);
	if (!ret->denied)
		tell_core(s);
	return n;
}
