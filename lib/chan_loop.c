#include "lib/chan_loop.h"

#include <errno.h>

#include "lib/chan.h"
#include "lib/loop.h"
#include "lib/msg.h"

void chan_watch(const struct chan *c, struct loop_source *s)
{
	loop_fd_watch(s, LOOP_READ | (chan_wants_write(c) ? LOOP_WRITE : 0));
}

int chan_serve(
    struct chan *c, struct loop_source *s, unsigned what, chan_fn fn, void *arg, struct err *e)
{
	struct msg m = MSG_INIT;
	int r;

	if ((what & LOOP_WRITE) != 0 && chan_flush(c) < 0)
		return 0;
	while ((r = chan_recv(c, &m, e)) == 1) {
		int end = fn(&m, arg);

		msg_done(&m);
		if (end != 0)
			return 0;
	}
	if (r != -EAGAIN)
		return r;
	chan_watch(c, s);
	return 1;
}
