/*
 * A bad neighbour, and a good one: programs that a test runs in a sandbox (box_install_self()).
 *
 * A hog takes all that it can get of one thing, again and again, with as many processes as a good
 * neighbour has.
 */
#ifndef POSTERN_TESTS_HOG_H
#define POSTERN_TESTS_HOG_H

#include <stdbool.h>
#include <stdint.h>

#define HOG_DISK   (UINT64_C(16) << 20) /* what its plan shall leave it, and its neighbour */
#define HOG_MEMORY (UINT64_C(64) << 20)
#define HOG_PIDS   64
#define HOG_INODES 512
#define HOG_FILES  256

enum hog { HOG_FORKS, HOG_FILLS_MEMORY, HOG_FILLS_DISK, HOG_OPENS, HOG_MAKES_FILES, HOGS };

extern const char *const hog_names[HOGS]; /* "fork bomb", "memory hog" ... */

struct plan;
void hog_limits(struct plan *p);

/* `hog N` goes on in the background once the kernel has refused it something, whose errno it
 * prints (0 for memory, where nothing is refused). `work MS` prints how often it has done what
 * programs do: compute, fork, write, read. True if argv asked for one of them. */
bool hog_main(int argc, char **argv, int *ret_status);

#endif
