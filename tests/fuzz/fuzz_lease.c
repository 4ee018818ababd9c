/* What a sandbox says to its lease process. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "broker/lease/request.h"
#include "lib/buf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct lease_request q;
	json_t *body = NULL;
	struct buf out;

	buf_init(&out, 8192);
	if (lease_request_parse(data, size, &q, &e) < 0) {
		lease_answer_error(&out, err_text(&e));
		if (buf_status(&out) < 0 || out.data[out.len - 1] != '\n')
			abort();
	} else if (!lease_request_message(&q, &body)) {
		abort();
	}
	json_decref(body);
	buf_done(&out);
	return 0;
}
