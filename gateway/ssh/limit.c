#include "gateway/ssh/limit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct entry {
	struct entry *next;
	struct source source;
	size_t count;
};

struct limit {
	struct entry **buckets;
	size_t nbuckets; /* a power of two */
	size_t total, max_total, max_source;
	uint64_t seed; /* a flood cannot aim at one bucket */
};

struct source limit_source(const struct sockaddr *sa)
{
	struct source s = {0, {0}};

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		s.len = 4;
		memcpy(s.bytes, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			s.len = 4;
			memcpy(s.bytes, &in6->sin6_addr.s6_addr[12], 4);
		} else {
			s.len = 8;
			memcpy(s.bytes, &in6->sin6_addr, 8);
		}
	}
	return s;
}

struct limit *limit_new(size_t max_total, size_t max_source)
{
	struct limit *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->nbuckets = 256;
	l->buckets = calloc(l->nbuckets, sizeof *l->buckets);
	if (!l->buckets) {
		free(l);
		return NULL;
	}
	if (getrandom(&l->seed, sizeof l->seed, 0) != (ssize_t)sizeof l->seed)
		l->seed = (uint64_t)(uintptr_t)l;
	l->max_total = max_total;
	l->max_source = max_source;
	return l;
}

void limit_free(struct limit *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->nbuckets; i++)
		while (l->buckets[i]) {
			struct entry *x = l->buckets[i];

			l->buckets[i] = x->next;
			free(x);
		}
	free(l->buckets);
	free(l);
}

void limit_set(struct limit *l, size_t max_total, size_t max_source)
{
	l->max_total = max_total;
	l->max_source = max_source;
}

/* The multiplication of a 64-bit FNV-like hash with a secret start: spreads, and cannot be
 * predicted. */
static struct entry **find(const struct limit *l, struct source s)
{
	uint64_t h = l->seed ^ s.len;
	struct entry **p;

	for (size_t i = 0; i < sizeof s.bytes; i++)
		h = (h ^ s.bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
	h ^= h >> 32;
	p = &l->buckets[h & (l->nbuckets - 1)];
	while (*p && ((*p)->source.len != s.len || memcmp((*p)->source.bytes, s.bytes, 8) != 0))
		p = &(*p)->next;
	return p;
}

int limit_take(struct limit *l, struct source s)
{
	struct entry **p = find(l, s);

	if (l->total >= l->max_total)
		return -EBUSY;
	if (*p && (*p)->count >= l->max_source)
		return -EDQUOT;
	if (!*p) {
		struct entry *x = calloc(1, sizeof *x);

		if (!x)
			return -ENOMEM;
		x->source = s;
		*p = x;
	}
	(*p)->count++;
	l->total++;
	return 0;
}

void limit_give(struct limit *l, struct source s)
{
	struct entry **p = find(l, s);
	struct entry *x = *p;

	if (!x)
		return;
	l->total--;
	if (--x->count == 0) {
		*p = x->next;
		free(x);
	}
}

size_t limit_total(const struct limit *l)
{
	return l->total;
}

size_t limit_count(const struct limit *l, struct source s)
{
	const struct entry *x = *find(l, s);

	return x ? x->count : 0;
}
