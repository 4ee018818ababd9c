#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/config_internal.h"
#include "broker/core/image_lock.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "lib/yaml.h"

/*
 * The templates of a configuration: the host's in the order in which they extend each other, then
 * each tenant's own.
 */

static struct template *room(struct config *c, struct err *e)
{
	struct template *t = reallocarray(c->template, c->ntemplates + 1, sizeof *t);

	if (!t) {
		(void)err_set(e, -ENOMEM, "no memory for the templates");
		return NULL;
	}
	c->template = t;
	return &t[c->ntemplates];
}

int config_parse_template(const struct config *c, const struct yaml_doc *d, const char *name,
    const char *tenant, struct template *ret, struct err *e)
{
	const struct template *parent = NULL;
	const char *extends;
	int r = template_extends(d, &extends, e);

	if (r < 0)
		return r;
	if (!extends && tenant) /* there is nothing that a tenant's could be without a host's */
		extends = "default";
	if (extends && !(parent = config_template(c, NULL, extends)))
		return yaml_fail(d, yaml_root(d), json_is_null(yaml_root(d)) ? NULL : "extends", 0,
		    e, -EINVAL, "extends: there is no template %s of the host", extends);
	return template_parse(d, name, tenant, parent, ret, e);
}

/* ---- the host's ---- */

/* Adds those whose parent is there, until there are no more. A name is emptied once it is in. */
static int settle(struct config *c, struct config_names *l, struct yaml_doc **docs, struct err *e)
{
	const char *extends;
	bool more = true;
	int r;

	while (more) {
		more = false;
		for (size_t i = 0; i < l->n; i++) {
			struct template *t;

			if (!*l->name[i])
				continue;
			if ((r = template_extends(docs[i], &extends, e)) < 0)
				return r;
			if (extends && !config_template(c, NULL, extends))
				continue;
			if (!(t = room(c, e)))
				return -ENOMEM;
			if ((r = config_parse_template(c, docs[i], l->name[i], NULL, t, e)) < 0)
				return r;
			c->ntemplates++;
			l->name[i][0] = '\0';
			more = true;
		}
	}
	return 0;
}

/* One that is left extends nobody, or a circle. */
static int complain(const struct config_names *l, struct yaml_doc **docs, struct err *e)
{
	const char *extends = NULL;
	size_t first = l->n;

	for (size_t i = 0; i < l->n; i++) {
		bool left = false;

		if (!*l->name[i])
			continue;
		(void)template_extends(docs[i], &extends, e);
		for (size_t k = 0; k < l->n && !left; k++)
			left = strcmp(l->name[k], extends) == 0;
		if (!left)
			return yaml_fail(docs[i], yaml_root(docs[i]), "extends", 0, e, -EINVAL,
			    "extends: there is no template %s", extends);
		if (first == l->n)
			first = i;
	}
	if (first == l->n)
		return 0;
	(void)template_extends(docs[first], &extends, e);
	return yaml_fail(docs[first], yaml_root(docs[first]), "extends", 0, e, -EINVAL,
	    "extends: template %s ends up extending itself, by way of %s", l->name[first], extends);
}

static bool listed(const struct config_names *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->name[i], name) == 0)
			return true;
	return false;
}

int config_load_templates(
    int dirfd, struct config_names *l, struct digest *all, struct config *c, struct err *e)
{
	struct yaml_doc **docs = NULL;
	uint8_t digest[DIGEST_LEN];
	struct template *t;
	int r;

	if ((r = config_names(dirfd, "templates", l, e)) < 0)
		return r;
	if (!listed(l, "default")) {
		if (!(t = room(c, e)))
			return -ENOMEM;
		if (template_default(t) < 0)
			return err_set(e, -ENOMEM, "no memory for the templates");
		c->ntemplates++;
	}
	docs = calloc(l->n + 1, sizeof *docs);
	r = docs ? 0 : err_set(e, -ENOMEM, "no memory for the templates");
	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = config_file(dirfd, "templates", l->name[i], all, &docs[i], digest, e);
	if (r == 0 && (r = settle(c, l, docs, e)) == 0)
		r = complain(l, docs, e);
	for (size_t i = 0; docs && i < l->n; i++)
		yaml_free(docs[i]);
	free(docs);
	return r;
}

/* ---- the tenants' own ---- */

int config_load_own(
    int dirfd, struct config_names *l, struct digest *all, struct config *c, struct err *e)
{
	uint8_t digest[DIGEST_LEN];
	char dir[64];
	int r;

	for (size_t i = 0; i < c->ntenants; i++) {
		const char *tenant = c->tenant[i].name;

		l->n = 0;
		l->max = CONFIG_OWN_MAX;
		(void)snprintf(dir, sizeof dir, "tenants/%s/templates", tenant);
		if ((r = config_names(dirfd, dir, l, e)) < 0)
			return r;
		for (size_t k = 0; k < l->n; k++) {
			cleanup_yaml struct yaml_doc *d = NULL;
			struct template *t = room(c, e);

			if (!t)
				return -ENOMEM;
			if ((r = config_file(dirfd, dir, l->name[k], all, &d, digest, e)) < 0 ||
			    (r = config_parse_template(c, d, l->name[k], tenant, t, e)) < 0)
				return r;
			c->ntemplates++;
		}
	}
	return 0;
}

/* ---- images ---- */

int config_load_images(int dirfd, struct digest *all, struct config *c, struct err *e)
{
	uint8_t digest[DIGEST_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, IMAGE_LOCK_SIZE_MAX);
	r = fd_read_file(dirfd, IMAGE_LOCK_FILE, IMAGE_LOCK_SIZE_MAX, &b, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	digest_sha256(b.data, b.len, digest);
	digest_update(all, digest, DIGEST_LEN);
	if ((r = image_lock_check((const char *)b.data, b.len, e)) < 0)
		return r;
	for (size_t i = 0; i < c->ntemplates; i++)
		if (c->template[i].root == PLAN_ROOT_IMAGE)
			(void)image_lock_find((const char *)b.data, b.len,
			    c->template[i].image_path, c->template[i].image);
	return 0;
}

const struct template *config_template(const struct config *c, const char *tenant, const char *name)
{
	const struct template *host = NULL;

	for (size_t i = 0; i < c->ntemplates; i++) {
		const struct template *t = &c->template[i];

		if (strcmp(t->name, name) != 0)
			continue;
		if (!*t->tenant)
			host = t;
		else if (tenant && strcmp(t->tenant, tenant) == 0)
			return t;
	}
	return host;
}
