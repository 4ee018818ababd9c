#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/libexec.h"
#include "broker/ctl/table.h"
#include "broker/witness/key.h"
#include "broker/witness/state.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/util.h"

/* witness: becomes postern-witness(8). witness key, list, forget: look at its directory. */

#define STATE "/var/lib/postern-witness"

/* ---- serve ---- */

struct command_line {
	char *argv[CTL_OPTIONS_MAX + 4];
	size_t n;
};

static int add(struct command_line *l, const char *name, const char *value)
{
	if (value && asprintf(&l->argv[l->n], "%s=%s", name, value) < 0) {
		l->argv[l->n] = NULL;
		return ctl_fail(EXIT_FAILED, "no memory");
	}
	l->n += value != NULL;
	return EXIT_OK;
}

int ctl_witness(struct ctl *c)
{
	static const char *const same[] = {"name", "logs", "tls-cert", "tls-key", "user"};
	const char *listen = ctl_opt(c, "listen"), *key;
	struct command_line l = {.n = 1};
	char exe[PATH_MAX], self[] = "postern-witness";
	struct err e = ERR_INIT;
	int code;

	if (!listen)
		return ctl_fail(EXIT_USAGE, "where? --listen HOST:PORT");
	if (ctl_libexec("postern-witness", exe, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	l.argv[0] = self;
	code = add(&l, "listen", listen);
	if (code == EXIT_OK)
		code = add(&l, "state", c->state ? c->state : STATE);
	for (size_t i = 0; code == EXIT_OK && i < ARRAY_LEN(same); i++)
		code = add(&l, same[i], ctl_opt(c, same[i]));
	for (size_t i = 0; code == EXIT_OK && (key = ctl_opt_nth(c, "log", i)); i++)
		code = add(&l, "log", key);
	if (code != EXIT_OK)
		return code;
	(void)execv(exe, l.argv);
	return ctl_fail(EXIT_FAILED, "cannot start %s: %m", exe);
}

/* ---- its directory ---- */

static int open_state(const struct ctl *c, bool create, struct witness_state *s)
{
	const char *path = c->state ? c->state : STATE;
	struct err e = ERR_INIT;
	int r = witness_state_open(s, path, create, (uid_t)-1, (gid_t)-1, &e);

	if (r == 0)
		return EXIT_OK;
	return ctl_fail(r == -ENOENT                  ? EXIT_NOT_FOUND
	                : r == -EACCES || r == -EPERM ? EXIT_DENIED
	                                              : EXIT_FAILED,
	    "%s%s", err_text(&e),
	    r == -ENOENT ? ": there is no witness (postern witness key --name NAME makes one)"
	                 : "");
}

static int load_key(const struct witness_state *s, const char *name, struct witness_key *k)
{
	struct err e = ERR_INIT;
	int r = witness_key_load(s->dir, name, k, &e);

	if (r == 0)
		return EXIT_OK;
	return ctl_fail(r == -ENOENT ? EXIT_NOT_FOUND : EXIT_UNREADABLE, "%s", err_text(&e));
}

static int make_key(struct witness_state *s, const char *name, struct witness_key *k)
{
	struct err e = ERR_INIT;

	if (witness_state_lock(s, &e) < 0 || witness_key_make(s->dir, name, k, &e) < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	return EXIT_OK;
}

static int print_key(const struct ctl *c, const struct witness_key *k)
{
	cleanup_buf struct buf b;
	const char *text;

	buf_init(&b, 1024);
	note_key_format(&k->public, &b);
	if (!(text = buf_cstr(&b)))
		return ctl_fail(EXIT_FAILED, "no memory");
	if (!c->json)
		return puts(text) == EOF ? ctl_fail(EXIT_FAILED, "cannot write: %m") : EXIT_OK;
	json_auto_t *o = json_pack("{s:s, s:s}", "name", k->public.name, "key", text);
	return ctl_json(o);
}

int ctl_witness_key(struct ctl *c)
{
	const char *name = ctl_opt(c, "name");
	struct witness_state s;
	struct witness_key k;
	int code = open_state(c, name != NULL, &s);

	if (code != EXIT_OK)
		return code;
	/* with a name it is made, for whoever wants to know it before the first start */
	if (name && faccessat(s.dir, WITNESS_KEY_FILE, F_OK, AT_EACCESS) < 0 && errno == ENOENT)
		code = make_key(&s, name, &k);
	else
		code = load_key(&s, name, &k);
	if (code == EXIT_OK) {
		code = print_key(c, &k);
		witness_key_done(&k);
	}
	witness_state_close(&s);
	return code;
}

struct listing {
	struct table *table;
	json_t *array;
	size_t bad;
};

static json_t *log_json(const struct witness_log *l)
{
	char root[B64_LEN(DIGEST_LEN) + 1], when[32];

	if (l->bad)
		return json_pack(
		    "{s:s, s:s, s:b}", "state", "damaged", "file", l->file, "forked", l->forked);
	b64_encode(root, l->point.root, DIGEST_LEN);
	clock_format(when, sizeof when, l->time_s * NSEC_PER_SEC);
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:b}", "state", l->forked ? "forked" : "ok",
	    "origin", l->point.origin, "size", (json_int_t)l->point.size, "root", root, "time",
	    when, "forked", l->forked);
}

static int list_one(const struct witness_log *l, void *arg)
{
	struct listing *x = arg;
	char size[24], when[32];

	x->bad += l->bad;
	if (x->array)
		return json_array_append_new(x->array, log_json(l)) < 0 ? -ENOMEM : 0;
	(void)snprintf(size, sizeof size, "%llu", (unsigned long long)l->point.size);
	clock_format(when, sizeof when, l->time_s * NSEC_PER_SEC);
	table_row(x->table, (const char *[]){l->bad ? l->file : l->point.origin,
	                        l->bad ? NULL : size, l->bad ? NULL : when,
	                        l->bad      ? "DAMAGED"
	                        : l->forked ? "FORKED"
	                                    : "ok"});
	return 0;
}

static int list_all(const struct ctl *c, const struct witness_state *s, const struct witness_key *k)
{
	static const char *const columns[] = {"LOG", "SIZE", "COSIGNED", "STATE", NULL};
	cleanup_table struct table *table = table_new(columns);
	json_auto_t *array = c->json ? json_array() : NULL;
	struct listing x = {table, array, 0};
	struct err e = ERR_INIT;
	int r;

	if (!table || (c->json && !array))
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((r = witness_state_each(s, &k->public, list_one, &x, &e)) < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s", e.code ? err_text(&e) : strerror(-r));
	if (array)
		(void)ctl_json(array);
	else
		table_print(table, stdout);
	return x.bad > 0 ? EXIT_UNREADABLE : EXIT_OK;
}

int ctl_witness_list(struct ctl *c)
{
	struct witness_state s;
	struct witness_key k;
	int code = open_state(c, false, &s);

	if (code != EXIT_OK)
		return code;
	if ((code = load_key(&s, NULL, &k)) == EXIT_OK) {
		code = list_all(c, &s, &k);
		witness_key_done(&k);
	}
	witness_state_close(&s);
	return code;
}

int ctl_witness_forget(struct ctl *c)
{
	struct err e = ERR_INIT;
	struct witness_state s;
	int code = open_state(c, false, &s), r;

	if (code != EXIT_OK)
		return code;
	if ((r = witness_state_lock(&s, &e)) == 0)
		r = witness_state_forget(&s, c->word[0], &e);
	witness_state_close(&s);
	if (r < 0)
		return ctl_fail(r == -ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, "%s", err_text(&e));
	return EXIT_OK;
}
