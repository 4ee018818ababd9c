/*
 * The files that a virtual machine boots (broker/spawn/backend_vm.h says where they lie), and which
 * image it was: its digest goes to the log. Nothing of their contents is understood here.
 */
#ifndef POSTERN_SPAWN_VM_IMAGE_H
#define POSTERN_SPAWN_VM_IMAGE_H

#include <sys/stat.h>

#include "lib/digest.h"

struct err;
struct host;
struct plan;

struct vm_image {
	char digest[DIGEST_HEX_LEN + 1];
	struct stat of; /* the file that it is of */
	/* who reads another one: a pidfd and its answer, or -1 */
	int reader, answer;
	struct stat reading;
};

/* A regular file of root's that nobody else can write, for reading; or -errno. */
int vm_file(int dir, const char *path, struct err *e);
/* The image of the plan's root. */
int vm_image_open(const struct host *h, const struct plan *p, struct err *e);
#define VM_IMAGE_NONE                                                                              \
	{                                                                                          \
		.reader = -1, .answer = -1                                                         \
	}
#define VM_IMAGE_WAIT_MS 5000

/* SHA-256 of the whole, made by a process of its own, as it takes seconds: begun when the file is
 * another one or has changed since. 0, or -errno. */
int vm_image_begin(struct vm_image *m, int fd, struct err *e);
/* Its digest. What was not begun is begun now; one that is not there after VM_IMAGE_WAIT_MS is
 * -EAGAIN. */
int vm_image_digest(struct vm_image *m, int fd, struct err *e);
void vm_image_stop(struct vm_image *m);

#endif
