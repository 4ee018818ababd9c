/*
 * The agent's Landlock domain: reading and running everywhere, writing only in the directories that
 * are meant for it (so never in /proc, /etc or /usr, whatever the modes say), no device nodes, and
 * from ABI 6 on no abstract sockets and signals beyond the sandbox. TCP needs no rule: the network
 * namespace has nothing but lo. Called between clone3 and execve: system calls only.
 */
#ifndef POSTERN_SPAWN_LANDLOCK_H
#define POSTERN_SPAWN_LANDLOCK_H

struct plan;
struct programs;
struct rules;
struct skeleton;

/* g: the list of programs that alone may be run, or NULL. own: a template's rules, or NULL. 0 or
 * -errno. Needs no_new_privs, and the sandbox's root as root. */
int landlock_agent(const struct skeleton *s, const struct plan *p, const struct programs *g,
    const struct rules *own, int abi);

#endif
