/*
 * Signals by the names of SSH: RFC 4254 section 6.10 lists thirteen, without SIG, and leaves others
 * to names with an @.
 *
 * Depends on libc alone.
 */
#ifndef POSTERN_LIB_SIGNAME_H
#define POSTERN_LIB_SIGNAME_H

/* "TERM" for SIGTERM; NULL for a signal that the RFC lacks. */
const char *signame(int signo);
/* SIGTERM for "TERM"; 0 for a name that the RFC lacks. */
int signame_number(const char *name);

#endif
