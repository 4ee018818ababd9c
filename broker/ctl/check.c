#include "broker/ctl/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/util.h"

static const char *const level_names[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warning", [CHECK_BAD] = "BAD"};

void check_add(struct check *k, enum check_level level, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	k->bad = k->bad || level == CHECK_BAD;
	(void)json_array_append_new(k->list, json_pack("{s:s, s:s, s:s*}", "check", name, "result",
	                                         level_names[level], "detail", text));
}

static _Noreturn void program(const char *const *argv, int out)
{
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

	if (dup2(out, 1) >= 0 && dup2(out, 2) >= 0)
		(void)execve(
		    argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	_exit(127);
}

int check_run(const char *const *argv, struct buf *out)
{
	char chunk[4096];
	int p[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	if ((pid = fork()) < 0) {
		util_close(&p[0]);
		util_close(&p[1]);
		return -errno;
	}
	if (pid == 0)
		program(argv, p[1]);
	util_close(&p[1]);
	while ((n = read(p[0], chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			buf_put(out, chunk, (size_t)n);
	util_close(&p[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void check_print(const struct check *k)
{
	static const char *const columns[] = {"RESULT", "CHECK", "DETAIL", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *o;
	size_t i;

	if (!t)
		return;
	json_array_foreach(k->list, i, o)
	{
		table_row(t, (const char *[]){json_string_value(json_object_get(o, "result")),
		                 json_string_value(json_object_get(o, "check")),
		                 json_string_value(json_object_get(o, "detail"))});
	}
	table_print(t, stdout);
}

int ctl_check(struct ctl *c)
{
	struct check k = {json_array(), false};
	const char *dir = ctl_opt(c, "config");
	cleanup_close int config = -1;
	char path[PATH_MAX];
	bool usable;

	if (!dir)
		dir = ctl_path(c, "etc", "/etc/postern", path);
	usable = check_config(&k, c, dir, &config);
	check_host(&k, c, usable ? config : -1);
	check_sshd(&k, c);
	if (c->json)
		(void)ctl_json(k.list);
	else
		check_print(&k);
	json_decref(k.list);
	if (!usable)
		return EXIT_CONFIG;
	return k.bad ? EXIT_FAILED : EXIT_OK;
}
