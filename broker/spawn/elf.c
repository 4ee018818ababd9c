#include "broker/spawn/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define SCRIPT_LEN 256 /* as much of a script as the kernel looks at (BINPRM_BUF_SIZE) */

struct view {
	const struct elf_source *s;
	Elf64_Ehdr head;
	Elf64_Phdr part[ELF_HEADERS_MAX];
	uint64_t strings, strings_size; /* where in the file the dynamic string table is */
};

static int get(const struct elf_source *s, uint64_t at, void *dst, size_t n)
{
	if (at > s->size || n > s->size - at)
		return -EBADMSG;
	return s->read(s->arg, at, dst, n);
}

/* A text that ends within its table and within dst. */
static int get_text(const struct elf_source *s, uint64_t at, uint64_t most, char *dst, size_t size)
{
	size_t n = size;
	int r;

	if (at > s->size)
		return -EBADMSG;
	if (n > most)
		n = (size_t)most;
	if (n > s->size - at)
		n = (size_t)(s->size - at);
	if (n == 0)
		return -EBADMSG;
	if ((r = get(s, at, dst, n)) < 0)
		return r;
	return memchr(dst, '\0', n) ? 0 : -EBADMSG;
}

/* ---- scripts ---- */

static int read_script(const struct elf_source *s, struct elf *ret)
{
	char line[SCRIPT_LEN + 1] = "";
	size_t n = s->size < SCRIPT_LEN ? (size_t)s->size : SCRIPT_LEN, len;
	const char *p;
	int r;

	if ((r = get(s, 0, line, n)) < 0)
		return r;
	p = line + 2 + strspn(line + 2, " \t");
	len = strcspn(p, " \t\n");
	if (len == 0 || *p != '/' || len >= sizeof ret->interpreter)
		return -ENOEXEC;
	memcpy(ret->interpreter, p, len);
	ret->interpreter[len] = '\0';
	ret->kind = ELF_SCRIPT;
	return 0;
}

/* ---- ELF ---- */

static int read_headers(struct view *v)
{
	const Elf64_Ehdr *h = &v->head;
	int r;

	if ((r = get(v->s, 0, &v->head, sizeof v->head)) < 0)
		return r;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    (h->e_type != ET_EXEC && h->e_type != ET_DYN))
		return -ENOEXEC;
	if (h->e_phentsize != sizeof v->part[0] || h->e_phnum == 0 || h->e_phnum > ELF_HEADERS_MAX)
		return -EBADMSG;
	return get(v->s, h->e_phoff, v->part, h->e_phnum * sizeof v->part[0]);
}

/* Where in the file an address is; false if no part has it. */
static bool find(const struct view *v, uint64_t address, uint64_t *ret, uint64_t *ret_left)
{
	for (unsigned i = 0; i < v->head.e_phnum; i++) {
		const Elf64_Phdr *p = &v->part[i];
		uint64_t in = address - p->p_vaddr;

		if (p->p_type != PT_LOAD || address < p->p_vaddr || in >= p->p_filesz ||
		    p->p_offset > v->s->size || in > v->s->size - p->p_offset)
			continue;
		*ret = p->p_offset + in;
		*ret_left = p->p_filesz - in;
		return true;
	}
	return false;
}

static int string_at(const struct view *v, uint64_t at, char *dst, size_t size)
{
	if (at >= v->strings_size)
		return -EBADMSG;
	return get_text(v->s, v->strings + at, v->strings_size - at, dst, size);
}

static int find_strings(struct view *v, const Elf64_Dyn *d, size_t n)
{
	uint64_t address = 0, size = 0, left;

	for (size_t i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
		if (d[i].d_tag == DT_STRTAB)
			address = d[i].d_un.d_ptr;
		if (d[i].d_tag == DT_STRSZ)
			size = d[i].d_un.d_val;
	}
	if (size == 0) /* nothing is named */
		return 0;
	if (!find(v, address, &v->strings, &left) || size > left)
		return -EBADMSG;
	v->strings_size = size;
	return 0;
}

static int read_dynamic(struct view *v, const Elf64_Phdr *p, struct elf *ret)
{
	static _Thread_local Elf64_Dyn d[ELF_DYNAMIC_MAX];
	size_t n = p->p_filesz / sizeof d[0];
	bool runpath = false;
	int r;

	if (n > ELF_DYNAMIC_MAX)
		return -EBADMSG;
	if ((r = get(v->s, p->p_offset, d, n * sizeof d[0])) < 0 || (r = find_strings(v, d, n)) < 0)
		return r;
	for (size_t i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
		bool run = d[i].d_tag == DT_RUNPATH;

		if (d[i].d_tag == DT_NEEDED) {
			if (ret->nneeded == ELF_NEEDED_MAX)
				return -EBADMSG;
			if ((r = string_at(v, d[i].d_un.d_val, ret->needed[ret->nneeded],
			         ELF_NEEDED_LEN)) < 0)
				return r;
			ret->nneeded++;
		} else if (run || (d[i].d_tag == DT_RPATH && !runpath)) {
			if ((r = string_at(v, d[i].d_un.d_val, ret->runpath, ELF_RUNPATH_LEN)) < 0)
				return r;
			runpath |= run; /* where there is one the other is not looked at */
		}
	}
	return 0;
}

static int read_parts(struct view *v, struct elf *ret)
{
	int r;

	for (unsigned i = 0; i < v->head.e_phnum; i++) {
		const Elf64_Phdr *p = &v->part[i];

		if (p->p_type == PT_INTERP) {
			if ((r = get_text(v->s, p->p_offset, p->p_filesz, ret->interpreter,
			         sizeof ret->interpreter)) < 0)
				return r;
			ret->kind = ELF_DYNAMIC;
		} else if (p->p_type == PT_DYNAMIC && (r = read_dynamic(v, p, ret)) < 0) {
			return r;
		}
	}
	return ret->kind == ELF_DYNAMIC && *ret->interpreter != '/' ? -EBADMSG : 0;
}

int elf_read(const struct elf_source *s, struct elf *ret)
{
	struct view v = {.s = s};
	char magic[SELFMAG];
	int r;

	memset(ret, 0, sizeof *ret);
	if (s->size < SELFMAG)
		return -ENOEXEC;
	if ((r = get(s, 0, magic, sizeof magic)) < 0)
		return r;
	if (magic[0] == '#' && magic[1] == '!')
		return read_script(s, ret);
	if (memcmp(magic, ELFMAG, SELFMAG) != 0 || s->size < sizeof v.head)
		return -ENOEXEC;
	ret->kind = ELF_STATIC;
	if ((r = read_headers(&v)) < 0)
		return r;
	ret->machine = v.head.e_machine;
	return read_parts(&v, ret);
}
