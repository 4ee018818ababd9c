/*
 * The scope: what a certificate itself narrows. It travels in the extension SCOPE_NAME, whose data
 * is a JSON object:
 *
 *   {"v":1, "template":NAME, "credentials":["jwt:AUDIENCE", ...], "egress":["HOST:PORT", ...],
 *    "workspace":NAME|"none", "workspace_mode":"ro", "lifetime_s":N, "idle_s":N, "person":TEXT,
 * "task":TEXT, "allow":["exec","shell","sftp","pty","forward","credential"]}
 *
 * Only "v" is required. A field that is absent does not narrow; an empty list allows nothing. An
 * unknown key, a wrong type, a value out of range or a duplicate key refuses the whole: a scope
 * that is not understood must not widen. A scope never grants anything.
 */
#ifndef POSTERN_CREDS_SCOPE_H
#define POSTERN_CREDS_SCOPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define SCOPE_NAME       "scope@postern"
#define SCOPE_MAX        (8u * 1024) /* bytes of JSON */
#define SCOPE_LIST_MAX   64
#define SCOPE_TEXT_MAX   256 /* bytes of a list's string, person or task */
#define SCOPE_TIME_MAX_S (366 * 86400)

enum scope_allow {
	SCOPE_EXEC = 1u << 0,
	SCOPE_SHELL = 1u << 1,
	SCOPE_SFTP = 1u << 2,
	SCOPE_PTY = 1u << 3,
	SCOPE_FORWARD = 1u << 4,
	SCOPE_CREDENTIAL = 1u << 5,
	SCOPE_ALL = 0x3f,
};

struct scope_list {
	bool present; /* false: does not narrow */
	size_t n;
	char **item;
};

struct scope {
	char template[32];  /* "": absent */
	char workspace[32]; /* "": absent; "none": no workspace */
	bool read_only;     /* workspace_mode is there, and is ro */
	struct scope_list credentials;
	struct scope_list egress;
	int64_t lifetime_s; /* 0: absent */
	int64_t idle_s;     /* 0: absent */
	char *person;       /* NULL: absent; UTF-8 */
	char *task;         /* NULL: absent; UTF-8 */
	unsigned allow;     /* enum scope_allow; SCOPE_ALL when absent */
};

/* -EBADMSG with what is wrong. On success the caller owns *ret. */
int scope_parse(const void *text, size_t len, struct scope **ret, struct err *e);
/* A scope that narrows nothing; NULL without memory. */
struct scope *scope_new(void);
void scope_free(struct scope *s); /* NULL is fine; keeps errno */
/* The same as JSON (a new reference), for records; NULL without memory. */
json_t *scope_to_json(const struct scope *s);

/* True if the list is absent or holds exactly this string. */
bool scope_list_permits(const struct scope_list *l, const char *s);
/* Of the strings in allowed (borrowed JSON array), those that the list permits, in a new array and
 * in allowed's order. NULL without memory or if allowed is not an array of strings. */
json_t *scope_list_narrow(const struct scope_list *l, const json_t *allowed);
/* The smaller of a limit (0: none) and a scope's value (0: absent). */
int64_t scope_narrow_s(int64_t limit_s, int64_t scope_s);
/* The bit for "exec" etc., 0 if there is none; and the name of one bit. */
unsigned scope_allow_bit(const char *name);
const char *scope_allow_name(unsigned bit);

static inline void scope_cleanup(struct scope **s)
{
	scope_free(*s);
}
#define cleanup_scope __attribute__((cleanup(scope_cleanup)))

#endif
