#include "broker/core/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "broker/store/store.h"

static void percents_are_rounded_down_and_never_overflow(void **state)
{
	(void)state;
	assert_int_equal(space_percent(0, 0), 0);
	assert_int_equal(space_percent(1, 10), 10);
	assert_int_equal(space_percent(799, 1000), 79);
	assert_int_equal(space_percent(800, 1000), 80);
	assert_int_equal(space_percent(UINT64_MAX - 1, UINT64_MAX), 100);
	assert_int_equal(space_percent(UINT64_MAX / 2, UINT64_MAX), 50);
	assert_int_equal(space_percent(7, 5), 100);
}

static void each_mark_is_crossed_once(void **state)
{
	static const struct {
		unsigned percent, level;
	} walk[] = {{79, 0}, {80, 80}, {79, 80}, {77, 80}, {80, 80}, {76, 0}, {80, 80}, {90, 90},
	    {89, 90}, {87, 90}, {86, 80}, {91, 90}, {50, 0}, {95, 90}};
	unsigned level = 0;

	(void)state;
	for (size_t i = 0; i < sizeof walk / sizeof walk[0]; i++) {
		level = space_level(level, walk[i].percent);
		assert_int_equal(level, walk[i].level);
	}
}

static void status_names_what_is_nearly_full(void **state)
{
	struct store_usage u = {
	    .map_size = 1000, .map_used = 850, .disk_size = 1000, .disk_free = 50};
	json_t *w = space_warnings(&u);

	(void)state;
	assert_int_equal(json_array_size(w), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(w, 0), "level")), 80);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(w, 1), "level")), 90);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(w, 1), "percent")), 95);
	json_decref(w);
	u = (struct store_usage){
	    .map_size = 1000, .map_used = 799, .disk_size = 1000, .disk_free = 201};
	w = space_warnings(&u);
	assert_int_equal(json_array_size(w), 0);
	json_decref(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(percents_are_rounded_down_and_never_overflow),
	    cmocka_unit_test(each_mark_is_crossed_once),
	    cmocka_unit_test(status_names_what_is_nearly_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
