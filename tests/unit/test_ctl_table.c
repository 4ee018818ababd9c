#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/ctl/table.h"

static char *printed(const struct table *t)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	table_print(t, f);
	(void)fclose(f);
	return text;
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	static const char *const columns[] = {"ID", "NAME", NULL};
	cleanup_table struct table *t = table_new(columns);
	char *text;

	(void)state;
	table_row(t, (const char *[]){"12345", "x"});
	table_row(t, (const char *[]){"1", NULL});
	text = printed(t);
	assert_string_equal(text, "ID     NAME\n12345  x\n1      -\n");
	free(text);
}

static void what_a_terminal_would_obey_is_escaped(void **state)
{
	static const char *const columns[] = {"A", NULL};
	cleanup_table struct table *t = table_new(columns);
	char *text;

	(void)state;
	table_row(t, (const char *[]){"a\033]52;c;x\007\n\t\x7f\xc2\x9b\\"});
	text = printed(t);
	assert_string_equal(text, "A\na\\x1b]52;c;x\\x07\\x0a\\x09\\x7f\\xc2\\x9b\\x5c\n");
	free(text);
}

static void a_long_cell_is_cut(void **state)
{
	static const char *const columns[] = {"A", NULL};
	cleanup_table struct table *t = table_new(columns);
	char cell[2 * TABLE_CELL_MAX], *text;

	(void)state;
	memset(cell, 'x', sizeof cell);
	cell[sizeof cell - 1] = '\0';
	table_row(t, (const char *[]){cell});
	text = printed(t);
	assert_true(strlen(text) < TABLE_CELL_MAX + 4);
	assert_non_null(strstr(text, "...\n"));
	free(text);
}

static void scalars_and_lists_become_text(void **state)
{
	json_t *o = json_pack("{s:s, s:i, s:b, s:[s,s], s:n, s:{}}", "s", "x", "i", 7, "b", 1, "l",
	    "a", "b", "n", "o");
	char text[32];

	(void)state;
	assert_string_equal(json_text(o, "s", text, sizeof text), "x");
	assert_string_equal(json_text(o, "i", text, sizeof text), "7");
	assert_string_equal(json_text(o, "b", text, sizeof text), "yes");
	assert_string_equal(json_text(o, "l", text, sizeof text), "a,b");
	assert_null(json_text(o, "n", text, sizeof text));
	assert_null(json_text(o, "o", text, sizeof text));
	assert_null(json_text(o, "missing", text, sizeof text));
	json_decref(o);
}

static void a_list_that_does_not_fit_is_cut(void **state)
{
	json_t *o = json_pack("{s:[s,s,s]}", "l", "aaaaaaaa", "bbbbbbbb", "cccccccc");
	char text[12];

	(void)state;
	assert_string_equal(json_text(o, "l", text, sizeof text), "aaaaaaaa,bb");
	json_decref(o);
}

static void sizes_and_spans_are_readable(void **state)
{
	char text[24];

	(void)state;
	assert_string_equal(size_text(text, sizeof text, 0), "0B");
	assert_string_equal(size_text(text, sizeof text, 1536), "1.5K");
	assert_string_equal(size_text(text, sizeof text, INT64_C(16) << 30), "16G");
	assert_string_equal(span_text(text, sizeof text, 59), "59s");
	assert_string_equal(span_text(text, sizeof text, 3725), "1h 2m");
	assert_string_equal(span_text(text, sizeof text, -1), "0s");
	assert_string_equal(span_text(text, sizeof text, 90000), "1d 1h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
	    cmocka_unit_test(what_a_terminal_would_obey_is_escaped),
	    cmocka_unit_test(a_long_cell_is_cut),
	    cmocka_unit_test(scalars_and_lists_become_text),
	    cmocka_unit_test(a_list_that_does_not_fit_is_cut),
	    cmocka_unit_test(sizes_and_spans_are_readable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
