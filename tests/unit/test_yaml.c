#include "lib/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

static struct yaml_doc *good(const char *text)
{
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;

	if (yaml_parse("f.yaml", text, strlen(text), &d, &e) < 0)
		fail_msg("%s", e.text);
	return d;
}

static void bad(const char *text, const char *want)
{
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(yaml_parse("f.yaml", text, strlen(text), &d, &e), -EINVAL);
	assert_null(d);
	if (!strstr(e.text, want))
		fail_msg("%s: got %s", want, e.text);
}

static void reads_mappings_sequences_and_scalars(void **state)
{
	cleanup_yaml struct yaml_doc *d = good("a: 1\n"
	                                       "b: [x, 'y', \"z\", ~, null, true, false, -5]\n"
	                                       "c:\n"
	                                       "  - d: text with spaces\n"
	                                       "    e: {f: g}\n"
	                                       "h: |\n"
	                                       "  two\n"
	                                       "  lines\n");
	json_auto_t *want =
	    json_pack("{s:i,s:[s,s,s,n,n,b,b,i],s:[{s:s,s:{s:s}}],s:s}", "a", 1, "b", "x", "y", "z",
	        1, 0, -5, "c", "d", "text with spaces", "e", "f", "g", "h", "two\nlines\n");

	(void)state;
	assert_non_null(want);
	assert_true(json_equal(yaml_root(d), want));
	assert_string_equal(yaml_name(d), "f.yaml");
}

static void scalars_have_one_meaning(void **state)
{
	static const struct {
		const char *text;
		json_type type;
	} cases[] = {{"5", JSON_INTEGER}, {"-5", JSON_INTEGER}, {"0", JSON_INTEGER},
	    {"-0", JSON_INTEGER}, {"9223372036854775807", JSON_INTEGER},
	    {"-9223372036854775808", JSON_INTEGER}, {"'5'", JSON_STRING}, {"\"true\"", JSON_STRING},
	    {"''", JSON_STRING}, {"0755", JSON_STRING}, {"0x1f", JSON_STRING}, {"1.5", JSON_STRING},
	    {"1e3", JSON_STRING}, {"+5", JSON_STRING}, {"5m", JSON_STRING}, {"yes", JSON_STRING},
	    {"no", JSON_STRING}, {"on", JSON_STRING}, {"True", JSON_STRING}, {"Null", JSON_STRING},
	    {"true", JSON_TRUE}, {"false", JSON_FALSE}, {"null", JSON_NULL}, {"~", JSON_NULL},
	    {"", JSON_NULL}, {"2001-01-01", JSON_STRING}, {"caf\xc3\xa9", JSON_STRING},
	    {"|\n  5\n", JSON_STRING}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[100];

		(void)snprintf(text, sizeof text, "k: %s\n", cases[i].text);
		cleanup_yaml struct yaml_doc *d = good(text);
		assert_int_equal(json_typeof(json_object_get(yaml_root(d), "k")), cases[i].type);
	}
}

static void an_empty_file_is_null(void **state)
{
	static const char *const texts[] = {"", "\n", "# only a comment\n", "---\n", "---\n...\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		cleanup_yaml struct yaml_doc *d = good(texts[i]);
		assert_true(json_is_null(yaml_root(d)));
	}
}

static void refuses_what_is_outside_the_subset(void **state)
{
	(void)state;
	bad("a: &x 1\n", "f.yaml:1: anchors");
	bad("a: 1\nb: *x\n", "f.yaml:2: aliases");
	bad("a: 1\nb: &x [1]\n", "f.yaml:2: anchors");
	bad("a: &x {b: 1}\n", "f.yaml:1: anchors");
	bad("a: !!str 1\n", "f.yaml:1: anchors and tags");
	bad("a: !x [1]\n", "tags");
	bad("a: ! x\n", "tags");
	bad("a: 1\n<<: {b: 1}\n", "f.yaml:2: merge");
	bad("a: 1\n---\nb: 1\n", "f.yaml:2: a second document");
	bad("%YAML 1.1\n---\na: 1\n", "directives");
	bad("%TAG ! tag:x,2000:\n---\na: 1\n", "directives");
	bad("[a, b]\n", "f.yaml:1: the file must be a mapping");
	bad("text\n", "the file must be a mapping");
	bad("? [a]\n: 1\n", "a key must be plain text");
	bad("{a: 1}: 2\n", "key");
	bad("'': 1\n", "an empty key");
	bad("\"a\\0b\": 1\n", "a key with a NUL");
	bad("a: \"b\\0c\"\n", "text with a NUL");
	bad("a: 9223372036854775808\n", "f.yaml:1: a number out of range");
	bad("a: -9223372036854775809\n", "out of range");
}

static void refuses_duplicate_keys_with_their_line(void **state)
{
	(void)state;
	bad("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key \"a\" is there twice");
	bad("x: {a: 1, a: 2}\n", "twice");
	bad("x:\n  - a: 1\n    \"a\": 2\n", "f.yaml:3");
}

static void refuses_malformed_text_with_its_line(void **state)
{
	(void)state;
	bad("a: 1\nb: [1, 2\n", "f.yaml:3:");
	bad("a: 'x\n", "f.yaml:");
	bad("a: 1\n\tb: 2\n", "f.yaml:2:");
	bad("a: \xff\n", "f.yaml:");
	bad("a: b: c\n", "f.yaml:1:");
	bad("a: \x01\n", "f.yaml:");
	bad("\xff\xfe"
	    "a: 1\n",
	    "f.yaml:");
}

static void refuses_utf16(void **state)
{
	static const char text[] = "\xff\xfe"
	                           "a\0:\0 \0"
	                           "1\0\n";
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(yaml_parse("f.yaml", text, sizeof text, &d, &e), -EINVAL);
}

/* "a: [[...]]" with n brackets on each side. */
static void nest(char *text, size_t n)
{
	memcpy(text, "a: ", 3);
	memset(text + 3, '[', n);
	memset(text + 3 + n, ']', n);
	text[3 + 2 * n] = '\0';
}

static void depth_has_its_limit(void **state)
{
	char text[100];

	(void)state;
	nest(text, YAML_DEPTH_MAX - 1);
	cleanup_yaml struct yaml_doc *d = good(text);
	nest(text, YAML_DEPTH_MAX);
	bad(text, "nested too deeply");
}

static void size_has_its_limit(void **state)
{
	char *text = malloc(YAML_SIZE_MAX + 1);
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', YAML_SIZE_MAX + 1);
	assert_int_equal(yaml_parse("f", text, YAML_SIZE_MAX + 1, &d, &e), -EFBIG);
	assert_int_equal(yaml_parse("f", text, YAML_SIZE_MAX, &d, &e), 0);
	yaml_free(d);
	free(text);
}

static void remembers_lines(void **state)
{
	cleanup_yaml struct yaml_doc *d = good("a: 1\n"
	                                       "\n"
	                                       "b:\n"
	                                       "  - x\n"
	                                       "  - y: 2\n"
	                                       "    z: 3\n");
	json_t *root = yaml_root(d), *b = json_object_get(root, "b"), *map = json_array_get(b, 1);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(yaml_line(d, root, "a", 0), 1);
	assert_int_equal(yaml_line(d, root, "b", 0), 4);
	assert_int_equal(yaml_line(d, b, NULL, 0), 4);
	assert_int_equal(yaml_line(d, b, NULL, 1), 5);
	assert_int_equal(yaml_line(d, map, "z", 0), 6);
	assert_int_equal(yaml_line(d, map, "none", 0), 0);
	assert_int_equal(yaml_line(d, b, NULL, 2), 0);
	assert_int_equal(yaml_fail(d, map, "z", 0, &e, -EINVAL, "is %d", 3), -EINVAL);
	assert_string_equal(e.text, "f.yaml:6: is 3");
	assert_int_equal(yaml_fail(d, NULL, NULL, 0, &e, -ENOENT, "no role"), -ENOENT);
	assert_string_equal(e.text, "f.yaml: no role");
}

static void strict_readers_take_only_their_kind(void **state)
{
	cleanup_yaml struct yaml_doc *d = good("s: text\n"
	                                       "i: 5\n"
	                                       "b: true\n"
	                                       "m: {}\n"
	                                       "l: []\n"
	                                       "t: 5m\n"
	                                       "z: 64K\n"
	                                       "n:\n");
	json_t *o = yaml_root(d), *node = NULL;
	struct err e = ERR_INIT;
	const char *s = NULL;
	int64_t i = 0, t = 0;
	uint64_t z = 0;
	bool b = false;

	(void)state;
	assert_int_equal(yaml_get_str(d, o, "s", &s, &e), 0);
	assert_string_equal(s, "text");
	assert_int_equal(yaml_get_int(d, o, "i", 5, 5, &i, &e), 0);
	assert_int_equal(i, 5);
	assert_int_equal(yaml_get_bool(d, o, "b", &b, &e), 0);
	assert_true(b);
	assert_int_equal(yaml_get_map(d, o, "m", &node, &e), 0);
	assert_int_equal(yaml_get_list(d, o, "l", &node, &e), 0);
	assert_int_equal(yaml_get_seconds(d, o, "t", &t, &e), 0);
	assert_int_equal(t, 300);
	assert_int_equal(yaml_get_seconds(d, o, "i", &t, &e), 0);
	assert_int_equal(t, 5);
	assert_int_equal(yaml_get_bytes(d, o, "z", &z, &e), 0);
	assert_int_equal(z, 65536);
	assert_int_equal(yaml_get_bytes(d, o, "i", &z, &e), 0);
	assert_int_equal(z, 5);
	/* absent: 1, and nothing is touched */
	assert_int_equal(yaml_get_str(d, o, "x", &s, &e), 1);
	assert_int_equal(yaml_get_int(d, o, "x", 0, 9, &i, &e), 1);
	assert_int_equal(yaml_get_bool(d, o, "x", &b, &e), 1);
	assert_int_equal(yaml_get_map(d, o, "x", &node, &e), 1);
	assert_int_equal(yaml_get_list(d, o, "x", &node, &e), 1);
	assert_int_equal(yaml_get_seconds(d, o, "x", &t, &e), 1);
	assert_int_equal(yaml_get_bytes(d, o, "x", &z, &e), 1);
	/* another kind, or nothing after the colon */
	assert_int_equal(yaml_get_str(d, o, "i", &s, &e), -EINVAL);
	assert_string_equal(
	    e.text, "f.yaml:2: i must be text (in quotes if it looks like a number)");
	assert_int_equal(yaml_get_int(d, o, "s", 0, 9, &i, &e), -EINVAL);
	assert_int_equal(yaml_get_int(d, o, "i", 6, 9, &i, &e), -EINVAL);
	assert_string_equal(e.text, "f.yaml:2: i must be from 6 to 9");
	assert_int_equal(yaml_get_int(d, o, "i", 0, 4, &i, &e), -EINVAL);
	assert_int_equal(yaml_get_bool(d, o, "i", &b, &e), -EINVAL);
	assert_int_equal(yaml_get_map(d, o, "l", &node, &e), -EINVAL);
	assert_int_equal(yaml_get_list(d, o, "m", &node, &e), -EINVAL);
	assert_int_equal(yaml_get_seconds(d, o, "s", &t, &e), -EINVAL);
	assert_int_equal(yaml_get_seconds(d, o, "l", &t, &e), -EINVAL);
	assert_int_equal(yaml_get_bytes(d, o, "t", &z, &e), -EINVAL);
	assert_int_equal(yaml_get_str(d, o, "n", &s, &e), -EINVAL);
	assert_int_equal(yaml_get_list(d, o, "n", &node, &e), -EINVAL);
	assert_true(t == 5 && z == 5 && i == 5);
}

static void an_unknown_key_is_named_with_its_line_and_neighbour(void **state)
{
	static const char *const allowed[] = {"template", "roles", "memory", NULL};
	cleanup_yaml struct yaml_doc *d = good("roles: 1\ntemplte:\n  x: 1\n");
	cleanup_yaml struct yaml_doc *far = good("zzzzzzzz: 1\n");
	cleanup_yaml struct yaml_doc *fine = good("roles: 1\nmemory: 1\n");
	cleanup_yaml struct yaml_doc *odd = good("\"\\e[2J\": 1\n");
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(yaml_check_keys(fine, yaml_root(fine), allowed, &e), 0);
	assert_int_equal(yaml_check_keys(d, yaml_root(d), allowed, &e), -EINVAL);
	assert_string_equal(
	    e.text, "f.yaml:2: unknown key \"templte\" (did you mean \"template\"?)");
	assert_int_equal(yaml_check_keys(far, yaml_root(far), allowed, &e), -EINVAL);
	assert_string_equal(e.text, "f.yaml:1: unknown key \"zzzzzzzz\"");
	assert_int_equal(yaml_check_keys(odd, yaml_root(odd), allowed, &e), -EINVAL);
	assert_null(strchr(e.text, '\033'));
}

static void a_key_of_any_length_is_compared_safely(void **state)
{
	static const char *const allowed[] = {"template",
	    "a-very-long-key-that-nobody-would-write-in-a-file-of-ours-but-still", NULL};
	struct err e = ERR_INIT;
	char text[400];

	(void)state;
	for (int n = 1; n < 300; n++) {
		memset(text, 'a', sizeof text);
		memcpy(text + n, ": 1\n", 5);
		cleanup_yaml struct yaml_doc *d = good(text);
		assert_int_equal(yaml_check_keys(d, yaml_root(d), allowed, &e), -EINVAL);
	}
}

static void loads_files(void **state)
{
	char dir_name[] = "/tmp/postern-yaml-XXXXXX";
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(mkdtemp(dir_name));
	cleanup_close int dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fd_write_file(dir, "f.yaml", "a: 1\nb\n", 7, 0600, &e), 0);
	assert_int_equal(yaml_load(dir, "f.yaml", &d, &e), -EINVAL);
	assert_memory_equal(e.text, "f.yaml:", 7);
	assert_int_equal(fd_write_file(dir, "f.yaml", "", 0, 0600, &e), 0);
	assert_int_equal(yaml_load(dir, "f.yaml", &d, &e), 0);
	yaml_free(d);
	/* what reads a file by itself has an empty buffer then, without memory */
	assert_int_equal(yaml_parse("f.yaml", NULL, 0, &d, &e), 0);
	assert_true(json_is_null(yaml_root(d)));
	yaml_free(d);
	yaml_free(NULL);
	cleanup_close int fd = openat(dir, "f.yaml", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, YAML_SIZE_MAX + 1), 0);
	assert_int_equal(yaml_load(dir, "f.yaml", &d, &e), -EFBIG);
	assert_int_equal(yaml_load(dir, "none.yaml", &d, &e), -ENOENT);
	assert_int_equal(unlinkat(dir, "f.yaml", 0), 0);
	assert_int_equal(rmdir(dir_name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_mappings_sequences_and_scalars),
	    cmocka_unit_test(scalars_have_one_meaning),
	    cmocka_unit_test(an_empty_file_is_null),
	    cmocka_unit_test(refuses_what_is_outside_the_subset),
	    cmocka_unit_test(refuses_duplicate_keys_with_their_line),
	    cmocka_unit_test(refuses_malformed_text_with_its_line),
	    cmocka_unit_test(refuses_utf16),
	    cmocka_unit_test(depth_has_its_limit),
	    cmocka_unit_test(size_has_its_limit),
	    cmocka_unit_test(remembers_lines),
	    cmocka_unit_test(strict_readers_take_only_their_kind),
	    cmocka_unit_test(an_unknown_key_is_named_with_its_line_and_neighbour),
	    cmocka_unit_test(a_key_of_any_length_is_compared_safely),
	    cmocka_unit_test(loads_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
