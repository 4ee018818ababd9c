#include "creds/scope.h"

#include <string.h>

#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

static const char *const allow_names[] = {"exec", "shell", "sftp", "pty", "forward", "credential"};

unsigned scope_allow_bit(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(allow_names); i++) {
		if (strcmp(allow_names[i], name) == 0)
			return 1u << i;
	}
	return 0;
}

const char *scope_allow_name(unsigned bit)
{
	for (unsigned i = 0; i < ARRAY_LEN(allow_names); i++) {
		if (bit == 1u << i)
			return allow_names[i];
	}
	return NULL;
}

static int bad(struct err *e, const char *key, const char *what)
{
	return err_set(e, -EBADMSG, "scope: \"%s\" must be %s", key, what);
}

static int read_text(const char *key, const json_t *v, char **ret, struct err *e)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	if (!s || n == 0 || n > SCOPE_TEXT_MAX || memchr(s, '\0', n))
		return bad(e, key, "a string of 1 to 256 bytes");
	*ret = strdup(s);
	return *ret ? 0 : err_set(e, -ENOMEM, "cannot hold a scope");
}

static int read_list(const char *key, const json_t *v, struct scope_list *ret, struct err *e)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n > SCOPE_LIST_MAX)
		return bad(e, key, "a list of at most 64 strings");
	ret->present = true;
	ret->item = calloc(n + 1, sizeof *ret->item);
	if (!ret->item)
		return err_set(e, -ENOMEM, "cannot hold a scope");
	for (size_t i = 0; i < n; i++) {
		int r = read_text(key, json_array_get(v, i), &ret->item[i], e);

		if (r < 0)
			return r;
		ret->n++;
	}
	return 0;
}

static int read_time(const char *key, const json_t *v, int64_t *ret, struct err *e)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 1 || n > SCOPE_TIME_MAX_S)
		return bad(e, key, "a number of seconds, from 1 to a year");
	*ret = n;
	return 0;
}

static int read_allow(const json_t *v, unsigned *ret, struct err *e)
{
	unsigned all = 0;

	if (!json_is_array(v) || json_array_size(v) > ARRAY_LEN(allow_names))
		return bad(e, "allow", "a list of what is allowed");
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *item = json_array_get(v, i);
		const char *s = json_string_value(item);
		unsigned bit = 0;

		if (s && strlen(s) == json_string_length(item))
			bit = scope_allow_bit(s);
		if (bit == 0 || (all & bit) != 0)
			return bad(e, "allow",
			    "of exec, shell, sftp, pty, forward, credential, each once");
		all |= bit;
	}
	*ret = all;
	return 0;
}

static int read_field(struct scope *s, const char *key, const json_t *v, struct err *e)
{
	if (strcmp(key, "v") == 0) {
		if (!json_is_integer(v) || json_integer_value(v) != 1)
			return bad(e, key, "1");
		return 0;
	}
	if (strcmp(key, "template") == 0) {
		const char *name = json_string_value(v);

		if (!name || !name_valid(name, json_string_length(v)))
			return bad(e, key, "a template's name");
		(void)str_copy(s->template, sizeof s->template, name);
		return 0;
	}
	if (strcmp(key, "workspace") == 0) {
		const char *name = json_string_value(v);

		if (!name || json_string_length(v) != strlen(name) ||
		    (!name_valid(name, strlen(name)) && strcmp(name, "none") != 0))
			return bad(e, key, "a workspace's name, or none");
		(void)str_copy(s->workspace, sizeof s->workspace, name);
		return 0;
	}
	if (strcmp(key, "workspace_mode") == 0) {
		if (!json_is_string(v) || strcmp(json_string_value(v), "ro") != 0)
			return bad(e, key, "ro");
		s->read_only = true;
		return 0;
	}
	if (strcmp(key, "credentials") == 0)
		return read_list(key, v, &s->credentials, e);
	if (strcmp(key, "egress") == 0)
		return read_list(key, v, &s->egress, e);
	if (strcmp(key, "lifetime_s") == 0)
		return read_time(key, v, &s->lifetime_s, e);
	if (strcmp(key, "idle_s") == 0)
		return read_time(key, v, &s->idle_s, e);
	if (strcmp(key, "person") == 0)
		return read_text(key, v, &s->person, e);
	if (strcmp(key, "task") == 0)
		return read_text(key, v, &s->task, e);
	if (strcmp(key, "allow") == 0)
		return read_allow(v, &s->allow, e);

	char shown[80];

	return err_set(e, -EBADMSG, "scope: \"%s\" is not known, so it cannot be kept",
	    str_escape(shown, sizeof shown, key, strlen(key)));
}

int scope_parse(const void *text, size_t len, struct scope **ret, struct err *e)
{
	struct scope *s;
	json_t *o, *v;
	json_error_t je;
	const char *key;
	int r = 0;

	if (len == 0 || len > SCOPE_MAX)
		return err_set(
		    e, -EBADMSG, "scope: must be a JSON object of at most %u bytes", SCOPE_MAX);
	/* jansson bounds the depth (JSON_PARSER_MAX_DEPTH) and refuses NUL in keys and strings */
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!o)
		return err_set(e, -EBADMSG, "scope: not JSON (column %d)", je.column);
	s = scope_new();
	if (!s)
		r = err_set(e, -ENOMEM, "cannot hold a scope");
	else if (!json_is_object(o))
		r = err_set(e, -EBADMSG, "scope: must be a JSON object");
	else if (!json_object_get(o, "v"))
		r = bad(e, "v", "1");
	if (r == 0) {
		json_object_foreach(o, key, v)
		{
			r = read_field(s, key, v, e);
			if (r < 0)
				break;
		}
	}
	json_decref(o);
	if (r < 0) {
		scope_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct scope *scope_new(void)
{
	struct scope *s = calloc(1, sizeof *s);

	if (s)
		s->allow = SCOPE_ALL;
	return s;
}

static void list_done(struct scope_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->item[i]);
	free(l->item);
}

void scope_free(struct scope *s)
{
	int saved = errno;

	if (s) {
		list_done(&s->credentials);
		list_done(&s->egress);
		free(s->person);
		free(s->task);
		free(s);
	}
	errno = saved;
}

static int put_list(json_t *o, const char *key, const struct scope_list *l)
{
	json_t *a;
	int bad_puts = 0;

	if (!l->present)
		return 0;
	a = json_array();
	for (size_t i = 0; i < l->n; i++)
		bad_puts |= json_array_append_new(a, json_string(l->item[i]));
	return bad_puts | json_object_set_new(o, key, a);
}

json_t *scope_to_json(const struct scope *s)
{
	json_t *o = json_pack("{s:i}", "v", 1);
	int r = o ? 0 : -1;

	if (s->template[0] != '\0')
		r |= json_object_set_new(o, "template", json_string(s->template));
	if (s->workspace[0] != '\0')
		r |= json_object_set_new(o, "workspace", json_string(s->workspace));
	if (s->read_only)
		r |= json_object_set_new(o, "workspace_mode", json_string("ro"));
	r |= put_list(o, "credentials", &s->credentials);
	r |= put_list(o, "egress", &s->egress);
	if (s->lifetime_s != 0)
		r |= json_object_set_new(o, "lifetime_s", json_integer(s->lifetime_s));
	if (s->idle_s != 0)
		r |= json_object_set_new(o, "idle_s", json_integer(s->idle_s));
	if (s->person)
		r |= json_object_set_new(o, "person", json_string(s->person));
	if (s->task)
		r |= json_object_set_new(o, "task", json_string(s->task));
	if (s->allow != SCOPE_ALL) {
		json_t *a = json_array();

		for (unsigned i = 0; i < ARRAY_LEN(allow_names); i++) {
			if ((s->allow & 1u << i) != 0)
				r |= json_array_append_new(a, json_string(allow_names[i]));
		}
		r |= json_object_set_new(o, "allow", a);
	}
	if (r != 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

bool scope_list_permits(const struct scope_list *l, const char *s)
{
	if (!l->present)
		return true;
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->item[i], s) == 0)
			return true;
	}
	return false;
}

json_t *scope_list_narrow(const struct scope_list *l, const json_t *allowed)
{
	json_t *out;

	if (!json_is_array(allowed) || !(out = json_array()))
		return NULL;
	for (size_t i = 0; i < json_array_size(allowed); i++) {
		json_t *item = json_array_get(allowed, i);
		const char *s = json_string_value(item);

		if (!s || (scope_list_permits(l, s) && json_array_append(out, item) < 0)) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

int64_t scope_narrow_s(int64_t limit_s, int64_t scope_s)
{
	if (limit_s == 0 || scope_s == 0)
		return limit_s == 0 ? scope_s : limit_s;
	return limit_s < scope_s ? limit_s : scope_s;
}
