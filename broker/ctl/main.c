/* postern: the operator's command; postern(1). */
#include <stdio.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "lib/err.h"
#include "lib/log.h"

#define COLUMNS 80

static void help_all(void)
{
	char name[32];

	(void)puts("usage: postern [--state DIR] [--json] NOUN [VERB] ...\n");
	for (const struct ctl_command *c = ctl_commands; c->noun; c++) {
		(void)snprintf(name, sizeof name, "%s%s%s", c->noun, c->verb ? " " : "",
		    c->verb ? c->verb : "");
		(void)printf("  %-18s %s\n", name, c->help);
	}
	(void)puts(
	    "\nWithout --state it speaks to the installed Postern, with it to `postern up --state "
	    "DIR`.\n`postern NOUN [VERB] --help` says more, postern(1) everything.");
}

/* Breaks between the options, so that a terminal does not break within one. */
static void print_usage(const char *usage)
{
	const char *next;
	size_t col = 0, n;

	for (; *usage; usage = next) {
		next = strstr(usage + 1, " [--");
		n = next ? (size_t)(next - usage) : strlen(usage);
		next = usage + n;
		if (col && col + n > COLUMNS)
			col = (size_t)printf("\n       ");
		(void)printf("%.*s", (int)n, usage);
		col += n;
	}
	(void)putchar('\n');
}

static bool has_verb(const struct ctl *c)
{
	for (const struct ctl_command *k = ctl_commands; c->verb && k->noun; k++)
		if (k->verb && strcmp(k->noun, c->noun) == 0 && strcmp(k->verb, c->verb) == 0)
			return true;
	return false;
}

/* Every command of the noun, or the one that was named. */
static int help_noun(const struct ctl *all)
{
	bool one = has_verb(all);
	char usage[1024], option[48];
	int known = 0;

	for (const struct ctl_command *c = ctl_commands; c->noun; c++) {
		if (strcmp(c->noun, all->noun) != 0 ||
		    (one && (!c->verb || strcmp(c->verb, all->verb) != 0)))
			continue;
		ctl_usage(c, usage, sizeof usage);
		if (known++)
			(void)putchar('\n');
		print_usage(usage);
		(void)printf("  %s\n", c->help);
		for (const struct ctl_option *o = c->options; o && o->name; o++) {
			(void)snprintf(option, sizeof option, "--%s%s%s", o->name,
			    o->value ? " " : "", o->value ? o->value : "");
			(void)printf("    %-26s %s\n", option, o->help);
		}
	}
	return known ? EXIT_OK : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct ctl c;
	int code;

	log_open("postern", LOG_WARNING);
	if (ctl_args_parse(ctl_commands, argc, argv, &c, &e) < 0)
		return ctl_fail(EXIT_USAGE, "%s", err_text(&e));
	if (c.version) {
		(void)puts("postern " POSTERN_VERSION);
		return EXIT_OK;
	}
	if (c.help && !c.noun) {
		help_all();
		return EXIT_OK;
	}
	if (c.help)
		return help_noun(&c);
	code = c.command->run(&c);
	if (fflush(stdout) != 0 && code == EXIT_OK)
		return ctl_fail(EXIT_FAILED, "cannot write: %m");
	return code;
}
