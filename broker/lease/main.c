/*
 * postern-lease uid=N gid=N; fd 3 is the link to the core, fd 4 the session's credential listener.
 *
 * One process for each session, started by spawn when the sandbox first knocks. It parses what a
 * hostile agent says, so it takes an id of its own and locks itself in first; it holds no secret
 * but those it hands on.
 */
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/lease/service.h"
#include "filters.h"
#include "lib/chan.h"
#include "lib/confine.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define CORE_FD   3
#define LISTEN_FD 4

#ifdef POSTERN_SAN
#define MEMORY_MAX 0 /* the sanitizer's shadow is larger than any limit */
#else
#define MEMORY_MAX (256u << 20)
#endif

static int parse(int argc, char **argv, uint64_t *ret_uid, uint64_t *ret_gid)
{
	if (argc != 3 || strncmp(argv[1], "uid=", 4) != 0 || strncmp(argv[2], "gid=", 4) != 0 ||
	    str_to_u64(argv[1] + 4, 1, UINT32_MAX - 1, ret_uid) < 0 ||
	    str_to_u64(argv[2] + 4, 1, UINT32_MAX - 1, ret_gid) < 0)
		return -EINVAL;
	return 0;
}

static int confine(uid_t uid, gid_t gid)
{
	const struct confine_limits limits = {
	    .open_files = 32, .memory = MEMORY_MAX, .processes = 0, .file_bytes = UINT64_MAX};
	int abi, r;

	if ((r = confine_caps(1u << CAP_SETUID | 1u << CAP_SETGID)) < 0 ||
	    (r = confine_ids(uid, gid)) < 0 || (r = confine_caps(0)) < 0 ||
	    (r = confine_basics()) < 0 || (r = confine_limits(&limits)) < 0 ||
	    (r = confine_landlock(NULL, 0, &abi)) < 0)
		return r;
	return confine_seccomp(filter_lease, ARRAY_LEN(filter_lease));
}

int main(int argc, char **argv)
{
	const int keep[] = {CORE_FD, LISTEN_FD};
	struct service *service;
	struct loop *loop;
	struct chan *core;
	uint64_t uid, gid;
	int r;

	log_open("postern-lease", LOG_INFO);
	if (parse(argc, argv, &uid, &gid) < 0) {
		log_error("usage: postern-lease uid=N gid=N (started by postern-spawn)");
		return 2;
	}
	json_object_seed(0); /* reads /dev/urandom; later nothing can be opened */
	if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0 || !(loop = loop_new()) ||
	    !(core = chan_new(CORE_FD, MSG_LEASE, MSG_CORE)) ||
	    (r = confine((uid_t)uid, (gid_t)gid)) < 0) {
		log_error("cannot confine itself: %s", strerror(r < 0 ? -r : errno));
		return 1;
	}
	if (!(service = service_new(loop, LISTEN_FD, core))) {
		log_error("cannot serve: %m");
		return 1;
	}
	r = loop_run(loop);
	service_free(service);
	chan_free(core);
	loop_free(loop);
	return r < 0 ? 1 : 0;
}
