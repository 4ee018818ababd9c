/*
 * Cleanup attributes and ownership hand-over: the tiny inlines that every file needs.
 *
 * cleanup_free / cleanup_close at a declaration release on scope exit (jansson's own json_auto_t
 * does it for JSON); steal_ptr and steal_fd move ownership out. free-like functions keep errno.
 */
#ifndef POSTERN_LIB_UTIL_H
#define POSTERN_LIB_UTIL_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void util_free(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

/* Closes *fd once, whatever close() answers (Linux has released it, EINTR included: close(2)). */
static inline void util_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

static inline int steal_fd(int *fd)
{
	int out = *fd;

	*fd = -1;
	return out;
}

#define steal_ptr(pp)                                                                              \
	__extension__({                                                                            \
		__typeof__(*(pp)) stolen_ = *(pp);                                                 \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})

/* No macro is called `cleanup`: it would break everybody's __attribute__((cleanup())), jansson's
 * too. */
#define cleanup_free  __attribute__((cleanup(util_free)))
#define cleanup_close __attribute__((cleanup(util_close)))

#endif
