#include "broker/image/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filters.h"
#include "lib/buf.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

#define CAP(c)    (UINT64_C(1) << (c))
#define OWN_CAPS  (CAP(CAP_CHOWN) | CAP(CAP_FOWNER))
#define CPU_S     3600
#define LINE_SIZE (ERR_TEXT_MAX + 64)

#ifdef POSTERN_SAN
#define MEMORY_MAX 0
#else
#define MEMORY_MAX (UINT64_C(1) << 30)
#endif

/* ---- the child ---- */

int confined_enter(int fd, int dir, int out, pid_t parent, bool own, uint64_t bytes)
{
	const struct confine_limits limits = {.open_files = 64,
	    .memory = MEMORY_MAX,
	    .cpu_s = CPU_S,
	    .processes = 0,
	    .file_bytes = bytes};
	const struct confine_path paths[] = {{dir, 1, 1}};
	const int keep[] = {fd, dir, out};
	uint64_t caps = own ? OWN_CAPS : 0;
	int abi, r;

	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0)
		return r;
	if (own) {
		if ((r = confine_caps(caps | CAP(CAP_SETUID) | CAP(CAP_SETGID))) < 0)
			return r;
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
			return -errno;
		if ((r = confine_ids(CONFINED_ID, CONFINED_ID)) < 0)
			return r;
	}
	if ((r = confine_caps(caps)) < 0)
		return r;
	/* a change of ids or capabilities takes it back (prctl(2)) */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		return -ESRCH;
	if ((r = confine_basics()) < 0 || (r = confine_limits(&limits)) < 0 ||
	    (r = confine_landlock(paths, ARRAY_LEN(paths), &abi)) < 0)
		return r;
	return confine_seccomp(filter_unpack, ARRAY_LEN(filter_unpack));
}

static void tell(int out, const char *kind, const struct image_counts *c)
{
	char line[LINE_SIZE];
	int n = snprintf(line, sizeof line,
	    "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", kind,
	    c->bytes, c->entries, c->layers, c->devices, c->setids, c->xattrs);

	(void)fd_write_full(out, line, (size_t)n);
}

static void on_progress(void *arg, const struct image_counts *c)
{
	tell(*(int *)arg, "p", c);
}

static __attribute__((noreturn)) void child(
    int fd, int dir, int out, pid_t parent, const struct image_unpack *asked)
{
	struct image_unpack u = *asked;
	struct image_counts counts = {0};
	struct err e = ERR_INIT;
	char line[LINE_SIZE];
	int r, n;

	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* names are what they are in the tar */
	u.progress = on_progress;
	u.arg = &out;
	if ((r = confined_enter(fd, dir, out, parent, u.own, u.limits.bytes)) < 0)
		(void)err_set(&e, r, "cannot confine the unpacker: %s", strerror(-r));
	else
		r = image_unpack(fd, dir, &u, &counts, &e);
	if (r < 0) {
		n = snprintf(line, sizeof line, "e %d %s\n", -r, err_text(&e));
		(void)fd_write_full(out, line, (size_t)n);
	} else {
		tell(out, "d", &counts);
	}
	_exit(r < 0);
}

/* ---- the parent ---- */

static bool counts_of(const char *text, struct image_counts *ret)
{
	uint64_t *const to[] = {
	    &ret->bytes, &ret->entries, &ret->layers, &ret->devices, &ret->setids, &ret->xattrs};
	char number[24];

	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		size_t n = strcspn(text, " ");

		if (n == 0 || n >= sizeof number)
			return false;
		memcpy(number, text, n);
		number[n] = '\0';
		if (str_to_u64(number, 0, UINT64_MAX, to[i]) < 0)
			return false;
		text += n;
		text += *text == ' ';
	}
	return *text == '\0';
}

/* 1: there is more to come. */
static int one_line(
    const char *line, const struct image_unpack *u, struct image_counts *ret, struct err *e)
{
	struct image_counts c;
	char *text;

	if ((*line == 'p' || *line == 'd') && line[1] == ' ' && counts_of(line + 2, &c)) {
		*ret = c;
		if (*line == 'p' && u->progress)
			u->progress(u->arg, &c);
		return *line == 'p';
	}
	if (*line != 'e' || line[1] != ' ' || !(text = strchr(line + 2, ' ')) || !text[1])
		return err_set(e, -EPROTO, "the unpacker said what it never says");
	/* escaped by the child already, if it is still ours */
	for (char *s = ++text; *s; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
	return err_set(e, -EBADMSG, "%s", text);
}

static int listen_to(int in, const struct image_unpack *u, struct image_counts *ret, struct err *e)
{
	char b[2 * LINE_SIZE];
	size_t have = 0;

	for (;;) {
		ssize_t n = read(in, b + have, sizeof b - 1 - have);
		char *at = b, *nl;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, -EPROTO, "the unpacker ended without a word");
		have += (size_t)n;
		while ((nl = memchr(at, '\n', have))) {
			int r;

			*nl = '\0';
			if ((r = one_line(at, u, ret, e)) <= 0)
				return r;
			have -= (size_t)(nl + 1 - at);
			at = nl + 1;
		}
		if (have == sizeof b - 1)
			return err_set(e, -EPROTO, "the unpacker does not end a line");
		memmove(b, at, have);
	}
}

int confined_unpack(
    int fd, int dir, const struct image_unpack *u, struct image_counts *ret, struct err *e)
{
	struct image_unpack work = *u;
	pid_t parent = getpid(), pid;
	int out[2], r, status = 0;

	*ret = (struct image_counts){0};
	work.own = geteuid() == 0;
	if (work.own && (fchown(dir, CONFINED_ID, CONFINED_ID) < 0 || fchmod(dir, 0700) < 0))
		return err_set(e, -errno, "cannot give the directory away: %m");
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_set(e, -errno, "pipe: %m");
	if ((pid = fork()) == 0)
		child(fd, dir, out[1], parent, &work);
	r = pid < 0 ? err_set(e, -errno, "fork: %m") : 0;
	(void)close(out[1]);
	if (r == 0)
		r = listen_to(out[0], u, ret, e);
	(void)close(out[0]);
	if (pid > 0) {
		if (r < 0)
			(void)kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (r == 0 && status != 0)
		return err_set(e, -EPROTO, "the unpacker failed after its last word");
	return r;
}
