#include "broker/spawn/plan.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/msg.h"

#define BYTES_MAX  (INT64_C(1) << 50)
#define PIDS_MAX   (INT64_C(1) << 22) /* PID_MAX_LIMIT */
#define CPU_MAX    (INT64_C(100) * 4096)
#define INODES_MAX (INT64_C(1) << 40)
#define FILES_MAX  (INT64_C(1) << 20) /* fs.nr_open's default */

static const struct msg_field fields[] = {
    {"version", MSG_INT, PLAN_VERSION, false},
    {"tenant", MSG_NAME, NAME_MAX_LEN, false},
    {"role", MSG_NAME, NAME_MAX_LEN, false},
    {"template", MSG_NAME, NAME_MAX_LEN, false},
    {"root", MSG_STRING, 16, false},
    {"root_path", MSG_STRING, PLAN_PATH_MAX - 1, true},
    {"memory_bytes", MSG_INT, BYTES_MAX, false},
    {"pids", MSG_INT, PIDS_MAX, false},
    {"cpu_percent", MSG_INT, CPU_MAX, false},
    {"disk_bytes", MSG_INT, BYTES_MAX, false},
    {"disk_inodes", MSG_INT, INODES_MAX, false},
    {"open_files", MSG_INT, FILES_MAX, false},
    {"credentials", MSG_BOOL, 0, false},
    {NULL, MSG_INT, 0, false},
};

static const char *const root_names[] = {
    [PLAN_ROOT_HOST] = "host", [PLAN_ROOT_DIRECTORY] = "directory"};

json_t *plan_pack(const struct plan *p)
{
	json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "version",
	    PLAN_VERSION, "tenant", p->tenant, "role", p->role, "template", p->template_name,
	    "root", root_names[p->root], "memory_bytes", (json_int_t)p->memory_bytes, "pids",
	    (json_int_t)p->pids, "cpu_percent", (json_int_t)p->cpu_percent, "disk_bytes",
	    (json_int_t)p->disk_bytes, "disk_inodes", (json_int_t)p->disk_inodes, "open_files",
	    (json_int_t)p->open_files, "credentials", p->credentials);

	if (o && p->root == PLAN_ROOT_DIRECTORY &&
	    json_object_set_new(o, "root_path", json_string(p->root_path)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* Absolute, in its shortest form, printable: nothing that a mount option or a log line could take
 * for something else. */
static bool path_valid(const char *p)
{
	if (*p != '/' || p[1] == '\0')
		return false;
	for (const char *c = p; *c; c++) {
		size_t part = strcspn(c + 1, "/");

		if ((unsigned char)*c < 0x20 || (unsigned char)*c == 0x7f)
			return false;
		if (*c != '/')
			continue;
		if (part == 0 || (part == 1 && c[1] == '.') ||
		    (part == 2 && c[1] == '.' && c[2] == '.'))
			return false;
	}
	return true;
}

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

int plan_parse(const json_t *o, struct plan *ret, struct err *e)
{
	struct plan p = {.root = PLAN_ROOT_HOST};
	const char *root;
	int r;

	if ((r = msg_check_fields("plan", o, fields, e)) < 0)
		return r;
	if (number(o, "version") != PLAN_VERSION)
		return err_set(e, -EBADMSG, "plan: version must be %d", PLAN_VERSION);
	/* the lengths have been checked */
	(void)str_copy(p.tenant, sizeof p.tenant, text(o, "tenant"));
	(void)str_copy(p.role, sizeof p.role, text(o, "role"));
	(void)str_copy(p.template_name, sizeof p.template_name, text(o, "template"));
	(void)str_copy(p.root_path, sizeof p.root_path, text(o, "root_path"));

	root = text(o, "root");
	if (strcmp(root, root_names[PLAN_ROOT_DIRECTORY]) == 0)
		p.root = PLAN_ROOT_DIRECTORY;
	else if (strcmp(root, root_names[PLAN_ROOT_HOST]) != 0)
		return err_set(e, -EBADMSG, "plan: root must be host or directory");
	if ((p.root == PLAN_ROOT_DIRECTORY) != (json_object_get(o, "root_path") != NULL))
		return err_set(
		    e, -EBADMSG, "plan: root_path belongs to root directory, and only there");
	if (p.root == PLAN_ROOT_DIRECTORY && !path_valid(p.root_path))
		return err_set(e, -EBADMSG, "plan: root_path must be absolute, without . and ..");

	p.memory_bytes = number(o, "memory_bytes");
	p.pids = number(o, "pids");
	p.cpu_percent = number(o, "cpu_percent");
	p.disk_bytes = number(o, "disk_bytes");
	p.disk_inodes = number(o, "disk_inodes");
	p.open_files = number(o, "open_files");
	p.credentials = json_is_true(json_object_get(o, "credentials"));
	*ret = p;
	return 0;
}
