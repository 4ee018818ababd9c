#include "broker/walk/diff.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "broker/walk/changes.h"
#include "broker/walk/line.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/fdio.h"

/*
 * Everything is told, however much: the reader takes it as it comes. Only time is limited; spawn
 * (broker/spawn/serve_look.c) waits a little longer.
 */

#define TIME_NS    (100 * NSEC_PER_SEC)
#define AT_ONCE    (48u * 1024)
#define BUFFER_MAX (AT_ONCE + 64u * 1024)

struct out {
	const struct diff *d;
	struct buf text;
};

static int flush(struct out *o)
{
	int r = buf_status(&o->text);

	if (r == 0 && o->text.len > 0)
		r = fd_write_full(o->d->out, o->text.data, o->text.len);
	buf_reset(&o->text);
	return r;
}

/* Takes v over. */
static int put(struct out *o, json_t *v)
{
	char *s = v ? json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(v);
	if (!s)
		return -ENOMEM;
	buf_printf(&o->text, "%s\n", s);
	free(s);
	return o->text.len >= AT_ONCE ? flush(o) : 0;
}

static int take(void *arg, const struct change *x)
{
	struct out *o = arg;

	return put(o, line_of(x, o->d->ids));
}

static int opaque(void *arg, int fd)
{
	const struct out *o = arg;

	return o->d->opaque ? o->d->opaque(o->d->arg, fd) : 0;
}

static int last(struct out *o, const struct changes *c)
{
	int r = put(o,
	    json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:b}", "done", 1, "added",
	        (json_int_t)c->count[CHANGE_ADDED], "changed", (json_int_t)c->count[CHANGE_CHANGED],
	        "deleted", (json_int_t)c->count[CHANGE_DELETED], "metadata",
	        (json_int_t)c->count[CHANGE_METADATA], "unreadable", (json_int_t)c->unreadable,
	        "incomplete", (int)c->incomplete));

	return r < 0 ? r : flush(o);
}

int diff_tell(const struct diff *d)
{
	struct out o = {.d = d};
	struct changes c = {.top = d->layer[0],
	    .lower = d->layer + 1,
	    .nlower = d->nlayers - 1,
	    .nmore = d->changed - 1,
	    .opaque = opaque,
	    .take = take,
	    .arg = &o,
	    .deadline_ns = clock_mono_ns() + TIME_NS};
	int r;

	buf_init(&o.text, BUFFER_MAX);
	if ((r = changes_walk(&c)) == 0)
		r = last(&o, &c);
	buf_done(&o.text);
	return r;
}
