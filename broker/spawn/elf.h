/*
 * What a program needs of others, from its first bytes: the interpreter of a script, the loader and
 * the libraries of an ELF file (elf(5)). 64 bits, little endian, as the sandbox's filter admits no
 * other architecture.
 *
 * The file may be anybody's: every offset and length in it is checked, every count has a maximum,
 * and nothing is followed. Depends on libc alone; the bytes come by a function, so that a test can
 * have them from memory.
 */
#ifndef POSTERN_SPAWN_ELF_H
#define POSTERN_SPAWN_ELF_H

#include <stddef.h>
#include <stdint.h>

#define ELF_PATH_LEN    256 /* of an interpreter, with its NUL; the kernel's is of this size, too */
#define ELF_RUNPATH_LEN 1024 /* DT_RUNPATH or DT_RPATH */
#define ELF_NEEDED_LEN  128
#define ELF_NEEDED_MAX  128
#define ELF_HEADERS_MAX 128  /* program headers */
#define ELF_DYNAMIC_MAX 2048 /* entries of the dynamic section */

enum elf_kind { ELF_SCRIPT, ELF_STATIC, ELF_DYNAMIC };

struct elf_source {
	/* Exactly n bytes from `at` on; -EBADMSG if there are not as many. */
	int (*read)(void *arg, uint64_t at, void *dst, size_t n);
	void *arg;
	uint64_t size;
};

struct elf {
	enum elf_kind kind; /* ELF_STATIC: needs no loader (libraries are such, mostly) */
	uint16_t machine;
	char interpreter[ELF_PATH_LEN]; /* "" with ELF_STATIC */
	char runpath[ELF_RUNPATH_LEN];  /* colons between; "" if there is none */
	unsigned nneeded;
	char needed[ELF_NEEDED_MAX][ELF_NEEDED_LEN];
};

/* -ENOEXEC: neither a script nor an ELF file of this kind; -EBADMSG: a damaged one. */
int elf_read(const struct elf_source *s, struct elf *ret);

#endif
