#include "broker/core/grant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"

static const char *const action_names[GRANT_ACTIONS] = {
    "exec", "shell", "pty", "sftp", "credential", "forward"};

const char *grant_action_name(enum grant_action a)
{
	for (size_t i = 0; i < GRANT_ACTIONS; i++)
		if (a == 1u << i)
			return action_names[i];
	return "?";
}

void grant_done(struct grant *g)
{
	json_decref(g->credentials);
	json_decref(g->egress);
	json_decref(g->env);
	free(g->force_command);
	memset(g, 0, sizeof *g);
}

static json_t *actions_json(unsigned actions)
{
	json_t *list = json_array();

	for (unsigned b = 0; b < GRANT_ACTIONS; b++)
		if (actions & 1u << b)
			(void)json_array_append_new(list, json_string(action_names[b]));
	return list;
}

json_t *grant_json(const struct grant *g)
{
	char digest[DIGEST_HEX_LEN + 1];
	json_t *o;

	hex_encode(digest, g->policy_digest, DIGEST_LEN);
	o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:O, s:O, s:O, s:I, s:I, s:I, s:s, s:s, "
	              "s:s, s:s}",
	    "revision", (json_int_t)g->revision, "tenant", g->tenant, "role", g->role, "template",
	    g->template_name, "person", g->person, "task", g->task, "actions",
	    actions_json(g->actions), "credentials", g->credentials, "egress", g->egress, "env",
	    g->env, "channels", (json_int_t)g->channels, "expires_s", (json_int_t)g->expires_s,
	    "lifetime_s", (json_int_t)g->lifetime_s, "policy", digest, "key", g->cert_fingerprint,
	    "ca", g->ca_fingerprint, "serial", "");
	if (o) {
		char serial[24]; /* text: a u64 is more than JSON's integers here hold */

		(void)snprintf(serial, sizeof serial, "%llu", (unsigned long long)g->cert_serial);
		(void)json_object_set_new(o, "serial", json_string(serial));
	}
	if (o && g->force_command &&
	    json_object_set_new(o, "force_command", json_string(g->force_command)) < 0) {
		json_decref(o);
		return NULL;
	}
	if (o && g->workspace_mode != PLAN_WORKSPACE_NONE &&
	    (json_object_set_new(o, "workspace", json_string(g->workspace)) < 0 ||
	        json_object_set_new(
	            o, "workspace_mode", json_string(plan_workspaces[g->workspace_mode])) < 0)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static const struct msg_field fields[] = {
    {"revision", MSG_INT, INT32_MAX, false},
    {"tenant", MSG_NAME, NAME_MAX_LEN, false},
    {"role", MSG_NAME, NAME_MAX_LEN, false},
    {"template", MSG_NAME, NAME_MAX_LEN, false},
    {"person", MSG_STRING, GRANT_PERSON_MAX, false},
    {"task", MSG_STRING, GRANT_PERSON_MAX, false},
    {"actions", MSG_STRINGS, GRANT_ACTIONS, false},
    {"credentials", MSG_STRINGS, GRANT_LIST_MAX, false},
    {"egress", MSG_STRINGS, GRANT_LIST_MAX, false},
    {"env", MSG_STRINGS, GRANT_LIST_MAX, false},
    {"channels", MSG_INT, INT32_MAX, false},
    {"expires_s", MSG_INT, INT64_MAX, false},
    {"lifetime_s", MSG_INT, INT64_MAX, false},
    {"policy", MSG_STRING, DIGEST_HEX_LEN, false},
    {"key", MSG_STRING, 63, false},
    {"ca", MSG_STRING, 63, false},
    {"serial", MSG_STRING, 20, false},
    {"force_command", MSG_STRING, GRANT_COMMAND_MAX, true},
    {"workspace", MSG_NAME, NAME_MAX_LEN, true}, /* both, or neither */
    {"workspace_mode", MSG_STRING, 2, true},
    {NULL, MSG_INT, 0, false},
};

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_digest(const char *hex, uint8_t ret[DIGEST_LEN])
{
	if (strlen(hex) != DIGEST_HEX_LEN)
		return -EBADMSG;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int parse_actions(const json_t *list, unsigned *ret)
{
	unsigned actions = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		unsigned bit = 0;

		for (unsigned b = 0; b < GRANT_ACTIONS; b++)
			if (strcmp(s, action_names[b]) == 0)
				bit = 1u << b;
		if (!bit)
			return -EBADMSG;
		actions |= bit;
	}
	*ret = actions;
	return 0;
}

static int parse_workspace(const json_t *o, struct grant *g)
{
	const char *name = json_string_value(json_object_get(o, "workspace"));
	const char *mode = json_string_value(json_object_get(o, "workspace_mode"));
	int at = mode ? plan_word(plan_workspaces, mode) : PLAN_WORKSPACE_NONE;

	if (!name != !mode || at < 0 || (mode && at == PLAN_WORKSPACE_NONE))
		return -EBADMSG;
	(void)str_copy(g->workspace, sizeof g->workspace, name ? name : "");
	g->workspace_mode = (enum plan_workspace)at;
	return 0;
}

static void copy_text(const json_t *o, const char *key, char *dst, size_t size)
{
	(void)str_copy(dst, size, json_string_value(json_object_get(o, key)));
}

int grant_parse(const json_t *o, struct grant *ret, struct err *e)
{
	struct grant g = {0};
	const char *command;
	int r = msg_check_fields("grant", o, fields, e);

	if (r < 0)
		return r;
	if (parse_actions(json_object_get(o, "actions"), &g.actions) < 0 ||
	    parse_digest(json_string_value(json_object_get(o, "policy")), g.policy_digest) < 0 ||
	    str_to_u64(json_string_value(json_object_get(o, "serial")), 0, UINT64_MAX,
	        &g.cert_serial) < 0 ||
	    parse_workspace(o, &g) < 0)
		return err_set(e, -EBADMSG, "grant: actions, policy, serial or workspace");
	g.revision = (uint32_t)json_integer_value(json_object_get(o, "revision"));
	g.channels = (uint32_t)json_integer_value(json_object_get(o, "channels"));
	g.expires_s = json_integer_value(json_object_get(o, "expires_s"));
	g.lifetime_s = json_integer_value(json_object_get(o, "lifetime_s"));
	copy_text(o, "tenant", g.tenant, sizeof g.tenant);
	copy_text(o, "role", g.role, sizeof g.role);
	copy_text(o, "template", g.template_name, sizeof g.template_name);
	copy_text(o, "person", g.person, sizeof g.person);
	copy_text(o, "task", g.task, sizeof g.task);
	copy_text(o, "key", g.cert_fingerprint, sizeof g.cert_fingerprint);
	copy_text(o, "ca", g.ca_fingerprint, sizeof g.ca_fingerprint);
	g.credentials = json_deep_copy(json_object_get(o, "credentials"));
	g.egress = json_deep_copy(json_object_get(o, "egress"));
	g.env = json_deep_copy(json_object_get(o, "env"));
	command = json_string_value(json_object_get(o, "force_command"));
	g.force_command = command ? strdup(command) : NULL;
	if (!g.credentials || !g.egress || !g.env || (command && !g.force_command)) {
		grant_done(&g);
		return err_set(e, -ENOMEM, "no memory for a grant");
	}
	*ret = g;
	return 0;
}

int grant_copy(const struct grant *g, struct grant *ret)
{
	struct grant copy = *g;

	copy.credentials = json_deep_copy(g->credentials);
	copy.egress = json_deep_copy(g->egress);
	copy.env = json_deep_copy(g->env);
	copy.force_command = g->force_command ? strdup(g->force_command) : NULL;
	if (!copy.credentials || !copy.egress || !copy.env ||
	    (g->force_command && !copy.force_command)) {
		grant_done(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

void grant_digest(const struct grant *g, uint8_t ret[DIGEST_LEN])
{
	json_auto_t *o = grant_json(g);
	cleanup_free char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	memset(ret, 0, DIGEST_LEN);
	if (text)
		digest_sha256(text, strlen(text), ret);
}

json_t *grant_worker_view(const struct grant *g, int64_t now_s)
{
	int64_t left = g->expires_s > now_s ? g->expires_s - now_s : 0;

	return json_pack("{s:s, s:s, s:I, s:O, s:b, s:I}", "tenant", g->tenant, "role", g->role,
	    "channels", (json_int_t)g->channels, "env", g->env, "pty",
	    (g->actions & GRANT_PTY) != 0, "expires_in_s", (json_int_t)left);
}

bool grant_env_allows(const struct grant *g, const char *name, size_t len)
{
	for (size_t i = 0; i < json_array_size(g->env); i++) {
		const json_t *v = json_array_get(g->env, i);
		const char *s = json_string_value(v);
		size_t n = json_string_length(v);

		if (n > 0 && s[n - 1] == '*' ? len >= n - 1 && memcmp(name, s, n - 1) == 0
		                             : len == n && memcmp(name, s, n) == 0)
			return true;
	}
	return false;
}

/* Every string of b is in a. */
static bool list_covers(const json_t *a, const json_t *b)
{
	for (size_t i = 0; i < json_array_size(b); i++) {
		bool found = false;

		for (size_t k = 0; k < json_array_size(a) && !found; k++)
			found = json_equal(json_array_get(a, k), json_array_get(b, i)) != 0;
		if (!found)
			return false;
	}
	return true;
}

static bool workspace_covers(const struct grant *g, const struct grant *other)
{
	return other->workspace_mode == PLAN_WORKSPACE_NONE ||
	       (g->workspace_mode >= other->workspace_mode &&
	           strcmp(g->workspace, other->workspace) == 0);
}

bool grant_covers(const struct grant *g, const struct grant *other, const char **ret_field)
{
	const char *field = NULL;

	if (strcmp(g->tenant, other->tenant) != 0)
		field = "tenant";
	else if (strcmp(g->role, other->role) != 0)
		field = "role";
	else if (strcmp(g->template_name, other->template_name) != 0)
		field = "template";
	else if (strcmp(g->person, other->person) != 0)
		field = "person";
	else if (strcmp(g->task, other->task) != 0)
		field = "task";
	else if (other->actions & ~g->actions)
		field = "actions";
	else if (!list_covers(g->credentials, other->credentials))
		field = "credentials";
	else if (!list_covers(g->egress, other->egress))
		field = "egress";
	else if (!list_covers(g->env, other->env))
		field = "env";
	else if (g->force_command &&
	         (!other->force_command || strcmp(g->force_command, other->force_command) != 0))
		field = "force_command";
	else if (!workspace_covers(g, other))
		field = "workspace";
	if (field && ret_field)
		*ret_field = field;
	return !field;
}
