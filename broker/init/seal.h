/*
 * What init does to itself where another program than ours made the sandbox (an OCI runtime, a
 * virtual machine's kernel): the same Landlock rules and the same seccomp filter as
 * broker/spawn/enter.h gives it otherwise, and the same death with its parent.
 */
#ifndef POSTERN_INIT_SEAL_H
#define POSTERN_INIT_SEAL_H

#define SEAL_WORD "sealed" /* in init's argv, and the paths behind it */

/* paths: NULL-terminated, the directories in which the agent may write. 0 or -errno. A kernel
 * without Landlock is left so; who starts us tells which ABI holds. */
int seal(char *const *paths);

#endif
