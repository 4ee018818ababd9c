#include "broker/audit/log_prove.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/tree.h"
#include "lib/buf.h"
#include "lib/err.h"

#define LLU(x) ((unsigned long long)(x))

static int in_range(enum proof_kind kind, uint64_t number, uint64_t size, struct err *e)
{
	if (number == 0 || number > size)
		return err_set(e, -ERANGE,
		    kind == PROOF_INCLUSION
		        ? "record %llu is not sealed: the newest checkpoint is of %llu"
		        : "there is no checkpoint after %llu records: the newest is of %llu",
		    LLU(number), LLU(size));
	return 0;
}

int log_prove(struct store *s, const char *log, enum proof_kind kind, uint64_t number,
    struct proof *ret, struct buf *note, struct err *e)
{
	struct log_info info = {.number = LOG_HOST_NUMBER};
	struct proof p = {.kind = kind, .number = kind == PROOF_INCLUSION ? number - 1 : number};
	uint64_t size = 0;
	int r = strcmp(log, LOG_HOST) == 0 ? 0 : logs_find(s, log, &info);

	if (r < 0)
		return err_set(e, r, r == -ENOENT ? "there is no such log" : "it cannot be read");
	r = logs_checkpoint_latest(s, info.number, UINT64_MAX, &size, note);
	if (r < 0)
		return err_set(e, r == -ENOENT ? -ERANGE : r,
		    r == -ENOENT ? "nothing of this log is sealed" : "it cannot be read");
	if ((r = in_range(kind, number, size, e)) < 0)
		return r;
	r = kind == PROOF_INCLUSION
	        ? tree_inclusion(s, info.number, p.number, size, p.hash, &p.nhashes, e)
	        : tree_consistency(s, info.number, p.number, size, p.hash, &p.nhashes, e);
	if (r < 0)
		return r;
	p.checkpoint = (const char *)note->data;
	p.checkpoint_len = note->len;
	*ret = p;
	return 0;
}

/* ---- from leaves ---- */

static void range(const uint8_t (*leaf)[DIGEST_LEN], uint64_t n, uint8_t ret[DIGEST_LEN])
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = 0; i < n; i++)
		(void)merkle_append(&m, leaf[i]);
	merkle_root(&m, ret);
}

static uint64_t split(uint64_t n)
{
	return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

/* PATH and SUBPROOF of RFC 6962 sections 2.1.1 and 2.1.2, from the root down; then turned. */
static size_t walk(const uint8_t (*leaf)[DIGEST_LEN], uint64_t n, uint64_t m, bool inclusion,
    uint8_t (*ret)[DIGEST_LEN])
{
	bool whole = true;
	size_t len = 0;

	while (inclusion ? n > 1 : m != n) {
		uint64_t k = split(n);

		if (inclusion ? m < k : m <= k) {
			range(leaf + k, n - k, ret[len++]);
			n = k;
		} else {
			range(leaf, k, ret[len++]);
			leaf += k;
			m -= k;
			n -= k;
			whole = false;
		}
	}
	if (!inclusion && !whole)
		range(leaf, n, ret[len++]);
	for (size_t i = 0; i < len / 2; i++) {
		uint8_t swap[DIGEST_LEN];

		memcpy(swap, ret[i], DIGEST_LEN);
		memcpy(ret[i], ret[len - 1 - i], DIGEST_LEN);
		memcpy(ret[len - 1 - i], swap, DIGEST_LEN);
	}
	return len;
}

int log_prove_leaves(const uint8_t (*leaf)[DIGEST_LEN], uint64_t size, enum proof_kind kind,
    uint64_t number, struct proof *ret, struct err *e)
{
	struct proof p = {.kind = kind, .number = kind == PROOF_INCLUSION ? number - 1 : number};
	int r = in_range(kind, number, size, e);

	if (r < 0)
		return r;
	p.nhashes = walk(leaf, size, p.number, kind == PROOF_INCLUSION, p.hash);
	*ret = p;
	return 0;
}
