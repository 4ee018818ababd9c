/*
 * What an attacker inside a sandbox would try, one group of attempts a name. Refuses to run
 * anywhere else.
 */
#ifndef POSTERN_TESTS_SANDBOX_PROBE_H
#define POSTERN_TESTS_SANDBOX_PROBE_H

#define PROBE_REFUSED 99 /* status outside of a sandbox */

/* argv[1]: calls, sockets, files, fds, i386, x32; or host PORT ABSTRACT-NAME. Prints NAME=ERRNO
 * lines (fds: KIND=NUMBER); returns the exit status. */
int probe_main(int argc, char **argv);

#endif
