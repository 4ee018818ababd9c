#include "pam/run_tty.h"

#include <errno.h>
#include <sys/ioctl.h>

int run_tty_raw(struct run_tty *t, int fd)
{
	struct termios raw;

	t->fd = fd;
	t->raw = false;
	if (tcgetattr(fd, &t->saved) < 0)
		return -errno;
	raw = t->saved;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return -errno;
	t->raw = true;
	return 0;
}

void run_tty_restore(struct run_tty *t)
{
	/* not TCSADRAIN: a client that reads no more would keep us here */
	if (t->raw)
		(void)tcsetattr(t->fd, TCSANOW, &t->saved);
	t->raw = false;
}

int run_tty_copy_size(int from, int to)
{
	struct winsize w;

	return ioctl(from, TIOCGWINSZ, &w) < 0 || ioctl(to, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}
