/*
 * The archive's schedule (broker/core/archive.h) with a real store and log, and an exporter that
 * answers what it is told to. One log, demo, of records that are all alike.
 */
#ifndef POSTERN_TESTS_SUPPORT_ARCHIVE_RIG_H
#define POSTERN_TESTS_SUPPORT_ARCHIVE_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/prune.h"
#include "broker/core/export_config.h"

struct archive;
struct loop;
struct record_log;
struct store;

#define AR_LOG 1 /* demo */

struct ar {
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
	uint64_t witnessed; /* what the quorum has signed */
};

/* cmocka's: with an archive of 64 KiB and a day; in a map of 4 MiB. */
int ar_setup(void **state);
int ar_setup_small(void **state);
int ar_teardown(void **state);
void ar_run(struct ar *f, int64_t ms);
void ar_append(struct ar *f, size_t n);
uint64_t ar_size_of(struct ar *f);
/* A checkpoint of that size, which nobody has signed. */
void ar_sealed(struct ar *f, uint64_t size);
/* The archive looks what is due. */
void ar_look(struct ar *f);
/* A number of the newest question. */
uint64_t ar_asked(struct ar *f, const char *what);
/* What the status says of it, or of its one log; "": nothing. */
void ar_assert_status(struct ar *f, const char *key, bool of_log, const char *text);
/* The exporter says that it wrote what was asked for. */
void ar_written(struct ar *f, bool truly);
struct log_edge ar_edge(struct ar *f);
/* How many records of a class there are. */
unsigned ar_recorded(struct ar *f, const char *class_name);

#endif
