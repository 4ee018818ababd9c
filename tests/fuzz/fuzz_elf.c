/* Programs of an image, and its loader's cache, as the search for libraries reads them. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/spawn/elf.h"
#include "broker/spawn/ldcache.h"
#include "broker/spawn/programs.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
	const uint8_t *data;
	size_t size;
};

static int read_bytes(void *arg, uint64_t at, void *dst, size_t n)
{
	const struct bytes *b = arg;

	if (at > b->size || n > b->size - at)
		abort(); /* whoever reads must have checked */
	if (n > 0)
		memcpy(dst, b->data + at, n);
	return 0;
}

static void on_path(void *arg, const char *path)
{
	*(size_t *)arg += strlen(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct programs list;
	struct bytes b = {data, size};
	struct elf_source s = {read_bytes, &b, size};
	struct err e = ERR_INIT;
	struct elf elf;
	size_t sum = 0;
	int r = elf_read(&s, &elf);

	if (r == 0) {
		if (elf.kind != ELF_STATIC && elf.interpreter[0] != '/')
			abort();
		for (unsigned i = 0; i < elf.nneeded; i++)
			if (strlen(elf.needed[i]) >= ELF_NEEDED_LEN)
				abort();
	} else if (r != -ENOEXEC && r != -EBADMSG) {
		abort();
	}
	ldcache_find(data, size, "libc.so.6", on_path, &sum);
	list.nfiles = 0;
	(void)programs_line(&list, (const char *)data, size, &e);
	return 0;
}
