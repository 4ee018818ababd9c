#include "broker/ctl/template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/config.h"
#include "broker/core/grant.h"
#include "broker/ctl/check.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "broker/spawn/programs.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"
#include "lib/yaml.h"

/*
 * postern template: what the files say, without a daemon.
 */

#define NOBODY 65534

int template_load(const struct ctl *c, struct config **ret, int *ret_fd)
{
	const char *dir = ctl_opt(c, "config");
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	int fd;

	if (!dir)
		dir = ctl_path(c, "etc", "/etc/postern", path);
	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(EXIT_CONFIG, "%s: %s", dir, strerror(errno));
	*ret_fd = fd;
	if (config_load(fd, ret, &e) < 0)
		return ctl_fail(EXIT_CONFIG, "%s", err_text(&e));
	return EXIT_OK;
}

/* A value in one line. */
static char *value_text(const struct template *t, unsigned key, char dst[TABLE_CELL_MAX])
{
	json_auto_t *v = template_value(t, key);
	char *text = NULL;

	if (!v || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
	    (json_is_object(v) && json_object_size(v) == 0))
		(void)snprintf(dst, TABLE_CELL_MAX, "none");
	else if (json_is_string(v))
		(void)snprintf(dst, TABLE_CELL_MAX, "%s", json_string_value(v));
	else if ((text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY)))
		(void)snprintf(dst, TABLE_CELL_MAX, "%s", text);
	else
		dst[0] = '\0';
	free(text);
	return dst;
}

/* ---- list ---- */

static json_t *summary(const struct template *t)
{
	char memory[LIMIT_TEXT_MAX], pids[LIMIT_TEXT_MAX];

	return json_pack("{s:s, s:s*, s:s*, s:o, s:s, s:s, s:s, s:I}", "name", t->name, "tenant",
	    *t->tenant ? t->tenant : NULL, "extends", *t->extends ? t->extends : NULL, "base",
	    template_value(t, TEMPLATE_BASE), "tier", plan_tiers[t->tier], "memory",
	    limit_text(LIMIT_MEMORY, t->limits.group.memory_bytes, memory), "pids",
	    limit_text(LIMIT_PIDS, t->limits.group.pids, pids), "warm", (json_int_t)t->warm);
}

static void list_row(struct table *table, const struct template *t)
{
	char base[TABLE_CELL_MAX], memory[LIMIT_TEXT_MAX], pids[LIMIT_TEXT_MAX];

	table_row(table,
	    (const char *[]){t->name, *t->tenant ? t->tenant : NULL,
	        *t->extends ? t->extends : NULL, value_text(t, TEMPLATE_BASE, base),
	        plan_tiers[t->tier], limit_text(LIMIT_MEMORY, t->limits.group.memory_bytes, memory),
	        limit_text(LIMIT_PIDS, t->limits.group.pids, pids)});
}

int ctl_template_list(struct ctl *c)
{
	static const char *const columns[] = {
	    "NAME", "TENANT", "EXTENDS", "BASE", "TIER", "MEMORY", "PIDS", NULL};
	cleanup_table struct table *table = table_new(columns);
	cleanup_config struct config *config = NULL;
	const char *tenant = ctl_opt(c, "tenant");
	json_auto_t *list = json_array();
	cleanup_close int fd = -1;
	int r = template_load(c, &config, &fd);

	if (r != EXIT_OK)
		return r;
	if (tenant && !config_tenant(config, tenant))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such tenant");
	for (size_t i = 0; i < config->ntemplates; i++) {
		const struct template *t = &config->template[i];

		/* for a tenant: what its roles would get */
		if (tenant && config_template(config, tenant, t->name) != t)
			continue;
		(void)json_array_append_new(list, summary(t));
		if (table)
			list_row(table, t);
	}
	if (c->json)
		return ctl_json(list);
	if (table)
		table_print(table, stdout);
	return EXIT_OK;
}

/* ---- show ---- */

static int show_json(const struct template *t)
{
	json_auto_t *o = summary(t);
	json_t *values = json_object();

	for (unsigned k = 0; k < TEMPLATE_KEYS; k++)
		(void)json_object_set_new(values, template_key_name(k),
		    json_pack("{s:o, s:s}", "value", template_value(t, k), "from", t->where[k]));
	(void)json_object_set_new(o, "keys", values);
	if (t->root == PLAN_ROOT_IMAGE)
		(void)json_object_set_new(
		    o, "image", *t->image ? json_string(t->image) : json_null());
	return ctl_json(o);
}

int ctl_template_show(struct ctl *c)
{
	static const char *const columns[] = {"KEY", "VALUE", "FROM", NULL};
	cleanup_table struct table *table = table_new(columns);
	cleanup_config struct config *config = NULL;
	const char *tenant = ctl_opt(c, "tenant");
	cleanup_close int fd = -1;
	const struct template *t;
	char value[TABLE_CELL_MAX];
	int r = template_load(c, &config, &fd);

	if (r != EXIT_OK)
		return r;
	if (tenant && !config_tenant(config, tenant))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such tenant");
	if (!(t = config_template(config, tenant, c->word[0])))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such template");
	if (c->json)
		return show_json(t);
	for (unsigned k = 0; table && k < TEMPLATE_KEYS; k++)
		table_row(table,
		    (const char *[]){template_key_name(k), value_text(t, k, value), t->where[k]});
	if (table)
		table_print(table, stdout);
	return EXIT_OK;
}

/* ---- check ---- */

static void check_path(struct check *k, const char *name, const char *what, const char *path,
    mode_t type, const char *kind)
{
	struct stat st;

	if (stat(path, &st) < 0)
		check_add(k, CHECK_BAD, name, "%s %s: %s", what, path, strerror(errno));
	else if (type && (st.st_mode & S_IFMT) != type)
		check_add(k, CHECK_BAD, name, "%s %s is no %s", what, path, kind);
}

/* What the list comes to: looked up as spawn does, by a child that is nobody. */
static void check_programs(struct check *k, const char *name, const struct template *t)
{
	const char *path = t->root == PLAN_ROOT_HOST ? "/" : t->root_path;
	struct programs *found = NULL;
	struct grant g = {.role = "agent"};
	struct err e = ERR_INIT;
	struct plan *plan;

	if (t->nprograms == 0 || t->root == PLAN_ROOT_IMAGE)
		return;
	cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || !(plan = calloc(1, sizeof *plan)))
		return; /* said already */
	template_plan(t, &g, NULL, plan);
	if (programs_find(root, plan, geteuid() == 0 ? NOBODY : 0, &found, &e) < 0)
		check_add(k, CHECK_BAD, name, "programs: %s", err_text(&e));
	else if (found->strength == PROGRAMS_INTERPRETER)
		check_add(k, CHECK_WARN, name,
		    "programs: strength interpreter: %u listed, and %s does what it is told",
		    t->nprograms, found->interpreter);
	else
		check_add(k, CHECK_OK, name, "programs: strength %s: %u listed",
		    programs_strengths[found->strength], t->nprograms);
	free(found);
	free(plan);
}

/* Who would open sessions with it, and may use credentials in them. t: by its name, as it may be no
 * part of the configuration yet. */
static const struct role *lender(
    const struct config *c, const struct template *t, const struct tenant **ret)
{
	for (size_t i = 0; i < c->ntenants; i++)
		for (size_t n = 0; n < c->tenant[i].nroles; n++) {
			const struct tenant *tenant = &c->tenant[i];
			const struct role *role = &tenant->role[n];
			const struct template *now =
			    config_template(c, tenant->name, role->template_name);

			if (!(role->actions & GRANT_CREDENTIAL) ||
			    strcmp(role->template_name, t->name) != 0 ||
			    (*t->tenant && strcmp(t->tenant, tenant->name) != 0) ||
			    (!*t->tenant && now && *now->tenant))
				continue;
			*ret = tenant;
			return role;
		}
	return NULL;
}

/* The helper listens at 127.0.0.1, and the profile strict has no sockets but UNIX ones. */
static void check_credentials(
    struct check *k, const char *name, const struct config *c, const struct template *t)
{
	const struct tenant *tenant = NULL;
	const struct role *role;

	if (t->seccomp != PLAN_SECCOMP_STRICT || !t->credentials)
		return;
	if ((role = lender(c, t, &tenant)))
		check_add(k, CHECK_BAD, name,
		    "seccomp: strict leaves no socket to ask for credentials by, which the role %s "
		    "of "
		    "tenant %s allows: say credentials: false, or take the profile default",
		    role->name, tenant->name);
	else
		check_add(k, CHECK_WARN, name,
		    "seccomp: strict leaves no socket to ask for credentials by: say credentials: "
		    "false");
}

static void check_one(struct check *k, const struct config *c, const struct template *t)
{
	char name[2 * NAME_MAX_LEN + 16];
	bool bad = k->bad;

	(void)snprintf(name, sizeof name, "%s%s%s", t->tenant, *t->tenant ? "/" : "", t->name);
	k->bad = false;
	if (t->root == PLAN_ROOT_DIRECTORY)
		check_path(k, name, "base", t->root_path, S_IFDIR, "directory");
	if (t->root == PLAN_ROOT_IMAGE && !*t->image)
		check_add(k, CHECK_BAD, name, "the image %s is not built", t->image_path);
	for (unsigned i = 0; i < t->nmounts; i++)
		check_path(k, name, "mount", t->mounts[i].source, 0, "");
	if (t->tier == PLAN_TIER_OCI)
		check_path(k, name, "runtime", t->runtime, S_IFREG, "program");
	check_credentials(k, name, c, t);
	if (!k->bad)
		check_add(k, CHECK_OK, name, "%s, extends %s", plan_tiers[t->tier],
		    *t->extends ? t->extends : "nothing");
	check_programs(k, name, t);
	k->bad = k->bad || bad;
}

/* A file anywhere: as if it were the host's, or the tenant's, of its name. */
static int check_file(struct check *k, const struct config *config, const char *tenant,
    const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	cleanup_yaml struct yaml_doc *d = NULL;
	char name[NAME_MAX_LEN + 1];
	struct template *t;
	size_t n = strcspn(base, ".");
	int r;

	if (strcmp(base + n, ".yaml") != 0)
		return err_set(e, -EINVAL, "%s: the name must end in .yaml", path);
	if ((r = name_check("template", base, n, e)) < 0 ||
	    (r = yaml_load(AT_FDCWD, path, &d, e)) < 0)
		return r;
	memcpy(name, base, n);
	name[n] = '\0';
	if (!(t = calloc(1, sizeof *t)))
		return err_set(e, -ENOMEM, "no memory");
	if ((r = config_parse_template(config, d, name, tenant, t, e)) == 0) {
		check_one(k, config, t);
		template_done(t);
	}
	free(t);
	return r;
}

int ctl_template_check(struct ctl *c)
{
	const char *tenant = ctl_opt(c, "tenant"), *what = c->nwords ? c->word[0] : NULL;
	cleanup_config struct config *config = NULL;
	struct check k = {NULL, false};
	json_auto_t *list = json_array();
	struct err e = ERR_INIT;
	cleanup_close int fd = -1;
	int r = template_load(c, &config, &fd);

	if (r != EXIT_OK)
		return r;
	k.list = list;
	if (tenant && !config_tenant(config, tenant))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such tenant");
	if (what && strpbrk(what, "./")) {
		if (check_file(&k, config, tenant, what, &e) < 0)
			return ctl_fail(EXIT_CONFIG, "%s", err_text(&e));
	} else if (what) {
		const struct template *t = config_template(config, tenant, what);

		if (!t)
			return ctl_fail(EXIT_NOT_FOUND, "there is no such template");
		check_one(&k, config, t);
	} else {
		for (size_t i = 0; i < config->ntemplates; i++)
			if (!tenant || config_template(config, tenant, config->template[i].name) ==
			                   &config->template[i])
				check_one(&k, config, &config->template[i]);
	}
	if (c->json)
		(void)ctl_json(k.list);
	else
		check_print(&k);
	return k.bad ? EXIT_FAILED : EXIT_OK;
}
