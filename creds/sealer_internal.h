/*
 * What the files of the sealer share: its state and the file that holds it. Nobody else includes
 * it.
 */
#ifndef POSTERN_CREDS_SEALER_INTERNAL_H
#define POSTERN_CREDS_SEALER_INTERNAL_H

#include <stdbool.h>

#include "creds/sealer.h"

struct secret;

#define SEED_LEN        32
#define SEALER_SLOT     (SEALER_FILE_BYTES / 2)
#define SEALER_NAME_LEN 32

struct sealed {
	char name[SEALER_NAME_LEN];
	uint64_t size;
	uint8_t root[DIGEST_LEN];
	bool noted;      /* the note into the next epoch was made for this size; not stored */
	uint32_t breaks; /* how often it was set back */
};

/* The last time that a log was set back, kept so that its note can be made again. */
struct sealed_break {
	char name[SEALER_NAME_LEN]; /* "": none */
	uint64_t old_size, size;
	int64_t time_s;
	uint8_t old_root[DIGEST_LEN], root[DIGEST_LEN];
};

struct sealer {
	int fd;
	unsigned slot; /* the newest */
	uint64_t counter, epoch;
	bool stale;           /* the other slot may hold an older seed */
	struct secret *seeds; /* of the log key, of the epoch */
	struct secret *image; /* of a slot */
	uint8_t first[NOTE_KEY_LEN];
	char origin[SEALER_ORIGIN_MAX + 1];
	struct sealed_break broken;
	size_t nlogs;
	struct sealed logs[SEALER_LOGS_MAX];
};

/* sealer_file.c: both mean a state that is on the disk when they answer 0. */
int sealer_load(struct sealer *s, int keys_fd, struct err *e); /* -ENOENT */
int sealer_create(struct sealer *s, int keys_fd, struct err *e);
/* The state as it is now into the older slot. After an error the newest slot still holds the last
 * one. */
int sealer_store(struct sealer *s, struct err *e);

/* sealer.c, for sealer_break.c */
struct sealed *sealer_find(const struct sealer *s, const char *log);
int sealer_scrub(struct sealer *s, struct err *e);
int sealer_epoch_public(const struct sealer *s, uint8_t ret[NOTE_KEY_LEN]);
/* text, an empty line, the log key's signature, the epoch's. */
int sealer_sign(
    struct sealer *s, const char *origin, struct buf *text, struct buf *out, struct err *e);

uint8_t *sealer_log_seed(const struct sealer *s);
uint8_t *sealer_epoch_seed(const struct sealer *s);

/* sealer_kdf.c: HKDF-SHA256 (RFC 5869) without salt. */
int sealer_derive(const uint8_t seed[SEED_LEN], const char *info, uint8_t ret[SEED_LEN]);

#endif
