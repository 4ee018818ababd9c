/*
 * Sealing with a real signer, logs of leaves in memory, and records that a turn of the loop
 * commits.
 */
#ifndef POSTERN_TESTS_SUPPORT_SEAL_RIG_H
#define POSTERN_TESTS_SUPPORT_SEAL_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/seal.h"

#define ORIGIN "log.example/1"
#define LOGS   3 /* host, demo, gone: the last is not configured any more */
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
	size_t npoints, nepochs, nbreaks;
	struct kept point[NOTES], epoch[NOTES], broken[NOTES];
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
	struct {
		char key[64], text[SEAL_REASON_MAX + 1];
	} meta[8];
	uint64_t next_id;
	json_t *questions; /* of the signer, to be answered: [id, type, body] */
	bool deaf;         /* the signer answers nothing */
	bool fails;        /* no record is committed */
	bool late;
	int turned;
	uint64_t turned_epoch;
	bool finished;
};

extern struct world *seal_world;

void seal_rig_root(const struct fake_log *l, uint64_t from, uint64_t to, uint8_t *ret);
void seal_rig_grow(const char *name);
size_t seal_rig_recorded(const char *what);
void seal_rig_run_ms(int64_t ms);
void seal_rig_new_seal(void);
void seal_rig_new_signer(void);
int seal_rig_enter(void **state);
int seal_rig_fresh(void **state);
int seal_rig_done(void **state);
uint64_t seal_rig_sealed(size_t log);
void seal_rig_start(void);
void seal_rig_restart(void);

#endif
