/*
 * The terminal that sshd gave us: raw while its bytes go to the sandbox's own pty, as before
 * afterwards. Depends on libc alone.
 */
#ifndef POSTERN_PAM_RUN_TTY_H
#define POSTERN_PAM_RUN_TTY_H

#include <stdbool.h>
#include <termios.h>

struct run_tty {
	int fd;
	bool raw; /* saved holds what to go back to */
	struct termios saved;
};

/* 0 or -errno. */
int run_tty_raw(struct run_tty *t, int fd);
void run_tty_restore(struct run_tty *t);
/* Gives the pty's master the terminal's size; the kernel then tells the foreground processes
 * (SIGWINCH). */
int run_tty_copy_size(int from, int to);

#endif
