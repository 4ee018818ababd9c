#include "tests/support/record_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>

#include "broker/audit/logs.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

void record_rig_start(struct record_rig *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct err e = ERR_INIT;

	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    record_store_open(f->store, f->loop, &f->o, &f->log, &e) < 0)
		fail_msg("%s", err_text(&e));
}

void record_rig_stop(struct record_rig *f)
{
	f->log->ops->free(f->log);
	store_close(f->store);
}

void record_rig_restart(struct record_rig *f)
{
	record_rig_stop(f);
	record_rig_start(f, 0);
}

int record_rig_setup(void **state)
{
	struct record_rig *f = calloc(1, sizeof *f);

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/record-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	record_options_default(&f->o);
	record_rig_start(f, 0);
	*state = f;
	return 0;
}

int record_rig_teardown(void **state)
{
	struct record_rig *f = *state;

	record_rig_stop(f);
	loop_free(f->loop);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void on_turn(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

void record_rig_wait(struct record_rig *f, int ms)
{
	struct loop_source *s = loop_timer(f->loop, ms * INT64_C(1000000), on_turn, NULL);

	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(s);
}

uint32_t record_rig_number(struct record_rig *f, const char *name)
{
	struct log_info l = {0};

	assert_int_equal(logs_find(f->store, name, &l), 0);
	return l.number;
}

struct count {
	const char *class_name;
	uint64_t n;
	json_t *last;
};

static int on_count(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct count *c = arg;
	json_t *o = json_loadb(data, len, 0, NULL);

	(void)seq;
	if (strcmp(json_string_value(json_object_get(o, "class")), c->class_name) == 0) {
		c->n++;
		json_decref(c->last);
		c->last = json_incref(json_object_get(o, "body"));
	}
	json_decref(o);
	return 0;
}

uint64_t record_rig_count(
    struct record_rig *f, const char *log, const char *class_name, json_t **ret_last)
{
	struct count c = {.class_name = class_name};

	assert_int_equal(
	    logs_walk(f->store, record_rig_number(f, log), 1, STORE_WALK_MAX, on_count, &c), 0);
	if (ret_last)
		*ret_last = c.last;
	else
		json_decref(c.last);
	return c.n;
}

void record_rig_verify(struct record_rig *f)
{
	struct err e = ERR_INIT;
	struct verify v;

	if (verify_store(f->store, &v, &e) < 0)
		fail_msg("%s", err_text(&e));
}
