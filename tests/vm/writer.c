#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/verify.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/util.h"
#include "tests/support/writer.h"

/*
 * writer write DIR DEVICE OFFSET COMMITS: keeps a log in DIR, and writes each acknowledgement as a
 * sector of DEVICE from OFFSET on, past every cache and without a flush: in the log of what the
 * device was asked to do an acknowledgement then has its place among the writes of the store.
 *
 * writer check DIR ACKS: the store in DIR has every record of the file ACKS, and adds up.
 */

#define SECTOR 512
#define BATCH  12
#define SAY    20 /* commits between two lines */

struct out {
	int fd;
	off_t at;
	uint8_t *sector;
};

static void tell(const struct ack *a, void *arg)
{
	struct out *o = arg;

	memset(o->sector, 0, SECTOR);
	memcpy(o->sector, a, sizeof *a);
	if (pwrite(o->fd, o->sector, SECTOR, o->at) != SECTOR) {
		perror("writer: acknowledgement");
		exit(2);
	}
	o->at += SECTOR;
}

static int write_log(const char *dir, const char *device, off_t at, unsigned long commits)
{
	cleanup_close int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct out o = {.fd = open(device, O_WRONLY | O_DIRECT | O_CLOEXEC), .at = at};
	uint64_t seed = 88172645463325252u;
	struct err e = ERR_INIT;
	struct writer w;

	if (dir_fd < 0 || o.fd < 0 || !(o.sector = aligned_alloc(4096, 4096))) {
		perror("writer");
		return 2;
	}
	if (writer_open(&w, dir_fd, &e) < 0) {
		(void)fprintf(stderr, "writer: %s\n", err_text(&e));
		return 1;
	}
	w.on_ack = tell;
	w.arg = &o;
	for (unsigned long i = 0; i < commits; i++) {
		if (writer_append(&w, 1 + writer_random(&seed) % BATCH, &seed) < 0 ||
		    writer_flush(&w) < 0)
			return 1;
		if (i % SAY == 0) {
			(void)printf("acked %llu\n", (unsigned long long)w.acked);
			(void)fflush(stdout);
		}
	}
	writer_close(&w);
	free(o.sector);
	(void)close(o.fd);
	return 0;
}

static int check_log(const char *dir, const char *acks)
{
	cleanup_close int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FILE *f = fopen(acks, "re");
	struct err e = ERR_INIT;
	struct book b;
	struct verify v;
	struct writer w;
	struct ack a;
	int r = 0;

	if (dir_fd < 0 || !f) {
		perror("writer");
		return 2;
	}
	book_init(&b);
	while (r == 0 && fread(&a, sizeof a, 1, f) == 1)
		r = book_ack(&b, &a);
	(void)fclose(f);
	if (r < 0 || (r = writer_open(&w, dir_fd, &e)) < 0 ||
	    (r = book_check(&b, w.store, true, &e)) < 0 || (r = verify_store(w.store, &v, &e)) < 0)
		(void)printf("%s\n", err_text(&e));
	else
		(void)printf("good: %llu acknowledged, %llu there\n",
		    (unsigned long long)book_total(&b), (unsigned long long)v.seq);
	return r < 0;
}

int main(int argc, char **argv)
{
	log_open("writer", LOG_ERR);
	if (argc == 6 && strcmp(argv[1], "write") == 0)
		return write_log(argv[2], argv[3], (off_t)strtoull(argv[4], NULL, 10),
		    strtoul(argv[5], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "check") == 0)
		return check_log(argv[2], argv[3]);
	(void)fprintf(stderr, "usage: writer write DIR DEVICE OFFSET COMMITS | check DIR ACKS\n");
	return 2;
}
