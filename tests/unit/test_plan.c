#include "broker/spawn/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/err.h"

static struct plan sample(void)
{
	struct plan p = {.tenant = "demo",
	    .role = "agent",
	    .template_name = "default",
	    .root = PLAN_ROOT_DIRECTORY,
	    .root_path = "/srv/roots/debian",
	    .memory_bytes = 1u << 30,
	    .pids = 128,
	    .cpu_percent = 150,
	    .disk_bytes = 1u << 28,
	    .disk_inodes = 4096,
	    .open_files = 1024,
	    .credentials = true};

	return p;
}

/* -EBADMSG for the sample with one field replaced (value NULL: removed). */
static int with(const char *key, json_t *value)
{
	struct plan p = sample(), out;
	struct err e = ERR_INIT;
	json_t *o = plan_pack(&p);
	int r;

	if (value)
		assert_int_equal(json_object_set_new(o, key, value), 0);
	else
		assert_int_equal(json_object_del(o, key), 0);
	r = plan_parse(o, &out, &e);
	if (r < 0)
		assert_true(strlen(err_text(&e)) > 0);
	json_decref(o);
	return r;
}

static void reads_what_it_writes(void **state)
{
	struct plan p = sample(), out;
	json_t *o = plan_pack(&p);

	(void)state;
	memset(&out, 0, sizeof out);
	assert_int_equal(plan_parse(o, &out, NULL), 0);
	assert_string_equal(out.tenant, p.tenant);
	assert_string_equal(out.role, p.role);
	assert_string_equal(out.template_name, p.template_name);
	assert_int_equal(out.root, PLAN_ROOT_DIRECTORY);
	assert_string_equal(out.root_path, p.root_path);
	assert_int_equal(out.memory_bytes, p.memory_bytes);
	assert_int_equal(out.pids, p.pids);
	assert_int_equal(out.cpu_percent, p.cpu_percent);
	assert_int_equal(out.disk_bytes, p.disk_bytes);
	assert_int_equal(out.disk_inodes, p.disk_inodes);
	assert_int_equal(out.open_files, p.open_files);
	assert_true(out.credentials);
	json_decref(o);

	p.root = PLAN_ROOT_HOST;
	o = plan_pack(&p);
	assert_null(json_object_get(o, "root_path"));
	assert_int_equal(plan_parse(o, &out, NULL), 0);
	assert_int_equal(out.root, PLAN_ROOT_HOST);
	assert_string_equal(out.root_path, "");
	json_decref(o);
}

static void refuses_unknown_and_missing_fields(void **state)
{
	static const char *const fields[] = {"version", "tenant", "role", "template", "root",
	    "root_path", "memory_bytes", "pids", "cpu_percent", "disk_bytes", "disk_inodes",
	    "open_files", "credentials"};

	(void)state;
	assert_int_equal(with("mounts", json_array()), -EBADMSG);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		assert_int_equal(with(fields[i], NULL), -EBADMSG);
}

static void refuses_another_version(void **state)
{
	(void)state;
	assert_int_equal(with("version", json_integer(0)), -EBADMSG);
	assert_int_equal(with("version", json_integer(PLAN_VERSION)), 0);
	assert_int_equal(with("version", json_integer(PLAN_VERSION + 1)), -EBADMSG);
}

static void refuses_names_that_are_none(void **state)
{
	static const char *const bad[] = {"", "../x", "a+b", "Root", "root", "ca", "a/b", "a b"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(with("tenant", json_string(bad[i])), -EBADMSG);
		assert_int_equal(with("role", json_string(bad[i])), -EBADMSG);
		assert_int_equal(with("template", json_string(bad[i])), -EBADMSG);
	}
}

static void refuses_paths_that_are_not_canonical(void **state)
{
	static const char *const bad[] = {"", "/", "srv", "./srv", "/srv/", "//srv", "/srv//x",
	    "/srv/.", "/srv/./x", "/srv/..", "/srv/../x", "/..", "/srv\n"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(with("root_path", json_string(bad[i])), -EBADMSG);
	assert_int_equal(with("root_path", json_string("/srv/..x")), 0);
	assert_int_equal(with("root_path", json_string("/srv/.x")), 0);
}

static void refuses_a_path_without_a_directory_root(void **state)
{
	(void)state;
	assert_int_equal(with("root", json_string("host")), -EBADMSG);
	assert_int_equal(with("root", json_string("image")), -EBADMSG);
}

static void refuses_limits_out_of_range(void **state)
{
	(void)state;
	assert_int_equal(with("pids", json_integer(1 << 22)), 0);
	assert_int_equal(with("pids", json_integer((1 << 22) + 1)), -EBADMSG);
	assert_int_equal(with("pids", json_integer(-1)), -EBADMSG);
	assert_int_equal(with("memory_bytes", json_integer(INT64_C(1) << 50)), 0);
	assert_int_equal(with("memory_bytes", json_integer((INT64_C(1) << 50) + 1)), -EBADMSG);
	assert_int_equal(with("disk_bytes", json_real(1.5)), -EBADMSG);
	assert_int_equal(with("open_files", json_integer((1 << 20) + 1)), -EBADMSG);
	assert_int_equal(with("credentials", json_integer(1)), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_it_writes),
	    cmocka_unit_test(refuses_unknown_and_missing_fields),
	    cmocka_unit_test(refuses_another_version),
	    cmocka_unit_test(refuses_names_that_are_none),
	    cmocka_unit_test(refuses_paths_that_are_not_canonical),
	    cmocka_unit_test(refuses_a_path_without_a_directory_root),
	    cmocka_unit_test(refuses_limits_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
