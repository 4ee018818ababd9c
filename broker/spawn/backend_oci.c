#include "broker/spawn/backend_oci.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/backend_ns.h"
#include "broker/spawn/host.h"
#include "lib/err.h"

struct oci {
	struct backend base;
	struct backend_ops ops;
	struct backend *ns;
};

static struct oci *oci_of(struct backend *b)
{
	return (struct oci *)(void *)b;
}

/* What this tier cannot do is refused by its name, not left out. */
static int suits(const struct plan *p, struct err *e)
{
	const char *what = p->nprograms                         ? "a list of programs"
	                   : p->watch                           ? "a watch of programs"
	                   : p->nmounts                         ? "mounts"
	                   : p->nrules                          ? "Landlock rules of a template"
	                   : p->root_user                       ? "an agent that is root"
	                   : p->seccomp != PLAN_SECCOMP_DEFAULT ? "another seccomp profile"
	                   : p->workspace_mode != PLAN_WORKSPACE_NONE ? "a workspace"
	                                                              : NULL;

	return what ? err_set(e, -ENOTSUP, "the tier oci does not have %s", what) : 0;
}

static int visit_runtime(void *arg)
{
	struct stat st;

	if (stat(arg, &st) < 0)
		return -errno;
	/* it will run as root: nobody else may be able to put something else there */
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) || !(st.st_mode & 0111))
		return -EPERM;
	return 0;
}

static int check(struct oci *o, const struct plan *p, struct backend_failure *f, struct err *e)
{
	char path[PLAN_PATH_MAX];
	int r;

	f->step = "tier";
	if ((r = suits(p, e)) < 0)
		return r;
	f->step = "runtime";
	(void)str_copy(path, sizeof path, p->runtime);
	if ((r = host_visit(backend_ns_host(o->ns), visit_runtime, path)) == -EPERM)
		return err_set(e, r, "%s is no program that only root can write", p->runtime);
	errno = -r;
	return r < 0 ? err_set(e, r, "%s: %m", p->runtime) : 0;
}

static int oci_prepare(
    struct backend *b, const struct plan *p, struct backend_failure *f, struct err *e)
{
	struct oci *o = oci_of(b);
	int r = check(o, p, f, e);

	return r < 0 ? r : o->ns->ops->prepare(o->ns, p, f, e);
}

static int oci_start(struct backend *b, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e)
{
	struct oci *o = oci_of(b);
	int r = check(o, p, f, e);

	if (r < 0)
		return r;
	r = o->ns->ops->start(o->ns, session, p, init_fd, ret, ret_enforced, f, e);
	if (r == 0) {
		(void)json_object_set_new(*ret_enforced, "backend", json_string("oci"));
		(void)json_object_set_new(*ret_enforced, "runtime", json_string(p->runtime));
	}
	return r;
}

static json_t *oci_probe(struct backend *b)
{
	(void)b;
	return json_pack("{s:[s,s]}", "tested_with", "crun", "runc");
}

static void oci_free(struct backend *b)
{
	free(oci_of(b));
}

struct backend *backend_oci_new(struct backend *ns)
{
	struct oci *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->ns = ns;
	o->ops = *ns->ops; /* a sandbox is the namespaces' */
	o->ops.name = "oci";
	o->ops.probe = oci_probe;
	o->ops.prepare = oci_prepare;
	o->ops.start = oci_start;
	o->ops.forget = NULL; /* the pool is the namespaces' */
	o->ops.idle = NULL;
	o->ops.free = oci_free;
	o->base.ops = &o->ops;
	return &o->base;
}
