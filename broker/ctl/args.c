#include "broker/ctl/args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

static const struct ctl_option everywhere[] = {
    {"state", "DIR", false, ""},
    {"json", NULL, false, ""},
    {"help", NULL, false, ""},
    {"version", NULL, false, ""},
    {NULL, NULL, false, NULL},
};

struct given { /* one option of the command line, its name perhaps with "=VALUE" behind */
	const char *name, *value;
	size_t name_len;
};

static const struct ctl_option *find(const struct ctl_option *list, const struct given *g)
{
	for (; list && list->name; list++)
		if (strlen(list->name) == g->name_len &&
		    memcmp(list->name, g->name, g->name_len) == 0)
			return list;
	return NULL;
}

const char *ctl_opt(const struct ctl *c, const char *name)
{
	return ctl_opt_nth(c, name, 0);
}

const char *ctl_opt_nth(const struct ctl *c, const char *name, size_t i)
{
	for (size_t k = 0; k < c->noptions; k++)
		if (strcmp(c->option[k].name, name) == 0 && i-- == 0)
			return c->option[k].value;
	return NULL;
}

void ctl_usage(const struct ctl_command *c, char *dst, size_t size)
{
	size_t n = (size_t)snprintf(dst, size, "postern %s%s%s%s%s", c->noun, c->verb ? " " : "",
	    c->verb ? c->verb : "", c->words ? " " : "", c->words ? c->words : "");

	for (const struct ctl_option *o = c->options; o && o->name && n < size; o++)
		n += (size_t)snprintf(dst + n, size - n, " [--%s%s%s]%s", o->name,
		    o->value ? " " : "", o->value ? o->value : "", o->many ? "..." : "");
}

/* noun: the one that is known to exist, whose --help says more; NULL: none. */
static int refuse(const char *what, const char *arg, const char *noun, struct err *e)
{
	char text[80];

	return err_set(e, -EINVAL, "%s \"%s\"; see postern %s%s--help", what,
	    str_escape(text, sizeof text, arg, strlen(arg)), noun ? noun : "", noun ? " " : "");
}

/* Is this word (not an option) the command's noun or verb? */
static int select_command(const struct ctl_command *commands, const char *noun, const char *verb,
    struct ctl *c, bool *ret_used_verb, struct err *e)
{
	bool known = false;

	for (const struct ctl_command *k = commands; k->noun; k++) {
		if (strcmp(k->noun, noun) != 0)
			continue;
		known = true;
		if (k->verb && (!verb || strcmp(k->verb, verb) != 0))
			continue;
		c->command = k;
		*ret_used_verb = k->verb != NULL;
		return 0;
	}
	if (!known)
		return refuse("unknown command", noun, NULL, e);
	if (c->help)
		return 0;
	return verb ? refuse("unknown verb", verb, noun, e)
	            : err_set(e, -EINVAL, "\"%s\" needs a verb; see postern %s --help", noun, noun);
}

/* Splits argv into options and words. An option's value is taken only once its command is known, so
 * the two walks: first the words that name the command, then everything. */
static const char *plain_word(int argc, char *const *argv, int *i)
{
	for (; *i < argc; (*i)++) {
		if (strcmp(argv[*i], "--state") == 0) {
			(*i)++;
			continue;
		}
		if (strncmp(argv[*i], "--", 2) != 0)
			return argv[(*i)++];
	}
	return NULL;
}

static int take_option(struct ctl *c, int argc, char *const *argv, int *i, struct err *e)
{
	const char *arg = argv[*i] + 2, *eq = strchr(arg, '=');
	struct given g = {arg, eq ? eq + 1 : NULL, eq ? (size_t)(eq - arg) : strlen(arg)};
	const struct ctl_option *o = find(everywhere, &g);

	if (!o && c->command)
		o = find(c->command->options, &g);
	if (!o)
		return refuse("unknown option", argv[*i], c->noun, e);
	if (!o->value && g.value)
		return refuse("no value belongs to", argv[*i], c->noun, e);
	if (o->value && !g.value) {
		if (*i + 1 >= argc)
			return refuse("a value is missing after", argv[*i], c->noun, e);
		g.value = argv[++*i];
	}
	if (o->value && !*g.value)
		return refuse("an empty value for", argv[*i], c->noun, e);
	if (!o->many && ctl_opt(c, o->name))
		return refuse("given twice:", o->name, c->noun, e);
	if (c->noptions == CTL_OPTIONS_MAX)
		return err_set(e, -EINVAL, "more than %d options", CTL_OPTIONS_MAX);
	c->option[c->noptions].name = o->name;
	c->option[c->noptions++].value = o->value ? g.value : "";
	return 0;
}

static int take_all(struct ctl *c, int argc, char *const *argv, int skip, struct err *e)
{
	bool only_words = false;
	int r;

	for (int i = 1; i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
		} else if (!only_words && strncmp(argv[i], "--", 2) == 0) {
			if ((r = take_option(c, argc, argv, &i, e)) < 0)
				return r;
		} else if (skip > 0) {
			skip--; /* noun and verb */
		} else {
			if (c->nwords == CTL_WORDS_MAX)
				return refuse("too many words:", argv[i], c->noun, e);
			c->word[c->nwords++] = argv[i];
		}
	}
	return 0;
}

int ctl_args_parse(
    const struct ctl_command *commands, int argc, char *const *argv, struct ctl *ret, struct err *e)
{
	struct ctl c = {0};
	bool used_verb = false;
	const char *verb;
	char usage[1024];
	int at = 1, r;

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		c.help = c.help || strcmp(argv[i], "--help") == 0;
		c.version = c.version || strcmp(argv[i], "--version") == 0;
	}
	c.noun = plain_word(argc, argv, &at);
	c.verb = verb = plain_word(argc, argv, &at);
	if (c.version || (c.help && !c.noun)) {
		*ret = c;
		return 0;
	}
	if (!c.noun)
		return err_set(e, -EINVAL, "what is to be done? see postern --help");
	if ((r = select_command(commands, c.noun, verb, &c, &used_verb, e)) < 0)
		return r;
	if (c.help) {
		c.command = NULL;
		*ret = c;
		return 0;
	}
	if ((r = take_all(&c, argc, argv, used_verb ? 2 : 1, e)) < 0)
		return r;
	c.state = ctl_opt(&c, "state");
	c.json = ctl_opt(&c, "json") != NULL;
	if (c.nwords < c.command->words_min || c.nwords > c.command->words_max) {
		ctl_usage(c.command, usage, sizeof usage);
		return err_set(e, -EINVAL, "usage: %.280s", usage);
	}
	*ret = c;
	return 0;
}
