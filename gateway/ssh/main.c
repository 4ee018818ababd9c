/*
 * postern-gateway: the listener and the workers. postern-gateway(8) is the manual.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "gateway/ssh/args.h"
#include "gateway/ssh/config.h"
#include "gateway/ssh/listener.h"
#include "gateway/ssh/worker.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/util.h"

static int usage(void)
{
	(void)fputs("usage: postern-gateway -n [DIRECTORY]\n"
	            "       postern-gateway listener uid=N gid=N config=FD\n"
	            "       postern-gateway worker uid=N gid=N hostkeys=FD config=FD slot=N\n",
	    stderr);
	return 2;
}

static int check(const char *dir)
{
	struct gateway_config c;
	struct err e = ERR_INIT;
	cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		(void)fprintf(stderr, "postern-gateway: %s: %m\n", dir);
		return 1;
	}
	if (gateway_config_load(fd, &c, &e) < 0) {
		(void)fprintf(stderr, "postern-gateway: %s\n", err_text(&e));
		return 1;
	}
	gateway_config_print(&c, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct gateway_args a;
	struct err e = ERR_INIT;
	bool worker;

	if (argc >= 2 && argc <= 3 && strcmp(argv[1], "-n") == 0)
		return check(argc == 3 ? argv[2] : "/etc/postern");
	if (argc < 2 || (strcmp(argv[1], "listener") != 0 && strcmp(argv[1], "worker") != 0))
		return usage();
	worker = strcmp(argv[1], "worker") == 0;
	log_open(worker ? "postern-worker" : "postern-listener", LOG_INFO);
	if (gateway_args_parse(&a, argc - 2, argv + 2, &e) < 0) {
		log_error("%s", err_text(&e));
		return usage();
	}
	return worker ? worker_main(&a) : listener_main(&a);
}
