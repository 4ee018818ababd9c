#include "broker/witness/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>

#include "broker/witness/judge.h"
#include "broker/witness/key.h"
#include "broker/witness/request.h"
#include "broker/witness/trust.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define ADD        "/add-checkpoint"
#define ROOT       "/"
#define SWEEP_MS   500
#define UPLOAD_MAX (4 * REQUEST_MAX) /* a body that is too long is read so far, for an answer */
#define PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct connection {
	int fd; /* libmicrohttpd's; -1: free */
	int64_t since_ns;
};

struct http {
	struct MHD_Daemon *daemon;
	struct witness *witness;
	struct connection connection[HTTP_CONNECTIONS];
	size_t connections;
	int listen;
};

struct upload { /* of one request */
	struct buf body;
	size_t total;
};

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type,
    const char *allow, const void *body, size_t len)
{
	union { /* copied at once; the parameter is older than const */
		const void *in;
		void *out;
	} text = {.in = body};
	struct MHD_Response *r =
	    MHD_create_response_from_buffer(len, text.out, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result done = MHD_NO;

	if (!r)
		return MHD_NO;
	if (MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
	    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
	    (!allow || MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow) == MHD_YES))
		done = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result say(
    struct MHD_Connection *c, unsigned status, const char *allow, const char *text)
{
	return answer(c, status, JUDGE_TYPE_TEXT, allow, text, strlen(text));
}

static enum MHD_Result about(struct http *h, struct MHD_Connection *c)
{
	cleanup_buf struct buf b;

	buf_init(&b, JUDGE_ANSWER_MAX);
	buf_printf(&b,
	    "A witness of transparency logs (c2sp.org/tlog-witness): POST " ADD
	    "\n\nname: %s\nkey: ",
	    h->witness->key->public.name);
	note_key_format(&h->witness->key->public, &b);
	buf_printf(&b, "\nlogs: %zu keys\n", trust_count(h->witness->trust));
	return buf_status(&b) < 0 ? MHD_NO
	                          : answer(c, MHD_HTTP_OK, JUDGE_TYPE_TEXT, NULL, b.data, b.len);
}

static enum MHD_Result add_checkpoint(
    struct http *h, struct MHD_Connection *c, const struct upload *u)
{
	const char *type = JUDGE_TYPE_TEXT;
	cleanup_buf struct buf b;
	unsigned status;

	buf_init(&b, JUDGE_ANSWER_MAX);
	if (u->total > REQUEST_MAX)
		return say(c, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the request is too large\n");
	if (buf_status(&u->body) < 0)
		return say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "no memory\n");
	status = witness_answer(h->witness, u->body.data ? u->body.data : (const uint8_t *)"",
	    u->body.len, clock_wall_ns() / NSEC_PER_SEC, &b, &type);
	/* what does not fit is a cosignature cut short: it must not look like one */
	if (buf_status(&b) < 0)
		return say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "no room for the answer\n");
	return answer(c, status, type, NULL, b.data, b.len);
}

/* ---- requests ---- */

static bool is_get(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

/* A length that the client announces itself; what it does not, is counted. */
static bool announces_too_much(struct MHD_Connection *c)
{
	const char *text =
	    MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t n;

	return text && (str_to_u64(text, 0, UINT64_MAX, &n) < 0 || n > REQUEST_MAX);
}

/* The header is there, the body is not. */
static enum MHD_Result begin(
    struct MHD_Connection *c, const char *url, const char *method, void **state)
{
	struct upload *u;

	if (strcmp(url, ADD) != 0)
		return strcmp(url, ROOT) == 0
		           ? say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD",
		                 "only GET is for this\n")
		           : say(c, MHD_HTTP_NOT_FOUND, NULL, "there is nothing here\n");
	if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "POST", "only POST is for this\n");
	if (announces_too_much(c))
		return say(c, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the request is too large\n");
	if (!(u = calloc(1, sizeof *u)))
		return MHD_NO;
	buf_init(&u->body, REQUEST_MAX);
	*state = u;
	return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *len, void **state)
{
	struct http *h = arg;
	struct upload *u = *state;

	(void)version;
	if (is_get(method) && strcmp(url, ROOT) == 0)
		return about(h, c);
	if (!u)
		return begin(c, url, method, state);
	if (*len == 0)
		return add_checkpoint(h, c, u);
	u->total += *len;
	if (u->total > UPLOAD_MAX)
		return MHD_NO;
	if (u->total <= REQUEST_MAX)
		buf_put(&u->body, data, *len);
	*len = 0;
	return MHD_YES;
}

static struct connection *slot_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *i =
	    MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return i ? i->socket_context : NULL;
}

static void on_completed(
    void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode how)
{
	struct upload *u = *state;
	struct connection *k = slot_of(c);

	(void)arg;
	(void)how;
	if (k)
		k->since_ns = clock_mono_ns();
	if (u) {
		buf_done(&u->body);
		free(u);
	}
	*state = NULL;
}

/* ---- connections ---- */

static void on_connection(
    void *arg, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *i;
	struct connection *k = *context;
	struct http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (k) {
			k->fd = -1;
			h->connections--;
		}
		*context = NULL;
		return;
	}
	i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	for (size_t n = 0; i && n < HTTP_CONNECTIONS; n++) {
		k = &h->connection[n];
		if (k->fd >= 0)
			continue;
		*k = (struct connection){i->connect_fd, clock_mono_ns()};
		h->connections++;
		*context = k;
		return;
	}
}

/* Whoever has not finished a request in its time is cut off: libmicrohttpd's own limit begins anew
 * with each byte. */
static void sweep(struct http *h)
{
	bool crowded = h->connections > HTTP_CONNECTIONS / 4 * 3;
	int64_t most = (crowded ? HTTP_CROWDED_S : HTTP_REQUEST_S) * NSEC_PER_SEC;
	int64_t now = clock_mono_ns();

	for (size_t n = 0; n < HTTP_CONNECTIONS; n++) {
		struct connection *k = &h->connection[n];

		if (k->fd < 0 || now - k->since_ns < most)
			continue;
		(void)shutdown(k->fd, SHUT_RDWR);
		k->since_ns = now;
	}
}

/* ---- the daemon ---- */

static void quiet(void *arg, const char *fmt, va_list ap)
{
	(void)arg;
	(void)fmt;
	(void)ap; /* a stranger's mistakes are not for the operator's log */
}

/* A path is what was sent: libmicrohttpd would cut /x%00y at the zero byte. */
static size_t as_it_is(void *arg, struct MHD_Connection *c, char *text)
{
	(void)arg;
	(void)c;
	return strlen(text);
}

struct http *witness_http_new(const struct http_config *c, struct witness *w, struct err *e)
{
	cleanup_free struct http *h = calloc(1, sizeof *h);
	const struct MHD_OptionItem tls[] = {
	    {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)c->cert},
	    {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)c->key},
	    {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)PRIORITIES},
	    {MHD_OPTION_END, 0, NULL},
	};
	const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	if (!h) {
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	h->witness = w;
	for (size_t n = 0; n < HTTP_CONNECTIONS; n++)
		h->connection[n].fd = -1;
	h->daemon = MHD_start_daemon(MHD_USE_ERROR_LOG | (c->cert ? MHD_USE_TLS : 0u), 0, NULL,
	    NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, quiet, NULL, MHD_OPTION_LISTEN_SOCKET,
	    c->listen, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)HTTP_PER_ADDRESS,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEADERS_MAX,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, as_it_is, NULL,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, h, MHD_OPTION_ARRAY, c->cert ? tls : none, MHD_OPTION_END);
	if (!h->daemon) {
		(void)err_set(e, -EINVAL, "the server does not start%s",
		    c->cert ? ": is the certificate the key's, and both PEM?" : "");
		return NULL;
	}
	h->listen = c->listen;
	return steal_ptr(&h);
}

/* select(2): the fewest surprises. libmicrohttpd's epoll is edge triggered, and misses the end of a
 * client whose last bytes came with it. */
static int wait_for(struct http *h, int stop_fd, fd_set set[3])
{
	struct timeval t = {.tv_usec = SWEEP_MS * 1000};
	MHD_UNSIGNED_LONG_LONG ms;
	int max = stop_fd;

	for (int i = 0; i < 3; i++)
		FD_ZERO(&set[i]);
	if (MHD_get_fdset2(h->daemon, &set[0], &set[1], &set[2], &max, FD_SETSIZE) != MHD_YES)
		return -EIO;
	FD_SET(stop_fd, &set[0]);
	if (h->connections == HTTP_CONNECTIONS)
		FD_CLR(h->listen, &set[0]); /* whoever comes waits, and is not turned away */
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms < SWEEP_MS)
		t.tv_usec = (suseconds_t)ms * 1000;
	if (select(max + 1, &set[0], &set[1], &set[2], h->connections > 0 ? &t : NULL) >= 0)
		return 0;
	if (errno != EINTR)
		return -errno;
	for (int i = 0; i < 3; i++)
		FD_ZERO(&set[i]);
	return 0;
}

int http_run(struct http *h, int stop_fd)
{
	fd_set set[3];
	int r;

	if (stop_fd >= FD_SETSIZE)
		return -EMFILE;
	for (;;) {
		if ((r = wait_for(h, stop_fd, set)) < 0)
			return r;
		if (FD_ISSET(stop_fd, &set[0]))
			return 0;
		if (MHD_run_from_select(h->daemon, &set[0], &set[1], &set[2]) != MHD_YES)
			return -EIO;
		sweep(h);
	}
}

void witness_http_free(struct http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
