#include "broker/walk/gate.h"

#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/util.h"

#define COMPONENT_MAX 255 /* NAME_MAX; a longer one is on no file system of ours */

static const struct {
	const char *word, *reason;
} words[GATE_COUNT] = {
    {"executable", "has an x bit"},
    {"program", "its bytes or its name are a program's"},
    {"hook", "is run by a version control system"},
    {"git", "configures a version control system, which can name programs"},
    {"ci", "is run by a build service"},
    {"editor", "is obeyed by an editor that opens the directory"},
    {"shell", "is read when a shell or a login starts"},
    {"build", "is run by a build"},
    {"python", "is imported or obeyed by Python unasked"},
    {"agent", "instructs a coding agent"},
    {"link", "is a symbolic link that points out, or may"},
    {"setuid", "runs as its owner or its group"},
    {"capability", "carries capabilities"},
    {"xattr", "carries extended attributes"},
    {"device", "is a device"},
    {"special", "is a FIFO or a socket"},
};

static unsigned lowest(unsigned flag)
{
	unsigned i = 0;

	while (i < GATE_COUNT && !(flag >> i & 1))
		i++;
	return i;
}

const char *gate_word(unsigned flag)
{
	unsigned i = lowest(flag);

	return i < GATE_COUNT ? words[i].word : "";
}

const char *gate_reason(unsigned flag)
{
	unsigned i = lowest(flag);

	return i < GATE_COUNT ? words[i].reason : "";
}

unsigned gate_find(const char *word)
{
	for (unsigned i = 0; i < GATE_COUNT; i++)
		if (strcmp(words[i].word, word) == 0)
			return 1u << i;
	return 0;
}

/* ---- names ---- */

/* The component at p, cut to what can be one; the next one, or NULL. */
static const char *component(const char *p, char out[COMPONENT_MAX + 1])
{
	size_t n = strcspn(p, "/"), len = n > COMPONENT_MAX ? COMPONENT_MAX : n;

	memcpy(out, p, len);
	/* What NTFS and HFS+ leave out at the end of a name is no difference. */
	while (len > 1 && (out[len - 1] == ' ' || out[len - 1] == '.'))
		len--;
	out[len] = '\0';
	return p[n] ? p + n + 1 : NULL;
}

static int matches_here(const struct gate_name *g, const char *p)
{
	char name[COMPONENT_MAX + 1];
	size_t i;

	for (i = 0; i < ARRAY_LEN(g->parts) && g->parts[i]; i++) {
		if (!p)
			return 0;
		p = component(p, name);
		if (fnmatch(g->parts[i], name, FNM_CASEFOLD) != 0)
			return 0;
	}
	return !p || g->below;
}

unsigned gate_path(const char *path)
{
	unsigned flags = 0;

	for (const char *p = path; p; p = (p = strchr(p, '/')) ? p + 1 : NULL)
		for (size_t i = 0; i < gate_names_len; i++)
			if (!(flags & gate_names[i].flag) && matches_here(&gate_names[i], p))
				flags |= gate_names[i].flag;
	return flags;
}

/* ---- what it is ---- */

unsigned gate_mode(mode_t mode)
{
	unsigned flags = 0;

	if (S_ISCHR(mode) || S_ISBLK(mode))
		return GATE_DEVICE;
	if (S_ISFIFO(mode) || S_ISSOCK(mode))
		return GATE_SPECIAL;
	if (S_ISREG(mode) && (mode & 0111))
		flags |= GATE_EXECUTABLE;
	/* of a directory the group's is only inherited */
	if ((mode & S_ISUID) || (S_ISREG(mode) && (mode & S_ISGID)))
		flags |= GATE_SETUID;
	return flags;
}

static int begins(const void *head, size_t len, const char *magic, size_t n)
{
	return len >= n && memcmp(head, magic, n) == 0;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Without regard to case; head need not end. */
static int contains(const char *head, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++)
		if (strncasecmp(head + i, word, n) == 0)
			return 1;
	return 0;
}

unsigned gate_content(const char *path, const void *head, size_t len)
{
	static const char *const settings[] = {"fsmonitor", "hookspath", "sshcommand", "pager",
	    "editor", "helper", "gitproxy", "askpass", "textconv", "external", "clean", "smudge",
	    "process", "insteadof", "include", "worktree", "alias"};
	unsigned flags = 0;

	if (len > GATE_HEAD)
		len = GATE_HEAD;
	if (begins(head, len, "#!", 2) || begins(head, len, "\177ELF", 4) ||
	    begins(head, len, "MZ", 2) || begins(head, len, "\xcf\xfa\xed\xfe", 4) ||
	    begins(head, len, "\xce\xfa\xed\xfe", 4) || begins(head, len, "\xca\xfe\xba\xbe", 4) ||
	    begins(head, len, "\0asm", 4))
		flags |= GATE_PROGRAM;
	/* a bare repository can be anywhere, and git finds it */
	if (strncasecmp(base_of(path), "config", 6) == 0)
		for (size_t i = 0; i < ARRAY_LEN(settings) && !(flags & GATE_GIT); i++)
			if (contains(head, len, settings[i]))
				flags |= GATE_GIT;
	return flags;
}

unsigned gate_link(const char *path, const char *target)
{
	size_t depth = 0, up = 0;
	int names = 0;

	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	if (!*target || *target == '/')
		return GATE_LINK;
	for (const char *p = target; p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			/* behind a name it goes up from wherever that leads */
			if (names || ++up > depth)
				return GATE_LINK;
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			names = 1;
		}
		p = p[n] ? p + n + 1 : NULL;
	}
	return 0;
}

unsigned gate_xattrs(const char *list, size_t len)
{
	unsigned flags = 0;

	for (size_t at = 0; at < len;) {
		size_t n = strnlen(list + at, len - at);

		if (n == sizeof "security.capability" - 1 &&
		    memcmp(list + at, "security.capability", n) == 0)
			flags |= GATE_CAPABILITY;
		else if (!(n == sizeof "security.selinux" - 1 &&
		             memcmp(list + at, "security.selinux", n) == 0))
			flags |= GATE_XATTR;
		at += n + 1;
	}
	return flags;
}
