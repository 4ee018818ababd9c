/*
 * Small work on cgroup directories, by descriptor, and the clearing of a whole subtree of ours.
 */
#ifndef POSTERN_SPAWN_CGROUP_SWEEP_H
#define POSTERN_SPAWN_CGROUP_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes text to dir/name/file (name may be "."). 0 or -errno. */
int cgroup_write(int dir, const char *name, const char *file, const char *text);
/* The same, given up after so long: -EINTR. */
int cgroup_write_within(int dir, const char *name, const char *file, const char *text, int ms);
/* Reads dir/name/file into dst, terminated. 0 or -errno. */
int cgroup_read(int dir, const char *name, const char *file, char *dst, size_t size);
/* The number after KEY in text of "KEY N" lines; 0 if it is not there. */
uint64_t cgroup_value(const char *text, const char *key);

/* Everybody in the cgroup dir/from to to_dir/to; some may fork meanwhile. */
void cgroup_move(int dir, const char *from, int to_dir, const char *to);
/* The same from every cgroup of this name two levels below dir. */
void cgroup_gather(int dir, const char *name, int to_dir, const char *to);

/* Is there a child directory besides CGROUP_LEAF? */
bool cgroup_has_others(int dir);

/* Kills (where there is cgroup.kill) and removes all below dir, two levels deep, waiting at most
 * wait_ms for processes to go. keep: a name on the first level whose directories are removed but
 * not killed. */
void cgroup_sweep(int dir, const char *keep, int wait_ms);

#endif
