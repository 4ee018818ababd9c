/*
 * Only allowed programs: what a plan's list comes to on the files of its root.
 *
 * Landlock's right to execute alone is no list: who may read a program has the loader run it
 * (`ld.so FILE`). So with a list a sandbox gets execute and read for the listed programs, the
 * interpreters of listed scripts, and their loader, and read for the libraries that these need; on
 * the mounts from which anything can be executed nothing else is readable. All other mounts are
 * noexec, which refuses PROT_EXEC mappings of what the agent wrote (LD_PRELOAD) as well, and
 * memfd_create(2) is refused by the filter, as files of memory lie on no mount.
 *
 * The files are read by a child of its own id, which has no capabilities, Landlock and a filter
 * around it, and nothing but the root: what it answers is a list of paths, read as foreign.
 *
 * What a list cannot do: keep a listed interpreter (a shell, Python, ...) from doing what it is
 * told. programs->strength says which kind of list it is; SECURITY.md has what is left to each.
 */
#ifndef POSTERN_SPAWN_PROGRAMS_H
#define POSTERN_SPAWN_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/spawn/plan.h"

struct err;

#define PROGRAMS_FILES_MAX 768 /* programs, loaders and libraries of one list */
#define PROGRAMS_PATH_LEN  256
#define PROGRAMS_PLACES    48

enum programs_strength {
	PROGRAMS_ANY,         /* no list: everything may be run */
	PROGRAMS_KERNEL,      /* what runs is what is listed, and the kernel sees to it */
	PROGRAMS_INTERPRETER, /* the same, but one of them does whatever its input says */
};

/* "any", "kernel", "interpreter", in the order of the enum. */
extern const char *const programs_strengths[];

struct programs_file {
	char path[PROGRAMS_PATH_LEN]; /* inside, absolute */
	bool execute;                 /* else it is only read; a directory: all that is in it */
};

struct programs {
	enum programs_strength strength;
	char
	    interpreter[PROGRAMS_PATH_LEN]; /* the first listed one that is an interpreter, or "" */
	unsigned nfiles;
	struct programs_file file[PROGRAMS_FILES_MAX];
};

/*
 * Looks the plan's list up below root (O_PATH will do), which is the template's. id: what uid and
 * gid the child takes; 0: it keeps the caller's (who is not root). *ret is new, for free().
 * -ENOENT and others with the program's name in e.
 */
int programs_find(
    int root, const struct plan *p, uint32_t id, struct programs **ret, struct err *e);

/* ---- what the files of this room share ---- */

/* The child's part: writes one line a file to `out`: "x PATH", "r PATH", "i PATH" (an interpreter
 * is among the listed), or "e TEXT", and "." at the end. Returns the exit status. */
int programs_search(int root, const struct plan *p, int out);
/* One such line without its end. -EBADMSG. 1 after the last. */
int programs_line(struct programs *to, const char *line, size_t len, struct err *e);
/* Whether a program of this name (the last part of a path) runs what it reads. */
bool programs_interprets(const char *name);

#endif
