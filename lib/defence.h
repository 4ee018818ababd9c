/*
 * Defences that a test can switch off, one at a time, to see that what it tries is stopped by them
 * and by nothing else. Only a build of their own with POSTERN_DEFENCES has the switches
 * (tests/root/test_defences.c links it); a program that is installed knows not even their names
 * (tests/root/test_escapes.py looks).
 */
#ifndef POSTERN_LIB_DEFENCE_H
#define POSTERN_LIB_DEFENCE_H

#ifdef POSTERN_DEFENCES
#include <stdbool.h>

struct sock_filter;

/* These read memory only: they are also called between clone3 and execve. */
bool defence_off(const char *name);
/* The agent's filter without the part that is switched off; false: nothing of it is. */
bool defence_filter(const struct sock_filter **ret, unsigned short *ret_len);
/* What tells postern-init, which is another program. */
char **defence_environ(void);
#define DEFENCE(name)   (!defence_off(name))
#define DEFENCE_ENVIRON defence_environ()
#else
#define DEFENCE(name)   1
#define DEFENCE_ENVIRON ((char *[]){(char *)0})
#endif

#endif
