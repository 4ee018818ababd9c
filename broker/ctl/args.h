/*
 * The command line of `postern`: noun, verb, options, words. Strict: an unknown or repeated option,
 * a missing value, too few or too many words are refused with the usage of that command. --state
 * DIR, --json, --help may stand anywhere.
 *
 * Depends on lib/err alone; commands are handed in as a table.
 */
#ifndef POSTERN_CTL_ARGS_H
#define POSTERN_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct ctl;

#define CTL_WORDS_MAX   8
#define CTL_OPTIONS_MAX 48

struct ctl_option {
	const char *name;  /* without "--"; NULL ends the list */
	const char *value; /* what its value is called; NULL: a switch */
	bool many;
	const char *help;
};

struct ctl_command {
	const char *noun;
	const char *verb;  /* NULL: the noun is the command */
	const char *words; /* as shown: "FILE" */
	size_t words_min, words_max;
	const struct ctl_option *options; /* NULL: none */
	const char *help;
	int (*run)(struct ctl *c); /* the exit status */
};

struct ctl {
	const char *state; /* NULL: an installed Postern */
	bool json, help, version;
	const char *noun, *verb; /* the first two words as given, for --help; NULL: none */
	const struct ctl_command *command; /* NULL with help or version */
	const char *word[CTL_WORDS_MAX];
	size_t nwords;
	struct {
		const char *name, *value;
	} option[CTL_OPTIONS_MAX];
	size_t noptions;
};

/* commands ends with noun == NULL. Everything in *ret points into argv and commands. -EINVAL. */
int ctl_args_parse(const struct ctl_command *commands, int argc, char *const *argv, struct ctl *ret,
    struct err *e);
/* The value of an option, "" for a switch that is set, NULL if it was not given. */
const char *ctl_opt(const struct ctl *c, const char *name);
/* The i-th value of one that may be repeated; NULL after the last. */
const char *ctl_opt_nth(const struct ctl *c, const char *name, size_t i);
/* "postern NOUN VERB WORDS [--option VALUE]...", written to dst. */
void ctl_usage(const struct ctl_command *c, char *dst, size_t size);

#endif
