#include "tests/support/claim_ids.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* as in postern.py */
#define FIRST  (0x70000000u + 1024 * 65536)
#define RANGE  (64u * 65536)
#define RANGES 48u

uint32_t claim_ids(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[256];

	(void)snprintf(path, sizeof path, "%s/postern-test-ids", tmp ? tmp : "/tmp");
	(void)mkdir(path, 0700);
	for (unsigned i = RANGES; i-- > 0;) {
		int fd;

		(void)snprintf(path, sizeof path, "%s/postern-test-ids/%u", tmp ? tmp : "/tmp", i);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			return FIRST + i * RANGE;
		if (fd >= 0)
			(void)close(fd);
	}
	(void)fprintf(stderr, "no free range of ids\n");
	exit(1);
}
