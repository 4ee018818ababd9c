#include <stdio.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"

/* audit keys, audit epoch, audit ack. */

int ctl_audit_keys(struct ctl *c)
{
	json_auto_t *data = NULL;
	char name[64], key[640];
	int code = ctl_query(c, "ctl.keys", json_object(), &data);
	json_t *o;
	size_t i;

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "first epoch", json_text(data, "first", key, sizeof key));
	json_array_foreach(json_object_get(data, "logs"), i, o)
	{
		char title[80];

		(void)snprintf(
		    title, sizeof title, "log %s", json_text(o, "log", name, sizeof name));
		field_print(stdout, title, json_text(o, "key", key, sizeof key));
	}
	(void)puts("Whoever verifies a log keeps its key and the first epoch's elsewhere.");
	return EXIT_OK;
}

int ctl_audit_epoch(struct ctl *c)
{
	json_auto_t *data = NULL;
	char text[32];
	int code = ctl_query(c, "ctl.epoch", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, "epoch", json_text(data, "epoch", text, sizeof text));
	return EXIT_OK;
}

int ctl_audit_ack(struct ctl *c)
{
	json_auto_t *data = NULL;
	int code = ctl_query(c, "ctl.rollback", json_object(), &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	(void)puts("accepted, and recorded: what is missing stays missing in every proof");
	return EXIT_OK;
}
