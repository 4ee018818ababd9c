/*
 * Removal of trees that tenants made, in steps that nobody has to wait for: of any depth and width,
 * with two descriptors open at most, and without following anything. Names are only handed back to
 * unlinkat(2).
 */
#ifndef POSTERN_WORKSPACE_REMOVE_H
#define POSTERN_WORKSPACE_REMOVE_H

/* Removes at most `most` entries of what lies in the directory. Directories that are full are
 * emptied into it first, so nothing is ever more than one level down. 1: there is more; 0: it is
 * empty; -errno: nothing could be removed. */
int remove_step(int trash, unsigned most);
/* Moves from/name into trash, under a name that is free there. 0 or -errno. */
int remove_later(int from, const char *name, int trash);

#endif
