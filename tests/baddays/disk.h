/*
 * The disk under a store, for tests of bad days: every write, sync and cut of a file named data.mdb
 * (data.new while it is made) in this process passes here. They can be recorded, so that a test
 * makes the file as a power cut at any moment could have left it; and they can be made to fail.
 *
 * liblmdb 0.9 without WRITEMAP changes its file by pwrite, writev, ftruncate and fdatasync alone,
 * and writes the page that makes a commit through a descriptor with O_DSYNC: such a write is
 * durable once the next call is made. A program that links disk.o has its own definitions of these
 * functions; the shared library then calls them.
 */
#ifndef POSTERN_TESTS_BADDAYS_DISK_H
#define POSTERN_TESTS_BADDAYS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_SECTOR 512

enum disk_kind {
	DISK_WRITE,  /* data at off */
	DISK_SYNC,   /* all before is durable */
	DISK_UNSYNC, /* a sync that failed: what was not durable is lost and never tried again */
	DISK_SIZE,   /* cut or grown to off */
	DISK_NAME,   /* from here on it is data.mdb */
	DISK_MARK,   /* the test's own: off is its number */
};

struct disk_op {
	enum disk_kind kind;
	bool durable; /* a write with O_DSYNC */
	uint64_t off;
	size_t len;
	uint8_t *data;
};

/* Forgets what was recorded, and begins. */
void disk_record(void);
void disk_stop(void);
void disk_mark(uint64_t n);
const struct disk_op *disk_ops(size_t *ret_n); /* valid until the next recorded call */

struct disk_image {
	uint8_t *data;
	size_t len, max;
};
void image_write(struct disk_image *m, uint64_t off, const void *data, size_t len);
void image_copy(struct disk_image *dst, const struct disk_image *src);
void image_done(struct disk_image *m);
/* What survives for certain if the power fails before operation `end`. */
void disk_durable(size_t end, struct disk_image *ret);
/* As a file of this directory, written past the recorder. */
int image_store(const struct disk_image *m, int dirfd, const char *name);

enum disk_effect {
	DISK_NOTHING, /* the call fails and changes nothing */
	DISK_HALF,    /* it writes half of it and says so */
	DISK_LANDS,   /* it fails, and yet what it wrote can be read */
};
struct disk_fault {
	bool sync;  /* of syncs; else of writes */
	unsigned n; /* from the nth call from now on, from 1; 0: none */
	unsigned count;
	int error;
	enum disk_effect effect;
};
/* Counts from now. */
void disk_fail(const struct disk_fault *f);
/* Calls that failed (or were short) since disk_fail(), and the calls of each kind in all. */
unsigned disk_failed(void);
unsigned disk_writes(void);
unsigned disk_syncs(void);

#endif
