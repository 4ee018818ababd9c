#include "broker/export/witness_text.h"

#include <errno.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

#define DIGITS_MAX 20

void witness_request(uint64_t old, const uint8_t (*proof)[DIGEST_LEN], size_t n, const void *note,
    size_t len, struct buf *out)
{
	char line[B64_LEN(DIGEST_LEN) + 1];

	buf_printf(out, "old %llu\n", (unsigned long long)old);
	for (size_t i = 0; i < n; i++) {
		b64_encode(line, proof[i], DIGEST_LEN);
		buf_printf(out, "%s\n", line);
	}
	buf_put(out, "\n", 1);
	buf_put(out, note, len);
}

/* The line's name is the key's. */
static int is_by(const char *line, size_t len, const struct note_key *key)
{
	static const char dash[] = "\xE2\x80\x94 ";
	size_t n = strlen(key->name);

	return len > sizeof dash - 1 + n && memcmp(line, dash, sizeof dash - 1) == 0 &&
	       memcmp(line + sizeof dash - 1, key->name, n) == 0 &&
	       line[sizeof dash - 1 + n] == ' ';
}

static int check_line(const char *text, size_t text_len, const char *line, size_t len,
    const struct note_key *key, struct err *e)
{
	cleanup_buf struct buf b;
	struct note n;
	int r;

	buf_init(&b, NOTE_MAX);
	buf_put(&b, text, text_len);
	buf_put(&b, "\n", 1);
	buf_put(&b, line, len);
	if ((r = buf_status(&b)) < 0 || (r = note_parse(b.data, b.len, &n, e)) < 0)
		return r;
	r = note_verify(&n, key, NULL, e);
	note_done(&n);
	return r;
}

int witness_cosignature(const char *text, size_t text_len, const void *body, size_t len,
    const struct note_key *key, struct buf *ret, struct err *e)
{
	const char *p = body, *end = p + len;

	if (len > WITNESS_ANSWER_MAX)
		return err_set(e, -EBADMSG, "the answer is too long");
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl - p) + 1 : 0;

		if (n < 2 || n > WITNESS_LINE_MAX)
			return err_set(e, -EBADMSG, "the answer is no list of signatures");
		if (is_by(p, n, key)) {
			int r = check_line(text, text_len, p, n, key, e);

			if (r < 0)
				return r;
			if (r == 1) {
				buf_put(ret, p, n);
				return buf_status(ret);
			}
		} /* another key id under its name: one that it had before, or will have */
		p += n;
	}
	return err_set(e, -ENOENT, "the answer has no cosignature by %s", key->name);
}

int witness_size(const void *body, size_t len, uint64_t *ret)
{
	char text[DIGITS_MAX + 1] = "";

	if (len > 0 && ((const char *)body)[len - 1] == '\n')
		len--;
	if (len == 0 || len > DIGITS_MAX || memchr(body, '\0', len))
		return -EBADMSG;
	memcpy(text, body, len);
	return str_to_u64(text, 0, INT64_MAX, ret) < 0 ? -EBADMSG : 0;
}
