/* Proofs, bundles and what the verifier makes of them. A bundle that was read ends in ranges that
 * cover all records once, in order; a proof that was read is written again as it was. */
#include "broker/audit/proof.h"

#include <stdlib.h>
#include <string.h>

#include "broker/audit/export_file.h"
#include "broker/audit/ranges.h"
#include "lib/buf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_proof(const uint8_t *data, size_t size)
{
	struct checkpoint c = {.size = 9};
	struct err e = ERR_INIT;
	struct proof_answer a;
	struct note_key k;
	struct proof p, again;
	struct buf b;

	if (proof_parse((const char *)data, size, &p, &e) < 0)
		return;
	buf_init(&b, 2 * PROOF_MAX);
	proof_format(&p, &b);
	if (buf_status(&b) < 0 || proof_parse((const char *)b.data, b.len, &again, &e) < 0 ||
	    again.kind != p.kind || again.number != p.number || again.nhashes != p.nhashes ||
	    again.checkpoint_len != p.checkpoint_len)
		abort();
	buf_done(&b);
	memset(&k, 0, sizeof k);
	(void)note_key_init(&k, "log.example/gw", NOTE_ED25519, c.root, NULL);
	if (proof_note(p.checkpoint, p.checkpoint_len, &k, 1, &a, &e) == 0)
		abort(); /* nobody has that key */
	if (proof_check_inclusion(&p, &c, "x", 1, &e) == 0)
		abort();
	(void)proof_check_consistency(&p, &c, &c, &e);
}

static int on_head(void *arg, const char *log, uint64_t records)
{
	struct log_ranges *r = arg;
	static const struct ranges_keys none;

	r->head = records;
	return ranges_new(log, &none, NULL, 0, &r->ranges, NULL);
}

static void one_bundle(const uint8_t *data, size_t size)
{
	struct log_sink sink = log_ranges_sink;
	struct export_reader *reader = NULL;
	struct log_ranges to = {0};
	struct ranges_result result;
	struct err e = ERR_INIT;
	uint64_t next = 1;
	size_t half = size / 2;
	int r;

	sink.head = on_head;
	if (export_reader_new(&sink, &to, &reader) < 0)
		abort();
	if ((r = export_read(reader, data, half, &e)) == 0)
		r = export_read(reader, data + half, size - half, &e);
	if (to.ranges) {
		ranges_end(to.ranges, to.head, export_complete(reader));
		ranges_result(to.ranges, &result);
		if (result.sealed || result.verdict == VERDICT_GOOD ||
		    result.verdict == VERDICT_TAIL)
			abort(); /* without a key */
		for (size_t i = 0; i < result.nranges; i++) {
			if (result.ranges[i].from != next || result.ranges[i].to < next)
				abort();
			next = result.ranges[i].to + 1;
		}
		if (next <= result.records)
			abort();
	}
	ranges_free(to.ranges);
	export_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	one_proof(data, size);
	one_bundle(data, size);
	return 0;
}
