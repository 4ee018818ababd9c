/*
 * Tables and fields for people. Every cell is foreign text until it is escaped, and is escaped
 * here: nothing that an agent or a certificate said reaches a terminal raw.
 */
#ifndef POSTERN_CTL_TABLE_H
#define POSTERN_CTL_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12
#define TABLE_CELL_MAX    400 /* characters shown of a cell */

struct table;

/* columns: "ID", "STATE", ...; NULL ends. NULL without memory. */
struct table *table_new(const char *const *columns);
void table_free(struct table *t);
/* One row: as many cells as there are columns. A NULL cell is shown as "-". Without memory the row
 * is lost. */
void table_row(struct table *t, const char *const *cells);
void table_print(const struct table *t, FILE *f);

/* "name:   value", the value escaped; nothing when value is NULL. */
void field_print(FILE *f, const char *name, const char *value);
/* A JSON scalar as text in dst: strings as they are, numbers, true, false; an array's strings
 * joined by commas; NULL for absent or null. */
const char *json_text(const json_t *o, const char *key, char *dst, size_t size);
/* 1536 as "1.5K". Returns dst. */
char *size_text(char *dst, size_t size, json_int_t bytes);
/* 3725 seconds as "1h 2m". Returns dst. */
char *span_text(char *dst, size_t size, json_int_t seconds);

static inline void table_cleanup(struct table **t)
{
	table_free(*t);
}
#define cleanup_table __attribute__((cleanup(table_cleanup)))

#endif
