#include "creds/cert_internal.h"

#include <string.h>

#include "creds/scope.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * Critical options and extensions are the same list: (string name, string data), sorted by name,
 * each name once. data is empty for a flag, else it holds one more string: the value is wrapped
 * twice.
 */

struct option {
	const uint8_t *name;
	size_t name_len;
	bool has_value;
	const uint8_t *value; /* unwrapped */
	size_t value_len;
	char shown[160];
};

static int name_cmp(const struct option *a, const struct option *b)
{
	size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
	int r = memcmp(a->name, b->name, n);

	return r != 0 ? r : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static bool is(const struct option *o, const char *name)
{
	return o->name_len == strlen(name) && memcmp(o->name, name, o->name_len) == 0;
}

static int next_option(
    struct reader *list, const char *kind, struct option *prev, struct option *o, struct err *e)
{
	struct reader data;

	if (reader_string(list, CERT_OPTION_NAME, &o->name, &o->name_len) < 0)
		return err_set(e, -EBADMSG, "malformed %s", kind);
	str_escape(o->shown, sizeof o->shown, o->name, o->name_len);
	if (o->name_len == 0)
		return err_set(e, -EBADMSG, "%s without a name", kind);
	if (reader_sub(list, CERT_BLOB_MAX, &data) < 0)
		return err_set(e, -EBADMSG, "malformed %s \"%s\"", kind, o->shown);
	o->has_value = data.left > 0;
	o->value = (const uint8_t *)"";
	o->value_len = 0;
	if (o->has_value && (reader_string(&data, CERT_BLOB_MAX, &o->value, &o->value_len) < 0 ||
	                        reader_end(&data) < 0))
		return err_set(e, -EBADMSG, "malformed %s \"%s\"", kind, o->shown);
	if (prev->name) {
		int r = name_cmp(prev, o);

		if (r == 0)
			return err_set(e, -EBADMSG, "%s \"%s\" is there twice", kind, o->shown);
		if (r > 0)
			return err_set(
			    e, -EBADMSG, "%s \"%s\" is not in its sorted place", kind, o->shown);
	}
	*prev = *o;
	return 0;
}

/* The value as text. */
static int value_text(const struct option *o, size_t max, char **ret, struct err *e)
{
	if (o->value_len > max || memchr(o->value, '\0', o->value_len))
		return err_set(e, -EBADMSG, "\"%s\" is too long or holds a NUL", o->shown);
	*ret = strndup((const char *)o->value, o->value_len);
	return *ret ? 0 : err_set(e, -ENOMEM, "cannot hold a certificate");
}

static int read_source(struct cert *c, const struct option *o, struct err *e)
{
	struct err why = ERR_INIT;

	/* there, but empty: x/crypto took it for no restriction once */
	c->has_source = true;
	if (o->value_len == 0)
		return cert_refuse(c, e, "source-address is empty");
	if (cidr_list_parse((const char *)o->value, o->value_len, &c->source, &why) < 0)
		return cert_refuse(c, e, "source-address: %s", why.text);
	return 0;
}

int cert_read_critical(struct cert *c, struct reader *list, struct err *e)
{
	struct option o, prev = {0};
	int r = 0;

	for (size_t n = 0; list->left > 0; n++) {
		if (n == CERT_OPTIONS_MAX)
			return err_set(
			    e, -EBADMSG, "more than %d critical options", CERT_OPTIONS_MAX);
		r = next_option(list, "critical option", &prev, &o, e);
		if (r < 0)
			return r;
		if (is(&o, "force-command")) {
			r = value_text(&o, CERT_COMMAND_MAX, &c->force_command, e);
			if (r == 0 && o.value_len == 0)
				r = cert_refuse(c, e, "force-command is empty");
		} else if (is(&o, "source-address")) {
			r = read_source(c, &o, e);
		} else if (is(&o, "verify-required")) {
			r = cert_refuse(
			    c, e, "verify-required asks for a check that is not made here");
		} else {
			r = cert_refuse(c, e, "critical option \"%s\" is not known", o.shown);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct {
	const char *name;
	unsigned bit;
} flags[] = {
    {"permit-pty", CERT_PERMIT_PTY},
    {"permit-port-forwarding", CERT_PERMIT_PORT_FORWARDING},
    {"permit-agent-forwarding", CERT_PERMIT_AGENT_FORWARDING},
    {"permit-X11-forwarding", CERT_PERMIT_X11_FORWARDING},
    {"permit-user-rc", CERT_PERMIT_USER_RC},
    {"no-touch-required", CERT_NO_TOUCH_REQUIRED},
};

static int read_scope(struct cert *c, const struct option *o, struct err *e)
{
	struct err why = ERR_INIT;
	int r;

	if (o->value_len > SCOPE_MAX)
		return cert_refuse(c, e, "scope: longer than %u bytes", SCOPE_MAX);
	r = value_text(o, SCOPE_MAX, &c->scope_json, e);
	if (r < 0)
		return r;
	r = scope_parse(c->scope_json, o->value_len, &c->scope, &why);
	if (r == -ENOMEM)
		return err_set(e, r, "%s", why.text);
	return r < 0 ? cert_refuse(c, e, "%s", why.text) : 0;
}

static int read_extension(struct cert *c, const struct option *o, struct err *e)
{
	if (is(o, SCOPE_NAME))
		return read_scope(c, o, e);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (!is(o, flags[i].name))
			continue;
		if (o->has_value)
			return err_set(e, -EBADMSG, "extension \"%s\" takes no value", o->shown);
		c->permit |= flags[i].bit;
	}
	return 0; /* what is not known does not matter, and permits nothing */
}

int cert_read_extensions(struct cert *c, struct reader *list, struct err *e)
{
	struct option o, prev = {0};

	for (size_t n = 0; list->left > 0; n++) {
		int r;

		if (n == CERT_OPTIONS_MAX)
			return err_set(e, -EBADMSG, "more than %d extensions", CERT_OPTIONS_MAX);
		r = next_option(list, "extension", &prev, &o, e);
		if (r == 0)
			r = read_extension(c, &o, e);
		if (r < 0)
			return r;
	}
	return 0;
}
