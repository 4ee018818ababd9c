/*
 * Attacks on a sandbox, one function each: the cases of tests/root/ESCAPES and others that exploits
 * begin with. Each tries one thing, and uses nothing of what it gets. None runs in the host's own
 * user namespace.
 */
#ifndef POSTERN_TESTS_ESCAPE_PROBE_H
#define POSTERN_TESTS_ESCAPE_PROBE_H

#include <stddef.h>

struct escape {
	int number;          /* the case of tests/root/ESCAPES; 0: none of those */
	const char *name;    /* also the name of its test */
	const char *layer;   /* what holds it, for people */
	const char *off;     /* switches (lib/defence.h) that let it through together; NULL: none do
	                      */
	int (*attack)(void); /* 0: it went through; else the errno that stopped it */
};

extern const struct escape escapes[];
extern const size_t escapes_len;

/* `escape NAME`: prints "through" or "held: WHY". Returns the exit status: 99 outside of a user
 * namespace of one's own. */
int escape_main(int argc, char **argv);

#endif
