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
#define PROGRAMS_PLACES    24

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

/* A mount of the new root whose noexec differs from all others'. */
struct programs_place {
	char from[64]; /* what is cloned there; "": the mount that is there already */
	char at[64];   /* below /mnt */
	bool execute;
};

struct programs {
	enum programs_strength strength;
	char
	    interpreter[PROGRAMS_PATH_LEN]; /* the first listed one that is an interpreter, or "" */
	unsigned nfiles;
	struct programs_file file[PROGRAMS_FILES_MAX];
	/* by programs_get() alone: */
	unsigned nplaces;
	struct programs_place place[PROGRAMS_PLACES];
};

/*
 * Looks the plan's list up below root (O_PATH will do), which is the template's. id: what uid and
 * gid the child takes; 0: it keeps the caller's (who is not root). *ret is new, for free().
 * -ENOENT and others with the program's name in e.
 */
int programs_find(
    int root, const struct plan *p, uint32_t id, struct programs **ret, struct err *e);

/* ---- for a sandbox ---- */

struct host;
struct skeleton;
struct programs_kept; /* lists that were looked up before */

/* The list of a plan on this skeleton, looked up again when one of its programs is another file
 * now; *ret is NULL without a list, else borrowed until programs_drop(). */
int programs_get(struct programs_kept **kept, const struct host *h, const struct skeleton *s,
    const struct plan *p, uint32_t id, const struct programs **ret, struct err *e);
void programs_drop(struct programs_kept *kept);

/* Between clone3 and execve (system calls only), 0 or -errno: the mounts, while the new root is
 * below /mnt; the rights, with it as root; the filter. All do nothing for NULL. */
int programs_mounts(const struct programs *g);
int programs_rules(const struct programs *g, int ruleset, uint64_t handled);
int programs_filter(const struct programs *g);
/* Whether programs are run from this directory of the root, which must then stay as it is. */
bool programs_runs_in(const struct programs *g, const char *dir);

/* ---- what the files of this room share ---- */

/* The child's part: writes one line a file to `out`: "x PATH", "r PATH", "i PATH" (an interpreter
 * is among the listed), or "e TEXT", and "." at the end. Returns the exit status. */
int programs_search(int root, const struct plan *p, int out);
/* One such line without its end. -EBADMSG. 1 after the last. */
int programs_line(struct programs *to, const char *line, size_t len, struct err *e);
/* Whether a program of this name (the last part of a path) runs what it reads. */
bool programs_interprets(const char *name);

#endif
