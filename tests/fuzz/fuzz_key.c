/* Keys: a blob, a line, a private key's file, and a signature. */
#include "creds/key.h"

#include <stdlib.h>
#include <string.h>

#include "creds/key_file.h"
#include "lib/buf.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char line[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

/* What was read is written as it was, and is equal to itself alone. */
static void check(const struct key *k, const struct key *other)
{
	struct key *again = NULL;
	struct buf out;
	size_t len;
	const uint8_t *blob = key_blob(k, &len);

	buf_init(&out, 16384);
	key_format_line(k, "x", &out);
	if (buf_status(&out) < 0 ||
	    key_parse_line((const char *)out.data, out.len, &again, NULL) < 0 ||
	    !key_equal(k, again))
		abort();
	if (key_equal(k, other) && memcmp(blob, key_blob(other, &len), len) != 0)
		abort();
	key_free(again);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct key *fixed = NULL, *k = NULL;
	struct key_private *p = NULL;

	if (key_parse_line(line, strlen(line), &fixed, NULL) < 0)
		abort();
	if (key_parse_blob(data, size, &k, &e) == 0)
		check(k, fixed);
	key_free(k);
	k = NULL;
	if (key_parse_line((const char *)data, size, &k, &e) == 0)
		check(k, fixed);
	key_free(k);
	if (key_private_parse(data, size, &p, &e) == 0)
		check(key_private_public(p), fixed);
	key_private_free(p);
	if (key_verify(fixed, data, size, "data", 4, &e) == 0)
		abort();
	key_free(fixed);
	return 0;
}
