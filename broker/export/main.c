/*
 * postern-export uid=N gid=N config=FD export=FD archive=FD; fd 3 is the link to the supervisor.
 *
 * It takes its uid and locks itself in before it reads a message. It may dial, read /etc (names,
 * CAs, the files that its sinks name), and write its two directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "broker/export/exporter.h"
#include "broker/export/http.h"
#include "filters.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define SUPERVISOR_FD 3
#define THREADS_MAX   64 /* names are resolved in threads of libcurl's */
#define FILES_MAX     512

struct args {
	uint64_t uid, gid, config, export, archive;
};

struct process {
	struct loop *loop;
	struct exporter x;
	struct chan *supervisor;
	struct loop_source *supervisor_src;
};

static int parse_args(int argc, char **argv, struct args *a)
{
	const struct {
		const char *name;
		uint64_t min, max;
		uint64_t *to;
	} known[] = {{"uid=", 1, UINT32_MAX - 1, &a->uid}, {"gid=", 1, UINT32_MAX - 1, &a->gid},
	    {"config=", SUPERVISOR_FD + 1, 1023, &a->config},
	    {"export=", SUPERVISOR_FD + 1, 1023, &a->export},
	    {"archive=", SUPERVISOR_FD + 1, 1023, &a->archive}};

	*a = (struct args){0};
	for (int i = 1; i < argc; i++) {
		int r = -EINVAL;

		for (size_t k = 0; k < ARRAY_LEN(known); k++) {
			size_t n = strlen(known[k].name);

			if (strncmp(argv[i], known[k].name, n) == 0)
				r = str_to_u64(
				    argv[i] + n, known[k].min, known[k].max, known[k].to);
		}
		if (r < 0) {
			log_error("bad argument %d", i);
			return r;
		}
	}
	if (a->uid == 0 || a->gid == 0 || a->config == 0 || a->export == 0 || a->archive == 0) {
		log_error("usage: postern-export uid=N gid=N config=FD export=FD archive=FD "
		          "(started by the supervisor)");
		return -EINVAL;
	}
	return 0;
}

/* What is not there on this host is not missed. */
static const char *const readable[] = {
    "/etc",                       /* hosts, resolv.conf, nsswitch.conf, ssl, files of sinks */
    "/usr/share/ca-certificates", /* where the links of /etc/ssl/certs lead */
    "/usr/local/share/ca-certificates",
    "/usr/lib/ssl",
    "/run/systemd/resolve", /* where /etc/resolv.conf may lead */
    "/run/resolvconf",
    "/run/NetworkManager",
};

static int landlock(const struct args *a)
{
	struct confine_path paths[ARRAY_LEN(readable) + 3] = {
	    {(int)a->config, 0}, {(int)a->export, 1}, {(int)a->archive, 1}};
	size_t n = 3;
	int abi, r;

	for (size_t i = 0; i < ARRAY_LEN(readable); i++) {
		int fd = open(readable[i], O_PATH | O_CLOEXEC | O_DIRECTORY);

		if (fd >= 0)
			paths[n++] = (struct confine_path){fd, 0};
	}
	r = confine_landlock_dial(paths, n, &abi);
	while (n > 3)
		(void)close(paths[--n].dirfd);
	if (r == -ENOSYS) {
		log_warn("this kernel has no Landlock: uid and seccomp alone confine the exporter");
		return 0;
	}
	return r;
}

static int confine(const struct args *a)
{
	const struct confine_limits limits = {.open_files = FILES_MAX,
	    .memory = 0,
	    .cpu_s = 0,
	    .processes = THREADS_MAX,
	    .file_bytes = UINT64_MAX};
	int r;

	/* in this order: the bounding set falls while there is CAP_SETPCAP */
	if ((r = confine_basics()) < 0 ||
	    (r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0 ||
	    (r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0 || (r = confine_caps(0)) < 0 ||
	    (r = confine_limits(&limits)) < 0 || (r = landlock(a)) < 0)
		return r;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* a server that hangs up ends no process */
		return -errno;
	return confine_seccomp(filter_export, ARRAY_LEN(filter_export));
}

static void reload(struct process *p)
{
	struct err e = ERR_INIT;

	if (exporter_reload(&p->x, &e) < 0)
		log_error("the configuration is not taken, the old one stays: %s", err_text(&e));
}

static int obey(struct msg *m, void *arg)
{
	struct process *p = arg;
	int r;

	if (msg_is(m, "reload"))
		reload(p);
	if (msg_is(m, "core.link") && (r = exporter_link(&p->x, msg_take_fd(m, 0))) < 0) {
		log_error("cannot take the core's link: %s", strerror(-r));
		return r;
	}
	return msg_is(m, "shutdown");
}

/* Nobody outlives the supervisor. */
static void on_supervisor(struct loop *l, int fd, unsigned what, void *arg)
{
	struct process *p = arg;
	struct err e = ERR_INIT;

	(void)fd;
	if (chan_serve(p->supervisor, p->supervisor_src, what, obey, p, &e) != 1)
		loop_stop(l);
}

/* A configuration that it cannot use at the start leaves it idle: the log must go on without it,
 * and a reload mends it. */
static void first_load(struct process *p)
{
	struct err e = ERR_INIT;

	if (exporter_reload(&p->x, &e) < 0)
		log_error("nothing is exported: %s", err_text(&e));
}

static int run(const struct args *a)
{
	struct process p = {0};
	struct err e = ERR_INIT;
	int r;

	p.loop = loop_new();
	p.supervisor = chan_new(SUPERVISOR_FD, MSG_EXPORT, MSG_SUPERVISOR);
	if (!p.loop || !p.supervisor) {
		log_error("cannot start: %s", strerror(errno));
		return -ENOMEM;
	}
	if ((r = confine(a)) < 0) {
		log_error("cannot confine itself: %s", strerror(-r));
		return r;
	}
	if ((r = exporter_init(&p.x, p.loop, (int)a->config, (int)a->export, (int)a->archive, &e)) <
	    0) {
		log_error("cannot start: %s", err_text(&e));
		return r;
	}
	first_load(&p);
	p.supervisor_src = loop_fd(p.loop, SUPERVISOR_FD, LOOP_READ, on_supervisor, &p);
	if (!p.supervisor_src)
		return -errno;
	r = chan_send(p.supervisor, "ready", 0, json_object(), NULL, 0);
	if (r == 0)
		r = loop_run(p.loop);
	exporter_done(&p.x);
	loop_remove(p.supervisor_src);
	chan_free(p.supervisor);
	loop_free(p.loop);
	return r;
}

int main(int argc, char **argv)
{
	struct args a;
	int keep[4] = {SUPERVISOR_FD, -1, -1, -1};

	log_open("postern-export", LOG_INFO);
	if (parse_args(argc, argv, &a) < 0)
		return 2;
	keep[1] = (int)a.config;
	keep[2] = (int)a.export;
	keep[3] = (int)a.archive;
	if (confine_fds(keep, ARRAY_LEN(keep)) < 0 || http_global() < 0) {
		log_error("libcurl does not work");
		return 1;
	}
	return run(&a) < 0 ? 1 : 0;
}
