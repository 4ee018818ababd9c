/*
 * What a channel asks to run: read from channel.exec, then resolved to the argv and environment
 * that init gets. Pure; knows neither sessions nor descriptors.
 */
#ifndef POSTERN_CORE_COMMAND_H
#define POSTERN_CORE_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct grant;
struct msg;
struct template;

#define COMMAND_HOME     "/home/agent"
#define COMMAND_WORK     "/workspace" /* where commands begin in a session that has one */
#define COMMAND_SFTP     "/usr/lib/openssh/sftp-server"
#define COMMAND_TERM_MAX 63
#define COMMAND_ENV_MAX  120
#define COMMAND_ARGS_MAX 16 /* TEMPLATE_ENTRY_MAX */

enum command_kind { COMMAND_EXEC, COMMAND_SHELL, COMMAND_SUBSYSTEM };

struct command {
	enum command_kind kind;
	char *text;  /* command or subsystem as asked, without NUL; NULL for a shell */
	json_t *env; /* array of "NAME=VALUE" blobs as asked (base64) */
	bool pty;
	char term[COMMAND_TERM_MAX + 1];
	uint16_t cols, rows, xpixel, ypixel;

	/* command_resolve() */
	char *argv[COMMAND_ARGS_MAX + 1];
	char *envp[COMMAND_ENV_MAX + 1];
	size_t nenv;
	char *storage[COMMAND_ENV_MAX + COMMAND_ARGS_MAX + 8]; /* what argv and envp point to */
	size_t nstorage;
	json_t *env_names; /* of the client's variables that got in */
};

/* -EBADMSG: not what a worker may send. command_done() also after a failure. */
int command_parse(const struct msg *m, struct command *ret, struct err *e);
/* -EACCES, -E2BIG or -ENOENT (a root without sftp-server), with what the client is told. */
int command_resolve(struct command *c, const struct grant *g, const struct template *t,
    const char *session, struct err *e);
void command_done(struct command *c);
const char *command_kind_name(enum command_kind k); /* "exec", "shell", "subsystem" */
/* What the decider is asked for: "exec", "shell", "sftp"; NULL for an unknown subsystem. */
const char *command_action(const struct command *c);
/* RFC 4254 section 6.10 names, without SIG; 0: none of them. */
int command_signal(const char *name);

#endif
