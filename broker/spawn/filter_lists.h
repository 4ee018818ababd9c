/*
 * Which system calls whose program may make: the lists that filter_gen.c puts filters together
 * from. By name; one that this architecture lacks is left out. No list says anything of arguments:
 * the rules of filter_gen.c do.
 */
#ifndef POSTERN_SPAWN_FILTER_LISTS_H
#define POSTERN_SPAWN_FILTER_LISTS_H

#include <stddef.h>

#define LIST(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

/* What programs of an agent may call. Not here, because few programs miss them and many kernel
 * holes were reached through them: io_uring, keyrings, userfaultfd, bpf, perf, aio, message queues,
 * NUMA policies, handles, vmsplice, other processes' memory, notification of mounts. */
LIST(agent_calls,
    /* files */
    "read", "write", "open", "close", "stat", "fstat", "lstat", "lseek", "pread64", "pwrite64",
    "readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2", "access", "dup", "dup2", "dup3",
    "sendfile", "splice", "copy_file_range", "flock", "fsync", "fdatasync", "sync", "syncfs",
    "sync_file_range", "truncate", "ftruncate", "fallocate", "fadvise64", "readahead", "getdents",
    "getdents64", "getcwd", "chdir", "fchdir", "rename", "mkdir", "rmdir", "creat", "link",
    "unlink", "symlink", "readlink", "chmod", "fchmod", "chown", "fchown", "lchown", "umask",
    "utime", "utimes", "mknod", "statfs", "fstatfs", "openat", "openat2", "mkdirat", "mknodat",
    "fchownat", "futimesat", "newfstatat", "unlinkat", "renameat", "renameat2", "linkat",
    "symlinkat", "readlinkat", "fchmodat", "faccessat", "faccessat2", "utimensat", "statx",
    "close_range", "setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr",
    "listxattr", "llistxattr", "flistxattr", "removexattr", "lremovexattr", "fremovexattr",
    "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fcntl",
    "memfd_create",
    /* memory */
    "mmap", "mprotect", "munmap", "brk", "mremap", "msync", "mincore", "madvise", "mlock", "mlock2",
    "munlock", "mlockall", "munlockall", "shmget", "shmat", "shmctl", "shmdt", "pkey_mprotect",
    "pkey_alloc", "pkey_free", "membarrier",
    /* processes */
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "kill", "tkill",
    "tgkill", "getpid", "getppid", "gettid", "getpgid", "setpgid", "getpgrp", "getsid", "setsid",
    "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid", "setreuid", "setregid",
    "getresuid", "getresgid", "setresuid", "setresgid", "getgroups", "setgroups", "setfsuid",
    "setfsgid", "capget", "capset", "getrlimit", "setrlimit", "prlimit64", "getrusage", "times",
    "getpriority", "setpriority", "ioprio_get", "ioprio_set", "sched_yield", "sched_setparam",
    "sched_getparam", "sched_setscheduler", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "sched_rr_get_interval", "sched_setaffinity", "sched_getaffinity",
    "sched_setattr", "sched_getattr", "getcpu", "pidfd_open", "pidfd_send_signal", "arch_prctl",
    "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "futex", "futex_waitv",
    "restart_syscall", "uname", "sysinfo", "getrandom",
    /* signals and time */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigsuspend", "sigaltstack", "pause", "signalfd",
    "signalfd4", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday",
    "time", "alarm", "getitimer", "setitimer", "timer_create", "timer_settime", "timer_gettime",
    "timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    /* waiting, pipes, sockets, semaphores */
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "pipe", "pipe2", "connect",
    "accept", "accept4", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
    "shutdown", "bind", "listen", "getsockname", "getpeername", "getsockopt", "semget", "semop",
    "semctl", "semtimedop");

/* Known and refused: EPERM tells a program more than "this kernel does not have it". */
LIST(agent_refused, "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "ptrace",
    "sethostname", "setdomainname", "swapon", "swapoff", "reboot", "settimeofday", "clock_settime",
    "acct", "syslog", "vhangup", "iopl", "ioperm", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load");

/* The strict profile is without these: code that runs from memory, what processes share beyond a
 * pipe, and calls whose holes were found in page caches and schedulers. Sockets but UNIX ones go by
 * a rule. */
LIST(strict_left_out, "memfd_create", "execveat", "splice", "tee", "shmget", "shmat", "shmctl",
    "shmdt", "semget", "semop", "semctl", "semtimedop", "mlockall", "munlockall", "pkey_mprotect",
    "pkey_alloc", "pkey_free", "sched_setparam", "sched_setscheduler", "sched_setattr",
    "sched_setaffinity", "ioprio_set", "sync", "syncfs", "readahead", "personality",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "membarrier");

/* Parts of the agent's filter that tests leave out, one at a time (lib/defence.h). */
LIST(weak_terminal, "ioctl");
LIST(weak_io_uring, "io_uring_setup", "io_uring_enter", "io_uring_register");
LIST(weak_socket, "socket", "socketpair");
LIST(weak_setsockopt, "setsockopt");
LIST(weak_keyring, "keyctl", "add_key", "request_key");
LIST(weak_userfaultfd, "userfaultfd");
LIST(weak_perf, "perf_event_open");
LIST(weak_personality, "personality");
LIST(weak_prctl, "prctl", "seccomp");
LIST(weak_fcntl, "fcntl");
LIST(weak_namespaces, "unshare", "clone", "clone3", "setns", "mount", "umount2", "fsopen",
    "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr", "pivot_root", "chroot");
LIST(weak_trace, "ptrace", "process_vm_readv", "process_vm_writev");

/* Every daemon: memory, signals, time, waiting, bytes through descriptors it has. */
LIST(daemon_calls, "read", "write", "readv", "writev", "close", "fstat", "newfstatat", "statx",
    "lseek", "munmap", "brk", "mremap", "madvise", "mlock", "munlock", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "poll", "ppoll", "select", "pselect6",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2",
    "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "nanosleep",
    "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "getpid", "getppid",
    "gettid", "getuid", "geteuid", "getgid", "getegid", "futex", "exit", "exit_group",
    "restart_syscall", "sched_yield", "getrandom", "fcntl", "dup", "dup3", "recvmsg", "sendmsg",
    "recvfrom", "sendto", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt",
    "sysinfo", "getrusage", "uname", "set_robust_list", "rseq", "getcpu", "close_range");

LIST(pipe_calls, "pipe2", "splice", "tee");
/* To read its configuration again; Landlock leaves it no other path. */
LIST(reload_calls, "openat", "openat2");
/* The watchdog of a worker: gateway/ssh/watchdog.h. */
LIST(worker_calls, "setitimer");
LIST(accept_calls, "accept", "accept4");
/* A directory of one's own, with Landlock around it. */
LIST(file_calls, "open", "openat", "openat2", "stat", "lstat", "access", "faccessat", "faccessat2",
    "pread64", "pwrite64", "preadv", "pwritev", "pwritev2", "fsync", "fdatasync", "ftruncate",
    "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdirat", "getdents64",
    "fchmod", "fchmodat", "umask", "flock", "fadvise64", "readlink", "readlinkat", "fstatfs",
    "statfs", "linkat");
/* Who reads a hostile tree by descriptors; the process beside it reads one attribute. */
LIST(walk_calls, "openat", "openat2", "getdents64", "readlinkat", "pread64", "flistxattr",
    "fgetxattr");
/* Who watches which programs are run: it reads their arguments where they lie. */
LIST(watch_calls, "process_vm_readv");
/* Who dials, and resolves names in a thread (getaddrinfo(3) binds its netlink socket). */
LIST(dial_calls, "connect", "bind", "pipe2", "sendmmsg", "recvmmsg", "getdents64");
/* LMDB's maps and locks, the pipes and pairs that it hands out, and looking at a peer. */
LIST(core_calls, "msync", "mincore", "pipe2", "socketpair", "memfd_create", "sync_file_range",
    "prlimit64", "getrlimit", "pidfd_open", "sendmmsg");
/* Who unpacks an image below a directory: modes and owners by descriptors alone. */
LIST(unpack_calls, "openat2", "getdents64", "pwrite64", "ftruncate", "mkdirat", "unlinkat",
    "renameat2", "linkat", "symlinkat", "fchmod", "fchown", "openat");

/* No daemon ever needs these: whoever calls one is not our code any more. */
LIST(daemon_killed, "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
    "pidfd_getfd", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "keyctl",
    "add_key", "request_key", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "userfaultfd", "perf_event_open", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "open_by_handle_at", "name_to_handle_at", "fsopen", "open_tree",
    "move_mount", "swapon", "reboot", "iopl", "ioperm", "modify_ldt", "personality", "setuid",
    "setgid", "setresuid", "setresgid", "setreuid", "setregid", "setgroups", "capset");

#ifdef POSTERN_SAN
/* What the sanitizers' run time calls, the leak check at exit above all. */
LIST(san_calls, "open", "openat", "readlink", "readlinkat", "prlimit64", "getrlimit",
    "sched_getaffinity", "clone", "ptrace", "wait4", "tgkill", "getdents64", "pipe", "pipe2",
    "stat", "access", "mmap", "mprotect", "prctl");
#else
LIST(san_calls, "read");
#endif

#endif
