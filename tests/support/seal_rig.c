#include "tests/support/seal_rig.h"

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

struct world *seal_world;

/* ---- logs ---- */

void seal_rig_root(const struct fake_log *l, uint64_t from, uint64_t to, uint8_t *ret)
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
			seal_rig_root(l, from, to, out[0]);
		return !whole;
	}
	while (k * 2 < to - from)
		k *= 2;
	if (m <= k) {
		n = subproof(l, m, from, from + k, whole, out);
		seal_rig_root(l, from + k, to, out[n]);
	} else {
		n = subproof(l, m - k, from + k, to, false, out);
		seal_rig_root(l, from, from + k, out[n]);
	}
	return n + 1;
}

void seal_rig_grow(const char *name)
{
	for (size_t i = 0; i < LOGS; i++)
		if (strcmp(seal_world->log[i].name, name) == 0) {
			struct fake_log *l = &seal_world->log[i];

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
		if (seal_world->log[i].size > 0)
			(void)fn(i, seal_world->log[i].name, fn_arg);
	return 0;
}

static int op_size(void *arg, uint32_t log, uint64_t *ret)
{
	(void)arg;
	*ret = seal_world->log[log].size;
	return 0;
}

static int op_root(void *arg, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN])
{
	(void)arg;
	if (size > seal_world->log[log].size)
		return -EINVAL;
	seal_rig_root(&seal_world->log[log], 0, size, ret);
	return 0;
}

static int op_consistency(
    void *arg, uint32_t log, uint64_t old, uint64_t size, uint8_t (*ret)[DIGEST_LEN], size_t *ret_n)
{
	(void)arg;
	*ret_n = subproof(&seal_world->log[log], old, 0, size, true, ret);
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
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	return keep(l->point, &l->npoints, size, note, len);
}

static int op_put_epoch(void *arg, uint32_t log, uint64_t epoch, const void *note, size_t len)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	return keep(l->epoch, &l->nepochs, epoch, note, len);
}

static int op_last_checkpoint(void *arg, uint32_t log, uint64_t *ret)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	*ret = l->npoints ? l->point[l->npoints - 1].n : 0;
	return 0;
}

static int op_last_epoch(void *arg, uint32_t log, uint64_t *ret)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	*ret = l->nepochs ? l->epoch[l->nepochs - 1].n : 0;
	return 0;
}

static int op_epoch_note(void *arg, uint32_t log, uint64_t epoch, struct buf *ret)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	for (size_t i = 0; i < l->nepochs; i++)
		if (l->epoch[i].n == epoch) {
			buf_put(ret, l->epoch[i].text, strlen(l->epoch[i].text));
			return buf_status(ret);
		}
	return -ENOENT;
}

static int op_put_break(void *arg, uint32_t log, uint64_t number, const void *note, size_t len)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	return keep(l->broken, &l->nbreaks, number, note, len);
}

static int op_last_break(void *arg, uint32_t log, uint64_t *ret)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	*ret = l->nbreaks ? l->broken[l->nbreaks - 1].n : 0;
	return 0;
}

static int op_checkpoint(
    void *arg, uint32_t log, uint64_t most, uint64_t *ret_size, struct buf *ret)
{
	struct fake_log *l = &seal_world->log[log];

	(void)arg;
	for (size_t i = l->npoints; i-- > 0;)
		if (l->point[i].n <= most) {
			*ret_size = l->point[i].n;
			buf_put(ret, l->point[i].text, strlen(l->point[i].text));
			return buf_status(ret);
		}
	return -ENOENT;
}

/* The row of this key, or a new one. */
static char *meta(const char *key)
{
	size_t i = 0;

	while (*seal_world->meta[i].key && strcmp(seal_world->meta[i].key, key) != 0)
		assert_true(++i < sizeof seal_world->meta / sizeof seal_world->meta[0]);
	(void)str_copy(seal_world->meta[i].key, sizeof seal_world->meta[i].key, key);
	return seal_world->meta[i].text;
}

static int op_remember(void *arg, const char *key, const char *text)
{
	(void)arg;
	(void)str_copy(meta(key), sizeof seal_world->meta[0].text, text);
	return 0;
}

static int op_recall(void *arg, const char *key, struct buf *ret)
{
	(void)arg;
	buf_put(ret, meta(key), strlen(meta(key)));
	return *meta(key) ? 0 : -ENOENT;
}

static const struct seal_logs ops = {op_list, op_size, op_root, op_consistency, op_put_checkpoint,
    op_put_epoch, op_last_checkpoint, op_last_epoch, op_epoch_note, op_put_break, op_last_break,
    op_checkpoint, op_remember, op_recall};

/* ---- records ---- */

static void on_commit(struct loop *loop, void *arg)
{
	struct waiting_record batch[256];
	size_t n = seal_world->nrecords;

	(void)loop;
	(void)arg;
	memcpy(batch, seal_world->record, sizeof batch);
	seal_world->nrecords = 0;
	for (size_t i = 0; i < n; i++)
		if (batch[i].done)
			batch[i].done(seal_world->fails ? -EIO : 0, 1, batch[i].arg);
}

static int env_record(void *arg, const char *class_name, const char *tenant, json_t *body,
    record_fn done, void *done_arg)
{
	size_t n = strlen(seal_world->classes);

	(void)arg;
	json_decref(body);
	(void)snprintf(seal_world->classes + n, sizeof seal_world->classes - n, "%s:%s ",
	    class_name, tenant ? tenant : "host");
	seal_rig_grow(tenant ? tenant : "host");
	seal_world->record[seal_world->nrecords++] = (struct waiting_record){done, done_arg};
	loop_timer_set(seal_world->commit, 0);
	return 0;
}

size_t seal_rig_recorded(const char *what)
{
	size_t n = 0;

	for (const char *p = seal_world->classes; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* ---- the signer ---- */

static void on_answer(struct loop *loop, void *arg)
{
	json_t *questions = seal_world->questions, *q;
	size_t i;

	(void)loop;
	(void)arg;
	seal_world->questions = json_array();
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
		assert_int_equal(signer_handle(seal_world->signer, &m, &type, &body), 0);
		buf_reset(&b);
		assert_int_equal(msg_encode(&b, type, id, body, 0, NULL), 0);
		assert_int_equal(msg_decode(&told, MSG_SIGNER, MSG_CORE, MSG_PHASE_OPEN, b.data,
		                     b.len, NULL, 0, NULL),
		    0);
		if (!seal_world->deaf)
			assert_true(seal_answer(seal_world->seal, &told));
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
	*ret_id = ++seal_world->next_id;
	(void)json_array_append_new(
	    seal_world->questions, json_pack("[I, s, o]", (json_int_t)seal_world->next_id, type,
	                               body ? body : json_object()));
	loop_timer_set(seal_world->answer, 0);
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
	seal_world->late = true;
	loop_stop(loop);
}

void seal_rig_run_ms(int64_t ms)
{
	loop_timer_set(seal_world->deadline, ms * 1000000);
	assert_int_equal(loop_run(seal_world->loop), 0);
}

void seal_rig_new_seal(void)
{
	const struct seal_env env = {
	    seal_world->loop, &ops, NULL, env_ask, env_record, env_active, NULL, ORIGIN, 1, 3600};

	seal_world->seal = seal_new(&env);
	assert_non_null(seal_world->seal);
}

void seal_rig_new_signer(void)
{
	const struct signer_config c = {seal_world->keys_fd, "https://postern.example", 50, 200};

	signer_free(seal_world->signer);
	seal_world->signer = signer_new(&c, NULL);
	assert_non_null(seal_world->signer);
}

int seal_rig_enter(void **state)
{
	return keygen_enter(state);
}

int seal_rig_fresh(void **state)
{
	static const char *const names[LOGS] = {"host", "demo", "gone"};

	(void)state;
	log_open("test", LOG_EMERG);
	seal_world = calloc(1, sizeof *seal_world);
	(void)mkdir("keys", 0700);
	(void)unlink("keys/" SEALER_FILE);
	seal_world->keys_fd = open("keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	seal_world->loop = loop_new();
	seal_world->commit = loop_timer(seal_world->loop, -1, on_commit, NULL);
	seal_world->answer = loop_timer(seal_world->loop, -1, on_answer, NULL);
	seal_world->deadline = loop_timer(seal_world->loop, -1, on_deadline, NULL);
	seal_world->questions = json_array();
	for (size_t i = 0; i < LOGS; i++)
		seal_world->log[i].name = names[i];
	seal_rig_new_signer();
	seal_rig_new_seal();
	seal_rig_grow("host");
	seal_rig_grow("demo");
	return 0;
}

int seal_rig_done(void **state)
{
	(void)state;
	seal_free(seal_world->seal);
	on_commit(NULL, NULL); /* what was waiting finds nobody */
	signer_free(seal_world->signer);
	json_decref(seal_world->questions);
	loop_remove(seal_world->commit);
	loop_remove(seal_world->answer);
	loop_remove(seal_world->deadline);
	loop_free(seal_world->loop);
	util_close(&seal_world->keys_fd);
	free(seal_world);
	seal_world = NULL;
	return 0;
}

uint64_t seal_rig_sealed(size_t log)
{
	uint64_t n;

	assert_int_equal(op_last_checkpoint(NULL, (uint32_t)log, &n), 0);
	return n;
}

void seal_rig_start(void)
{
	seal_linked(seal_world->seal);
	seal_rig_run_ms(60);
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
}

void seal_rig_restart(void)
{
	seal_free(seal_world->seal);
	seal_rig_new_seal();
	seal_linked(seal_world->seal);
	seal_rig_run_ms(60);
}
