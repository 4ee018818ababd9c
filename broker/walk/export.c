#include "broker/walk/export.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/walk/changes.h"
#include "broker/walk/gate.h"
#include "broker/walk/line.h"
#include "broker/walk/tarout.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/str.h"

#define TIME_NS (200 * NSEC_PER_SEC) /* of each reading; spawn waits for both */
#define GO_NS   (10 * NSEC_PER_SEC)

struct pass {
	const struct export_walk *w;
	struct tarout tar;
	uint64_t refused;
	unsigned flags; /* of what leaves */
	bool broken;    /* something could not be read */
};

/* Takes v over. */
static int tell(const struct export_walk *w, json_t *v)
{
	char *s = v ? json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	int r;

	json_decref(v);
	if (!s)
		return -ENOMEM;
	if ((r = fd_write_full(w->out, s, strlen(s))) == 0)
		r = fd_write_full(w->out, "\n", 1);
	free(s);
	return r;
}

/* The first time. */
static int look(void *arg, const struct change *x)
{
	struct pass *p = arg;
	int r;

	if (x->gate & ~p->w->allow) {
		p->refused++;
		return tell(p->w, line_of(x, p->w->ids));
	}
	p->flags |= x->gate;
	p->broken |= x->skipped || x->deep || x->unstable;
	if (p->refused || p->broken)
		return 0;
	r = tarout_entry(&p->tar, x);
	p->broken |= r == -EIO;
	return r == -EIO ? 0 : r;
}

/* The second time. */
static int write_one(void *arg, const struct change *x)
{
	struct pass *p = arg;

	return x->gate & ~p->w->allow ? -ESTALE : tarout_entry(&p->tar, x);
}

static int opaque(void *arg, int fd)
{
	const struct pass *p = arg;

	return p->w->opaque ? p->w->opaque(p->w->arg, fd) : 0;
}

static int pass(struct pass *p, int (*take)(void *arg, const struct change *x))
{
	const struct export_walk *w = p->w;
	struct changes c = {.top = w->layer[0],
	    .lower = w->layer + 1,
	    .nlower = w->nlayers - 1,
	    .nmore = w->nlayers > 1 ? w->nlayers - 2 : 0,
	    .opaque = opaque,
	    .take = take,
	    .arg = p,
	    .deadline_ns = clock_mono_ns() + TIME_NS};
	int r;

	r = changes_walk(&c);
	p->broken |= c.incomplete || c.unreadable;
	return r;
}

static json_t *words(unsigned flags)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < GATE_COUNT; i++)
		if (flags >> i & 1)
			(void)json_array_append_new(a, json_string(gate_word(1u << i)));
	return a;
}

/* It is on record before a byte of it leaves. */
static int ask(const struct pass *p, const char *hex)
{
	struct msg m = MSG_INIT;
	bool go;
	int r = chan_call(p->w->core, "walk.export",
	    json_pack("{s:I, s:I, s:s, s:o}", "files", (json_int_t)p->tar.entries, "bytes",
	        (json_int_t)p->tar.bytes, "sha256", hex, "flags", words(p->flags)),
	    NULL, 0, clock_mono_ns() + GO_NS, &m, NULL);

	if (r < 0)
		return r;
	go = msg_is(&m, "walk.go");
	msg_done(&m);
	return go ? 0 : -EPERM;
}

static int leave(struct pass *p, const uint8_t digest[DIGEST_LEN])
{
	uint8_t again[DIGEST_LEN];
	struct digest *first = p->tar.d, *whole = digest_new();
	int r;

	if (!whole)
		return -ENOMEM;
	p->tar = (struct tarout){.fd = p->w->out, .d = whole, .ids = p->w->ids};
	if ((r = pass(p, write_one)) == 0 && p->broken)
		r = -EIO;
	if (r == 0) {
		struct tarout end = {.fd = -1, .d = whole};

		r = tarout_end(&end);
		digest_final(whole, again);
		if (r == 0 && memcmp(again, digest, DIGEST_LEN) != 0)
			r = -ESTALE;
	}
	if (r == 0)
		r = tarout_end(&p->tar);
	digest_free(whole);
	p->tar.d = first;
	return r;
}

static int run(struct pass *p)
{
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t digest[DIGEST_LEN];
	int r;

	if ((r = pass(p, look)) < 0 || (r = tarout_end(&p->tar)) < 0)
		return r;
	digest_final(p->tar.d, digest);
	hex_encode(hex, digest, DIGEST_LEN);
	if (p->refused)
		return tell(
		    p->w, json_pack("{s:b, s:I}", "done", 1, "refused", (json_int_t)p->refused));
	if (p->broken)
		return tell(p->w,
		    json_pack("{s:b, s:s}", "done", 1, "failed", "something in it cannot be read"));
	if (ask(p, hex) < 0)
		return tell(p->w,
		    json_pack("{s:b, s:s}", "done", 1, "failed", "it could not be put on record"));
	r = tell(p->w,
	    json_pack("{s:b, s:i, s:I, s:I, s:s}", "done", 1, "refused", 0, "files",
	        (json_int_t)p->tar.entries, "bytes", (json_int_t)p->tar.bytes, "sha256", hex));
	return r < 0 ? r : leave(p, digest);
}

int export_run(const struct export_walk *w)
{
	struct pass p = {.w = w, .tar = {.fd = -1, .d = digest_new(), .ids = w->ids}};
	int r = p.tar.d ? run(&p) : -ENOMEM;

	digest_free(p.tar.d);
	return r;
}
