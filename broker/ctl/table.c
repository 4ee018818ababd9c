#include "broker/ctl/table.h"

#include <stdlib.h>
#include <string.h>

#include "lib/str.h"

struct row {
	struct row *next;
	char cell[TABLE_COLUMNS_MAX][TABLE_CELL_MAX];
};

struct table {
	size_t columns;
	struct row *first, **last;
};

/* Printable ASCII as it is, everything else as \xNN; the backslash too, so that nothing can pose as
 * escaped. */
static void harmless(char *dst, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (at + 8 > size) {
			memcpy(dst + at, "...", 3);
			at += 3;
			break;
		}
		if (*p >= 0x20 && *p < 0x7f && *p != '\\') {
			dst[at++] = (char)*p;
			continue;
		}
		dst[at++] = '\\';
		dst[at++] = 'x';
		dst[at++] = hex[*p >> 4];
		dst[at++] = hex[*p & 15];
	}
	dst[at] = '\0';
}

static void add(struct table *t, const char *const *cells)
{
	struct row *r = calloc(1, sizeof *r);

	if (!r)
		return;
	for (size_t i = 0; i < t->columns; i++) {
		const char *text = cells[i] && *cells[i] ? cells[i] : "-";

		harmless(r->cell[i], sizeof r->cell[i], text);
	}
	*t->last = r;
	t->last = &r->next;
}

struct table *table_new(const char *const *columns)
{
	struct table *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->last = &t->first;
	while (t->columns < TABLE_COLUMNS_MAX && columns[t->columns])
		t->columns++;
	add(t, columns);
	return t;
}

void table_free(struct table *t)
{
	struct row *next;

	if (!t)
		return;
	for (struct row *r = t->first; r; r = next) {
		next = r->next;
		free(r);
	}
	free(t);
}

void table_row(struct table *t, const char *const *cells)
{
	add(t, cells);
}

void table_print(const struct table *t, FILE *f)
{
	size_t width[TABLE_COLUMNS_MAX] = {0};

	for (const struct row *r = t->first; r; r = r->next)
		for (size_t i = 0; i < t->columns; i++)
			if (strlen(r->cell[i]) > width[i])
				width[i] = strlen(r->cell[i]);
	for (const struct row *r = t->first; r; r = r->next) {
		for (size_t i = 0; i + 1 < t->columns; i++)
			(void)fprintf(f, "%-*s  ", (int)width[i], r->cell[i]);
		(void)fprintf(f, "%s\n", r->cell[t->columns - 1]);
	}
}

void field_print(FILE *f, const char *name, const char *value)
{
	char text[2048];

	if (!value)
		return;
	harmless(text, sizeof text, value);
	(void)fprintf(f, "%-14s %s\n", name, text);
}

static const char *join(const json_t *list, char *dst, size_t size)
{
	size_t n = 0, i;
	json_t *v;

	dst[0] = '\0';
	json_array_foreach((json_t *)(uintptr_t)list, i, v)
	{
		if (!json_is_string(v) || n >= size)
			continue;
		n +=
		    (size_t)snprintf(dst + n, size - n, "%s%s", n ? "," : "", json_string_value(v));
	}
	return dst;
}

const char *json_text(const json_t *o, const char *key, char *dst, size_t size)
{
	const json_t *v = key ? json_object_get(o, key) : o;

	if (!v || json_is_null(v))
		return NULL;
	if (json_is_array(v))
		return join(v, dst, size);
	if (json_is_string(v))
		(void)str_copy(dst, size, json_string_value(v));
	else if (json_is_integer(v))
		(void)snprintf(dst, size, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		(void)snprintf(dst, size, "%s", json_is_true(v) ? "yes" : "no");
	else
		return NULL;
	return dst;
}

char *size_text(char *dst, size_t size, json_int_t bytes)
{
	static const char units[] = "BKMGT";
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	(void)snprintf(dst, size, u && v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
	return dst;
}

char *span_text(char *dst, size_t size, json_int_t s)
{
	long long n = s < 0 ? 0 : s;

	if (n < 60)
		(void)snprintf(dst, size, "%llds", n);
	else if (n < 3600)
		(void)snprintf(dst, size, "%lldm %llds", n / 60, n % 60);
	else if (n < 86400)
		(void)snprintf(dst, size, "%lldh %lldm", n / 3600, n % 3600 / 60);
	else
		(void)snprintf(dst, size, "%lldd %lldh", n / 86400, n % 86400 / 3600);
	return dst;
}
