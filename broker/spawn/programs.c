#include "broker/spawn/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filters.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define SEARCH_MS 5000
#define LINE_LEN  (PROGRAMS_PATH_LEN + 4)

const char *const programs_strengths[] = {"any", "kernel", "interpreter", NULL};

/* ---- the child ---- */

static int confine(int root, int out, uint32_t id)
{
	const struct confine_limits limits = {
	    .open_files = 64, .cpu_s = 5, .processes = 0, .file_bytes = 0};
	const struct confine_path path = {root, 0};
	const int keep[] = {root, out};
	int abi, r;

	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0)
		return r;
	if (id && ((r = confine_caps(1u << CAP_SETUID | 1u << CAP_SETGID)) < 0 ||
	              (r = confine_ids(id, id)) < 0))
		return r;
	if ((r = confine_caps(0)) < 0 || (r = confine_basics()) < 0 ||
	    (r = confine_limits(&limits)) < 0)
		return r;
	r = confine_landlock(&path, 1, &abi);
	if (r < 0 && r != -ENOSYS)
		return r;
	return confine_seccomp(filter_signer, ARRAY_LEN(filter_signer));
}

static __attribute__((noreturn)) void child(int root, const struct plan *p, uint32_t id, int out)
{
	if (confine(root, out, id) < 0)
		_exit(2);
	_exit(programs_search(root, p, out));
}

/* ---- the parent ---- */

int programs_line(struct programs *to, const char *line, size_t len, struct err *e)
{
	struct programs_file *f = &to->file[to->nfiles];
	char text[PROGRAMS_PATH_LEN];

	if (len == 1 && *line == '.')
		return 1;
	if (len < 3 || line[1] != ' ' || len - 2 >= sizeof text || memchr(line, '\0', len))
		return err_set(e, -EBADMSG, "a line that is none");
	memcpy(text, line + 2, len - 2);
	text[len - 2] = '\0';
	if (*line == 'e') {
		char shown[PROGRAMS_PATH_LEN];

		(void)str_escape(shown, sizeof shown, text, strlen(text));
		return err_set(e, -ENOENT, "%s", shown);
	}
	if (!plan_path_valid(text) || !strchr("xri", *line))
		return err_set(e, -EBADMSG, "a path that is none");
	if (*line == 'i') {
		to->strength = PROGRAMS_INTERPRETER;
		if (!*to->interpreter)
			(void)str_copy(to->interpreter, sizeof to->interpreter, text);
		return 0;
	}
	if (to->nfiles == PROGRAMS_FILES_MAX)
		return err_set(e, -E2BIG, "more than %d files", PROGRAMS_FILES_MAX);
	(void)str_copy(f->path, sizeof f->path, text);
	f->execute = *line == 'x';
	to->nfiles++;
	return 0;
}

/* Lines until the one that says that there are no more. */
static int collect(int fd, struct programs *to, struct err *e)
{
	int64_t end = clock_mono_ns() + SEARCH_MS * (NSEC_PER_SEC / 1000);
	char b[4 * LINE_LEN];
	size_t have = 0;

	for (;;) {
		int64_t left = (end - clock_mono_ns()) / (NSEC_PER_SEC / 1000);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char *at = b, *nl;
		ssize_t n;
		int r;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(e, -ETIMEDOUT, "the search takes too long");
		n = read(fd, b + have, sizeof b - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, -EIO, "the search broke off");
		have += (size_t)n;
		while ((nl = memchr(at, '\n', have))) {
			if ((r = programs_line(to, at, (size_t)(nl - at), e)) != 0)
				return r < 0 ? r : 0;
			have -= (size_t)(nl + 1 - at);
			at = nl + 1;
		}
		if (have == sizeof b)
			return err_set(e, -EBADMSG, "a line without an end");
		memmove(b, at, have);
	}
}

int programs_find(int root, const struct plan *p, uint32_t id, struct programs **ret, struct err *e)
{
	struct programs *to = calloc(1, sizeof *to);
	int out[2], r;
	pid_t pid;

	if (!to)
		return err_set(e, -ENOMEM, "no memory");
	if (pipe2(out, O_CLOEXEC) < 0) {
		free(to);
		return err_set(e, -errno, "pipe: %m");
	}
	to->strength = p->nprograms ? PROGRAMS_KERNEL : PROGRAMS_ANY;
	pid = fork();
	if (pid == 0)
		child(root, p, id, out[1]);
	(void)close(out[1]);
	r = pid < 0 ? err_set(e, -errno, "fork: %m") : collect(out[0], to, e);
	(void)close(out[0]);
	if (pid > 0) {
		(void)kill(pid, SIGKILL); /* it has said all, or will not */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (r < 0) {
		free(to);
		return err_wrap(e, r, "programs");
	}
	*ret = to;
	return 0;
}
