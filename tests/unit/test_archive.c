#include "broker/core/archive.h"

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
#include "broker/core/export_config.h"
#include "broker/store/live.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"

/*
 * When segments are asked for, and what may leave the store: with a real store and log, and an
 * exporter that answers what it is told to.
 */

#define LOG 1 /* demo */

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	struct export_config config;
	struct archive *archive;
	json_t *asked; /* the newest question */
	uint64_t id;
	unsigned questions;
};

static const struct export_config *config(void *arg)
{
	return &((struct fix *)arg)->config;
}

static int ask(void *arg, json_t *body, uint64_t *ret_id)
{
	struct fix *f = arg;

	json_decref(f->asked);
	f->asked = body;
	*ret_id = ++f->id;
	f->questions++;
	return 0;
}

static void start(struct fix *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct archive_env env = {.loop = f->loop, .config = config, .ask = ask, .arg = f};
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
	struct fix *f = calloc(1, sizeof *f);

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

static int setup(void **state)
{
	return setup_map(state, 0);
}

static int setup_small(void **state)
{
	return setup_map(state, UINT64_C(4) << 20);
}

static int teardown(void **state)
{
	struct fix *f = *state;

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

static void run(struct fix *f, int64_t ms)
{
	struct loop_source *s = loop_timer(f->loop, ms * 1000000, on_end, NULL);

	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(s);
}

static void append(struct fix *f, size_t n)
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

static uint64_t size_of(struct fix *f)
{
	struct log_head h;

	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	return h.seq;
}

static void sealed(struct fix *f, uint64_t size)
{
	static const char note[] = "origin\n1\nAA==\n\n\xe2\x80\x94 x AAAAAAAA\n";

	assert_int_equal(logs_checkpoint_put(f->store, LOG, size, note, sizeof note - 1), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void look(struct fix *f)
{
	archive_linked(f->archive);
	run(f, 20);
}

static uint64_t asked(struct fix *f, const char *what)
{
	return (uint64_t)json_integer_value(json_object_get(f->asked, what));
}

/* The exporter says that it wrote what was asked for. */
/* What the status says of one: a string, new. */
static char *status(struct fix *f, const char *key, bool of_log)
{
	json_auto_t *o = archive_status(f->archive);
	json_t *from = of_log ? json_array_get(json_object_get(o, "logs"), 0) : o;
	const char *text = json_string_value(json_object_get(from, key));

	assert_non_null(text);
	return strdup(text);
}

static void assert_status(struct fix *f, const char *key, bool of_log, const char *text)
{
	char *got = status(f, key, of_log);

	if (*text ? strstr(got, text) == NULL : *got != '\0')
		fail_msg("%s is \"%s\", not \"%s\"", key, got, text);
	free(got);
}

static void written(struct fix *f, bool truly)
{
	struct msg m = {.type = msg_type_find("archive.written"), .id = f->id};
	uint8_t root[DIGEST_LEN];
	char file[SEGMENT_NAME_MAX];

	assert_int_equal(segment_name("demo", asked(f, "from"), asked(f, "to"), file), 0);
	assert_int_equal(tree_root(f->store, LOG, asked(f, "to"), root, NULL), 0);
	root[0] ^= (uint8_t)!truly;
	m.body = json_pack("{s:s, s:I, s:I, s:s, s:i, s:o, s:o}", "log", "demo", "from",
	    (json_int_t)asked(f, "from"), "to", (json_int_t)asked(f, "to"), "file", file, "bytes",
	    100000, "digest", msg_json_bytes(root, DIGEST_LEN), "root",
	    msg_json_bytes(root, DIGEST_LEN));
	assert_true(archive_answer(f->archive, &m));
	json_decref(m.body);
	run(f, 300);
}

static struct log_edge edge(struct fix *f)
{
	struct log_edge g;

	assert_int_equal(log_edge_get(f->store, LOG, &g, NULL), 0);
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

static unsigned recorded(struct fix *f, const char *class_name)
{
	char text[64];
	struct find k = {text, 0};

	(void)snprintf(text, sizeof text, "\"class\":\"%s\"", class_name);
	assert_true(logs_walk(f->store, LOG, size_of(f) > 4000 ? size_of(f) - 4000 : 1, 4096,
	                on_record, &k) >= 0);
	return k.n;
}

/* ---- cuts ---- */

static void asks_when_there_is_enough_and_a_checkpoint(void **state)
{
	struct fix *f = *state;

	append(f, 20);
	sealed(f, 20);
	look(f);
	assert_int_equal(f->questions, 0); /* too little */
	append(f, 600);
	look(f);
	assert_int_equal(f->questions, 1); /* what is behind the checkpoint stays */
	assert_int_equal(asked(f, "to"), 20);
	archive_lost(f->archive);
	sealed(f, 300);
	look(f);
	assert_int_equal(asked(f, "from"), 1);
	assert_int_equal(asked(f, "to"), 300);
	assert_null(json_object_get(f->asked, "edge"));
	assert_string_equal(json_string_value(json_object_get(f->asked, "log")), "demo");
}

static void asks_for_what_is_old(void **state)
{
	struct fix *f = *state;

	append(f, 20);
	sealed(f, 20);
	look(f);
	assert_int_equal(f->questions, 0);
	clock_override(INT64_C(86401) * NSEC_PER_SEC);
	look(f);
	assert_int_equal(f->questions, 1);
	assert_int_equal(asked(f, "to"), 20);
}

static void what_is_much_is_cut_in_pieces(void **state)
{
	struct fix *f = *state;

	append(f, 3000);
	for (uint64_t size = 100; size <= 3000; size += 100)
		sealed(f, size);
	look(f);
	assert_true(asked(f, "to") >= 100 && asked(f, "to") <= 600);
	written(f, true);
	assert_int_equal(f->questions, 2);
	assert_int_equal(asked(f, "from"), edge(f).to + 1);
	assert_non_null(json_object_get(f->asked, "edge"));
}

static void a_lie_about_the_tree_drops_nothing(void **state)
{
	struct fix *f = *state;

	append(f, 600);
	sealed(f, 600);
	look(f);
	written(f, false);
	assert_int_equal(edge(f).to, 0);
	assert_int_equal(recorded(f, "log.archived"), 0);
	assert_int_equal(recorded(f, "log.unarchived"), 1);
	assert_int_equal(f->questions, 1); /* not at once again */
}

static void a_failure_is_told_once_and_tried_again(void **state)
{
	struct msg m = {.type = msg_type_find("archive.failed")};
	struct fix *f = *state;

	append(f, 600);
	sealed(f, 600);
	m.body = json_pack("{s:s, s:s}", "log", "demo", "reason", "No space left on device");
	for (int i = 0; i < 3; i++) {
		look(f); /* a new link does not wait */
		m.id = f->id;
		assert_true(archive_answer(f->archive, &m));
		assert_false(archive_answer(f->archive, &m)); /* it is not asked any more */
		run(f, 20);
	}
	json_decref(m.body);
	assert_int_equal(f->questions, 3);
	assert_int_equal(recorded(f, "log.unarchived"), 1);
	assert_status(f, "failed", false, "No space left");
	look(f);
	written(f, true);
	assert_status(f, "failed", false, "");
	assert_int_equal(edge(f).to, 600);
}

static void it_is_on_record_before_it_leaves(void **state)
{
	struct fix *f = *state;

	append(f, 600);
	sealed(f, 600);
	look(f);
	written(f, true);
	assert_int_equal(recorded(f, "log.archived"), 1);
	assert_int_equal(edge(f).to, 600);
	assert_int_equal(edge(f).seq, 512);
	assert_int_equal(f->questions, 1);
}

static void the_next_segment_begins_where_the_store_does(void **state)
{
	struct fix *f = *state;

	append(f, 512); /* whole tiles: of record 512 there is the edge alone */
	sealed(f, 512);
	look(f);
	written(f, true);
	assert_int_equal(edge(f).seq, 512);
	append(f, 512);
	sealed(f, size_of(f));
	look(f);
	assert_int_equal(f->questions, 2);
	assert_int_equal(asked(f, "from"), 513);
	written(f, true);
	assert_int_equal(edge(f).seq, 1024);
}

/* ---- what holds it back ---- */

static void cursor(struct fix *f, uint64_t record, uint64_t checkpoint)
{
	cleanup_buf struct buf b;

	buf_init(&b, 16);
	buf_put_u64(&b, record);
	buf_put_u64(&b, checkpoint);
	assert_int_equal(
	    store_later_key(f->store, STORE_CURSORS, "siem\0demo", 9, b.data, b.len), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void sink(struct fix *f)
{
	f->config.nsinks = 1;
	(void)snprintf(f->config.sinks[0].name, sizeof f->config.sinks[0].name, "siem");
}

static void waits_for_a_sink(void **state)
{
	struct fix *f = *state;

	sink(f);
	append(f, 1000);
	sealed(f, 1000);
	look(f);
	written(f, true);
	assert_int_equal(edge(f).to, 1000);
	assert_int_equal(edge(f).seq, 0);
	cursor(f, 900, 500); /* its checkpoints too */
	look(f);
	run(f, 100);
	assert_int_equal(edge(f).seq, 256);
	cursor(f, 900, 900);
	look(f);
	run(f, 100);
	assert_int_equal(edge(f).seq, 768);
	f->config.nsinks = 0;
	look(f);
	assert_int_equal(recorded(f, "log.pruned"), 0);
}

static void keeps_as_long_as_configured(void **state)
{
	struct fix *f = *state;

	f->config.archive_keep_s = 3600;
	append(f, 1000);
	sealed(f, 1000);
	look(f);
	written(f, true);
	assert_int_equal(edge(f).to, 1000);
	assert_int_equal(edge(f).seq, 0);
	clock_override(INT64_C(3601) * NSEC_PER_SEC);
	look(f);
	run(f, 100);
	assert_int_equal(edge(f).seq, 768);
}

static void waits_for_the_quorum(void **state)
{
	struct fix *f = *state;

	f->config.nwitnesses = f->config.quorum = 1;
	(void)note_key_init(&f->config.witnesses[0].key, "w.example", NOTE_COSIGNATURE,
	    (const uint8_t *)f->dir, NULL);
	append(f, 1000);
	sealed(f, 1000);
	look(f);
	assert_int_equal(f->questions, 0); /* nobody has signed it */
	assert_status(f, "held", true, "the quorum of witnesses");
	f->config.quorum = 0;
	look(f);
	assert_int_equal(f->questions, 1);
	f->config.quorum = 1; /* meanwhile somebody wants one */
	written(f, true);
	assert_int_equal(edge(f).to, 1000);
	assert_int_equal(edge(f).seq, 0);
	assert_status(f, "held", true, "the quorum of witnesses");
}

/* As the core keeps what a witness gave: a line below the log's own signature. */
static void cosigned(struct fix *f, uint64_t size, const uint8_t seed[NOTE_KEY_LEN])
{
	struct note_key log, *witness = &f->config.witnesses[0].key;
	struct checkpoint c = {.origin = "o.example/demo", .size = size};
	uint8_t own[NOTE_KEY_LEN] = {9}, key[NOTE_KEY_LEN];
	cleanup_buf struct buf b, text;

	buf_init(&b, NOTE_MAX);
	buf_init(&text, NOTE_MAX);
	assert_int_equal(tree_root(f->store, LOG, size, c.root, NULL), 0);
	assert_int_equal(note_public(own, key), 0);
	assert_int_equal(note_key_init(&log, c.origin, NOTE_ED25519, key, NULL), 0);
	checkpoint_text(&c, &text);
	buf_put(&b, text.data, text.len);
	buf_put(&b, "\n", 1);
	assert_int_equal(note_sign((const char *)text.data, text.len, &log, own, 0, &b, NULL), 0);
	assert_int_equal(
	    note_sign((const char *)text.data, text.len, witness, seed, 1700000000, &b, NULL), 0);
	assert_int_equal(logs_checkpoint_put(f->store, LOG, size, b.data, b.len), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void goes_on_when_the_quorum_has_signed(void **state)
{
	uint8_t seed[NOTE_KEY_LEN] = {7}, other[NOTE_KEY_LEN] = {8}, key[NOTE_KEY_LEN];
	struct fix *f = *state;

	f->config.nwitnesses = f->config.quorum = 1;
	assert_int_equal(note_public(seed, key), 0);
	assert_int_equal(
	    note_key_init(&f->config.witnesses[0].key, "w.example", NOTE_COSIGNATURE, key, NULL),
	    0);
	append(f, 1000);
	cosigned(f, 900, other); /* in its name, by another key */
	look(f);
	assert_int_equal(f->questions, 0);
	cosigned(f, 900, seed);
	sealed(f, 1000);
	look(f);
	assert_int_equal(f->questions, 1);
	assert_int_equal(asked(f, "to"), 900); /* not what nobody has signed */
	written(f, true);
	assert_int_equal(edge(f).to, 900);
	assert_int_equal(edge(f).seq, 768);
	assert_status(f, "held", true, "more than 900"); /* the next ones wait again */
}

static void a_full_store_drops_what_a_sink_has_not_taken_and_says_so(void **state)
{
	struct fix *f = *state;
	uint64_t live = 0, map = UINT64_C(4) << 20;

	sink(f);
	append(f, 2000);
	sealed(f, size_of(f));
	f->config.archive_bytes = UINT64_C(1) << 30;
	f->config.archive_age_s = 0;
	clock_override(NSEC_PER_SEC * 5);
	look(f);
	written(f, true);
	assert_int_equal(edge(f).to, 2000);
	assert_int_equal(edge(f).seq, 0); /* there is room */
	while (store_live(f->store, &live) == 0 && live / 90 * 100 <= map && size_of(f) < 20000)
		append(f, 50);
	look(f);
	run(f, 300);
	assert_int_equal(edge(f).seq, 1792);
	assert_true(recorded(f, "log.pruned") >= 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {T(asks_when_there_is_enough_and_a_checkpoint),
	    T(asks_for_what_is_old), T(what_is_much_is_cut_in_pieces),
	    T(a_lie_about_the_tree_drops_nothing), T(a_failure_is_told_once_and_tried_again),
	    T(it_is_on_record_before_it_leaves), T(the_next_segment_begins_where_the_store_does),
	    T(waits_for_a_sink), T(keeps_as_long_as_configured), T(waits_for_the_quorum),
	    T(goes_on_when_the_quorum_has_signed),
	    cmocka_unit_test_setup_teardown(
	        a_full_store_drops_what_a_sink_has_not_taken_and_says_so, setup_small, teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
