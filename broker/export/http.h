/*
 * HTTP requests and TLS connections of the exporter, in its event loop. The only user of libcurl.
 *
 * https verifies certificate and name against the CA given, or the system's; no proxy of the
 * environment is used, no redirect followed, no cookie, .netrc or credential read. What comes back
 * is bounded, and every wait has a deadline. Callbacks run from the loop, never from within the
 * call that started something.
 */
#ifndef POSTERN_EXPORT_HTTP_H
#define POSTERN_EXPORT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http;
struct http_call;
struct http_conn;
struct loop;

#define HTTP_CONNECT_S 10 /* to connect, TLS included */

/* Contents of PEM files; NULL: none, the system's CAs. Borrowed during the call. */
struct http_tls {
	const void *ca, *cert, *key;
	size_t ca_len, cert_len, key_len;
};

/* Once in a process, before it confines itself: libcurl and OpenSSL read their files here. */
int http_global(void);
struct http *http_new(struct loop *l); /* NULL without memory */
/* After all calls and connections have been cancelled and freed. */
void http_free(struct http *h);

struct http_request {
	const char *url;
	const void *body; /* POST; copied */
	size_t len;
	const char *const *headers; /* "Name: value", ends with NULL; or NULL */
	struct http_tls tls;
	size_t answer_max; /* bytes of body that are taken; more fails */
	int timeout_s;     /* for all of it */
};

struct http_answer {
	int r;           /* 0: there is an answer; else -errno and why */
	const char *why; /* never NULL */
	int status;
	const uint8_t *body; /* may be NULL when len is 0 */
	size_t len;
	int64_t retry_after_s; /* -1: not said */
};

typedef void (*http_fn)(const struct http_answer *a, void *arg);
/* *ret is valid until fn is called or it is cancelled. */
int http_post(
    struct http *h, const struct http_request *q, http_fn fn, void *arg, struct http_call **ret);
void http_cancel(struct http_call *c); /* fn is not called; NULL is fine */

/* A TLS connection to "HOST:PORT", for another protocol than HTTP. */
enum http_event {
	HTTP_UP,       /* connected, the peer verified */
	HTTP_WRITABLE, /* asked for by http_conn_want() */
	HTTP_DOWN,     /* closed, failed or refused: why; the caller frees it */
};
typedef void (*http_conn_fn)(enum http_event what, const char *why, void *arg);
int http_connect(struct http *h, const char *to, const struct http_tls *tls, http_conn_fn fn,
    void *arg, struct http_conn **ret);
/* How many bytes were taken; -EAGAIN: none now; another -errno: it is broken. What the peer sends
 * is read and dropped. */
ssize_t http_conn_send(struct http_conn *c, const void *data, size_t len);
void http_conn_want(struct http_conn *c, bool write);
/* Bytes that the peer's kernel has not acknowledged, or -errno. */
int http_conn_unacked(const struct http_conn *c);
void http_conn_free(struct http_conn *c); /* closes; NULL is fine */

#endif
