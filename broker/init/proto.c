#include "broker/init/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/reader.h"

static uint32_t count(const char *const *list)
{
	uint32_t n = 0;

	while (list[n])
		n++;
	return n;
}

static void put_list(struct buf *b, const char *const *list)
{
	buf_put_u32(b, count(list));
	for (; *list; list++)
		buf_put_cstring(b, *list);
}

static uint32_t string_size(const char *s)
{
	return 4 + (uint32_t)strlen(s);
}

static uint32_t list_size(const char *const *list)
{
	uint32_t n = 4;

	for (; *list; list++)
		n += string_size(*list);
	return n;
}

void init_put_exec(struct buf *b, uint32_t channel, uint8_t flags, const char *cwd,
    const char *const *argv, const char *const *envp)
{
	buf_put_u32(b, 1 + 4 + 1 + string_size(cwd) + list_size(argv) + list_size(envp));
	buf_put_u8(b, INIT_EXEC);
	buf_put_u32(b, channel);
	buf_put_u8(b, flags);
	buf_put_cstring(b, cwd);
	put_list(b, argv);
	put_list(b, envp);
}

void init_put_signal(struct buf *b, uint32_t channel, uint32_t signo)
{
	buf_put_u32(b, 1 + 4 + 4);
	buf_put_u8(b, INIT_SIGNAL);
	buf_put_u32(b, channel);
	buf_put_u32(b, signo);
}

void init_put_end(struct buf *b, uint32_t grace_ms)
{
	buf_put_u32(b, 1 + 4);
	buf_put_u8(b, INIT_END);
	buf_put_u32(b, grace_ms);
}

/* Copies one string, terminated, to *at; there is always room, as the copy takes the place of its
 * length word. */
static int take(struct reader *r, char **at, char **ret)
{
	const uint8_t *p;
	size_t len;

	if (reader_string(r, INIT_REQUEST_MAX, &p, &len) < 0 || memchr(p, '\0', len))
		return -EBADMSG;
	memcpy(*at, p, len);
	(*at)[len] = '\0';
	*ret = *at;
	*at += len + 1;
	return 0;
}

static int take_list(struct reader *r, char **at, char **list, uint32_t max)
{
	uint32_t n;
	int e;

	if (reader_u32(r, &n) < 0)
		return -EBADMSG;
	if (n > max)
		return -E2BIG;
	for (uint32_t i = 0; i < n; i++)
		if ((e = take(r, at, &list[i])) < 0)
			return e;
	list[n] = NULL;
	return 0;
}

static int parse_exec(struct init_request *q, struct reader *r)
{
	char *at = q->storage;
	int e;

	if (reader_u32(r, &q->channel) < 0 || reader_u8(r, &q->flags) < 0 ||
	    (q->flags & ~INIT_PTY) != 0)
		return -EBADMSG;
	if ((e = take(r, &at, &q->cwd)) < 0 ||
	    (e = take_list(r, &at, q->argv, INIT_ARGS_MAX)) < 0 ||
	    (e = take_list(r, &at, q->envp, INIT_ENV_MAX)) < 0)
		return e;
	return q->argv[0] ? 0 : -EBADMSG;
}

static int parse_body(struct init_request *q, struct reader *r)
{
	switch (q->type) {
	case INIT_EXEC:
		return parse_exec(q, r);
	case INIT_SIGNAL:
		return reader_u32(r, &q->channel) < 0 || reader_u32(r, &q->value) < 0 ? -EBADMSG
		                                                                      : 0;
	case INIT_END:
		return reader_u32(r, &q->value);
	default:
		return -EBADMSG;
	}
}

int init_parse(struct init_request *q, const void *data, size_t len)
{
	struct reader r;
	uint32_t size;
	int e;

	memset(q, 0, sizeof(*q));
	if (len > INIT_REQUEST_MAX)
		return -E2BIG;
	reader_init(&r, data, len);
	if (reader_u32(&r, &size) < 0 || size != r.left || reader_u8(&r, &q->type) < 0)
		return -EBADMSG;
	q->storage = malloc(len);
	if (!q->storage)
		return -ENOMEM;
	if ((e = parse_body(q, &r)) < 0)
		return e;
	return reader_end(&r);
}

void init_request_done(struct init_request *q)
{
	free(q->storage);
	memset(q, 0, sizeof(*q));
}

void init_put_status(uint8_t out[INIT_STATUS_LEN], uint8_t kind, uint32_t value)
{
	memset(out, 0, INIT_STATUS_LEN);
	out[0] = kind;
	out[4] = (uint8_t)(value >> 24);
	out[5] = (uint8_t)(value >> 16);
	out[6] = (uint8_t)(value >> 8);
	out[7] = (uint8_t)value;
}

int init_parse_status(const uint8_t in[INIT_STATUS_LEN], uint8_t *ret_kind, uint32_t *ret_value)
{
	if (in[0] < INIT_EXITED || in[0] > INIT_FAILED || in[1] || in[2] || in[3])
		return -EBADMSG;
	*ret_kind = in[0];
	*ret_value = (uint32_t)in[4] << 24 | (uint32_t)in[5] << 16 | (uint32_t)in[6] << 8 | in[7];
	return 0;
}
