#include "broker/witness/trust.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define TENANT    "/t/"
#define EPOCH     "/epoch/"
#define EPOCH_LEN 7

struct trust {
	size_t n;
	struct {
		struct note_key key;
		unsigned tenants; /* kept logs that only this one stands for */
	} entry[TRUST_KEYS_MAX];
};

struct trust *trust_new(void)
{
	return calloc(1, sizeof(struct trust));
}

void trust_free(struct trust *t)
{
	free(t);
}

size_t trust_count(const struct trust *t)
{
	return t->n;
}

/* ORIGIN/epoch/N seals beside the log's own key; it is no log. */
static bool of_epoch(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash && slash - name >= EPOCH_LEN - 1 &&
	       memcmp(slash - (EPOCH_LEN - 1), EPOCH, EPOCH_LEN) == 0;
}

static int add(struct trust *t, const struct note_key *k, struct err *e)
{
	size_t same = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct note_key *o = &t->entry[i].key;

		if (strcmp(o->name, k->name) != 0)
			continue;
		if (memcmp(o->key, k->key, NOTE_KEY_LEN) == 0)
			return 0;
		if (++same == TRUST_SAME_MAX)
			return err_set(
			    e, -ENOSPC, "more than %d keys for %s", TRUST_SAME_MAX, k->name);
	}
	if (t->n == TRUST_KEYS_MAX)
		return err_set(e, -ENOSPC, "more than %d keys", TRUST_KEYS_MAX);
	t->entry[t->n++].key = *k;
	return 0;
}

int trust_add(struct trust *t, const char *key, size_t len, struct err *e)
{
	struct note_key k;
	int r = note_key_parse(key, len, &k, e);

	if (r < 0)
		return r;
	if (k.type != NOTE_ED25519)
		return err_set(e, -EINVAL, "%s is a witness's key, not a log's", k.name);
	if (of_epoch(k.name))
		return err_set(e, -EINVAL, "%s is the key of an epoch, not a log's", k.name);
	return add(t, &k, e);
}

int trust_add_text(struct trust *t, const char *text, size_t len, struct err *e)
{
	unsigned number = 0;
	const char *end;
	size_t n;
	int r;

	for (const char *p = text; p < text + len; p = end + 1) {
		const char *word;
		struct note_key k;

		number++;
		end = memchr(p, '\n', (size_t)(text + len - p));
		if (!end)
			end = text + len;
		n = (size_t)(end - p);
		word = memrchr(p, ' ', n);
		word = word ? word + 1 : p;
		n = (size_t)(end - word);
		if (*p == '#' || !memchr(word, '+', n))
			continue;
		if ((r = note_key_parse(word, n, &k, e)) < 0)
			return err_wrap(e, r, "line %u", number);
		if (k.type == NOTE_ED25519 && !of_epoch(k.name) && (r = add(t, &k, e)) < 0)
			return err_wrap(e, r, "line %u", number);
	}
	return 0;
}

/* Is origin a tenant's of the host that name is of? */
static bool tenant_of(const char *name, const char *origin)
{
	size_t n = strlen(name), t = strlen(TENANT);

	if (strncmp(origin, name, n) != 0 || strncmp(origin + n, TENANT, t) != 0)
		return false;
	origin += n + t;
	return name_valid(origin, strlen(origin));
}

size_t trust_find(const struct trust *t, const char *origin, struct note_key ret[TRUST_SAME_MAX])
{
	size_t found = 0;

	for (size_t i = 0; i < t->n && found < TRUST_SAME_MAX; i++) {
		const struct note_key *k = &t->entry[i].key;

		if (strcmp(k->name, origin) == 0 || tenant_of(k->name, origin))
			if (note_key_init(&ret[found], origin, NOTE_ED25519, k->key, NULL) == 0)
				found++;
	}
	return found;
}

/* The entry that a log counts against; SIZE_MAX: it has a key of its own, or nobody's. */
static size_t counted(const struct trust *t, const char *origin)
{
	size_t at = SIZE_MAX;

	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->entry[i].key.name, origin) == 0)
			return SIZE_MAX;
		if (at == SIZE_MAX && tenant_of(t->entry[i].key.name, origin))
			at = i;
	}
	return at;
}

bool trust_room(const struct trust *t, const char *origin)
{
	size_t at = counted(t, origin);

	return at == SIZE_MAX || t->entry[at].tenants < TRUST_TENANTS_MAX;
}

void trust_kept(struct trust *t, const char *origin)
{
	size_t at = counted(t, origin);

	if (at != SIZE_MAX)
		t->entry[at].tenants++;
}
