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
	    .tier = PLAN_TIER_OCI,
	    .runtime = "/usr/bin/crun",
	    .root = PLAN_ROOT_DIRECTORY,
	    .root_path = "/srv/roots/debian",
	    .limits = {1u << 30, 1u << 20, 128, 150, 50, 1, 2, 3, 4},
	    .tenant_limits = {.memory_bytes = UINT64_C(1) << 32, .pids = 1000},
	    .disk_bytes = 1u << 28,
	    .disk_inodes = 4096,
	    .open_files = 1024,
	    .root_user = true,
	    .credentials = true,
	    .seccomp = PLAN_SECCOMP_STRICT,
	    .watch = true,
	    .nprograms = 2,
	    .programs = {"/usr/bin/git", "/usr/bin/make"},
	    .nmounts = 1,
	    .mounts = {{"/srv/data", "/data"}},
	    .nrules = 2,
	    .rules = {{"/data/secret", PLAN_LANDLOCK_NONE}, {"/opt", PLAN_LANDLOCK_WRITE}},
	    .workspace_mode = PLAN_WORKSPACE_RO,
	    .workspace = "main",
	    .emulate = true,
	    .warm = 3};

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
	json_t *o = plan_pack(&p), *again;

	(void)state;
	memset(&out, 0, sizeof out);
	assert_int_equal(plan_parse(o, &out, NULL), 0);
	assert_memory_equal(&out, &p, sizeof p);
	json_decref(o);

	p.root = PLAN_ROOT_HOST;
	memset(p.root_path, 0, sizeof p.root_path);
	p.workspace_mode = PLAN_WORKSPACE_NONE;
	memset(p.workspace, 0, sizeof p.workspace);
	o = plan_pack(&p);
	assert_null(json_object_get(o, "root_path"));
	assert_null(json_object_get(o, "workspace"));
	assert_int_equal(plan_parse(o, &out, NULL), 0);
	again = plan_pack(&out);
	assert_true(json_equal(o, again));
	json_decref(again);
	json_decref(o);
}

static void knows_an_image_by_its_digest_alone(void **state)
{
	struct plan p = sample(), out;
	json_t *o;

	(void)state;
	p.root = PLAN_ROOT_IMAGE;
	*p.root_path = 0;
	memset(p.image, 'a', PLAN_IMAGE_HEX_LEN);
	o = plan_pack(&p);
	assert_int_equal(plan_parse(o, &out, NULL), 0);
	assert_int_equal(out.root, PLAN_ROOT_IMAGE);
	assert_string_equal(out.image, p.image);
	json_decref(o);
	memcpy(p.image, "../", 3);
	o = plan_pack(&p);
	assert_int_equal(plan_parse(o, &out, NULL), -EBADMSG);
	json_decref(o);
}

/* One entry of a list, or one field of an object. */
static int entry(const char *list, const char *text)
{
	return with(list, json_loads(text, 0, NULL));
}

static void refuses_what_the_lists_must_not_hold(void **state)
{
	(void)state;
	assert_int_equal(entry("mounts", "[]"), 0);
	assert_int_equal(entry("mounts", "[{\"source\":\"/a\",\"target\":\"/b\"}]"), 0);
	assert_int_equal(entry("mounts", "[{\"source\":\"a\",\"target\":\"/b\"}]"), -EBADMSG);
	assert_int_equal(entry("mounts", "[{\"source\":\"/a\",\"target\":\"/b/..\"}]"), -EBADMSG);
	assert_int_equal(entry("mounts", "[{\"source\":\"/a\"}]"), -EBADMSG);
	assert_int_equal(entry("programs", "[\"/bin/sh\"]"), 0);
	assert_int_equal(entry("programs", "[\"sh\"]"), -EBADMSG);
	assert_int_equal(entry("landlock", "[{\"path\":\"/a\",\"access\":\"none\"}]"), 0);
	assert_int_equal(entry("landlock", "[{\"path\":\"/a\",\"access\":\"all\"}]"), -EBADMSG);
	assert_int_equal(entry("workspace", "{\"name\":\"w\",\"mode\":\"rw\"}"), 0);
	assert_int_equal(entry("workspace", "{\"name\":\"w\",\"mode\":\"none\"}"), -EBADMSG);
	assert_int_equal(entry("workspace", "{\"name\":\"../w\",\"mode\":\"rw\"}"), -EBADMSG);
	assert_int_equal(entry("limits", "{\"memory\":1}"), -EBADMSG);
	assert_int_equal(with("tier", json_string("docker")), -EBADMSG);
	assert_int_equal(with("tier", json_string("namespaces")), -EBADMSG); /* with a runtime */
	assert_int_equal(with("runtime", json_string("crun")), -EBADMSG);
	assert_int_equal(with("seccomp", json_string("none")), -EBADMSG);
}

static void refuses_unknown_and_missing_fields(void **state)
{
	static const char *const fields[] = {"version", "tenant", "role", "template", "root",
	    "root_path", "limits", "tenant_limits", "disk_bytes", "disk_inodes", "open_files",
	    "credentials", "tier", "root_user", "seccomp", "watch", "programs", "mounts",
	    "landlock", "runtime", "emulate", "warm"};

	(void)state;
	assert_int_equal(with("cells", json_array()), -EBADMSG);
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
	assert_int_equal(entry("limits", "{\"pids\":4194304}"), 0);
	assert_int_equal(entry("limits", "{\"pids\":4194305}"), -EBADMSG);
	assert_int_equal(entry("limits", "{\"pids\":-1}"), -EBADMSG);
	assert_int_equal(entry("limits", "{\"memory_bytes\":1125899906842624}"), 0);
	assert_int_equal(entry("limits", "{\"memory_bytes\":1125899906842625}"), -EBADMSG);
	assert_int_equal(entry("tenant_limits", "{\"cpu_weight\":10001}"), -EBADMSG);
	assert_int_equal(with("disk_bytes", json_real(1.5)), -EBADMSG);
	assert_int_equal(with("open_files", json_integer((1 << 20) + 1)), -EBADMSG);
	assert_int_equal(with("credentials", json_integer(1)), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_it_writes),
	    cmocka_unit_test(knows_an_image_by_its_digest_alone),
	    cmocka_unit_test(refuses_what_the_lists_must_not_hold),
	    cmocka_unit_test(refuses_unknown_and_missing_fields),
	    cmocka_unit_test(refuses_another_version),
	    cmocka_unit_test(refuses_names_that_are_none),
	    cmocka_unit_test(refuses_paths_that_are_not_canonical),
	    cmocka_unit_test(refuses_a_path_without_a_directory_root),
	    cmocka_unit_test(refuses_limits_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
