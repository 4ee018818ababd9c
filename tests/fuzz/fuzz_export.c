/* What servers answer the exporter: OTLP's partial success, a witness's lines and sizes; and
 * records as OCSF events, which are JSON whatever they are made of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/ocsf.h"
#include "broker/export/otlp_text.h"
#include "broker/export/rfc5424.h"
#include "broker/export/witness_text.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_event(const uint8_t *data, size_t size)
{
	const struct ocsf_from from = {"log.example/gw", "demo", NULL, OCSF_LINE_MAX, 1};
	struct ocsf_event ev;
	json_t *o;
	struct buf b;

	if (ocsf_record(&from, 3, data, size, &ev) < 0)
		return;
	if (ev.line.len > OCSF_LINE_MAX || memchr(ev.line.data, '\n', ev.line.len) ||
	    ev.severity < OCSF_INFORMATIONAL || ev.severity > OCSF_HIGH)
		abort();
	o = json_loadb((const char *)ev.line.data, ev.line.len, JSON_ALLOW_NUL, NULL);
	if (!o)
		abort();
	json_decref(o);
	buf_init(&b, 2 * OCSF_LINE_MAX);
	rfc5424_frame(&ev, from.origin, from.log, &b);
	if (buf_status(&b) < 0)
		abort();
	buf_done(&b);
	ocsf_done(&ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] =
	    "log.example/gw\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
	struct note_key key = {.name = "witness.example/w", .type = NOTE_COSIGNATURE};
	struct otlp_answer answer;
	struct err e = ERR_INIT;
	struct buf line;
	uint64_t n;

	if (otlp_answer(data, size, &answer, &e) == 0 &&
	    (answer.rejected > INT64_MAX ||
	        memchr(answer.message, '\0', sizeof answer.message) == NULL))
		abort();
	if (witness_size(data, size, &n) == 0 && (n > INT64_MAX || size == 0 || size > 21))
		abort();
	buf_init(&line, WITNESS_LINE_MAX);
	/* nobody has that key's other half */
	if (witness_cosignature(text, strlen(text), data, size, &key, &line, &e) == 0)
		abort();
	buf_done(&line);
	one_event(data, size);
	return 0;
}
