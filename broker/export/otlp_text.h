/*
 * OTLP's logs as JSON (opentelemetry-proto, logs/v1; OTLP 1.x, "OTLP/HTTP"): the request, and what
 * may be in an answer. Knows no sink and no network.
 */
#ifndef POSTERN_EXPORT_OTLP_TEXT_H
#define POSTERN_EXPORT_OTLP_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct sink_batch;

#define OTLP_MESSAGE_MAX 255

/* Appends an export request of the events from .. to-1; none: an empty request, which a server must
 * take. */
void otlp_request(const struct sink_batch *b, size_t from, size_t to, struct buf *out);

struct otlp_answer {
	uint64_t rejected;
	char message[OTLP_MESSAGE_MAX + 1]; /* escaped; "" if it says nothing */
};
/* The body of a 200. -EBADMSG: not an answer of OTLP. Empty is success. */
int otlp_answer(const void *body, size_t len, struct otlp_answer *ret, struct err *e);

#endif
