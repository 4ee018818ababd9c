#include "lib/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"
#include "lib/yaml_doc.h"

/* A container being filled, and the key its next value belongs to. */
struct level {
	json_t *node;
	char *key; /* NULL in a sequence, or while a key is expected */
	unsigned key_line;
};

struct load {
	struct yaml_doc *doc;
	struct level stack[YAML_DEPTH_MAX];
	size_t depth;
	struct err *e;
};

static int fail(struct load *l, const yaml_event_t *ev, int code, const char *text)
{
	return err_set(l->e, code, "%s:%zu: %s", l->doc->name, ev->start_mark.line + 1, text);
}

/* Puts value (taken over) where the document is; NULL means no memory. */
static int put(struct load *l, const yaml_event_t *ev, json_t *value)
{
	struct level *top = l->depth > 0 ? &l->stack[l->depth - 1] : NULL;
	unsigned line = (unsigned)ev->start_mark.line + 1;
	int r;

	if (!value)
		return fail(l, ev, -ENOMEM, "no memory");
	if (!top) {
		json_decref(l->doc->root);
		l->doc->root = value;
		return 0;
	}
	r = yaml_doc_note(l->doc, top->node, top->key,
	    json_is_array(top->node) ? json_array_size(top->node) : 0, line,
	    top->key ? top->key_line : line);
	if (r < 0) {
		json_decref(value);
		return fail(l, ev, r, "no memory");
	}
	if (json_is_array(top->node))
		r = json_array_append_new(top->node, value);
	else
		r = json_object_set_new(top->node, top->key, value);
	util_free(&top->key);
	top->key = NULL;
	return r < 0 ? fail(l, ev, -ENOMEM, "no memory") : 0;
}

static int on_key(struct load *l, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	struct level *top = &l->stack[l->depth - 1];
	char shown[72], text[128];

	if (strlen(s) != ev->data.scalar.length)
		return fail(l, ev, -EINVAL, "a key with a NUL in it");
	if (*s == '\0')
		return fail(l, ev, -EINVAL, "an empty key");
	if (strcmp(s, "<<") == 0)
		return fail(l, ev, -EINVAL, "merge keys are not supported");
	if (json_object_get(top->node, s)) {
		str_escape(shown, sizeof shown, s, strlen(s));
		(void)snprintf(text, sizeof text, "the key \"%s\" is there twice", shown);
		return fail(l, ev, -EINVAL, text);
	}
	top->key = strdup(s);
	top->key_line = (unsigned)ev->start_mark.line + 1;
	return top->key ? 0 : fail(l, ev, -ENOMEM, "no memory");
}

/* -?(0|[1-9][0-9]*), which is what YAML and JSON agree on. */
static bool looks_like_integer(const char *s)
{
	const char *digits = *s == '-' ? s + 1 : s;

	if (*digits == '\0' || (digits[0] == '0' && digits[1] != '\0'))
		return false;
	return digits[strspn(digits, "0123456789")] == '\0';
}

static int on_plain(struct load *l, const yaml_event_t *ev, const char *s)
{
	if (*s == '\0' || strcmp(s, "~") == 0 || strcmp(s, "null") == 0)
		return put(l, ev, json_null());
	if (strcmp(s, "true") == 0)
		return put(l, ev, json_true());
	if (strcmp(s, "false") == 0)
		return put(l, ev, json_false());
	if (looks_like_integer(s)) {
		long long v;

		errno = 0;
		v = strtoll(s, NULL, 10);
		if (errno == ERANGE)
			return fail(l, ev, -EINVAL, "a number out of range");
		return put(l, ev, json_integer(v));
	}
	return put(l, ev, json_string(s));
}

static int on_scalar(struct load *l, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	if (ev->data.scalar.anchor || ev->data.scalar.tag)
		return fail(l, ev, -EINVAL, "anchors and tags are not supported");
	if (l->depth > 0 && json_is_object(l->stack[l->depth - 1].node) &&
	    !l->stack[l->depth - 1].key)
		return on_key(l, ev);
	if (strlen(s) != ev->data.scalar.length)
		return fail(l, ev, -EINVAL, "text with a NUL in it");
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return on_plain(l, ev, s);
	return put(l, ev, json_string(s));
}

static int on_open(struct load *l, const yaml_event_t *ev, bool mapping)
{
	json_t *node;
	int r;

	if (mapping ? ev->data.mapping_start.anchor || ev->data.mapping_start.tag
	            : ev->data.sequence_start.anchor || ev->data.sequence_start.tag)
		return fail(l, ev, -EINVAL, "anchors and tags are not supported");
	if (l->depth > 0 && json_is_object(l->stack[l->depth - 1].node) &&
	    !l->stack[l->depth - 1].key)
		return fail(l, ev, -EINVAL, "a key must be plain text");
	if (l->depth == 0 && !mapping)
		return fail(l, ev, -EINVAL, "the file must be a mapping");
	if (l->depth == YAML_DEPTH_MAX)
		return fail(l, ev, -EINVAL, "nested too deeply");
	node = mapping ? json_object() : json_array();
	if ((r = put(l, ev, node)) < 0)
		return r;
	l->stack[l->depth++] = (struct level){node, NULL, 0}; /* its parent owns it */
	return 0;
}

/* 1 at the end of the stream. */
static int on_event(struct load *l, const yaml_event_t *ev, unsigned *documents)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if ((*documents)++ > 0)
			return fail(l, ev, -EINVAL, "a second document");
		if (ev->data.document_start.version_directive ||
		    ev->data.document_start.tag_directives.start !=
		        ev->data.document_start.tag_directives.end)
			return fail(l, ev, -EINVAL, "directives are not supported");
		return 0;
	case YAML_ALIAS_EVENT:
		return fail(l, ev, -EINVAL, "aliases are not supported");
	case YAML_SCALAR_EVENT:
		return on_scalar(l, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(l, ev, false);
	case YAML_MAPPING_START_EVENT:
		return on_open(l, ev, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		l->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		return 1;
	default:
		return 0;
	}
}

static int parser_fail(const struct load *l, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		return err_set(l->e, -ENOMEM, "%s: no memory", l->doc->name);
	/* a reader error has only an offset; problem is a fixed text of libyaml's */
	return err_set(l->e, -EINVAL, "%s:%zu: %s", l->doc->name,
	    (p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line) + 1,
	    p->problem ? p->problem : "not YAML");
}

static int run(struct load *l, yaml_parser_t *p)
{
	unsigned documents = 0;
	yaml_event_t ev;
	int r = 0;

	while (r == 0) {
		if (!yaml_parser_parse(p, &ev))
			return parser_fail(l, p);
		r = on_event(l, &ev, &documents);
		yaml_event_delete(&ev);
	}
	if (r < 0)
		return r;
	if (!json_is_object(l->doc->root) && !json_is_null(l->doc->root))
		return err_set(l->e, -EINVAL, "%s:1: the file must be a mapping", l->doc->name);
	return 0;
}

int yaml_parse(const char *name, const void *text, size_t len, struct yaml_doc **ret, struct err *e)
{
	struct load l = {.e = e};
	cleanup_yaml struct yaml_doc *doc = yaml_doc_new(name);
	yaml_parser_t p;
	int r;

	if (len > YAML_SIZE_MAX)
		return err_set(e, -EFBIG, "%s: larger than %u bytes", name, YAML_SIZE_MAX);
	if (!doc || !yaml_parser_initialize(&p))
		return err_set(e, -ENOMEM, "%s: no memory", name);
	l.doc = doc;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	/* libyaml asserts that there is a pointer, and an empty buffer has none */
	yaml_parser_set_input_string(&p, text ? text : (const void *)"", text ? len : 0);
	r = run(&l, &p);
	yaml_parser_delete(&p);
	for (size_t i = 0; i < YAML_DEPTH_MAX; i++)
		free(l.stack[i].key);
	if (r < 0)
		return r;
	*ret = steal_ptr(&doc);
	return 0;
}

int yaml_load(int dirfd, const char *path, struct yaml_doc **ret, struct err *e)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, YAML_SIZE_MAX);
	if ((r = fd_read_file(dirfd, path, YAML_SIZE_MAX, &b, e)) < 0)
		return r;
	return yaml_parse(path, b.data, b.len, ret, e);
}
