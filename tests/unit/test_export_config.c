#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include "broker/core/config.h"
#include "lib/err.h"
#include "lib/util.h"
#include "tests/support/config_dir.h"

/*
 * Where a host's logs go. What is wrong is refused with the rest of the configuration: a sink that
 * is only half there would be a hole in what leaves the host.
 */

#define ONE  "witness.example.com+bc070de6+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
#define TWO  "two.example.com+c49fcb5f+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
#define SAME "other.example.com+4a40c646+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
#define LOG  "log.example.com+04603546+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"

#define W(key) "{key: \"" key "\", url: \"https://w.example.com/\"}"

static void without_keys_nothing_goes_anywhere(void **state)
{
	struct config *c = config_dir_accepted(*state);

	assert_int_equal(c->export.nsinks, 0);
	assert_int_equal(c->export.nwitnesses, 0);
	assert_int_equal(c->export.quorum, 0);
	assert_false(c->export.archive);
	config_free(c);
}

static void reads_sinks_witnesses_and_the_archive(void **state)
{
	const struct config_dir *f = *state;
	const struct export_sink *s;
	struct config *c;

	config_dir_put(f, "postern.yaml",
	    "export:\n"
	    "  - {name: siem, kind: syslog, to: \"siem.example.com:6514\", ca: siem-ca.pem,\n"
	    "     cert: me.pem, key: /etc/ssl/private/me.key, logs: [host, demo], personal: true}\n"
	    "  - {name: otel, kind: otlp, url: \"https://otel.example.com/v1/logs\",\n"
	    "     headers: secrets/otel.headers}\n"
	    "  - {name: lake, kind: jsonl, file: lake}\n"
	    "  - {name: pond, kind: jsonl}\n"
	    "witnesses:\n"
	    "  quorum: 2\n"
	    "  list:\n"
	    "    - " W(ONE) "\n"
	                    "    - {key: \"" TWO "\", url: \"http://127.0.0.1:8080\"}\n"
	                    "archive: {size: 64M, age: 12h, keep: 30d}\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->export.nsinks, 4);
	s = export_config_sink(&c->export, "siem");
	assert_non_null(s);
	assert_int_equal(s->kind, EXPORT_SYSLOG);
	assert_string_equal(s->to, "siem.example.com:6514");
	assert_string_equal(s->key, "/etc/ssl/private/me.key");
	assert_true(s->personal);
	assert_true(export_sink_wants(s, "demo"));
	assert_false(export_sink_wants(s, "other"));
	s = export_config_sink(&c->export, "otel");
	assert_string_equal(s->url, "https://otel.example.com/v1/logs");
	assert_string_equal(s->headers, "secrets/otel.headers");
	assert_false(s->personal);
	assert_true(export_sink_wants(s, "other"));
	assert_string_equal(export_config_sink(&c->export, "pond")->file, "pond");
	assert_null(export_config_sink(&c->export, "archive"));
	assert_int_equal(c->export.nwitnesses, 2);
	assert_int_equal(c->export.quorum, 2);
	assert_string_equal(c->export.witnesses[0].url, "https://w.example.com");
	assert_ptr_equal(
	    export_config_witness(&c->export, "two.example.com"), &c->export.witnesses[1]);
	assert_true(c->export.archive);
	assert_int_equal(c->export.archive_bytes, 64 << 20);
	assert_int_equal(c->export.archive_age_s, 12 * 3600);
	assert_int_equal(c->export.archive_keep_s, 30 * 86400);
	config_free(c);
}

static void a_quorum_is_more_than_half_unless_said(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_put(f, "postern.yaml", "witnesses: {list: [" W(ONE) ", " W(TWO) "]}\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->export.quorum, 2);
	config_free(c);
	config_dir_put(f, "postern.yaml", "witnesses: {list: [" W(ONE) "]}\narchive: {}\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->export.quorum, 1);
	assert_int_equal(c->export.archive_bytes, 1 << 30);
	assert_int_equal(c->export.archive_age_s, 86400);
	assert_int_equal(c->export.archive_keep_s, 0);
	config_free(c);
}

static void refuses_sinks_that_are_none(void **state)
{
	static const char *const bad[][2] = {
	    {"{kind: syslog, to: \"h:1\"}", "needs a name"},
	    {"{name: archive, kind: jsonl}", "not archive"},
	    {"{name: A, kind: jsonl}", "export.name"},
	    {"{name: a}", "no kind"},
	    {"{name: a, kind: kafka}", "export.kind"},
	    {"{name: a, kind: syslog}", "no to"},
	    {"{name: a, kind: syslog, to: siem}", "HOST:PORT"},
	    {"{name: a, kind: syslog, to: \"siem:0\"}", "HOST:PORT"},
	    {"{name: a, kind: syslog, to: \"siem:65536\"}", "HOST:PORT"},
	    {"{name: a, kind: syslog, to: \"[::g]:1\"}", "HOST:PORT"},
	    {"{name: a, kind: syslog, to: \"h:1\", url: x}", "url"},
	    {"{name: a, kind: syslog, to: \"h:1\", cert: c}", "go together"},
	    {"{name: a, kind: syslog, to: \"h:1\", key: c}", "go together"},
	    {"{name: a, kind: syslog, to: \"h:1\", ca: ../x}", "plain path"},
	    {"{name: a, kind: syslog, to: \"h:1\", ca: x/../../y}", "plain path"},
	    {"{name: a, kind: syslog, to: \"h:1\", ca: /root/x}", "below /etc"},
	    {"{name: a, kind: syslog, to: \"h:1\", ca: /etc/../root/x}", "plain path"},
	    {"{name: a, kind: otlp}", "no url"},
	    {"{name: a, kind: otlp, url: \"ftp://h/\"}", "begin with"},
	    {"{name: a, kind: otlp, url: \"http://h.example.com/\"}", "loopback"},
	    {"{name: a, kind: otlp, url: \"http://127.0.0.1.evil.com/\"}", "loopback"},
	    {"{name: a, kind: otlp, url: \"https://me:secret@h/\"}", "url"},
	    {"{name: a, kind: otlp, url: \"https:///x\"}", "url"},
	    {"{name: a, kind: otlp, url: \"https://h:99999/x\"}", "port"},
	    {"{name: a, kind: otlp, url: \"https://h:/x\"}", "port"},
	    {"{name: a, kind: otlp, url: \"https://h/x#y\"}", "url"},
	    {"{name: a, kind: jsonl, file: a/b}", "plain name"},
	    {"{name: a, kind: jsonl, file: .a}", "plain name"},
	    {"{name: a, kind: jsonl, logs: []}", "logs"},
	    {"{name: a, kind: jsonl, logs: [ca]}", "logs"},
	    {"{name: a, kind: jsonl, logs: [host, host]}", "twice"},
	    {"{name: a, kind: jsonl, personal: 1}", "personal"},
	    {"{name: a, kind: jsonl}, {name: a, kind: jsonl, file: b}", "two a"},
	    {"{name: a, kind: jsonl}, {name: b, kind: jsonl, file: a}", "two sinks"},
	    {"x", "mappings"},
	};
	const struct config_dir *f = *state;
	char text[600];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		(void)snprintf(text, sizeof text, "export: [%s]\n", bad[i][0]);
		config_dir_put(f, "postern.yaml", text);
		config_dir_refused(f, "postern.yaml:1", bad[i][1]);
	}
	config_dir_put(f, "postern.yaml", "export: {name: a}\n");
	config_dir_refused(f, "postern.yaml:1", "export");
}

static void http_goes_to_loopback_addresses(void **state)
{
	static const char *const good[] = {
	    "http://127.0.0.1:4318/v1/logs", "http://[::1]/x", "http://localhost:1/x"};
	const struct config_dir *f = *state;
	char text[300];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		(void)snprintf(
		    text, sizeof text, "export: [{name: a, kind: otlp, url: \"%s\"}]\n", good[i]);
		config_dir_put(f, "postern.yaml", text);
		config_free(config_dir_accepted(f));
	}
}

static void refuses_witnesses_that_are_none(void **state)
{
	static const char *const bad[][2] = {
	    {"{quorum: 1}", "cannot be"},
	    {"{quorum: 2, list: [" W(ONE) "]}", "cannot be"},
	    {"{conflict: ignore, list: [" W(ONE) "]}", "must be refuse or warn"},
	    {"{quorum: 0, list: [" W(ONE) "]}", "quorum"},
	    {"{list: [" W(LOG) "]}", "type 4"},
	    {"{list: [" W(ONE) ", " W(ONE) "]}", "twice"},
	    {"{list: [" W(ONE) ", " W(SAME) "]}", "twice"},
	    {"{list: [" W(
	         "witness.example.com+bc070de7+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c") "]}",
	        "witnesses.list.key"},
	    {"{list: [{url: \"https://w\"}]}", "no key"},
	    {"{list: [{key: \"" ONE "\"}]}", "no url"},
	    {"{list: [{key: \"" ONE "\", url: \"https://w/?x\"}]}", "url"},
	    {"{list: [{key: \"" ONE "\", url: \"https://w/\", quorum: 1}]}", "quorum"},
	    {"[a]", "witnesses"},
	};
	const struct config_dir *f = *state;
	char text[600];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		(void)snprintf(text, sizeof text, "witnesses: %s\n", bad[i][0]);
		config_dir_put(f, "postern.yaml", text);
		config_dir_refused(f, "postern.yaml:1", bad[i][1]);
	}
}

static void refuses_archives_that_are_none(void **state)
{
	static const char *const bad[] = {
	    "{size: 1K}", "{size: 65G}", "{age: 0}", "{keep: never}", "{drop: 1d}", "true"};
	const struct config_dir *f = *state;
	char text[100];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		(void)snprintf(text, sizeof text, "archive: %s\n", bad[i]);
		config_dir_put(f, "postern.yaml", text);
		config_dir_refused(f, "postern.yaml:1", "");
	}
}

static void a_key_is_not_open_to_others(void **state)
{
	const struct config_dir *f = *state;
	struct export_sink s = {.name = "a", .ca = "ca.pem", .cert = "me.pem", .key = "me.key"};
	struct err e = ERR_INIT;

	assert_int_equal(export_config_files(f->fd, &s, 0, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "ca.pem"));
	config_dir_put(f, "ca.pem", "x");
	config_dir_put(f, "me.pem", "x");
	config_dir_put(f, "me.key", "x");
	assert_int_equal(fchmodat(f->fd, "ca.pem", 0644, 0), 0);
	assert_int_equal(export_config_files(f->fd, &s, 0, NULL), 0);
	assert_int_equal(fchmodat(f->fd, "me.key", 0640, 0), 0);
	assert_int_equal(export_config_files(f->fd, &s, 0, NULL), 0);
	assert_int_equal(fchmodat(f->fd, "me.pem", 0644, 0), 0);
	assert_int_equal(export_config_files(f->fd, &s, 987654, &e), -EPERM);
	assert_non_null(strstr(err_text(&e), "me.key"));
	assert_int_equal(export_config_files(f->fd, &s, getuid() ? getuid() : 0, NULL), 0);
	assert_int_equal(fchmodat(f->fd, "me.key", 0604, 0), 0);
	assert_int_equal(export_config_files(f->fd, &s, 0, &e), -EACCES);
	assert_non_null(strstr(err_text(&e), "me.key"));
	assert_int_equal(unlinkat(f->fd, "me.key", 0), 0);
	assert_int_equal(mkdirat(f->fd, "me.key", 0700), 0);
	assert_int_equal(export_config_files(f->fd, &s, 0, NULL), -EINVAL);
	assert_int_equal(unlinkat(f->fd, "me.key", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("ca.pem", f->fd, "me.key"), 0);
	assert_true(export_config_files(f->fd, &s, 0, NULL) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, config_dir_setup, config_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(without_keys_nothing_goes_anywhere),
	    TEST(reads_sinks_witnesses_and_the_archive),
	    TEST(a_quorum_is_more_than_half_unless_said),
	    TEST(refuses_sinks_that_are_none),
	    TEST(http_goes_to_loopback_addresses),
	    TEST(refuses_witnesses_that_are_none),
	    TEST(refuses_archives_that_are_none),
	    TEST(a_key_is_not_open_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
