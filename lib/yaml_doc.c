#include "lib/yaml_doc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define KEY_SHOWN    72
#define DISTANCE_LEN 48 /* longer keys are not compared */

struct yaml_doc *yaml_doc_new(const char *name)
{
	struct yaml_doc *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->root = json_null();
	d->name = strdup(name);
	if (!d->name) {
		yaml_free(d);
		return NULL;
	}
	return d;
}

void yaml_free(struct yaml_doc *d)
{
	int saved = errno;

	if (!d)
		return;
	for (size_t i = 0; i < d->nplaces; i++)
		free(d->places[i].key);
	free(d->places);
	json_decref(d->root);
	free(d->name);
	free(d);
	errno = saved;
}

json_t *yaml_root(const struct yaml_doc *d)
{
	return d->root;
}

const char *yaml_name(const struct yaml_doc *d)
{
	return d->name;
}

int yaml_doc_note(struct yaml_doc *d, const json_t *parent, const char *key, size_t index,
    unsigned line, unsigned key_line)
{
	char *copy = NULL;

	if (d->nplaces == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 64;
		struct yaml_place *p = reallocarray(d->places, cap, sizeof *p);

		if (!p)
			return -ENOMEM;
		d->places = p;
		d->cap = cap;
	}
	if (key && !(copy = strdup(key)))
		return -ENOMEM;
	d->places[d->nplaces++] = (struct yaml_place){parent, copy, index, line, key_line};
	return 0;
}

/* A walk through all: it is asked for on the way to an error, or once for an object. */
static const struct yaml_place *find(
    const struct yaml_doc *d, const json_t *parent, const char *key, size_t index)
{
	for (size_t i = 0; i < d->nplaces; i++) {
		const struct yaml_place *p = &d->places[i];

		if (p->parent != parent || !key != !p->key)
			continue;
		if (key ? strcmp(key, p->key) == 0 : index == p->index)
			return p;
	}
	return NULL;
}

unsigned yaml_line(const struct yaml_doc *d, const json_t *parent, const char *key, size_t index)
{
	const struct yaml_place *p = find(d, parent, key, index);

	return p ? p->line : 0;
}

static int fail_at(
    const struct yaml_doc *d, unsigned line, struct err *e, int code, const char *text)
{
	if (line == 0)
		return err_set(e, code, "%s: %s", d->name, text);
	return err_set(e, code, "%s:%u: %s", d->name, line, text);
}

int yaml_fail(const struct yaml_doc *d, const json_t *parent, const char *key, size_t index,
    struct err *e, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	return fail_at(d, yaml_line(d, parent, key, index), e, code, text);
}

/* ---- strict readers ---- */

static int wrong(
    const struct yaml_doc *d, json_t *o, const char *key, struct err *e, const char *must)
{
	return yaml_fail(d, o, key, 0, e, -EINVAL, "%s must be %s", key, must);
}

int yaml_get_str(
    const struct yaml_doc *d, json_t *o, const char *key, const char **ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 1;
	if (!json_is_string(v))
		return wrong(d, o, key, e, "text (in quotes if it looks like a number)");
	*ret = json_string_value(v);
	return 0;
}

int yaml_get_int(const struct yaml_doc *d, json_t *o, const char *key, int64_t min, int64_t max,
    int64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 1;
	if (!json_is_integer(v))
		return wrong(d, o, key, e, "a whole number");
	if (json_integer_value(v) < min || json_integer_value(v) > max)
		return yaml_fail(d, o, key, 0, e, -EINVAL, "%s must be from %lld to %lld", key,
		    (long long)min, (long long)max);
	*ret = json_integer_value(v);
	return 0;
}

int yaml_get_bool(const struct yaml_doc *d, json_t *o, const char *key, bool *ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 1;
	if (!json_is_boolean(v))
		return wrong(d, o, key, e, "true or false");
	*ret = json_is_true(v);
	return 0;
}

int yaml_get_map(const struct yaml_doc *d, json_t *o, const char *key, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 1;
	if (!json_is_object(v))
		return wrong(d, o, key, e, "a mapping");
	*ret = v;
	return 0;
}

int yaml_get_list(const struct yaml_doc *d, json_t *o, const char *key, json_t **ret, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 1;
	if (!json_is_array(v))
		return wrong(d, o, key, e, "a list");
	*ret = v;
	return 0;
}

/* The text of a number with or without a unit. */
static const char *amount(const json_t *v, char *tmp, size_t size)
{
	if (json_is_string(v))
		return json_string_value(v);
	if (!json_is_integer(v))
		return "";
	(void)snprintf(tmp, size, "%lld", (long long)json_integer_value(v));
	return tmp;
}

int yaml_get_seconds(
    const struct yaml_doc *d, json_t *o, const char *key, int64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);
	char tmp[24];
	int64_t out;

	if (!v)
		return 1;
	if (str_to_seconds(amount(v, tmp, sizeof tmp), &out) < 0)
		return wrong(d, o, key, e, "a time like 90s, 5m, 8h or 30d");
	*ret = out;
	return 0;
}

int yaml_get_bytes(
    const struct yaml_doc *d, json_t *o, const char *key, uint64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);
	char tmp[24];
	uint64_t out;

	if (!v)
		return 1;
	if (str_to_bytes(amount(v, tmp, sizeof tmp), &out) < 0)
		return wrong(d, o, key, e, "a size like 64K, 512M or 1G");
	*ret = out;
	return 0;
}

/* ---- unknown keys ---- */

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein's distance with two rows. Both at most DISTANCE_LEN long. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[2][DISTANCE_LEN + 1], n = strlen(b);
	size_t *prev = rows[0], *cur = rows[1];

	for (size_t k = 0; k <= n; k++)
		prev[k] = k;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t *swap = prev;

		cur[0] = i + 1;
		for (size_t k = 0; k < n; k++)
			cur[k + 1] =
			    min3(prev[k + 1] + 1, cur[k] + 1, prev[k] + (a[i] == b[k] ? 0 : 1));
		prev = cur;
		cur = swap;
	}
	return prev[n];
}

/* The allowed key that may have been meant: at most a third of its letters (and one) away;
 * or NULL. */
static const char *nearest(const char *key, const char *const *allowed)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	if (strlen(key) > DISTANCE_LEN)
		return NULL;
	for (; *allowed; allowed++) {
		size_t n;

		if (strlen(*allowed) > DISTANCE_LEN)
			continue;
		n = distance(key, *allowed);
		if (n < best_distance && n <= strlen(*allowed) / 3 + 1) {
			best = *allowed;
			best_distance = n;
		}
	}
	return best;
}

static bool is_allowed(const char *key, const char *const *allowed)
{
	for (; *allowed; allowed++)
		if (strcmp(key, *allowed) == 0)
			return true;
	return false;
}

int yaml_check_keys(const struct yaml_doc *d, json_t *o, const char *const *allowed, struct err *e)
{
	const char *key, *near;
	char shown[KEY_SHOWN], text[ERR_TEXT_MAX];
	json_t *v;

	json_object_foreach(o, key, v)
	{
		const struct yaml_place *p;

		if (is_allowed(key, allowed))
			continue;
		p = find(d, o, key, 0);
		near = nearest(key, allowed);
		str_escape(shown, sizeof shown, key, strlen(key));
		(void)snprintf(text, sizeof text, "unknown key \"%s\"%s%s%s", shown,
		    near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
		return fail_at(d, p ? p->key_line : 0, e, -EINVAL, text);
	}
	return 0;
}
