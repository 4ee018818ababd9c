#include "tests/support/archive_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/audit/record_store.h"
#include "broker/audit/segment_file.h"
#include "broker/audit/tree.h"
#include "broker/core/archive.h"
#include "broker/core/export_config.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"

static const struct export_config *config(void *arg)
{
	return &((struct ar *)arg)->config;
}

static uint64_t witnessed(void *arg, const char *log)
{
	const struct ar *f = arg;

	return strcmp(log, "demo") == 0 ? f->witnessed : 0;
}

static int ask(void *arg, json_t *body, uint64_t *ret_id)
{
	struct ar *f = arg;

	json_decref(f->asked);
	f->asked = body;
	*ret_id = ++f->id;
	f->questions++;
	return 0;
}

static void start(struct ar *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct archive_env env = {
	    .loop = f->loop, .config = config, .ask = ask, .witnessed = witnessed, .arg = f};
	struct record_options o;
	struct err e = ERR_INIT;

	record_options_default(&o);
	o.rate = o.critical_rate = 0;
	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    record_store_open(f->store, f->loop, &o, &f->log, &e) < 0)
		fail_msg("%s", err_text(&e));
	env.store = f->store;
	env.log = f->log;
	f->archive = archive_new(&env);
	assert_non_null(f->archive);
}

static int setup_map(void **state, uint64_t map)
{
	struct ar *f = calloc(1, sizeof *f);

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/archive-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	f->config =
	    (struct export_config){.archive = true, .archive_bytes = 65536, .archive_age_s = 86400};
	start(f, map);
	*state = f;
	return 0;
}

int ar_setup(void **state)
{
	return setup_map(state, 0);
}

int ar_setup_small(void **state)
{
	return setup_map(state, UINT64_C(4) << 20);
}

int ar_teardown(void **state)
{
	struct ar *f = *state;

	clock_override(0);
	archive_free(f->archive);
	f->log->ops->free(f->log);
	store_close(f->store);
	loop_free(f->loop);
	json_decref(f->asked);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void on_end(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

void ar_run(struct ar *f, int64_t ms)
{
	struct loop_source *s = loop_timer(f->loop, ms * 1000000, on_end, NULL);

	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(s);
}

void ar_append(struct ar *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(record_append(f->log, "one", "demo", NULL,
		                     json_pack("{s:i}", "i", (int)i), false, NULL, NULL),
		    0);
		if (i % 500 == 499)
			assert_int_equal(f->log->ops->flush(f->log), 0);
	}
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

uint64_t ar_size_of(struct ar *f)
{
	struct log_head h;

	assert_int_equal(logs_head(f->store, AR_LOG, &h, NULL), 0);
	return h.seq;
}

void ar_sealed(struct ar *f, uint64_t size)
{
	static const char note[] = "origin\n1\nAA==\n\n\xe2\x80\x94 x AAAAAAAA\n";

	assert_int_equal(logs_checkpoint_put(f->store, AR_LOG, size, note, sizeof note - 1), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

void ar_look(struct ar *f)
{
	archive_linked(f->archive);
	ar_run(f, 20);
}

uint64_t ar_asked(struct ar *f, const char *what)
{
	return (uint64_t)json_integer_value(json_object_get(f->asked, what));
}

/* The exporter says that it wrote what was asked for. */
/* What the status says of one: a string, new. */
static char *status(struct ar *f, const char *key, bool of_log)
{
	json_auto_t *o = archive_status(f->archive);
	json_t *from = of_log ? json_array_get(json_object_get(o, "logs"), 0) : o;
	const char *text = json_string_value(json_object_get(from, key));

	assert_non_null(text);
	return strdup(text);
}

void ar_assert_status(struct ar *f, const char *key, bool of_log, const char *text)
{
	char *got = status(f, key, of_log);

	if (*text ? strstr(got, text) == NULL : *got != '\0')
		fail_msg("%s is \"%s\", not \"%s\"", key, got, text);
	free(got);
}

void ar_written(struct ar *f, bool truly)
{
	struct msg m = {.type = msg_type_find("archive.written"), .id = f->id};
	uint8_t root[DIGEST_LEN];
	char file[SEGMENT_NAME_MAX];

	assert_int_equal(segment_name("demo", ar_asked(f, "from"), ar_asked(f, "to"), file), 0);
	assert_int_equal(tree_root(f->store, AR_LOG, ar_asked(f, "to"), root, NULL), 0);
	root[0] ^= (uint8_t)!truly;
	m.body = json_pack("{s:s, s:I, s:I, s:s, s:i, s:o, s:o}", "log", "demo", "from",
	    (json_int_t)ar_asked(f, "from"), "to", (json_int_t)ar_asked(f, "to"), "file", file,
	    "bytes", 100000, "digest", msg_json_bytes(root, DIGEST_LEN), "root",
	    msg_json_bytes(root, DIGEST_LEN));
	assert_true(archive_answer(f->archive, &m));
	json_decref(m.body);
	ar_run(f, 300);
}

struct log_edge ar_edge(struct ar *f)
{
	struct log_edge g;

	assert_int_equal(log_edge_get(f->store, AR_LOG, &g, NULL), 0);
	return g;
}

struct find {
	const char *text;
	unsigned n;
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct find *k = arg;

	(void)seq;
	k->n += memmem(data, len, k->text, strlen(k->text)) != NULL;
	return 0;
}

unsigned ar_recorded(struct ar *f, const char *class_name)
{
	char text[64];
	struct find k = {text, 0};

	(void)snprintf(text, sizeof text, "\"class\":\"%s\"", class_name);
	assert_true(logs_walk(f->store, AR_LOG, ar_size_of(f) > 4000 ? ar_size_of(f) - 4000 : 1,
	                4096, on_record, &k) >= 0);
	return k.n;
}
