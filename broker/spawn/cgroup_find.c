#include "broker/spawn/cgroup_find.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

static void file_cleanup(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}
#define cleanup_file __attribute__((cleanup(file_cleanup)))

/* Is word one of the comma-separated list? */
static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ',') && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

static void cut_leaf(char *path)
{
	char *last = strrchr(path, '/');

	if (last && strcmp(last + 1, CGROUP_LEAF) == 0)
		*last = '\0';
}

/* "N:LIST:PATH"; version 2 is "0::PATH". */
static int own_path(const char *controller, char *dst, size_t size)
{
	cleanup_file FILE *f = fopen("/proc/self/cgroup", "re");
	cleanup_free char *line = NULL;
	size_t cap = 0;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		list++;
		path[strcspn(path, "\n")] = '\0';
		if (controller ? !listed(list, controller) : *list != '\0')
			continue;
		if (!controller)
			cut_leaf(path);
		if ((size_t)snprintf(dst, size, "%s", *path ? path : "/") >= size)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENOENT;
}

/* mountinfo: "id parent dev ROOT MOUNTPOINT options [tags] - TYPE source SUPEROPTIONS". */
static int mount_point(const char *controller, char *root, char *point, size_t size)
{
	cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	size_t cap = 0;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		char *dash = strstr(line, " - "), type[32], options[512];
		char r[512], p[512];

		if (!dash || sscanf(dash, " - %31s %*s %511s", type, options) != 2 ||
		    sscanf(line, "%*s %*s %*s %511s %511s", r, p) != 2)
			continue;
		if (strcmp(type, controller ? "cgroup" : "cgroup2") != 0 ||
		    (controller && !listed(options, controller)))
			continue;
		if ((size_t)snprintf(root, size, "%s", r) >= size ||
		    (size_t)snprintf(point, size, "%s", p) >= size)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENOENT;
}

int cgroup_find(const char *controller, char *dst, size_t size, char *path, size_t psize)
{
	char own[512], root[512], point[512];
	const char *below = own;
	int r;

	if ((r = own_path(controller, own, sizeof own)) < 0 ||
	    (r = mount_point(controller, root, point, sizeof root)) < 0)
		return r;
	/* a container may show only a part of the tree: what is mounted begins at root */
	if (strcmp(root, "/") != 0 && strncmp(own, root, strlen(root)) == 0)
		below = own + strlen(root);
	if ((size_t)snprintf(dst, size, "%s%s", point, strcmp(below, "/") == 0 ? "" : below) >=
	    size)
		return -ENAMETOOLONG;
	if (path && (size_t)snprintf(path, psize, "%s", strcmp(own, "/") == 0 ? "" : own) >= psize)
		return -ENAMETOOLONG;
	return 0;
}
