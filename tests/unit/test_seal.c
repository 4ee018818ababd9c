#include "broker/core/seal.h"

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

#include "broker/core/seal_internal.h"
#include "creds/signer.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/merkle.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

/*
 * The schedule of seals with a real signer and logs of leaves in memory. A commit takes a turn of
 * the loop.
 */

#define ORIGIN "log.example/1"
#define LOGS   3
#define LEAVES 512
#define NOTES  64

struct kept {
	uint64_t n; /* size or epoch */
	char text[2048];
};

struct fake_log {
	const char *name;
	uint64_t size;
	uint8_t leaf[LEAVES][DIGEST_LEN];
	size_t npoints, nepochs;
	struct kept point[NOTES], epoch[NOTES];
};

struct waiting_record {
	record_fn done;
	void *arg;
};

struct world {
	struct loop *loop;
	struct loop_source *commit, *answer, *deadline;
	struct signer *signer;
	int keys_fd;
	struct seal *seal;
	struct fake_log log[LOGS];
	struct waiting_record record[256];
	size_t nrecords;
	char classes[4096]; /* "CLASS:LOG " of every record */
	char meta[2][SEAL_REASON_MAX + 1];
	uint64_t next_id;
	json_t *questions; /* of the signer, to be answered: [id, type, body] */
	bool deaf;         /* the signer answers nothing */
	bool fails;        /* no record is committed */
	bool late;
	int turned;
	uint64_t turned_epoch;
	bool finished;
};

static struct world *w;

/* ---- logs ---- */

static void root_of(const struct fake_log *l, uint64_t from, uint64_t to, uint8_t *ret)
{
	struct merkle m;

	merkle_init(&m);
	for (uint64_t i = from; i < to; i++)
		(void)merkle_append(&m, l->leaf[i]);
	merkle_root(&m, ret);
}

/* RFC 6962 section 2.1.2. */
static size_t subproof(const struct fake_log *l, uint64_t m, uint64_t from, uint64_t to, bool whole,
    uint8_t (*out)[DIGEST_LEN])
{
	uint64_t k = 1;
	size_t n;

	if (m == to - from) {
		if (!whole)
			root_of(l, from, to, out[0]);
		return !whole;
	}
	while (k * 2 < to - from)
		k *= 2;
	if (m <= k) {
		n = subproof(l, m, from, from + k, whole, out);
		root_of(l, from + k, to, out[n]);
	} else {
		n = subproof(l, m - k, from + k, to, false, out);
		root_of(l, from, from + k, out[n]);
	}
	return n + 1;
}

static void grow(const char *name)
{
	for (size_t i = 0; i < LOGS; i++)
		if (strcmp(w->log[i].name, name) == 0) {
			struct fake_log *l = &w->log[i];

			assert_true(l->size < LEAVES);
			merkle_leaf(&l->size, sizeof l->size, l->leaf[l->size]);
			l->leaf[l->size][0] ^= (uint8_t)i;
			l->size++;
		}
}

static int op_list(void *arg, seal_log_fn fn, void *fn_arg)
{
	(void)arg;
	for (uint32_t i = 0; i < LOGS; i++)
		if (w->log[i].size > 0)
			(void)fn(i, w->log[i].name, fn_arg);
	return 0;
}

static int op_size(void *arg, uint32_t log, uint64_t *ret)
{
	(void)arg;
	*ret = w->log[log].size;
	return 0;
}

static int op_root(void *arg, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN])
{
	(void)arg;
	if (size > w->log[log].size)
		return -EINVAL;
	root_of(&w->log[log], 0, size, ret);
	return 0;
}

static int op_consistency(
    void *arg, uint32_t log, uint64_t old, uint64_t size, uint8_t (*ret)[DIGEST_LEN], size_t *ret_n)
{
	(void)arg;
	*ret_n = subproof(&w->log[log], old, 0, size, true, ret);
	return 0;
}

static int keep(struct kept *k, size_t *n, uint64_t number, const void *note, size_t len)
{
	assert_true(*n < NOTES && len < sizeof k->text);
	k[*n].n = number;
	memcpy(k[*n].text, note, len);
	k[(*n)++].text[len] = '\0';
	return 0;
}

static int op_put_checkpoint(void *arg, uint32_t log, uint64_t size, const void *note, size_t len)
{
	struct fake_log *l = &w->log[log];

	(void)arg;
	return keep(l->point, &l->npoints, size, note, len);
}

static int op_put_epoch(void *arg, uint32_t log, uint64_t epoch, const void *note, size_t len)
{
	struct fake_log *l = &w->log[log];

	(void)arg;
	return keep(l->epoch, &l->nepochs, epoch, note, len);
}

static int op_last_checkpoint(void *arg, uint32_t log, uint64_t *ret)
{
	struct fake_log *l = &w->log[log];

	(void)arg;
	*ret = l->npoints ? l->point[l->npoints - 1].n : 0;
	return 0;
}

static int op_last_epoch(void *arg, uint32_t log, uint64_t *ret)
{
	struct fake_log *l = &w->log[log];

	(void)arg;
	*ret = l->nepochs ? l->epoch[l->nepochs - 1].n : 0;
	return 0;
}

static char *meta(const char *key)
{
	return w->meta[strcmp(key, "seal.turned") == 0];
}

static int op_remember(void *arg, const char *key, const char *text)
{
	(void)arg;
	(void)str_copy(meta(key), sizeof w->meta[0], text);
	return 0;
}

static int op_recall(void *arg, const char *key, struct buf *ret)
{
	(void)arg;
	buf_put(ret, meta(key), strlen(meta(key)));
	return *meta(key) ? 0 : -ENOENT;
}

static const struct seal_logs ops = {op_list, op_size, op_root, op_consistency, op_put_checkpoint,
    op_put_epoch, op_last_checkpoint, op_last_epoch, op_remember, op_recall};

/* ---- records ---- */

static void on_commit(struct loop *loop, void *arg)
{
	struct waiting_record batch[256];
	size_t n = w->nrecords;

	(void)loop;
	(void)arg;
	memcpy(batch, w->record, sizeof batch);
	w->nrecords = 0;
	for (size_t i = 0; i < n; i++)
		if (batch[i].done)
			batch[i].done(w->fails ? -EIO : 0, 1, batch[i].arg);
}

static int env_record(void *arg, const char *class_name, const char *tenant, json_t *body,
    record_fn done, void *done_arg)
{
	size_t n = strlen(w->classes);

	(void)arg;
	json_decref(body);
	(void)snprintf(
	    w->classes + n, sizeof w->classes - n, "%s:%s ", class_name, tenant ? tenant : "host");
	grow(tenant ? tenant : "host");
	w->record[w->nrecords++] = (struct waiting_record){done, done_arg};
	loop_timer_set(w->commit, 0);
	return 0;
}

static size_t recorded(const char *what)
{
	size_t n = 0;

	for (const char *p = w->classes; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* ---- the signer ---- */

static void on_answer(struct loop *loop, void *arg)
{
	json_t *questions = w->questions, *q;
	size_t i;

	(void)loop;
	(void)arg;
	w->questions = json_array();
	json_array_foreach(questions, i, q)
	{
		uint64_t id = (uint64_t)json_integer_value(json_array_get(q, 0));
		struct msg m = MSG_INIT, told = MSG_INIT;
		const char *type;
		json_t *body = NULL;
		struct buf b;

		buf_init(&b, MSG_MAX);
		assert_int_equal(msg_encode(&b, json_string_value(json_array_get(q, 1)), id,
		                     json_array_get(q, 2), 0, NULL),
		    0);
		assert_int_equal(msg_decode(&m, MSG_CORE, MSG_SIGNER, MSG_PHASE_OPEN, b.data, b.len,
		                     NULL, 0, NULL),
		    0);
		assert_int_equal(signer_handle(w->signer, &m, &type, &body), 0);
		buf_reset(&b);
		assert_int_equal(msg_encode(&b, type, id, body, 0, NULL), 0);
		assert_int_equal(msg_decode(&told, MSG_SIGNER, MSG_CORE, MSG_PHASE_OPEN, b.data,
		                     b.len, NULL, 0, NULL),
		    0);
		if (!w->deaf)
			assert_true(seal_answer(w->seal, &told));
		json_decref(body);
		msg_done(&m);
		msg_done(&told);
		buf_done(&b);
	}
	json_decref(questions);
}

static int env_ask(void *arg, const char *type, json_t *body, uint64_t *ret_id)
{
	(void)arg;
	*ret_id = ++w->next_id;
	(void)json_array_append_new(w->questions,
	    json_pack("[I, s, o]", (json_int_t)w->next_id, type, body ? body : json_object()));
	loop_timer_set(w->answer, 0);
	return 0;
}

static bool env_active(void *arg, const char *tenant)
{
	(void)arg;
	return strcmp(tenant, "gone") != 0;
}

/* ---- running ---- */

static void on_deadline(struct loop *loop, void *arg)
{
	(void)arg;
	w->late = true;
	loop_stop(loop);
}

static void run_ms(int64_t ms)
{
	loop_timer_set(w->deadline, ms * 1000000);
	assert_int_equal(loop_run(w->loop), 0);
}

static void new_seal(void)
{
	const struct seal_env env = {
	    w->loop, &ops, NULL, env_ask, env_record, env_active, NULL, ORIGIN, 1, 3600};

	w->seal = seal_new(&env);
	assert_non_null(w->seal);
}

static void new_signer(void)
{
	const struct signer_config c = {w->keys_fd, "https://postern.example", 50, 200};

	signer_free(w->signer);
	w->signer = signer_new(&c, NULL);
	assert_non_null(w->signer);
}

static int setup(void **state)
{
	return keygen_enter(state);
}

static int fresh(void **state)
{
	static const char *const names[LOGS] = {"host", "demo", "gone"};

	(void)state;
	log_open("test", LOG_EMERG);
	w = calloc(1, sizeof *w);
	(void)mkdir("keys", 0700);
	(void)unlink("keys/" SEALER_FILE);
	w->keys_fd = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->loop = loop_new();
	w->commit = loop_timer(w->loop, -1, on_commit, NULL);
	w->answer = loop_timer(w->loop, -1, on_answer, NULL);
	w->deadline = loop_timer(w->loop, -1, on_deadline, NULL);
	w->questions = json_array();
	for (size_t i = 0; i < LOGS; i++)
		w->log[i].name = names[i];
	new_signer();
	new_seal();
	grow("host");
	grow("demo");
	return 0;
}

static int done(void **state)
{
	(void)state;
	seal_free(w->seal);
	on_commit(NULL, NULL); /* what was waiting finds nobody */
	signer_free(w->signer);
	json_decref(w->questions);
	loop_remove(w->commit);
	loop_remove(w->answer);
	loop_remove(w->deadline);
	loop_free(w->loop);
	util_close(&w->keys_fd);
	free(w);
	w = NULL;
	return 0;
}

static uint64_t sealed(size_t log)
{
	uint64_t n;

	assert_int_equal(op_last_checkpoint(NULL, (uint32_t)log, &n), 0);
	return n;
}

static void start(void)
{
	seal_linked(w->seal);
	run_ms(60);
	assert_int_equal(sealed(0), w->log[0].size);
	assert_int_equal(sealed(1), w->log[1].size);
}

/* ---- rounds ---- */

static void what_has_grown_is_sealed_the_host_last(void **state)
{
	(void)state;
	start();
	assert_int_equal(recorded("log.checkpoint:host"), 1); /* demo's */
	assert_int_equal(w->log[0].npoints, 1);
	assert_int_equal(w->log[0].size, 2);
	grow("demo");
	run_ms(1300); /* a tick */
	assert_int_equal(sealed(1), 2);
	assert_int_equal(sealed(0), w->log[0].size);
	assert_int_equal(recorded("log.checkpoint:host"), 2);
	run_ms(1300); /* nothing has grown */
	assert_int_equal(w->log[0].npoints, 2);
	assert_int_equal(w->log[1].npoints, 2);
}

static void soon_is_within_a_second_and_not_each_time(void **state)
{
	(void)state;
	start();
	loop_timer_set(w->seal->tick, -1);
	for (int i = 0; i < 20; i++) {
		grow("demo");
		seal_soon(w->seal);
		run_ms(10);
	}
	run_ms(1200);
	assert_int_equal(sealed(1), 21);
	assert_true(w->log[1].npoints <= 4);
}

static void what_the_signer_signed_and_we_did_not_keep_is_sealed_again(void **state)
{
	(void)state;
	start();
	w->log[1].npoints = w->log[0].npoints = 0; /* the core died between the two */
	seal_free(w->seal);
	new_seal();
	seal_linked(w->seal);
	run_ms(60);
	assert_string_equal(w->seal->alarm, "");
	assert_int_equal(sealed(1), w->log[1].size);
	assert_int_equal(sealed(0), w->log[0].size);
}

static void a_silent_signer_is_asked_again(void **state)
{
	(void)state;
	start();
	w->deaf = true;
	grow("demo");
	seal_round(w->seal);
	run_ms(30);
	assert_int_equal(sealed(1), 1);
	loop_timer_set(w->seal->late, 0); /* its time is over */
	run_ms(30);
	assert_false(w->seal->learned);
	w->deaf = false;
	run_ms(2300);
	assert_int_equal(sealed(1), w->log[1].size); /* though the signer had signed it already */
}

static void silence_is_recorded_of_those_that_are_configured(void **state)
{
	(void)state;
	grow("gone");
	start();
	w->seal->idle_boot_ns -= 2 * SEAL_IDLE_S * NSEC_PER_SEC;
	for (size_t i = 0; i < w->seal->nlogs; i++)
		w->seal->logs[i].sealed_boot_ns -= 2 * SEAL_IDLE_S * NSEC_PER_SEC;
	run_ms(1300);
	assert_int_equal(recorded("log.alive:demo"), 1);
	assert_int_equal(recorded("log.alive:host"), 1);
	assert_int_equal(recorded("log.alive:gone"), 0);
	assert_int_equal(sealed(1), 2); /* and it is sealed */
	assert_int_equal(sealed(0), w->log[0].size);
}

/* ---- epochs ---- */

static void on_turned(int r, uint64_t epoch, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	w->turned = r == 0 ? 1 : r;
	w->turned_epoch = epoch;
}

static void check_chain(const struct fake_log *l, uint64_t epochs)
{
	json_auto_t *keys = seal_keys(w->seal);
	const char *first = json_string_value(json_object_get(keys, "first"));
	struct note_key k;

	assert_int_equal(l->nepochs, epochs);
	assert_int_equal(note_key_parse(first, strlen(first), &k, NULL), 0);
	for (uint64_t i = 0; i < epochs; i++) {
		struct epoch_note en;
		uint8_t root[DIGEST_LEN];
		struct note n;
		bool found = false;

		assert_int_equal(
		    note_parse(l->epoch[i].text, strlen(l->epoch[i].text), &n, NULL), 0);
		assert_int_equal(note_verify(&n, &k, NULL, NULL), 1);
		assert_int_equal(epoch_note_parse(n.text, n.text_len, &en, NULL), 0);
		assert_int_equal(en.epoch, i + 1);
		root_of(l, 0, en.last.size, root);
		assert_memory_equal(root, en.last.root, DIGEST_LEN);
		for (size_t c = 0; c < l->npoints; c++)
			found |= l->point[c].n == en.last.size;
		assert_true(found); /* it ended with a checkpoint */
		k = en.key;
		note_done(&n);
	}
}

static void an_epoch_is_turned_with_every_logs_note(void **state)
{
	(void)state;
	start();
	for (int i = 1; i <= 3; i++) {
		grow("demo");
		w->turned = 0;
		assert_int_equal(seal_turn(w->seal, on_turned, NULL), 0);
		assert_int_equal(seal_turn(w->seal, NULL, NULL), -EBUSY);
		run_ms(80);
		assert_int_equal(w->turned, 1);
		assert_int_equal(w->turned_epoch, i);
		assert_int_equal(recorded("log.epoch:demo"), i);
		assert_int_equal(recorded("log.epoch:host"), i);
		assert_int_equal(sealed(1), w->log[1].size); /* the notes' records as well */
		assert_int_equal(sealed(0), w->log[0].size);
	}
	check_chain(&w->log[0], 3);
	check_chain(&w->log[1], 3);
	assert_string_not_equal(w->meta[1], "");
}

static void an_epoch_is_due_after_its_time(void **state)
{
	(void)state;
	start();
	w->seal->turned_s -= 3600;
	run_ms(1300);
	assert_int_equal(w->seal->epoch, 1);
	assert_int_equal(w->log[0].nepochs, 1);
	seal_free(w->seal);
	new_seal();
	assert_false(seal_epoch_due(w->seal)); /* remembered */
}

static void without_durable_notes_there_is_no_ratchet(void **state)
{
	(void)state;
	start();
	w->fails = true;
	assert_int_equal(seal_turn(w->seal, on_turned, NULL), 0);
	run_ms(80);
	assert_int_equal(w->turned, -EIO);
	assert_int_equal(w->seal->epoch, 0);
	w->fails = false;
	w->turned = 0;
	assert_int_equal(seal_turn(w->seal, on_turned, NULL), 0);
	run_ms(80);
	assert_int_equal(w->turned, 1);
}

static void a_turn_that_loses_the_signer_fails_and_may_be_repeated(void **state)
{
	(void)state;
	start();
	assert_int_equal(seal_turn(w->seal, on_turned, NULL), 0);
	seal_lost(w->seal);
	assert_int_equal(w->turned, -EPIPE);
	assert_int_equal(seal_turn(w->seal, NULL, NULL), -EPIPE);
	json_array_clear(w->questions);
	new_signer();
	seal_linked(w->seal);
	run_ms(60);
	w->turned = 0;
	assert_int_equal(seal_turn(w->seal, on_turned, NULL), 0);
	run_ms(80);
	assert_int_equal(w->turned, 1);
}

/* ---- a store that was set back ---- */

static void restart(void)
{
	seal_free(w->seal);
	new_seal();
	seal_linked(w->seal);
	run_ms(60);
}

static void a_store_set_back_stops_what_is_new(void **state)
{
	char why[400];

	(void)state;
	grow("demo");
	grow("demo");
	start();
	assert_true(seal_ok(w->seal, why, sizeof why));
	w->log[1].size--; /* of an older snapshot */
	w->log[1].npoints = 0;
	restart();
	assert_false(seal_ok(w->seal, why, sizeof why));
	assert_non_null(strstr(why, "log demo"));
	assert_int_equal(recorded("log.rollback:host"), 1);
	restart(); /* that changes nothing */
	assert_false(seal_ok(w->seal, why, sizeof why));
	assert_int_equal(seal_accept(w->seal), 0);
	assert_true(seal_ok(w->seal, why, sizeof why));
	run_ms(30);
	assert_int_equal(recorded("log.rollback.accepted:host"), 1);
	restart(); /* accepted once is accepted */
	assert_true(seal_ok(w->seal, why, sizeof why));
	assert_int_equal(sealed(1), 0); /* yet never sealed again */
	assert_int_equal(sealed(0), w->log[0].size);
	for (int i = 0; i < 9; i++)
		grow("demo");
	restart();
	assert_int_equal(sealed(1), w->log[1].size); /* the same leaves: here it has caught up */
}

static void a_log_that_was_replaced_is_noticed(void **state)
{
	char why[400];

	(void)state;
	start();
	w->log[1].leaf[0][5] ^= 1;
	grow("demo");
	restart();
	assert_false(seal_ok(w->seal, why, sizeof why));
	assert_int_equal(sealed(1), 1);
}

static void a_log_that_is_gone_is_noticed(void **state)
{
	char why[400];

	(void)state;
	start();
	w->log[1].size = 0;
	restart();
	assert_false(seal_ok(w->seal, why, sizeof why));
}

static void a_signer_with_other_keys_is_noticed(void **state)
{
	char why[400];

	(void)state;
	start();
	assert_int_equal(unlink("keys/" SEALER_FILE), 0);
	new_signer();
	restart();
	assert_false(seal_ok(w->seal, why, sizeof why));
	assert_non_null(strstr(why, "the signer does not know"));
	assert_int_equal(recorded("log.rollback:host"), 1);
}

/* ---- the rest ---- */

static void on_finished(void *arg)
{
	(void)arg;
	w->finished = true;
}

static void the_end_is_sealed_and_never_waits_long(void **state)
{
	(void)state;
	start();
	grow("demo");
	grow("host");
	seal_finish(w->seal, on_finished, NULL);
	run_ms(60);
	assert_true(w->finished);
	assert_int_equal(sealed(1), 2);
	assert_int_equal(sealed(0), w->log[0].size);
	w->finished = false;
	w->deaf = true;
	grow("host");
	seal_finish(w->seal, on_finished, NULL);
	run_ms(SEAL_FINISH_MS + 200);
	assert_true(w->finished);
}

static void without_a_signer_the_end_comes_at_once(void **state)
{
	(void)state;
	seal_finish(w->seal, on_finished, NULL);
	assert_true(w->finished);
}

static void a_refusal_is_recorded_once_and_shown(void **state)
{
	json_t *o;

	(void)state;
	start();
	(void)close(open("keys/" SEALER_FILE, O_WRONLY | O_TRUNC));
	new_signer();
	seal_linked(w->seal);
	run_ms(2500);
	assert_int_equal(recorded("log.unsealed:host"), 1);
	o = seal_status(w->seal);
	assert_non_null(strstr(json_string_value(json_object_get(o, "state")), SEALER_FILE));
	json_decref(o);
	assert_null(seal_keys(w->seal));
}

static void status_and_keys_name_every_log(void **state)
{
	json_t *o, *logs;

	(void)state;
	start();
	grow("demo");
	o = seal_status(w->seal);
	logs = json_object_get(o, "logs");
	assert_int_equal(json_array_size(logs), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 1), "size")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 1), "sealed")), 1);
	assert_string_equal(json_string_value(json_object_get(o, "state")), "good");
	json_decref(o);
	o = seal_keys(w->seal);
	assert_int_equal(json_array_size(json_object_get(o, "logs")), 2);
	assert_non_null(strstr(json_string_value(json_object_get(o, "first")), ORIGIN "/epoch/0+"));
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, done)
	    T(what_has_grown_is_sealed_the_host_last),
	    T(soon_is_within_a_second_and_not_each_time),
	    T(what_the_signer_signed_and_we_did_not_keep_is_sealed_again),
	    T(a_silent_signer_is_asked_again),
	    T(silence_is_recorded_of_those_that_are_configured),
	    T(an_epoch_is_turned_with_every_logs_note),
	    T(an_epoch_is_due_after_its_time),
	    T(without_durable_notes_there_is_no_ratchet),
	    T(a_turn_that_loses_the_signer_fails_and_may_be_repeated),
	    T(a_store_set_back_stops_what_is_new),
	    T(a_log_that_was_replaced_is_noticed),
	    T(a_log_that_is_gone_is_noticed),
	    T(a_signer_with_other_keys_is_noticed),
	    T(the_end_is_sealed_and_never_waits_long),
	    T(without_a_signer_the_end_comes_at_once),
	    T(a_refusal_is_recorded_once_and_shown),
	    T(status_and_keys_name_every_log),
	};

	return cmocka_run_group_tests(tests, setup, keygen_leave);
}
