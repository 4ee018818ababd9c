#include <stddef.h>
#include <stdint.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/private.h"
#include "broker/audit/record.h"
#include "broker/audit/show.h"
#include "broker/audit/verify.h"
#include "lib/buf.h"
#include "lib/err.h"

/*
 * Whatever lies in the store, or comes over the control socket: the verifier and the printer look
 * at any bytes as a record.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct show_filter f = {
	    .tenant = "demo", .session = "s-1", .class_name = "auth.", .since = "2026"};
	struct err e = ERR_INIT;
	uint8_t digest[DIGEST_LEN];
	struct log_head head;
	cleanup_buf struct buf b;
	struct verify v;
	json_t *o = NULL;

	buf_init(&b, 4 * RECORD_MAX);
	verify_init(&v);
	if (verify_record(&v, 1, data, size, &e) == 0)
		(void)verify_record(&v, 2, data, size, &e);
	if (verify_resume(&v, 7, data, size, &e) == 0)
		(void)verify_record(&v, 8, data, size, &e);
	(void)log_head_parse(data, size, &head);
	(void)chain_prev(data, size, digest);
	(void)private_is_text((const char *)data, size);
	(void)private_check((const char *)data, size, data, size);
	if (show_parse(data, size, &o, &e) == 0) {
		(void)show_match(&f, o);
		show_line(o, false, &b);
		json_decref(o);
	}
	return 0;
}
