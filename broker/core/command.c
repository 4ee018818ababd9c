#include "broker/core/command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/core/grant.h"
#include "broker/core/template.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/signame.h"
#include "lib/str.h"
#include "lib/util.h"

#define TEXT_MAX (64u * 1024)

_Static_assert(TEMPLATE_ENTRY_MAX <= COMMAND_ARGS_MAX, "argv has room for an entry");

static const char *const kind_names[] = {"exec", "shell", "subsystem"};

const char *command_kind_name(enum command_kind k)
{
	return kind_names[k];
}

/* ---- reading ---- */

static const struct msg_field pty_fields[] = {
    {"term", MSG_STRING, COMMAND_TERM_MAX, false},
    {"cols", MSG_INT, 65535, false},
    {"rows", MSG_INT, 65535, false},
    {"xpixel", MSG_INT, 65535, false},
    {"ypixel", MSG_INT, 65535, false},
    {NULL, MSG_INT, 0, false},
};

static int parse_pty(const json_t *o, struct command *c, struct err *e)
{
	int r = msg_check_fields("pty", o, pty_fields, e);

	if (r < 0)
		return r;
	c->pty = true;
	(void)str_copy(c->term, sizeof c->term, json_string_value(json_object_get(o, "term")));
	for (const char *p = c->term; *p; p++)
		if (*p <= ' ' || *p > '~')
			return err_set(e, -EBADMSG, "pty: term");
	c->cols = (uint16_t)json_integer_value(json_object_get(o, "cols"));
	c->rows = (uint16_t)json_integer_value(json_object_get(o, "rows"));
	c->xpixel = (uint16_t)json_integer_value(json_object_get(o, "xpixel"));
	c->ypixel = (uint16_t)json_integer_value(json_object_get(o, "ypixel"));
	return 0;
}

int command_parse(const struct msg *m, struct command *c, struct err *e)
{
	const char *kind = msg_str(m, "kind");
	cleanup_buf struct buf b;
	int r;

	memset(c, 0, sizeof *c);
	buf_init(&b, TEXT_MAX + 1);
	for (c->kind = COMMAND_EXEC; strcmp(kind, kind_names[c->kind]) != 0; c->kind++)
		if (c->kind == COMMAND_SUBSYSTEM)
			return err_set(e, -EBADMSG, "channel.exec: no such kind");
	r = msg_bytes(m, "command", &b);
	if (r == -ENOENT ? c->kind != COMMAND_SHELL : c->kind == COMMAND_SHELL)
		return err_set(
		    e, -EBADMSG, "channel.exec: a %s with%s command", kind, r ? "out a" : " a");
	if (r < 0 && r != -ENOENT)
		return err_set(e, r, "channel.exec: command");
	if (r == 0) {
		if (b.len > 0 && memchr(b.data, '\0', b.len))
			return err_set(e, -EBADMSG, "channel.exec: NUL in the command");
		c->text = b.len ? strndup((const char *)b.data, b.len) : strdup("");
		if (!c->text)
			return err_set(e, -ENOMEM, "no memory");
	}
	c->env = json_incref(msg_obj(m, "env"));
	return msg_obj(m, "pty") ? parse_pty(msg_obj(m, "pty"), c, e) : 0;
}

const char *command_action(const struct command *c)
{
	if (c->kind == COMMAND_EXEC)
		return "exec";
	if (c->kind == COMMAND_SHELL)
		return "shell";
	return strcmp(c->text, "sftp") == 0 ? "sftp" : NULL;
}

/* ---- resolving ---- */

/* Takes s over. */
static char *keep(struct command *c, char *s)
{
	if (!s || c->nstorage == ARRAY_LEN(c->storage)) {
		free(s);
		return NULL;
	}
	return c->storage[c->nstorage++] = s;
}

static size_t name_len(const char *pair)
{
	return strcspn(pair, "=");
}

static char **find_env(struct command *c, const char *name, size_t len)
{
	for (size_t i = 0; i < c->nenv; i++)
		if (name_len(c->envp[i]) == len && memcmp(c->envp[i], name, len) == 0)
			return &c->envp[i];
	return NULL;
}

static int put_env(struct command *c, const char *name, const char *value, struct err *e)
{
	char **there = find_env(c, name, strlen(name)), *pair = NULL;

	if (asprintf(&pair, "%s=%s", name, value) < 0)
		pair = NULL;
	if (!keep(c, pair) || (!there && c->nenv == COMMAND_ENV_MAX))
		return err_set(e, -E2BIG, "too many environment variables");
	if (there)
		*there = pair;
	else
		c->envp[c->nenv++] = pair;
	return 0;
}

static bool starts(const char *s, size_t len, const char *with)
{
	return len >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

/* What the client can never set, whatever a list says: who it is, and where it is. */
static bool reserved(const char *name, size_t len)
{
	static const char *const names[] = {"HOME", "USER", "LOGNAME", "SHELL", "PATH"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	return starts(name, len, "POSTERN_") || starts(name, len, "SSH_");
}

/* One "NAME=VALUE" of the client: in, or silently left out, as sshd's AcceptEnv does. */
static int client_env(struct command *c, const struct grant *g, const json_t *blob, struct err *e)
{
	size_t len = 0, n, max = json_string_length(blob);
	cleanup_free char *pair = malloc(max + 1);
	char name[129];

	if (!pair)
		return err_set(e, -ENOMEM, "no memory");
	if (b64_decode(pair, max, json_string_value(blob), max, &len) < 0)
		return 0;
	pair[len] = '\0';
	n = name_len(pair);
	if (strlen(pair) != len || n == len || !env_name_valid(pair, n) || reserved(pair, n) ||
	    !grant_env_allows(g, pair, n))
		return 0;
	memcpy(name, pair, n);
	name[n] = '\0';
	(void)json_array_append_new(c->env_names, json_string(name));
	return put_env(c, name, pair + n + 1, e);
}

static int build_env(struct command *c, const struct grant *g, const struct template *t,
    const char *session, struct err *e)
{
	const char *name;
	json_t *v;
	size_t i;
	int r;

	if ((r = put_env(c, "HOME", COMMAND_HOME, e)) < 0 ||
	    (r = put_env(c, "USER", g->role, e)) < 0 ||
	    (r = put_env(c, "LOGNAME", g->role, e)) < 0 ||
	    (r = put_env(c, "SHELL", t->shell, e)) < 0 ||
	    (r = put_env(c, "PATH",
	         "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/run/postern/bin",
	         e)) < 0)
		return r;
	json_object_foreach(t->env, name, v)
	{
		if ((r = put_env(c, name, json_string_value(v), e)) < 0)
			return r;
	}
	json_array_foreach(c->env, i, v)
	{
		if ((r = client_env(c, g, v, e)) < 0)
			return r;
	}
	if (c->pty && (r = put_env(c, "TERM", *c->term ? c->term : "dumb", e)) < 0)
		return r;
	if ((r = put_env(c, "POSTERN_SESSION", session, e)) < 0 ||
	    (r = put_env(c, "POSTERN_TENANT", g->tenant, e)) < 0)
		return r;
	if (g->actions & GRANT_CREDENTIAL)
		return put_env(c, "POSTERN_CRED", "127.0.0.1:4712", e);
	return 0;
}

/* The root as the sandbox will see it, or the host's. */
static int check_sftp(const struct template *t, struct err *e)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	const char *path = t->root == PLAN_ROOT_HOST ? "/" : t->root_path;

	if (t->root == PLAN_ROOT_IMAGE) /* not for us to open; spawn puts one in where it lacks */
		return 0;
	cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) /* spawn will say what is wrong with it */
		return 0;
	cleanup_close int fd = (int)syscall(SYS_openat2, root, COMMAND_SFTP, &how, sizeof how);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(e, -ENOENT, "sftp: template %s has no " COMMAND_SFTP, t->name);
	return 0;
}

static int build_argv(
    struct command *c, const struct grant *g, const struct template *t, struct err *e)
{
	const char *run = g->force_command ? g->force_command : c->text;
	int r;

	if (c->kind == COMMAND_SUBSYSTEM && !g->force_command) {
		if ((r = check_sftp(t, e)) < 0)
			return r;
		c->argv[0] = keep(c, strdup(COMMAND_SFTP));
		return c->argv[0] ? 0 : err_set(e, -ENOMEM, "no memory");
	}
	if (!run && json_is_array(t->entry)) {
		json_t *v;
		size_t i;

		json_array_foreach(t->entry, i, v)
		{
			if (!(c->argv[i] = keep(c, strdup(json_string_value(v)))))
				return err_set(e, -ENOMEM, "no memory");
		}
		return 0;
	}
	if (!run && t->entry)
		run = json_string_value(t->entry);
	c->argv[0] = keep(c, strdup(t->shell));
	c->argv[1] = keep(c, strdup(run ? "-c" : "-l"));
	c->argv[2] = run ? keep(c, strdup(run)) : NULL;
	if (!c->argv[0] || !c->argv[1] || (run && !c->argv[2]))
		return err_set(e, -ENOMEM, "no memory");
	if (g->force_command && c->text)
		return put_env(c, "SSH_ORIGINAL_COMMAND", c->text, e);
	return 0;
}

int command_resolve(struct command *c, const struct grant *g, const struct template *t,
    const char *session, struct err *e)
{
	int r;

	c->env_names = json_array();
	if (!c->env_names)
		return err_set(e, -ENOMEM, "no memory");
	if ((r = build_env(c, g, t, session, e)) < 0 || (r = build_argv(c, g, t, e)) < 0)
		return r;
	return 0;
}

void command_done(struct command *c)
{
	free(c->text);
	json_decref(c->env);
	json_decref(c->env_names);
	for (size_t i = 0; i < c->nstorage; i++)
		free(c->storage[i]);
	memset(c, 0, sizeof *c);
}

int command_signal(const char *name)
{
	/* what clients send beside the names of the RFC */
	static const struct {
		const char *name;
		int number;
	} more[] = {{"WINCH", SIGWINCH}, {"CONT", SIGCONT}, {"TSTP", SIGTSTP}};

	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		if (strcmp(more[i].name, name) == 0)
			return more[i].number;
	return signame_number(name);
}
