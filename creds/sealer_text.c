#include "creds/sealer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * Names and texts of seals: what signers write and verifiers read. No keys, no files.
 */

int sealer_origin_of(const char *host_origin, const char *log, char *dst, size_t size)
{
	bool host = strcmp(log, SEALER_HOST) == 0;
	int n;

	if (*host_origin == '\0' || strlen(host_origin) > SEALER_ORIGIN_MAX ||
	    (!host && !name_valid(log, strlen(log))))
		return -EINVAL;
	n = snprintf(dst, size, "%s%s%s", host_origin, host ? "" : "/t/", host ? "" : log);
	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

int sealer_epoch_key(const char *origin, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN],
    struct note_key *ret, struct err *e)
{
	char name[NOTE_NAME_MAX + 1];
	int n = snprintf(name, sizeof name, "%s/epoch/%llu", origin, (unsigned long long)epoch);

	if (n < 0 || (size_t)n >= sizeof name)
		return err_set(e, -EINVAL, "the origin is too long");
	return note_key_init(ret, name, NOTE_ED25519, key, e);
}

/* One line, without its LF; NULL if there is none. */
static const char *line(const char **p, const char *end, size_t *ret_len)
{
	const char *start = *p, *lf = memchr(start, '\n', (size_t)(end - start));

	if (!lf)
		return NULL;
	*ret_len = (size_t)(lf - start);
	*p = lf + 1;
	return start;
}

static int number(const char *p, size_t len, uint64_t *ret)
{
	char digits[24];

	if (len == 0 || len >= sizeof digits || memchr(p, 0, len))
		return -EBADMSG;
	memcpy(digits, p, len);
	digits[len] = '\0';
	return str_to_u64(digits, 0, INT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

/* The key is named by the host's origin, epoch and nothing else. */
static bool key_fits(const struct note_key *key, uint64_t epoch, const char *log)
{
	char tail[40];
	size_t len = strlen(key->name), origin;
	int t = snprintf(tail, sizeof tail, "/epoch/%llu", (unsigned long long)epoch);

	if (key->type != NOTE_ED25519 || t < 0 || len <= (size_t)t ||
	    strcmp(key->name + len - (size_t)t, tail) != 0)
		return false;
	origin = len - (size_t)t; /* the log's origin is it, or it and /t/NAME */
	if (strncmp(log, key->name, origin) != 0)
		return false;
	return log[origin] == '\0' || (strncmp(log + origin, "/t/", 3) == 0 &&
	                                  name_valid(log + origin + 3, strlen(log + origin + 3)));
}

int epoch_note_parse(const char *text, size_t len, struct epoch_note *ret, struct err *e)
{
	const char *p = text, *end = text + len, *origin, *l;
	struct epoch_note n = {0};
	size_t ln, origin_len;
	struct err why = ERR_INIT;

	if (!(l = line(&p, end, &ln)) || ln != strlen(SEALER_EPOCH_TEXT) ||
	    memcmp(l, SEALER_EPOCH_TEXT, ln) != 0)
		return err_set(e, -EBADMSG, "not an epoch note");
	if (!(origin = line(&p, end, &origin_len)) || origin_len == 0 ||
	    origin_len > NOTE_NAME_MAX || memchr(origin, 0, origin_len))
		return err_set(e, -EBADMSG, "an epoch note without an origin");
	memcpy(n.last.origin, origin, origin_len);
	if (!(l = line(&p, end, &ln)) || number(l, ln, &n.epoch) < 0 || n.epoch == 0)
		return err_set(e, -EBADMSG, "an epoch note without its epoch");
	if (!(l = line(&p, end, &ln)) || note_key_parse(l, ln, &n.key, &why) < 0 ||
	    !key_fits(&n.key, n.epoch, n.last.origin))
		return err_set(e, -EBADMSG, "an epoch note without its epoch's key");
	if (!(l = line(&p, end, &ln)) || number(l, ln, &n.last.size) < 0 || n.last.size == 0)
		return err_set(e, -EBADMSG, "an epoch note without a size");
	if (!(l = line(&p, end, &ln)) || p != end ||
	    b64_decode(n.last.root, DIGEST_LEN, l, ln, &ln) < 0 || ln != DIGEST_LEN)
		return err_set(e, -EBADMSG, "an epoch note without a root");
	*ret = n;
	return 0;
}

/* ---- breaks ---- */

static int root_line(const char **p, const char *end, uint8_t ret[DIGEST_LEN])
{
	size_t len, n;
	const char *l = line(p, end, &len);

	return l && b64_decode(ret, DIGEST_LEN, l, len, &n) == 0 && n == DIGEST_LEN ? 0 : -EBADMSG;
}

static int number_line(const char **p, const char *end, uint64_t *ret)
{
	size_t len;
	const char *l = line(p, end, &len);

	return l ? number(l, len, ret) : -EBADMSG;
}

int break_note_parse(const char *text, size_t len, struct break_note *ret, struct err *e)
{
	const char *p = text, *end = text + len, *l;
	struct break_note n = {0};
	struct err why = ERR_INIT;
	uint64_t time;
	size_t ln;

	if (!(l = line(&p, end, &ln)) || ln != strlen(SEALER_BREAK_TEXT) ||
	    memcmp(l, SEALER_BREAK_TEXT, ln) != 0)
		return err_set(e, -EBADMSG, "not a break note");
	if (!(l = line(&p, end, &ln)) || ln == 0 || ln > NOTE_NAME_MAX || memchr(l, 0, ln))
		return err_set(e, -EBADMSG, "a break note without an origin");
	memcpy(n.origin, l, ln);
	if (number_line(&p, end, &n.number) < 0 || n.number == 0 || n.number > SEALER_BREAKS_MAX)
		return err_set(e, -EBADMSG, "a break note without its number");
	if (number_line(&p, end, &n.old_size) < 0 || root_line(&p, end, n.old_root) < 0 ||
	    number_line(&p, end, &n.size) < 0 || root_line(&p, end, n.root) < 0 ||
	    n.size >= n.old_size)
		return err_set(e, -EBADMSG, "a break note without its sizes and roots");
	if (number_line(&p, end, &n.epoch) < 0 || !(l = line(&p, end, &ln)) ||
	    note_key_parse(l, ln, &n.key, &why) < 0 || !key_fits(&n.key, n.epoch, n.origin))
		return err_set(e, -EBADMSG, "a break note without its epoch's key");
	if (number_line(&p, end, &time) < 0 || p != end)
		return err_set(e, -EBADMSG, "a break note without its time");
	n.time_s = (int64_t)time;
	*ret = n;
	return 0;
}
