/*
 * HTTP around a witness. The only user of libmicrohttpd.
 *
 *   POST /add-checkpoint   broker/witness/judge.h
 *   GET  /                 a few lines for people
 *
 * Single-threaded: one request is answered at a time. A connection has HTTP_REQUEST_S for a
 * request, slow or not, less when it is crowded, and an address may have HTTP_PER_ADDRESS of the
 * HTTP_CONNECTIONS there are.
 */
#ifndef POSTERN_WITNESS_HTTP_H
#define POSTERN_WITNESS_HTTP_H

struct err;
struct http;
struct witness;

#define HTTP_CONNECTIONS 128
#define HTTP_PER_ADDRESS 32
#define HTTP_REQUEST_S   15 /* from a connection's begin, or its last answer, to the next */
#define HTTP_CROWDED_S   3  /* the same when three quarters of the connections are taken */
#define HTTP_IDLE_S      10
#define HTTP_HEADERS_MAX 16384 /* memory of a connection */

struct http_config {
	int listen;             /* a listening socket, non-blocking; taken over on success */
	const char *cert, *key; /* PEM, NULL: plain HTTP */
};

/* NULL with *e. w outlives it. */
struct http *witness_http_new(const struct http_config *c, struct witness *w, struct err *e);
/* Until stop_fd (a signalfd) can be read. 0 or -errno. */
int http_run(struct http *h, int stop_fd);
void witness_http_free(struct http *h);

#endif
