/*
 * The wire reader: the first byte of each step says what is read next, so that the fuzzer drives
 * every call, sub-readers included. Whatever comes, nothing is read outside, a failed call changes
 * nothing, and an mpint that was read is written back the same.
 */
#include "lib/reader.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static unsigned sum;

/* Touches every byte that was handed out. */
static void use(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += p[i];
}

static void mpint_again(const uint8_t *wire, size_t wire_len, const uint8_t *p, size_t n)
{
	cleanup_buf struct buf b;

	buf_init(&b, wire_len + 8);
	buf_put_mpint(&b, p, n);
	must(buf_status(&b) == 0 && b.len == wire_len && memcmp(b.data, wire, wire_len) == 0);
}

static int step(struct reader *r, unsigned what, size_t max)
{
	const struct reader before = *r;
	struct reader sub;
	const uint8_t *p;
	char text[32];
	uint32_t u32;
	uint64_t u64;
	uint8_t u8;
	size_t n;
	int ret;

	switch (what % 7) {
	case 0:
		ret = reader_u8(r, &u8);
		break;
	case 1:
		ret = reader_u32(r, &u32);
		break;
	case 2:
		ret = reader_u64(r, &u64);
		break;
	case 3:
		if ((ret = reader_string(r, max, &p, &n)) == 0) {
			must(n <= max);
			use(p, n);
		}
		break;
	case 4:
		if ((ret = reader_cstring(r, text, sizeof text)) == 0)
			must(strlen(text) == before.left - r->left - 4);
		break;
	case 5:
		if ((ret = reader_sub(r, max, &sub)) == 0)
			use(sub.p, sub.left);
		break;
	default:
		if ((ret = reader_mpint(r, max, &p, &n)) == 0) {
			must(n <= max);
			mpint_again(before.p, before.left - r->left, p, n);
		}
	}
	if (ret < 0)
		must(r->p == before.p && r->left == before.left);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r;

	reader_init(&r, data, size);
	for (;;) {
		uint8_t what;

		if (reader_u8(&r, &what) < 0)
			return 0;
		if (step(&r, what, what * 4u) < 0 && reader_end(&r) == 0)
			return 0;
	}
}
