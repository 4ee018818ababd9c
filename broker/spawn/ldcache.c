#include "broker/spawn/ldcache.h"

#include <stdint.h>
#include <string.h>

/* From sysdeps/generic/dl-cache.h of glibc: magic, version, count, length of strings, flags and
 * padding, offset of extensions, 12 unused bytes; then entries; strings are counted from the
 * header. */
#define MAGIC      "glibc-ld.so.cache1.1"
#define MAGIC_LEN  (sizeof MAGIC - 1)
#define OLD_MAGIC  "ld.so-1.7.0"
#define OLD_LEN    (sizeof OLD_MAGIC - 1)
#define OLD_HEAD   16 /* magic, padding, u32 count */
#define OLD_ENTRY  12
#define HEAD       48
#define ENTRY      24 /* i32 flags, u32 name, u32 path, u32 os version, u64 hwcap */
#define ENTRY_NAME 4
#define ENTRY_PATH 8

static uint32_t number(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static const char *text(const char *at, size_t len, uint32_t offset)
{
	return offset < len && memchr(at + offset, '\0', len - offset) ? at + offset : NULL;
}

void ldcache_find(const void *cache, size_t len, const char *name,
    void (*fn)(void *arg, const char *path), void *arg)
{
	const char *at = cache;
	uint64_t skip;
	uint32_t n;

	if (len >= OLD_HEAD && memcmp(at, OLD_MAGIC, OLD_LEN) == 0) {
		skip = OLD_HEAD + (uint64_t)number(at + 12) * OLD_ENTRY;
		skip = (skip + 7) & ~UINT64_C(7);
		if (skip > len)
			return;
		at += skip;
		len -= (size_t)skip;
	}
	if (len < HEAD || memcmp(at, MAGIC, MAGIC_LEN) != 0)
		return;
	n = number(at + MAGIC_LEN);
	if (n > (len - HEAD) / ENTRY)
		return;
	for (uint32_t i = 0; i < n; i++) {
		const char *entry = at + HEAD + (size_t)i * ENTRY;
		const char *key = text(at, len, number(entry + ENTRY_NAME));
		const char *path = text(at, len, number(entry + ENTRY_PATH));

		if (key && path && strcmp(key, name) == 0)
			fn(arg, path);
	}
}
