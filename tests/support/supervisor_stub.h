/*
 * A stand-in for every daemon: a test program is copied as postern-core, postern-spawn, ... beside
 * the supervisor, and calls this when it finds itself called so. The stub writes what it was given
 * and told as lines into the file `log` beside itself, sends `ready`, and obeys `shutdown`.
 *
 * Files beside it change what it does: ROLE.refuses (exits 3 at once), ROLE.silent (never ready),
 * ROLE.stubborn (ignores `shutdown`), listener.uses (tells of the next spare worker as used).
 * SIGUSR1 makes the core store a descriptor of /dev/zero, SIGUSR2 ask for the status; anyone else
 * then sends what it may not.
 */
#ifndef POSTERN_TESTS_SUPERVISOR_STUB_H
#define POSTERN_TESTS_SUPERVISOR_STUB_H

/* name: the program's, without its directory. The exit status. */
int stub_main(const char *name, int argc, char **argv);
/* Puts a program into a directory. */
void stub_copy(const char *from, const char *dir, const char *name);

#endif
