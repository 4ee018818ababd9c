#include "broker/supervisor/fdstore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/str.h"
#include "lib/util.h"

struct entry {
	char name[FDSTORE_NAME_MAX + 1];
	int fd; /* -1: free */
	bool handed_out;
};

struct fdstore {
	struct entry *entry;
	size_t size;  /* slots, grown by doubling */
	size_t count; /* slots in use */
};

struct fdstore *fdstore_new(void)
{
	return calloc(1, sizeof(struct fdstore));
}

void fdstore_free(struct fdstore *s)
{
	if (!s)
		return;
	(void)fdstore_clear(s);
	free(s->entry);
	free(s);
}

static struct entry *find(struct fdstore *s, const char *name)
{
	for (size_t i = 0; i < s->size; i++)
		if (s->entry[i].fd >= 0 && strcmp(s->entry[i].name, name) == 0)
			return &s->entry[i];
	return NULL;
}

/* A free slot; NULL with errno. */
static struct entry *slot(struct fdstore *s)
{
	size_t size = s->size ? s->size * 2 : 16;
	struct entry *grown;

	for (size_t i = 0; i < s->size; i++)
		if (s->entry[i].fd < 0)
			return &s->entry[i];
	if (s->size >= FDSTORE_MAX) {
		errno = ENOSPC;
		return NULL;
	}
	if (!(grown = reallocarray(s->entry, size, sizeof *grown)))
		return NULL;
	s->entry = grown;
	for (size_t i = s->size; i < size; i++)
		s->entry[i] = (struct entry){.fd = -1};
	grown = &s->entry[s->size];
	s->size = size;
	return grown;
}

int fdstore_put(struct fdstore *s, const char *name, int fd)
{
	cleanup_close int owned = fd;
	size_t len = strlen(name);
	struct entry *at;

	if (len == 0 || len > FDSTORE_NAME_MAX)
		return -EINVAL;
	if ((at = find(s, name))) {
		util_close(&at->fd);
	} else {
		if (!(at = slot(s)))
			return -errno;
		(void)str_copy(at->name, sizeof at->name, name);
		s->count++;
	}
	at->fd = steal_fd(&owned);
	at->handed_out = true;
	return 0;
}

int fdstore_drop(struct fdstore *s, const char *name)
{
	struct entry *at = find(s, name);

	if (!at)
		return -ENOENT;
	util_close(&at->fd);
	s->count--;
	return 0;
}

size_t fdstore_count(const struct fdstore *s)
{
	return s->count;
}

size_t fdstore_clear(struct fdstore *s)
{
	size_t had = s->count;

	for (size_t i = 0; i < s->size; i++)
		util_close(&s->entry[i].fd);
	s->count = 0;
	return had;
}

void fdstore_rewind(struct fdstore *s)
{
	for (size_t i = 0; i < s->size; i++)
		s->entry[i].handed_out = false;
}

bool fdstore_next(struct fdstore *s, const char **ret_name, int *ret_fd)
{
	for (size_t i = 0; i < s->size; i++) {
		struct entry *at = &s->entry[i];

		if (at->fd < 0 || at->handed_out)
			continue;
		at->handed_out = true;
		*ret_name = at->name;
		*ret_fd = at->fd;
		return true;
	}
	return false;
}
