/*
 * One record as a peer may send it. The first byte picks the receiver's phase and how many
 * descriptors came with it; every (from, to) that the table knows is tried. A message that is
 * accepted has all the fields that its row requires, and is written back to one that is accepted
 * again.
 */
#include "lib/msg.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void again(const struct msg *m, unsigned from, unsigned to, unsigned phase)
{
	cleanup_buf struct buf b;
	struct msg second = MSG_INIT;
	struct err e = ERR_INIT;

	buf_init(&b, MSG_MAX);
	/* what was written in few bytes may take more: \u escapes do not,
	 * numbers in E notation may */
	if (msg_encode(&b, m->type->name, m->id, m->body, m->type->fds_min, &e) < 0)
		return;
	if (m->type->fds_min > 0)
		return;
	must(msg_decode(&second, from, to, phase, b.data, b.len, NULL, 0, &e) == 0);
	must(second.id == m->id && second.type == m->type && json_equal(second.body, m->body));
	msg_done(&second);
}

static void one(
    unsigned from, unsigned to, unsigned phase, const void *data, size_t size, size_t nfds)
{
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	int fds[MSG_FDS_MAX];
	int r;

	for (size_t i = 0; i < nfds; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = msg_decode(&m, from, to, phase, data, size, fds, nfds, &e);
	if (r < 0) {
		must(e.code == r && e.text[0] != '\0' && m.body == NULL);
		for (const char *p = e.text; *p; p++) /* what the peer wrote is escaped */
			must(*p >= 0x20 && *p < 0x7f);
		return;
	}
	must((m.type->from & from) && (m.type->to & to) && (m.type->phases & phase));
	for (const struct msg_field *f = m.type->fields; f->name; f++)
		must(f->optional || json_object_get(m.body, f->name) != NULL);
	again(&m, from, to, phase);
	msg_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned links[][2] = {{MSG_SUPERVISOR, MSG_CORE | MSG_LISTENER},
	    {MSG_CORE, ~0u}, {MSG_LISTENER, MSG_CORE | MSG_WORKER | MSG_SUPERVISOR},
	    {MSG_WORKER, MSG_CORE}, {MSG_SPAWN, MSG_CORE}, {MSG_SIGNER, MSG_CORE},
	    {MSG_LEASE, MSG_CORE}, {MSG_CTL, MSG_CORE}, {MSG_PAM, MSG_CORE}, {MSG_RUN, MSG_CORE}};
	unsigned phase;
	size_t nfds;

	if (size == 0)
		return 0;
	phase = 1u << (data[0] & 3);
	nfds = data[0] >> 4 & 3;
	for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
		one(links[i][0], links[i][1], phase, data + 1, size - 1, nfds);
	return 0;
}
