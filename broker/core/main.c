#include "broker/core/core.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/audit/record_store.h"
#include "broker/core/capacity.h"
#include "broker/core/config.h"
#include "broker/store/store.h"
#include "creds/key.h"
#include "filters.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * postern-core uid=N gid=N config=FD state=FD hostkey=FINGERPRINT instance=NAME idbase=N idcount=N;
 * fd 3 is the link to the supervisor. postern-core -n DIRECTORY checks a configuration, prints what
 * was understood, and stops.
 *
 * It locks itself in before it reads the configuration, the store or a message: its own state
 * directory, and to read the configuration, /etc (CA files, names of users) and /proc (who asks).
 */

#define SUPERVISOR_FD 3
#define OPEN_FILES    65536
#define EXIT_CONFIG   78

struct args {
	uint64_t uid, gid, config, state, idbase, idcount;
	const char *instance, *hostkey;
};

static int parse_number(
    const char *arg, const char *name, uint64_t min, uint64_t max, uint64_t *ret)
{
	size_t n = strlen(name);

	if (strncmp(arg, name, n) != 0 || arg[n] != '=')
		return 1;
	return str_to_u64(arg + n + 1, min, max, ret);
}

static int parse_args(int argc, char **argv, struct args *a)
{
	*a = (struct args){.instance = "", .hostkey = ""};
	for (int i = 1; i < argc; i++) {
		int r;

		if (strncmp(argv[i], "instance=", 9) == 0) {
			a->instance = argv[i] + 9;
			continue;
		}
		if (strncmp(argv[i], "hostkey=", 8) == 0) {
			a->hostkey = argv[i] + 8;
			continue;
		}
		if ((r = parse_number(argv[i], "uid", 1, UINT32_MAX - 1, &a->uid)) == 1 &&
		    (r = parse_number(argv[i], "gid", 1, UINT32_MAX - 1, &a->gid)) == 1 &&
		    (r = parse_number(argv[i], "config", 4, 1023, &a->config)) == 1 &&
		    (r = parse_number(argv[i], "state", 4, 1023, &a->state)) == 1 &&
		    (r = parse_number(argv[i], "idbase", 1, UINT32_MAX, &a->idbase)) == 1)
			r = parse_number(argv[i], "idcount", 1, UINT32_MAX, &a->idcount);
		if (r != 0) {
			log_error("bad argument %d", i);
			return -EINVAL;
		}
	}
	if (!a->uid || !a->gid || !a->config || !a->state || !a->idcount) {
		log_error(
		    "usage: postern-core uid=N gid=N config=FD state=FD instance=NAME idbase=N "
		    "idcount=N [hostkey=FINGERPRINT] (started by the supervisor), or postern-core "
		    "-n DIRECTORY");
		return -EINVAL;
	}
	return 0;
}

static int confine(const struct args *a, int proc_fd, int etc_fd)
{
	struct confine_limits limits = {.open_files = OPEN_FILES, .file_bytes = UINT64_MAX};
	const struct confine_path paths[] = {
	    {(int)a->state, 1}, {(int)a->config, 0}, {proc_fd, 0}, {etc_fd, 0}};
	struct rlimit nofile;
	int abi, r;

	/* without CAP_SYS_RESOURCE the hard limit is the most there is */
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0 && nofile.rlim_max < limits.open_files)
		limits.open_files = nofile.rlim_max;
	/* the limit is raised while that is still allowed; the bounding set falls while there is
	 * CAP_SETPCAP */
	if ((r = confine_basics()) < 0 || (r = confine_limits(&limits)) < 0 ||
	    (r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0 ||
	    (r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0 || (r = confine_caps(0)) < 0)
		return r;
	r = confine_landlock(paths, ARRAY_LEN(paths), &abi);
	if (r == -ENOSYS)
		log_warn("this kernel has no Landlock: uid and seccomp alone confine the core");
	else if (r < 0)
		return r;
	return confine_seccomp(filter_core, ARRAY_LEN(filter_core));
}

/* libcrypto and jansson read files and seed themselves at first use: let that be now. */
static int warm_up(void)
{
	static const char any[] =
	    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMymBuYX3uj/tYi04uT96BQRPE259wG7bKJlEtR9tXl6";
	cleanup_key struct key *k = NULL;

	json_object_seed(0);
	return key_parse_line(any, sizeof any - 1, &k, NULL);
}

static int check_only(const char *directory)
{
	cleanup_config struct config *c = NULL;
	struct err e = ERR_INIT;
	json_auto_t *summary = NULL;

	cleanup_close int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		(void)fprintf(stderr, "%s: %s\n", directory, strerror(errno));
		return EXIT_CONFIG;
	}
	if (config_load(fd, &c, &e) < 0) {
		(void)fprintf(stderr, "%s\n", err_text(&e));
		return EXIT_CONFIG;
	}
	summary = config_summary(c);
	if (!summary || json_dumpf(summary, stdout, JSON_INDENT(2)) < 0 || puts("") < 0)
		return 1;
	return 0;
}

/* The part that owns everything; its result is the exit status. */
static int serve(const struct args *a, int proc_fd, int etc_fd)
{
	struct core_options o = {.supervisor_fd = SUPERVISOR_FD,
	    .config_fd = (int)a->config,
	    .proc_fd = proc_fd,
	    .etc_fd = etc_fd,
	    .instance = a->instance,
	    .hostkey = a->hostkey,
	    .idcount = (uint32_t)a->idcount};
	struct err e = ERR_INIT, why = ERR_INIT;
	cleanup_store struct store *store = NULL;
	struct store_config sc = {0};
	struct record_options log;
	struct host_capacity capacity;
	struct host_config host;
	struct core *c;
	int status;

	host_config_default(&host);
	capacity_read(proc_fd, &capacity);
	if (config_load((int)a->config, &o.config, &why) < 0 ||
	    config_check_hostkey(o.config, a->hostkey, &why) < 0 ||
	    capacity_check(o.config, &capacity, &why) < 0) {
		config_free(steal_ptr(&o.config));
		log_error("%s", err_text(&why));
		o.config_why = why.text;
		(void)host_config_load((int)a->config, &host, NULL);
	} else {
		host = o.config->host;
	}
	sc.map_size = host.map_size;
	record_options_default(&log);
	log.tolerance_s = host.clock_tolerance_s;
	log.rate = host.log_rate;
	log.burst = host.log_burst;
	log.critical_rate = host.log_critical_rate;
	log.critical_burst = host.log_critical_burst;
	log.tenant_bytes = host.log_tenant_bytes;
	o.loop = loop_new();
	if (!o.loop || store_open((int)a->state, &sc, &store, &e) < 0 ||
	    record_store_open(store, o.loop, &log, &o.log, &e) < 0) {
		log_error("%s", o.loop ? err_text(&e) : "no event loop");
		return 1;
	}
	o.store = store;
	c = core_new(&o, &e);
	if (!c) {
		log_error("%s", err_text(&e));
		return 1;
	}
	status = loop_run(o.loop) < 0 ? 1 : c->status;
	core_free(c);
	o.log->ops->free(o.log);
	store_close(steal_ptr(&store));
	loop_free(o.loop);
	return status;
}

int main(int argc, char **argv)
{
	struct args a;
	int r;

	log_open("postern-core", LOG_INFO);
	if (argc == 3 && strcmp(argv[1], "-n") == 0)
		return check_only(argv[2]);
	if (parse_args(argc, argv, &a) < 0)
		return 2;
	if (warm_up() < 0)
		return 1;
	int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int etc_fd = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0 || etc_fd < 0) {
		log_error("/proc or /etc: %m");
		return 1;
	}
	if ((r = confine(&a, proc_fd, etc_fd)) < 0) {
		log_error("cannot be confined, so it does not start: %s", strerror(-r));
		return 1;
	}
	return serve(&a, proc_fd, etc_fd);
}
