#include "broker/core/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config_internal.h"
#include "creds/key.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define SUFFIX ".yaml"

/* ---- the files of a directory ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int add_name(struct config_names *l, const char *dir, const char *file, struct err *e)
{
	size_t len = strlen(file), suffix = strlen(SUFFIX);
	char what[64];
	int r;

	if (file[0] == '.' || (len > 0 && file[len - 1] == '~'))
		return 0;
	if (len > 4 && strcmp(file + len - 4, ".yml") == 0)
		return err_set(e, -EINVAL, "%s/%s: the name must end in %s", dir, file, SUFFIX);
	if (len <= suffix || strcmp(file + len - suffix, SUFFIX) != 0)
		return 0;
	(void)snprintf(what, sizeof what, "%s/: file", dir);
	if ((r = name_check(what, file, len - suffix, e)) < 0)
		return r;
	if (l->n == l->max)
		return err_set(e, -E2BIG, "%s/: more than %zu files", dir, l->max);
	memcpy(l->name[l->n], file, len - suffix);
	l->name[l->n++][len - suffix] = '\0';
	return 0;
}

int config_names(int dirfd, const char *dir, struct config_names *l, struct err *e)
{
	int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct dirent *entry;
	DIR *d;

	if (fd < 0 && errno == ENOENT)
		return 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = err_set(e, -errno, "%s: %m", dir);
		util_close(&fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(d)))
		r = add_name(l, dir, entry->d_name, e);
	if (r == 0 && errno != 0)
		r = err_set(e, -errno, "%s: %m", dir);
	(void)closedir(d);
	qsort(l->name, l->n, sizeof l->name[0], by_name);
	return r;
}

int config_file(int dirfd, const char *dir, const char *name, struct digest *all,
    struct yaml_doc **ret, uint8_t digest[DIGEST_LEN], struct err *e)
{
	cleanup_buf struct buf b;
	char path[96 + NAME_MAX_LEN];
	int r;

	buf_init(&b, YAML_SIZE_MAX);
	(void)snprintf(path, sizeof path, "%s/%s%s", dir, name, SUFFIX);
	if ((r = fd_read_file(dirfd, path, YAML_SIZE_MAX, &b, e)) < 0)
		return r;
	digest_sha256(b.data, b.len, digest);
	digest_update(all, path, strlen(path) + 1);
	digest_update(all, digest, DIGEST_LEN);
	return yaml_parse(path, b.data, b.len, ret, e);
}

/* ---- tenants ---- */

/* The keys themselves: those of ca_files are in no file of ours. */
static void digest_cas(struct digest *all, const struct tenant *t)
{
	for (size_t i = 0; i < t->ncas; i++) {
		size_t len;
		const uint8_t *blob = key_blob(t->ca[i], &len);

		digest_update(all, blob, len);
	}
}

static int load_tenants(
    int dirfd, const struct config_names *l, struct digest *all, struct config *c, struct err *e)
{
	uint8_t digest[DIGEST_LEN];
	int r;

	c->tenant = calloc(l->n + 1, sizeof *c->tenant);
	if (!c->tenant)
		return err_set(e, -ENOMEM, "no memory for the tenants");
	for (size_t i = 0; i < l->n; i++) {
		cleanup_yaml struct yaml_doc *d = NULL;
		struct tenant *t = &c->tenant[c->ntenants];

		if ((r = config_file(dirfd, "tenants", l->name[i], all, &d, digest, e)) < 0 ||
		    (r = tenant_parse(d, l->name[i], dirfd, &c->host, t, e)) < 0)
			return r;
		memcpy(t->digest, digest, DIGEST_LEN);
		c->ntenants++;
		digest_cas(all, t);
	}
	return 0;
}

/* ---- what only the whole can show ---- */

static int check_templates(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->ntenants; i++) {
		const struct tenant *t = &c->tenant[i];

		for (size_t j = 0; j < t->nroles; j++)
			if (!config_template(c, t->name, t->role[j].template_name))
				return err_set(e, -EINVAL,
				    "tenants/%s.yaml:%u: role %s: there is no template %s", t->name,
				    t->role[j].line, t->role[j].name, t->role[j].template_name);
	}
	return 0;
}

/* Processes of one Unix user can signal each other, so an account that is named is one tenant's,
 * and no other's role may stand for it by its own name. */
static int check_unix(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->ntenants; i++)
		for (size_t k = 0; k < c->tenant[i].nroles; k++)
			for (size_t j = 0; j < c->ntenants; j++) {
				const char *name = c->tenant[i].role[k].unix_name;
				const struct role *o =
				    tenant_role_of_unix(&c->tenant[j], name, strlen(name));

				if (i != j && name[0] && o)
					return err_set(e, -EINVAL,
					    "tenants/%s.yaml:%u: the Unix account %s is also that "
					    "of role "
					    "%s of tenant %s",
					    c->tenant[i].name, c->tenant[i].role[k].line, name,
					    o->name, c->tenant[j].name);
			}
	return 0;
}

/* Which tenant a certificate belongs to is known by its CA, so a CA has one tenant. */
static int check_cas(const struct config *c, struct err *e)
{
	char fingerprint[KEY_FINGERPRINT_LEN];

	for (size_t i = 1; i < c->ntenants; i++) {
		const struct tenant *t = &c->tenant[i];

		for (size_t k = 0; k < t->ncas; k++) {
			for (size_t j = 0; j < i; j++) {
				const struct tenant *o = &c->tenant[j];

				for (size_t m = 0; m < o->ncas; m++)
					if (key_equal(t->ca[k], o->ca[m]))
						return err_set(e, -EINVAL,
						    "tenants/%s.yaml:%u: the CA key %s is also "
						    "that of "
						    "tenant %s (tenants/%s.yaml:%u)",
						    t->name, t->ca_line[k],
						    key_fingerprint(t->ca[k], fingerprint), o->name,
						    o->name, o->ca_line[m]);
			}
		}
	}
	return 0;
}

/* ---- all ---- */

static int load_all(
    int dirfd, struct config_names *l, struct digest *all, struct config *c, struct err *e)
{
	int r;

	if ((r = host_config_load(dirfd, &c->host, e)) < 0 ||
	    (r = export_config_load(dirfd, &c->export, e)) < 0)
		return r;
	l->max = CONFIG_TEMPLATES_MAX;
	if ((r = config_load_templates(dirfd, l, all, c, e)) < 0)
		return r;
	l->n = 0;
	l->max = CONFIG_TENANTS_MAX;
	if ((r = config_names(dirfd, "tenants", l, e)) < 0 ||
	    (r = load_tenants(dirfd, l, all, c, e)) < 0 ||
	    (r = config_load_own(dirfd, l, all, c, e)) < 0 ||
	    (r = config_load_images(dirfd, all, c, e)) < 0)
		return r;
	if ((r = check_templates(c, e)) < 0 || (r = check_cas(c, e)) < 0 ||
	    (r = check_unix(c, e)) < 0)
		return r;
	return 0;
}

/* postern.yaml may be missing; its bytes are in the digest when it is there. */
static void digest_host_file(int dirfd, struct digest *all)
{
	uint8_t digest[DIGEST_LEN];
	cleanup_buf struct buf b;

	buf_init(&b, YAML_SIZE_MAX);
	if (fd_read_file(dirfd, HOST_FILE, YAML_SIZE_MAX, &b, NULL) < 0)
		return;
	digest_sha256(b.data, b.len, digest);
	digest_update(all, digest, DIGEST_LEN);
}

int config_load(int dirfd, struct config **ret, struct err *e)
{
	const size_t most =
	    CONFIG_TENANTS_MAX > CONFIG_TEMPLATES_MAX ? CONFIG_TENANTS_MAX : CONFIG_TEMPLATES_MAX;
	struct config *c = calloc(1, sizeof *c);
	struct digest *all = digest_new();
	struct config_names l = {.name = calloc(most, sizeof l.name[0])};
	int r;

	if (!c || !all || !l.name) {
		r = err_set(e, -ENOMEM, "no memory for the configuration");
	} else {
		digest_host_file(dirfd, all);
		r = load_all(dirfd, &l, all, c, e);
	}
	if (r == 0) {
		digest_final(all, c->digest);
		*ret = steal_ptr(&c);
	}
	free(l.name);
	digest_free(all);
	config_free(c);
	return r;
}

void config_free(struct config *c)
{
	int saved = errno;

	if (!c)
		return;
	for (size_t i = 0; i < c->ntenants; i++)
		tenant_done(&c->tenant[i]);
	for (size_t i = 0; i < c->ntemplates; i++)
		template_done(&c->template[i]);
	free(c->tenant);
	free(c->template);
	free(c);
	errno = saved;
}

const struct tenant *config_tenant(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->ntenants; i++)
		if (strcmp(c->tenant[i].name, name) == 0)
			return &c->tenant[i];
	return NULL;
}

const struct tenant *config_tenant_by_ca(const struct config *c, const struct key *ca)
{
	for (size_t i = 0; i < c->ntenants; i++)
		for (size_t k = 0; k < c->tenant[i].ncas; k++)
			if (key_equal(c->tenant[i].ca[k], ca))
				return &c->tenant[i];
	return NULL;
}

int config_check_hostkey(const struct config *c, const char *fingerprint, struct err *e)
{
	char ca[KEY_FINGERPRINT_LEN];

	for (size_t i = 0; i < c->ntenants; i++)
		for (size_t k = 0; k < c->tenant[i].ncas; k++)
			if (strcmp(key_fingerprint(c->tenant[i].ca[k], ca), fingerprint) == 0)
				return err_set(e, -EINVAL,
				    "tenants/%s.yaml: a CA key is the host's own key (%s)",
				    c->tenant[i].name, ca);
	return 0;
}
