/*
 * A record as an OCSF 1.x event, one line of JSON: what every sink sends.
 *
 * The class and activity are those of the record; what OCSF has a place for is put there, the rest
 * stays under "unmapped". The record's exact bytes are raw_data (base64 under unmapped.raw_base64
 * where they are no text), and its RFC 6962 leaf hash is attestation.fingerprint: so whoever gets
 * the events can check them against the checkpoints, which come by the same way. metadata.uid,
 * ORIGIN/LOG/SEQ, is the same each time a record is sent: receivers drop duplicates by it.
 *
 * A record that is no JSON becomes a base event. A line that would be longer than the sink takes is
 * written without unmapped and raw_data, and says so (metadata.is_truncated). So nothing in a log
 * can hold a sink up.
 *
 * Knows no sinks and no store.
 */
#ifndef POSTERN_EXPORT_OCSF_H
#define POSTERN_EXPORT_OCSF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/digest.h"

#define OCSF_VERSION  "1.6.0"
#define OCSF_LINE_MAX (64u * 1024) /* that a network sink is sent */

enum ocsf_severity { OCSF_INFORMATIONAL = 1, OCSF_LOW, OCSF_MEDIUM, OCSF_HIGH };

struct ocsf_from {
	const char *origin, *log;
	const json_t *personal; /* commitment -> value; NULL: none is told */
	size_t max;             /* bytes of a line */
	int64_t now_ns;         /* metadata.logged_time; the time of what has none */
};

struct ocsf_event {
	uint64_t number; /* of the record, or size of the checkpoint */
	bool checkpoint;
	bool of_skip; /* a record that tells of one that a sink would not take */
	int64_t time_ns;
	int class_uid;
	enum ocsf_severity severity;
	char leaf[DIGEST_HEX_LEN + 1]; /* of the record; the root of a checkpoint */
	struct buf line;               /* no newline in it */
	size_t body_len;               /* of the body that lies beside the record; 0: none does */
	uint8_t body[DIGEST_LEN];      /* its digest */
};

void ocsf_done(struct ocsf_event *ev);
/* 0 or -ENOMEM; ocsf_done() releases. */
int ocsf_record(const struct ocsf_from *from, uint64_t seq, const void *data, size_t len,
    struct ocsf_event *ret);
/* Puts the body that lies beside a record into its line, as unmapped.body_data, with the values of
 * its commitments (from->personal) as unmapped.body_personal. What is not that body, or would make
 * the line too long, is left out: the record names its digest. 0 or -ENOMEM. */
int ocsf_body(const struct ocsf_from *from, const void *data, size_t len, struct ocsf_event *ev);
int ocsf_checkpoint(const struct ocsf_from *from, uint64_t size, const void *note, size_t len,
    struct ocsf_event *ret);
/* "2026-11-23T15:38:48.123456Z" to nanoseconds; -EINVAL. */
int ocsf_time(const char *text, int64_t *ret);

#endif
