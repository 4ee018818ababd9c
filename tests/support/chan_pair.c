#include "tests/support/chan_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>

#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"

static size_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

int chan_pair_setup(void **state)
{
	static struct chan_pair p;
	int fds[2];

	p.fds_before = open_fds();
	if (fd_seqpacket_pair(fds) < 0)
		return -1;
	p.a = chan_new(fds[0], MSG_SPAWN, MSG_CORE);
	p.b = chan_new(fds[1], MSG_CORE, MSG_SPAWN);
	*state = &p;
	return p.a && p.b ? 0 : -1;
}

/* Every test ends without a descriptor more than it began with. */
int chan_pair_teardown(void **state)
{
	struct chan_pair *p = *state;

	chan_free(p->a);
	chan_free(p->b);
	return open_fds() == p->fds_before ? 0 : -1;
}

int chan_pair_expect(struct chan *c, const char *type, uint64_t id)
{
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	int r = chan_recv(c, &m, &e);

	if (r == 1) {
		assert_true(msg_is(&m, type));
		assert_int_equal(m.id, id);
	}
	msg_done(&m);
	return r;
}
