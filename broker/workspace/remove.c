#include "broker/workspace/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/util.h"

#define TRIES 8

struct step {
	int trash;
	unsigned left, done;
	int error; /* the last */
};

int remove_later(int from, const char *name, int trash)
{
	char to[32];
	uint64_t any;

	for (int i = 0; i < TRIES; i++) {
		fd_random(&any, sizeof any);
		(void)snprintf(to, sizeof to, "%016llx", (unsigned long long)any);
		if (renameat2(from, name, trash, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

/* True if the name is gone: no directory, or an empty one. */
static bool gone(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return true;
	return (errno == EISDIR || errno == EPERM) &&
	       (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT);
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static DIR *open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		util_close(&fd);
	return d;
}

/* A directory that lies in the trash itself. */
static void empty(struct step *s, const char *name)
{
	DIR *d = open_dir(s->trash, name);
	struct dirent *t;
	int r;

	if (!d) {
		s->error = -errno;
		return;
	}
	for (; s->left > 0 && (t = readdir(d)); s->left--) {
		if (is_dots(t->d_name))
			continue;
		if (gone(dirfd(d), t->d_name))
			s->done++;
		else if (errno != ENOTEMPTY && errno != EEXIST)
			s->error = -errno;
		else if ((r = remove_later(dirfd(d), t->d_name, s->trash)) < 0)
			s->error = r;
		else
			s->done++;
	}
	(void)closedir(d);
	if (unlinkat(s->trash, name, AT_REMOVEDIR) == 0)
		s->done++;
}

int remove_step(int trash, unsigned most)
{
	struct step s = {.trash = trash, .left = most};
	DIR *d = open_dir(trash, ".");
	struct dirent *t;
	bool all = true;

	if (!d)
		return -errno;
	while ((t = readdir(d))) {
		if (is_dots(t->d_name))
			continue;
		if (s.left == 0) {
			all = false;
			break;
		}
		s.left--;
		if (gone(trash, t->d_name)) {
			s.done++;
		} else if (errno == ENOTEMPTY || errno == EEXIST) {
			all = false;
			empty(&s, t->d_name);
		} else {
			all = false;
			s.error = -errno;
		}
	}
	(void)closedir(d);
	if (all)
		return 0;
	return s.done ? 1 : s.error ? s.error : -EBUSY;
}
