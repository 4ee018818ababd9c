#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "lib/str.h"

/* audit erase: the personal values that were recorded with a person, for good. */

static bool confirmed(const char *person)
{
	char shown[512], answer[16] = "";

	(void)printf(
	    "Erase every name and address that was recorded with \"%s\"?\nThe records stay, "
	    "and stay proved; what is erased cannot be had back. [y/N] ",
	    str_escape(shown, sizeof shown, person, strlen(person)));
	(void)fflush(stdout);
	return fgets(answer, sizeof answer, stdin) &&
	       (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

int ctl_audit_erase(struct ctl *c)
{
	json_auto_t *data = NULL, *body = json_pack("{s:s}", "person", c->word[0]);
	int code;

	if (!*c->word[0] || !body)
		return ctl_fail(EXIT_USAGE, "a person's name is UTF-8, and not empty");
	if (!ctl_opt(c, "yes") && !isatty(STDIN_FILENO))
		return ctl_fail(EXIT_USAGE, "nobody is there to be asked: say --yes");
	if (!ctl_opt(c, "yes") && !confirmed(c->word[0]))
		return ctl_fail(EXIT_FAILED, "nothing was erased");
	if ((code = ctl_query(c, "ctl.erase", json_incref(body), &data)) != EXIT_OK)
		return code;
	if (c->json)
		return ctl_json(data);
	(void)printf("erased %lld values, and %lld sessions that have ended from the list\n",
	    (long long)json_integer_value(json_object_get(data, "values")),
	    (long long)json_integer_value(json_object_get(data, "sessions")));
	return json_integer_value(json_object_get(data, "values")) > 0
	           ? EXIT_OK
	           : ctl_fail(EXIT_NOT_FOUND, "nothing was recorded with that person");
}
