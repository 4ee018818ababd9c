#include "broker/spawn/rules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/programs.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/workspace.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/landlock_abi.h"
#include "lib/str.h"
#include "lib/util.h"

#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))
#define READ_ACCESS  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILE_ACCESS                                                                                \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |                               \
	    LANDLOCK_ACCESS_FS_WRITE_FILE | LL_FS_TRUNCATE | LL_FS_IOCTL_DEV)
#define LASTING_ACCESS (~(uint64_t)(LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO))

/* With "/" as top, too. */
static bool is_below(const char *path, const char *top)
{
	size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* ---- what the root has ---- */

struct making {
	const struct host *h;
	const struct skeleton *s;
	const struct plan *p;
	struct rules *to;
};

static int add(struct making *m, const char *path, enum plan_landlock access, bool own)
{
	struct rules_grant *t = &m->to->grant[m->to->n];

	if (m->to->n == RULES_GRANTS_MAX || !str_copy(t->path, sizeof t->path, path))
		return -E2BIG;
	t->access = access;
	t->own = own;
	m->to->n++;
	return 0;
}

/* Whether a rule that gives less than `access` lies at or below path. */
static bool has_less(const struct making *m, const char *path, enum plan_landlock access)
{
	for (unsigned i = 0; i < m->p->nrules; i++)
		if (m->p->rules[i].access < access && is_below(m->p->rules[i].path, path))
			return true;
	return false;
}

static bool is_rule(const struct making *m, const char *path)
{
	for (unsigned i = 0; i < m->p->nrules; i++)
		if (strcmp(m->p->rules[i].path, path) == 0)
			return true;
	return false;
}

/* An entry of a directory that is not named as a whole: named itself, or gone into later. */
static int add_entry(struct making *m, const char *dir, const char *name, enum plan_landlock access)
{
	char path[RULES_PATH_LEN];

	if ((size_t)snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name) >=
	    sizeof path)
		return -E2BIG;
	if (is_rule(m, path) || has_less(m, path, access))
		return 0;
	for (unsigned i = 0; i < m->to->n; i++)
		if (m->to->grant[i].access == access && strcmp(m->to->grant[i].path, path) == 0)
			return 0;
	return add(m, path, access, false);
}

/* Entries of one layer; none if it has no such directory. */
static int add_layer(struct making *m, int top, const char *dir, enum plan_landlock access)
{
	int fd, r = 0;
	DIR *d;

	fd = fd_open_beneath(top, dir[1] ? dir + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
	if (!(d = fdopendir(fd))) {
		(void)close(fd);
		return -ENOMEM;
	}
	for (struct dirent *t; r == 0 && (t = readdir(d));)
		if (strcmp(t->d_name, ".") != 0 && strcmp(t->d_name, "..") != 0)
			r = add_entry(m, dir, t->d_name, access);
	(void)closedir(d);
	return r;
}

/* Places of mounts are made later, so they are in none of the layers. */
static int add_places(struct making *m, const char *dir, enum plan_landlock access)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < m->p->nmounts; i++) {
		char part[PLAN_INSIDE_MAX];
		const char *target = m->p->mounts[i].target;
		size_t n = dir[1] ? strlen(dir) : 0;

		if (!is_below(target, dir) || target[n] == '\0')
			continue;
		(void)str_copy(part, sizeof part, target + n + 1);
		part[strcspn(part, "/")] = '\0';
		r = add_entry(m, dir, part, access);
	}
	return r;
}

static int add_entries(struct making *m, const char *dir, enum plan_landlock access)
{
	const char *const layers[] = {m->s->path, m->s->lower};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(layers); i++) {
		if (!layers[i][0])
			continue;
		cleanup_close int top = open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		r = top < 0 ? -errno : add_layer(m, top, dir, access);
	}
	if (r == 0 && !m->s->lower[0] && is_below(dir, "/usr"))
		r = add_layer(m, m->h->root_fd, dir, access);
	if (r == 0)
		r = add_places(m, dir, access);
	if (r == 0 && strcmp(dir, "/etc") == 0) /* of the writable layer */
		r = add_entry(m, dir, "machine-id", access);
	if (r == 0 && !dir[1] && m->p->workspace_mode != PLAN_WORKSPACE_NONE)
		r = add_entry(m, dir, WORKSPACE_DIR + 1, access);
	return r;
}

/* What all that is below may have can be given as a whole, listing above all. */
static int add_common(struct making *m, const char *path, enum plan_landlock access)
{
	while (--access > PLAN_LANDLOCK_NONE)
		if (!has_less(m, path, access))
			return add(m, path, access, false);
	return 0;
}

/* path has `access` but where a rule below it says less: one level at a time, towards the rules. */
static int spread(struct making *m, const char *path, enum plan_landlock access, bool own)
{
	char at[RULES_PATH_LEN];
	int r;

	if (!has_less(m, path, access)) /* nothing, too: that it is there is looked at */
		return add(m, path, access, own);
	if ((own && (r = add(m, path, PLAN_LANDLOCK_NONE, true)) < 0) ||
	    (r = add_common(m, path, access)) < 0 || (r = add_entries(m, path, access)) < 0)
		return r;
	for (unsigned i = 0; i < m->p->nrules; i++) {
		const struct plan_rule *rule = &m->p->rules[i];
		size_t from = path[1] ? strlen(path) : 0;

		if (rule->access >= access || !is_below(rule->path, path))
			continue;
		/* the directories between; another rule on the way has its own say */
		for (const char *s = strchr(rule->path + from + 1, '/'); s;
		     s = strchr(s + 1, '/')) {
			(void)str_copy(at, sizeof at, rule->path);
			at[s - rule->path] = '\0';
			if (is_rule(m, at))
				break;
			if ((r = add_common(m, at, access)) < 0 ||
			    (r = add_entries(m, at, access)) < 0)
				return r;
		}
	}
	return 0;
}

/* ---- what cannot be had ---- */

static int check(
    const struct making *m, const struct plan_rule *rule, const struct programs *g, struct err *e)
{
	static const char *const kernels[] = {"/proc", "/run/postern"};

	for (size_t i = 0; i < ARRAY_LEN(kernels); i++)
		if (rule->access == PLAN_LANDLOCK_WRITE && is_below(rule->path, kernels[i]))
			return err_set(
			    e, -ENOTSUP, "%s: nothing below %s is written", rule->path, kernels[i]);
	if (rule->access < PLAN_LANDLOCK_EXEC && is_below(SKELETON_INIT, rule->path))
		return err_set(
		    e, -ENOTSUP, "%s: the sandbox's first program lies there", rule->path);
	for (unsigned i = 0; i < m->s->writables; i++)
		if (rule->access < PLAN_LANDLOCK_WRITE && is_below(rule->path, m->s->writable[i]) &&
		    strcmp(rule->path, m->s->writable[i]) != 0)
			return err_set(e, -ENOTSUP, "%s: %s is writable as a whole or not at all",
			    rule->path, m->s->writable[i]);
	if (rule->access < PLAN_LANDLOCK_WRITE && is_below(rule->path, WORKSPACE_DIR) &&
	    m->p->workspace_mode == PLAN_WORKSPACE_RW)
		return err_set(e, -ENOTSUP, "%s: the workspace is writable as a whole", rule->path);
	for (unsigned i = 0; g && rule->access == PLAN_LANDLOCK_WRITE && i < g->nplaces; i++)
		if (g->place[i].execute && (is_below(rule->path, g->place[i].at + 4) ||
		                               is_below(g->place[i].at + 4, rule->path)))
			return err_set(e, -ENOTSUP, "%s: listed programs lie there", rule->path);
	return 0;
}

int rules_make(const struct host *h, const struct skeleton *s, const struct plan *p,
    const struct programs *g, struct rules **ret, struct err *e)
{
	struct making m = {.h = h, .s = s, .p = p};
	int r = 0;

	*ret = NULL;
	if (p->nrules == 0)
		return 0;
	if (p->tier != PLAN_TIER_NAMESPACES)
		return err_set(e, -ENOTSUP, "tier %s has no rules", plan_tiers[p->tier]);
	for (unsigned i = 0; i < p->nrules; i++)
		if ((r = check(&m, &p->rules[i], g, e)) < 0)
			return r;
	if (!(m.to = calloc(1, sizeof *m.to)))
		return err_set(e, -ENOMEM, "no memory");
	r = spread(&m, "/", PLAN_LANDLOCK_WRITE, false);
	for (unsigned i = 0; r == 0 && i < p->nrules; i++)
		r = spread(&m, p->rules[i].path, p->rules[i].access, true);
	if (r < 0) {
		free(m.to);
		return err_set(e, r, "rules: %s", strerror(-r));
	}
	*ret = m.to;
	return 0;
}

/* ---- the child ---- */

RAW_SYSCALLS static int allow(int ruleset, const struct rules_grant *t, uint64_t access)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	struct stat st;
	int r = 0;

	rule.parent_fd = (int)syscall(SYS_openat2, AT_FDCWD, t->path, &how, sizeof how);
	if (rule.parent_fd < 0) /* links of the root are no loss: what they name is named */
		return !t->own && (errno == ENOENT || errno == ELOOP) ? 0 : -errno;
	if (fstat(rule.parent_fd, &st) < 0)
		r = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FILE_ACCESS;
	if (is_below(t->path, WORKSPACE_DIR))
		rule.allowed_access &= LASTING_ACCESS;
	if (r == 0 && rule.allowed_access &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	(void)close(rule.parent_fd);
	return r;
}

RAW_SYSCALLS int rules_add(const struct rules *r, int ruleset, uint64_t write)
{
	int ret = 0;

	for (unsigned i = 0; r && ret == 0 && i < r->n; i++)
		if (r->grant[i].own && r->grant[i].access == PLAN_LANDLOCK_WRITE)
			ret = allow(ruleset, &r->grant[i], write);
	return ret;
}

RAW_SYSCALLS int rules_enforce(const struct rules *r, uint64_t handled, uint64_t write)
{
	struct ll_ruleset_attr attr = {handled, 0, 0};
	int ruleset, ret = 0;

	if (!r)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return -errno;
	for (unsigned i = 0; ret == 0 && i < r->n; i++) {
		const struct rules_grant *t = &r->grant[i];
		const uint64_t access[] = {[PLAN_LANDLOCK_NONE] = 0,
		    [PLAN_LANDLOCK_READ] = READ_ACCESS,
		    [PLAN_LANDLOCK_EXEC] = READ_ACCESS | LANDLOCK_ACCESS_FS_EXECUTE,
		    [PLAN_LANDLOCK_WRITE] = write};

		ret = allow(ruleset, t, access[t->access] & handled);
	}
	if (ret == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		ret = -errno;
	(void)close(ruleset);
	return ret;
}
