/*
 * A log in LMDB below a directory of its own, for tests of what is recorded: with a loop to wait
 * in, and its records to be counted. Whatever fails, fails the test.
 */
#ifndef POSTERN_TESTS_SUPPORT_RECORD_RIG_H
#define POSTERN_TESTS_SUPPORT_RECORD_RIG_H

#include <jansson.h>
#include <stdint.h>

#include "broker/audit/record_store.h"

struct loop;
struct store;

struct record_rig {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	struct record_options o;
};

/* For cmocka: *state is a struct record_rig whose log is open. */
int record_rig_setup(void **state);
int record_rig_teardown(void **state);

/* Opens and closes store and log, as f->o says; map 0: the default. */
void record_rig_start(struct record_rig *f, uint64_t map);
void record_rig_stop(struct record_rig *f);
void record_rig_restart(struct record_rig *f);
/* Runs the loop for so long. */
void record_rig_wait(struct record_rig *f, int ms);
uint32_t record_rig_number(struct record_rig *f, const char *log);
/* How many records of this class the log has; ret_last (the caller's; NULL): the newest's body. */
uint64_t record_rig_count(
    struct record_rig *f, const char *log, const char *class_name, json_t **ret_last);
/* Chain and tree of all logs hold. */
void record_rig_verify(struct record_rig *f);

#endif
