/*
 * A template: the blueprint of a sandbox, CONFIGDIR/templates/NAME.yaml. What it does not say has a
 * default, and every default is enforced. Without a file, "default" is the host's own /usr with
 * these limits.
 *
 *   root: host                   # or /absolute/directory
 *   limits: {memory: 512M, pids: 128, cpu: 100, disk: 256M, inodes: 65536, open_files: 1024}
 *   env: {LANG: C.UTF-8}
 *   shell: /bin/bash
 */
#ifndef POSTERN_CORE_TEMPLATE_H
#define POSTERN_CORE_TEMPLATE_H

#include <jansson.h>

#include "broker/spawn/plan.h"
#include "lib/str.h"

struct err;
struct yaml_doc;

#define TEMPLATE_ENV_MAX   64
#define TEMPLATE_SHELL_MAX 128

struct template
{
	char name[NAME_MAX_LEN + 1];
	enum plan_root root;
	char root_path[PLAN_PATH_MAX];
	uint64_t memory_bytes, pids, cpu_percent, disk_bytes, disk_inodes, open_files;
	json_t *env; /* object of strings; never NULL */
	char shell[TEMPLATE_SHELL_MAX];
};

/* The built-in "default". 0 or -ENOMEM. */
int template_default(struct template *ret);
/* On success the caller calls template_done(). */
int template_parse(const struct yaml_doc *d, const char *name, struct template *ret, struct err *e);
void template_done(struct template *t);
void template_plan(const struct template *t, const char *tenant, const char *role, bool credentials,
    struct plan *ret);
/* Whether NAME can be an environment variable's name: [A-Za-z_][A-Za-z0-9_]*, at most 128. */
bool env_name_valid(const char *s, size_t len);

#endif
