#include "broker/spawn/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/plan.h"
#include "broker/spawn/programs.h"
#include "broker/spawn/rules.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/workspace.h"
#include "lib/landlock_abi.h"
#include "lib/util.h"

#define READ_RIGHTS                                                                                \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* MAKE_CHAR and MAKE_BLOCK are handled and granted nowhere */
#define WRITE_RIGHTS                                                                               \
	(READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |             \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                         \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                           \
	    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LL_FS_REFER |             \
	    LL_FS_TRUNCATE | LL_FS_IOCTL_DEV)

/* What lasts: neither sockets nor FIFOs, which would join sessions that share nothing else. */
#define LASTING_RIGHTS                                                                             \
	(WRITE_RIGHTS & ~(LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO))

/* Where an agent that is root installs what it needs: all but /proc, /run/postern and new names in
 * the root itself. */
static const char *const roots_own[] = {"/usr", "/etc", "/root", "/opt", "/srv", "/mnt", "/media"};

static int allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	int r = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	(void)close(rule.parent_fd);
	return r;
}

int landlock_agent(const struct skeleton *s, const struct plan *p, const struct programs *g,
    const struct rules *own, int abi)
{
	struct ll_ruleset_attr attr = {LL_FS_ABI1, 0, 0};
	uint64_t write = WRITE_RIGHTS;
	int ruleset, r;

	if (abi >= 2)
		attr.handled_access_fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LL_FS_TRUNCATE;
	if (abi >= 5)
		attr.handled_access_fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return -errno;
	if (g) /* what may be run and read is listed, and stays as it is */
		write &= ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
	r = g ? programs_rules(g, ruleset, attr.handled_access_fs)
	      : allow(ruleset, "/", READ_RIGHTS & attr.handled_access_fs);
	for (unsigned i = 0; r == 0 && i < s->writables; i++)
		if (!programs_runs_in(g, s->writable[i]))
			r = allow(ruleset, s->writable[i], write & attr.handled_access_fs);
	for (size_t i = 0; r == 0 && !g && p->root_user && i < ARRAY_LEN(roots_own); i++)
		r = allow(ruleset, roots_own[i], WRITE_RIGHTS & attr.handled_access_fs);
	if (r == 0 && p->workspace_mode == PLAN_WORKSPACE_RW)
		r = allow(ruleset, WORKSPACE_DIR, LASTING_RIGHTS & attr.handled_access_fs);
	if (r == 0)
		r = rules_add(own, ruleset, write & attr.handled_access_fs);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	(void)close(ruleset);
	if (r == 0)
		r = rules_enforce(own, attr.handled_access_fs, WRITE_RIGHTS);
	return r;
}
