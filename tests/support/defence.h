/*
 * The switches of lib/defence.h, for the one test whose spawn has them.
 */
#ifndef POSTERN_TESTS_DEFENCE_H
#define POSTERN_TESTS_DEFENCE_H

/* Names with commas between them are off from now on; "" is none. */
void defence_set(const char *names);

#endif
