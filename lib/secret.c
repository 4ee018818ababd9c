#include "lib/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* [guard page][pages, the data right before the next guard, 16-aligned][guard page] */
struct secret {
	uint8_t *map;
	size_t map_len;
	uint8_t *data;
	size_t len;
};

struct secret *secret_new(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), inner;
	struct secret *s;

	if (len == 0 || len > SECRET_MAX) {
		errno = EINVAL;
		return NULL;
	}
	s = malloc(sizeof *s);
	if (!s)
		return NULL;
	inner = (len + page - 1) / page * page;
	s->map_len = inner + 2 * page;
	s->map = mmap(NULL, s->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->map == MAP_FAILED) {
		free(s);
		return NULL;
	}
	/* WIPEONFORK gives children zeroes (madvise(2)). Locking is bounded by RLIMIT_MEMLOCK and
	 * best effort; the other three are not. */
	if (mprotect(s->map + page, inner, PROT_READ | PROT_WRITE) < 0 ||
	    madvise(s->map, s->map_len, MADV_DONTDUMP) < 0 ||
	    madvise(s->map + page, inner, MADV_WIPEONFORK) < 0) {
		int saved = errno;

		(void)munmap(s->map, s->map_len);
		free(s);
		errno = saved;
		return NULL;
	}
	(void)mlock(s->map + page, inner);
	s->data = s->map + page + ((inner - len) & ~(size_t)15);
	s->len = len;
	return s;
}

void secret_free(struct secret *s)
{
	int saved = errno;

	if (!s)
		return;
	secret_wipe(s->data, s->len);
	(void)munmap(s->map, s->map_len);
	free(s);
	errno = saved;
}

uint8_t *secret_data(struct secret *s)
{
	return s->data;
}

size_t secret_len(const struct secret *s)
{
	return s->len;
}

void secret_truncate(struct secret *s, size_t len)
{
	if (len >= s->len)
		return;
	secret_wipe(s->data + len, s->len - len);
	s->len = len;
}

bool secret_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < len; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

void secret_wipe(void *p, size_t len)
{
	if (len > 0)
		explicit_bzero(p, len);
}
