#include "broker/audit/ranges.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "creds/sealer.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * Which of the keys that somebody trusts are those of a log.
 */

#define FIRST "/epoch/0"

static bool ends(const char *s, const char *tail, size_t *ret_at)
{
	size_t n = strlen(s), t = strlen(tail);

	if (n <= t || strcmp(s + n - t, tail) != 0)
		return false;
	*ret_at = n - t;
	return true;
}

static int set_host(struct ranges_keys *k, const char *name, size_t len, struct err *e)
{
	if (len > SEALER_ORIGIN_MAX)
		return err_set(
		    e, -EINVAL, "a log's origin has at most %d bytes", SEALER_ORIGIN_MAX);
	if (*k->host && (strlen(k->host) != len || memcmp(k->host, name, len) != 0))
		return err_set(e, -EINVAL, "the keys are of two hosts");
	memcpy(k->host, name, len);
	k->host[len] = '\0';
	return 0;
}

static int set(struct note_key *dst, bool *has, const struct note_key *k, struct err *e)
{
	if (*has &&
	    (memcmp(dst->key, k->key, NOTE_KEY_LEN) != 0 || strcmp(dst->name, k->name) != 0))
		return err_set(e, -EINVAL, "two different keys for one log");
	*dst = *k;
	*has = true;
	return 0;
}

/* The log's own, or the host's under this log's name. */
static int key_of_log(
    const struct note_key *key, const char *log, struct ranges_keys *k, struct err *e)
{
	const char *tenant = strstr(key->name, "/t/");
	size_t host = tenant ? (size_t)(tenant - key->name) : strlen(key->name);
	char name[NOTE_NAME_MAX + 1];
	struct note_key mine;
	int r;

	if (tenant && strcmp(tenant + 3, log) != 0)
		return 0;
	if ((r = set_host(k, key->name, host, e)) < 0)
		return r;
	if (sealer_origin_of(k->host, log, name, sizeof name) < 0)
		return err_set(e, -EINVAL, "no log has such a name");
	if ((r = note_key_init(&mine, name, NOTE_ED25519, key->key, e)) < 0)
		return r;
	return set(&k->log, &k->has_log, &mine, e);
}

/* One witness under two names, or given twice, is one. */
static bool has_witness(const struct ranges_keys *k, const struct note_key *key)
{
	for (size_t i = 0; i < k->nwitnesses; i++)
		if (memcmp(k->witness[i].key, key->key, NOTE_KEY_LEN) == 0)
			return true;
	return false;
}

int ranges_keys(
    const struct note_key *keys, size_t n, const char *log, struct ranges_keys *ret, struct err *e)
{
	struct ranges_keys k = {0};
	size_t at;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (keys[i].type == NOTE_COSIGNATURE) {
			if (has_witness(&k, &keys[i]))
				continue;
			if (k.nwitnesses == RANGES_WITNESSES_MAX)
				return err_set(
				    e, -EINVAL, "more than %d witnesses", RANGES_WITNESSES_MAX);
			k.witness[k.nwitnesses++] = keys[i];
		} else if (ends(keys[i].name, FIRST, &at)) {
			if ((r = set_host(&k, keys[i].name, at, e)) == 0)
				r = set(&k.epoch, &k.has_epoch, &keys[i], e);
		} else {
			r = key_of_log(&keys[i], log, &k, e);
		}
	}
	if (r == 0)
		*ret = k;
	return r;
}
