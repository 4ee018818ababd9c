#include "broker/export/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/util.h"

#define CONNECTIONS_MAX 64 /* that are kept for the next request */
#define DROP_MAX        16 /* reads of what a peer sends unasked, in one turn */
#define URL_MAX         600

struct http {
	struct loop *loop;
	CURLM *multi;
	struct loop_source *timer;
};

/* What a handle of libcurl belongs to. */
enum kind { CALL, CONN };
struct owner {
	enum kind kind;
	struct http *h;
	CURL *easy;
	char error[CURL_ERROR_SIZE];
};

struct http_call {
	struct owner o;
	struct curl_slist *headers;
	struct buf answer;
	bool too_long;
	http_fn fn;
	void *arg;
};

struct http_conn {
	struct owner o;
	struct loop_source *src;
	bool up;
	http_conn_fn fn;
	void *arg;
};

int http_global(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -EIO;
}

/* ---- libcurl's sockets and its one timer, in our loop ---- */

static void call_over(struct http_call *c, CURLcode code);
static void conn_over(struct http_conn *c, CURLcode code);

/* What is over is told here, outside of libcurl's own callbacks: there anything may be started and
 * cancelled. */
static void tell(struct http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct owner *o = NULL;

		if (m->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&o) != CURLE_OK ||
		    !o)
			continue;
		if (o->kind == CALL)
			call_over((struct http_call *)(void *)o, m->data.result);
		else
			conn_over((struct http_conn *)(void *)o, m->data.result);
	}
}

static void on_socket(struct loop *l, int fd, unsigned what, void *arg)
{
	struct http *h = arg;
	int bits = ((what & LOOP_READ) != 0 ? CURL_CSELECT_IN : 0) |
	           ((what & LOOP_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
	int running;

	(void)l;
	(void)curl_multi_socket_action(h->multi, fd, bits, &running);
	tell(h);
}

static void on_timer(struct loop *l, void *arg)
{
	struct http *h = arg;
	int running;

	(void)l;
	(void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	tell(h);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct loop_source *src = socket_arg;
	struct http *h = arg;
	unsigned bits = ((what & CURL_POLL_IN) != 0 ? LOOP_READ : 0) |
	                ((what & CURL_POLL_OUT) != 0 ? LOOP_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		loop_remove(src);
		(void)curl_multi_assign(h->multi, fd, NULL);
		return 0;
	}
	if (src) {
		loop_fd_watch(src, bits);
		return 0;
	}
	src = loop_fd(h->loop, fd, bits, on_socket, h);
	if (!src)
		return -1;
	(void)curl_multi_assign(h->multi, fd, src);
	return 0;
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	loop_timer_set(h->timer, ms < 0 ? -1 : (int64_t)ms * (NSEC_PER_SEC / 1000));
	return 0;
}

struct http *http_new(struct loop *l)
{
	struct http *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->loop = l;
	h->multi = curl_multi_init();
	h->timer = loop_timer(l, -1, on_timer, h);
	if (!h->multi || !h->timer ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX) != CURLM_OK) {
		http_free(h);
		errno = ENOMEM;
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	(void)curl_multi_cleanup(h->multi);
	loop_remove(h->timer);
	free(h);
}

/* ---- handles ---- */

static bool set_blob(CURL *easy, CURLoption option, const void *data, size_t len)
{
	struct curl_blob blob = {.len = len, .flags = CURL_BLOB_COPY};

	if (!data || len == 0)
		return true;
	memcpy(&blob.data, &data, sizeof data); /* older than const; copied by libcurl */
	return curl_easy_setopt(easy, option, &blob) == CURLE_OK;
}

#define SET(option, value) (curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

static bool set_common(CURL *easy, struct owner *o, const char *url, const struct http_tls *tls)
{
	bool own_ca = tls->ca && tls->ca_len > 0;

	/* with a CA of its own the system's do not count, neither as file nor as directory */
	return SET(CURLOPT_PRIVATE, o) && SET(CURLOPT_URL, url) &&
	       SET(CURLOPT_ERRORBUFFER, o->error) && SET(CURLOPT_NOSIGNAL, 1L) &&
	       SET(CURLOPT_PROXY, "") && SET(CURLOPT_PROTOCOLS_STR, "http,https") &&
	       SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
	       SET(CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_S) &&
	       SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
	       SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
	       (!own_ca || (SET(CURLOPT_CAINFO, NULL) && SET(CURLOPT_CAPATH, NULL))) &&
	       set_blob(easy, CURLOPT_CAINFO_BLOB, tls->ca, tls->ca_len) &&
	       set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->cert, tls->cert_len) &&
	       set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->key, tls->key_len);
}

/* The text for people of what went wrong. */
static const char *reason(const struct owner *o, CURLcode code)
{
	return *o->error ? o->error : curl_easy_strerror(code);
}

static void owner_done(struct owner *o)
{
	if (!o->easy)
		return;
	(void)curl_multi_remove_handle(o->h->multi, o->easy);
	curl_easy_cleanup(o->easy);
}

/* ---- requests ---- */

static void call_free(struct http_call *c)
{
	owner_done(&c->o);
	curl_slist_free_all(c->headers);
	buf_done(&c->answer);
	free(c);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;

	buf_put(&c->answer, data, size * n);
	c->too_long = c->too_long || buf_status(&c->answer) < 0;
	return c->too_long ? 0 : n;
}

/* From libcurl's error to -errno: only what somebody might act on is told apart. */
static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CONNECT_ERROR:
		return -EKEYREJECTED;
	default:
		return -EIO;
	}
}

static void call_over(struct http_call *c, CURLcode code)
{
	struct http_answer a = {.why = "", .retry_after_s = -1};
	curl_off_t after = 0;
	long status = 0;

	if (code == CURLE_OK) {
		(void)curl_easy_getinfo(c->o.easy, CURLINFO_RESPONSE_CODE, &status);
		if (curl_easy_getinfo(c->o.easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK &&
		    after > 0)
			a.retry_after_s = after;
		a.status = (int)status;
		a.body = c->answer.data;
		a.len = c->answer.len;
	} else {
		a.r = c->too_long ? -EFBIG : error_of(code);
		a.why = c->too_long ? "the answer is too long" : reason(&c->o, code);
	}
	c->fn(&a, c->arg);
	call_free(c);
}

static bool set_request(struct http_call *c, const struct http_request *q)
{
	CURL *easy = c->o.easy;

	for (size_t i = 0; q->headers && q->headers[i]; i++) {
		struct curl_slist *more = curl_slist_append(c->headers, q->headers[i]);

		if (!more)
			return false;
		c->headers = more;
	}
	return set_common(easy, &c->o, q->url, &q->tls) && SET(CURLOPT_POST, 1L) &&
	       SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->len) &&
	       SET(CURLOPT_COPYPOSTFIELDS, q->body) && SET(CURLOPT_HTTPHEADER, c->headers) &&
	       SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, c) &&
	       SET(CURLOPT_TIMEOUT, (long)q->timeout_s) &&
	       SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       SET(CURLOPT_USERAGENT, "postern/" POSTERN_VERSION);
}

int http_post(
    struct http *h, const struct http_request *q, http_fn fn, void *arg, struct http_call **ret)
{
	struct http_call *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->o.kind = CALL;
	c->o.h = h;
	c->fn = fn;
	c->arg = arg;
	buf_init(&c->answer, q->answer_max);
	c->o.easy = curl_easy_init();
	if (!c->o.easy || !set_request(c, q) ||
	    curl_multi_add_handle(h->multi, c->o.easy) != CURLM_OK) {
		call_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void http_cancel(struct http_call *c)
{
	if (c)
		call_free(c);
}

/* ---- connections ---- */

/* Reads what nobody asked for. False: the peer has closed, or it broke. */
static bool drop_input(struct http_conn *c)
{
	char bytes[4096];
	size_t n;

	for (int i = 0; i < DROP_MAX; i++) {
		CURLcode code = curl_easy_recv(c->o.easy, bytes, sizeof bytes, &n);

		if (code == CURLE_AGAIN)
			return true;
		if (code != CURLE_OK || n == 0)
			return false;
	}
	return true;
}

static void on_conn(struct loop *l, int fd, unsigned what, void *arg)
{
	struct http_conn *c = arg;

	(void)l, (void)fd;
	if ((what & LOOP_READ) != 0 && !drop_input(c)) {
		loop_remove(steal_ptr(&c->src));
		c->up = false;
		c->fn(HTTP_DOWN, "the server has closed the connection", c->arg);
		return;
	}
	if ((what & LOOP_WRITE) != 0)
		c->fn(HTTP_WRITABLE, "", c->arg);
}

static void conn_over(struct http_conn *c, CURLcode code)
{
	curl_socket_t fd = CURL_SOCKET_BAD;
	char why[CURL_ERROR_SIZE];

	if (code == CURLE_OK &&
	    curl_easy_getinfo(c->o.easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK &&
	    fd != CURL_SOCKET_BAD)
		c->src = loop_fd(c->o.h->loop, fd, LOOP_READ, on_conn, c);
	c->up = c->src != NULL;
	if (c->up) {
		c->fn(HTTP_UP, "", c->arg);
		return;
	}
	/* a copy: who hears it may free the connection before he says why */
	(void)str_copy(why, sizeof why, reason(&c->o, code == CURLE_OK ? CURLE_SEND_ERROR : code));
	c->fn(HTTP_DOWN, why, c->arg);
}

int http_connect(struct http *h, const char *to, const struct http_tls *tls, http_conn_fn fn,
    void *arg, struct http_conn **ret)
{
	struct http_conn *c = calloc(1, sizeof *c);
	char url[URL_MAX];
	CURL *easy;

	if (!c)
		return -ENOMEM;
	(void)snprintf(url, sizeof url, "https://%s/", to);
	c->o.kind = CONN;
	c->o.h = h;
	c->fn = fn;
	c->arg = arg;
	easy = c->o.easy = curl_easy_init();
	if (!easy || !set_common(easy, &c->o, url, tls) || !SET(CURLOPT_CONNECT_ONLY, 1L) ||
	    !SET(CURLOPT_SSL_ENABLE_ALPN, 0L) || !SET(CURLOPT_FRESH_CONNECT, 1L) ||
	    !SET(CURLOPT_TCP_KEEPALIVE, 1L) || !SET(CURLOPT_TCP_KEEPIDLE, 30L) ||
	    !SET(CURLOPT_TCP_KEEPINTVL, 10L) || curl_multi_add_handle(h->multi, easy) != CURLM_OK) {
		http_conn_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

ssize_t http_conn_send(struct http_conn *c, const void *data, size_t len)
{
	size_t n = 0;
	CURLcode code = c->up ? curl_easy_send(c->o.easy, data, len, &n) : CURLE_SEND_ERROR;

	if (code == CURLE_OK)
		return (ssize_t)n;
	return code == CURLE_AGAIN ? -EAGAIN : -EPIPE;
}

void http_conn_want(struct http_conn *c, bool write)
{
	if (c->src)
		loop_fd_watch(c->src, LOOP_READ | (write ? LOOP_WRITE : 0));
}

int http_conn_unacked(const struct http_conn *c)
{
	curl_socket_t fd;
	int n = 0;

	if (!c->up || curl_easy_getinfo(c->o.easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD)
		return -ENOTCONN;
	return ioctl(fd, SIOCOUTQ, &n) < 0 ? -errno : n;
}

void http_conn_free(struct http_conn *c)
{
	if (!c)
		return;
	loop_remove(c->src);
	owner_done(&c->o);
	free(c);
}
