/*
 * The export gate: what in a tree that an agent wrote would be run, obeyed or followed by whoever
 * reads it later, outside. Pure: names, modes and bytes in, flags out; the tables are in gate.c and
 * gate_names.c.
 *
 * A flag is a warning, never a proof: a file without one can still be a program to somebody. Names
 * are compared without regard to case, since the reader's file system may not have any.
 */
#ifndef POSTERN_WALK_GATE_H
#define POSTERN_WALK_GATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum gate_flag {
	GATE_EXECUTABLE = 1u << 0, /* a regular file with an x bit */
	GATE_PROGRAM = 1u << 1,    /* bytes that say so: ELF, #!, PE, Mach-O */
	GATE_HOOK = 1u << 2,       /* run by a version control system */
	GATE_GIT = 1u << 3,        /* configuration of one, which can name programs */
	GATE_CI = 1u << 4,         /* run by a build service */
	GATE_EDITOR = 1u << 5,     /* obeyed by an editor when the directory is opened */
	GATE_SHELL = 1u << 6,  /* read when a shell or a login starts, or a directory is entered */
	GATE_BUILD = 1u << 7,  /* run by make, npm, cargo, ... */
	GATE_PYTHON = 1u << 8, /* imported unasked */
	GATE_AGENT = 1u << 9,  /* instructions or tools of a coding agent */
	GATE_LINK = 1u << 10,  /* a symbolic link that points out, or may */
	GATE_SETUID = 1u << 11,
	GATE_CAPABILITY = 1u << 12, /* security.capability */
	GATE_XATTR = 1u << 13,      /* any other extended attribute */
	GATE_DEVICE = 1u << 14,
	GATE_SPECIAL = 1u << 15, /* FIFO, socket */
};
#define GATE_COUNT   16
#define GATE_HEAD    65536 /* bytes of a file that gate_content() wants to see */
#define GATE_REFUSED (~0u) /* what export leaves out unless it is allowed */

/* The word for the lowest flag of the set ("executable", ...), and why it matters. */
const char *gate_word(unsigned flag);
const char *gate_reason(unsigned flag);
unsigned gate_find(const char *word); /* 0: no such word */

/* By its path: any bytes but NUL, components divided by '/', none at its begin or end. */
unsigned gate_path(const char *path);
unsigned gate_mode(mode_t mode);
/* By the first bytes of a regular file; len at most GATE_HEAD counts. */
unsigned gate_content(const char *path, const void *head, size_t len);
/* A link at `path` to `target`: GATE_LINK unless it stays inside for certain: relative, every ".."
 * at its front, and fewer of them than `path` is deep. */
unsigned gate_link(const char *path, const char *target);
/* A list as listxattr(2) gives it. */
unsigned gate_xattrs(const char *list, size_t len);

/* gate_names.c: the table of names. parts: one to three components as fnmatch(3) patterns, matched
 * at any depth; below: whatever is beneath counts too. */
struct gate_name {
	const char *parts[3];
	int below;
	unsigned flag;
};
extern const struct gate_name gate_names[];
extern const size_t gate_names_len;

#endif
