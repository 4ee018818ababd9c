/*
 * A template's file, as the host's and as a tenant's. Whatever comes, an error has the file's name;
 * what is accepted makes a plan that spawn reads back, and a tenant's is never more than the
 * host's.
 */
#include "broker/core/template.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/grant.h"
#include "broker/core/image_lock.h"
#include "lib/err.h"
#include "lib/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct template parent, out;
static struct plan plan, again;

static void must(int ok)
{
	if (!ok)
		abort();
}

static void use(struct template *t)
{
	struct grant g = {.tenant = "demo", .role = "agent", .actions = GRANT_CREDENTIAL};
	struct err e = ERR_INIT;
	json_t *o;

	if (t->root == PLAN_ROOT_IMAGE)
		memset(t->image, 'a', PLAN_IMAGE_HEX_LEN);
	template_plan(t, &g, NULL, &plan);
	must((o = plan_pack(&plan)) != NULL);
	must(plan_parse(o, &again, &e) == 0);
	json_decref(o);
	for (unsigned k = 0; k < TEMPLATE_KEYS; k++) {
		must(*t->where[k] != '\0');
		must((o = template_value(t, k)) != NULL);
		json_decref(o);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;
	const char *extends;

	if (image_lock_check((const char *)data, size, &e) == 0) {
		char hex[PLAN_IMAGE_HEX_LEN + 1];

		(void)image_lock_find((const char *)data, size, "/srv/a.tar", hex);
	}
	if (yaml_parse("fuzz", data, size, &d, &e) < 0)
		return 0;
	if (template_extends(d, &extends, &e) == 0) {
		if (template_parse(d, "t", NULL, NULL, &out, &e) == 0) {
			use(&out);
			template_done(&out);
		} else {
			must(strncmp(e.text, "fuzz", 4) == 0);
		}
		must(template_default(&parent) == 0);
		if (template_parse(d, "t", "demo", &parent, &out, &e) == 0) {
			use(&out);
			must(out.root == PLAN_ROOT_HOST && !out.root_user && out.nmounts == 0);
			must(plan.limits.memory_bytes <= parent.limits.group.memory_bytes);
			must(plan.limits.pids <= parent.limits.group.pids && !*plan.runtime);
			template_done(&out);
		}
		template_done(&parent);
	}
	yaml_free(d);
	return 0;
}
