#include "broker/supervisor/idrange.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define WAIT_STEP_MS 50

struct range {
	int64_t first, last;
};

static void file_cleanup(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}
static void dir_cleanup(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}
#define cleanup_file __attribute__((cleanup(file_cleanup)))
#define cleanup_dir  __attribute__((cleanup(dir_cleanup)))

/* The field's number, -1 if it is none. */
static int64_t field_number(const char *line, unsigned field)
{
	char *end = NULL;
	long long n;

	for (; field > 0; field--) {
		if (!(line = strchr(line, ':')))
			return -1;
		line++;
	}
	if (!isdigit((unsigned char)*line))
		return -1;
	errno = 0;
	n = strtoll(line, &end, 10);
	return errno || (*end != ':' && *end != '\n' && *end) ? -1 : n;
}

/* passwd(5) and group(5) have the id in field 2;
 * subuid(5) a first id in field 1 and a count in 2. */
static int check_file(
    const char *root, const char *name, bool sub, const struct range *r, struct err *e)
{
	cleanup_file FILE *f = NULL;
	cleanup_free char *line = NULL;
	char path[PATH_MAX], who[80];
	size_t size = 0;

	(void)snprintf(path, sizeof path, "%s/etc/%s", root, name);
	if (!(f = fopen(path, "re")))
		return errno == ENOENT ? 0 : err_set(e, -errno, "cannot read /etc/%s: %m", name);
	while (getline(&line, &size, f) > 0) {
		int64_t first = field_number(line, sub ? 1 : 2);
		int64_t n = sub ? field_number(line, 2) : 1;

		if (first < 0 || n <= 0 || first > r->last || first + (n - 1) < r->first)
			continue;
		str_escape(who, sizeof who, line, strcspn(line, ":\n"));
		return err_set(e, -EADDRINUSE,
		    "the ids %lld-%lld overlap with %s in /etc/%s (%lld); choose another ids.base",
		    (long long)r->first, (long long)r->last, who, name, (long long)first);
	}
	return 0;
}

/* The four ids of a line "Uid:\t1\t2\t3\t4" of proc(5)'s status. */
static bool status_hits(const char *line, const struct range *r)
{
	char *end = NULL;

	for (int i = 0; i < 4; i++) {
		long long id = strtoll(line, &end, 10);

		if (end == line)
			return false;
		if (id >= r->first && id <= r->last)
			return true;
		line = end;
	}
	return false;
}

static bool process_hits(int proc, const char *pid, const struct range *r)
{
	char path[64], text[2048];
	cleanup_close int fd = -1;
	const char *uid, *gid;
	ssize_t n;

	(void)snprintf(path, sizeof path, "%.20s/status", pid);
	if ((fd = openat(proc, path, O_RDONLY | O_CLOEXEC)) < 0)
		return false; /* it has ended */
	if ((n = read(fd, text, sizeof text - 1)) <= 0)
		return false;
	text[n] = '\0';
	if (strstr(text, "\nState:\tZ"))
		return false; /* ended, and waits for its parent */
	uid = strstr(text, "\nUid:");
	gid = strstr(text, "\nGid:");
	return (uid && status_hits(uid + 5, r)) || (gid && status_hits(gid + 5, r));
}

static int check_processes(const char *root, const struct range *r, int *ret_process, struct err *e)
{
	cleanup_dir DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	(void)snprintf(path, sizeof path, "%s/proc", root);
	if (!(d = opendir(path)))
		return err_set(e, -errno, "cannot read /proc: %m");
	while ((entry = readdir(d))) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !process_hits(dirfd(d), entry->d_name, r))
			continue;
		*ret_process = 1;
		return err_set(e, -EADDRINUSE,
		    "process %.20s runs with an id of %lld-%lld; choose another ids.base",
		    entry->d_name, (long long)r->first, (long long)r->last);
	}
	return 0;
}

int idrange_check(const char *root, int64_t base, int64_t count, int *ret_process, struct err *e)
{
	const struct range r = {base, base + count - 1};
	int code;

	*ret_process = 0;
	if ((code = check_file(root, "passwd", false, &r, e)) < 0 ||
	    (code = check_file(root, "group", false, &r, e)) < 0 ||
	    (code = check_file(root, "subuid", true, &r, e)) < 0 ||
	    (code = check_file(root, "subgid", true, &r, e)) < 0)
		return code;
	return check_processes(root, &r, ret_process, e);
}

int idrange_wait(const char *root, int64_t base, int64_t count, int wait_ms, struct err *e)
{
	int64_t end = clock_mono_ns() + wait_ms * (NSEC_PER_SEC / 1000);
	int process, r;

	while ((r = idrange_check(root, base, count, &process, e)) < 0 && process &&
	       clock_mono_ns() < end)
		(void)poll(NULL, 0, WAIT_STEP_MS);
	return r;
}
