/*
 * The loader's cache of libraries, /etc/ld.so.cache, in the form that glibc has had since 2.2
 * ("glibc-ld.so.cache1.1", after the older form or alone). Every offset in it is checked.
 */
#ifndef POSTERN_SPAWN_LDCACHE_H
#define POSTERN_SPAWN_LDCACHE_H

#include <stddef.h>

#define LDCACHE_MAX (8 * 1024 * 1024)

/* Calls fn for each path of a library with that name, of any architecture. What is damaged is as if
 * it were not there. */
void ldcache_find(const void *cache, size_t len, const char *name,
    void (*fn)(void *arg, const char *path), void *arg);

#endif
