/*
 * What the supervisor is told: by its arguments (NAME=VALUE), and the few keys of postern.yaml that
 * it needs itself. The rest of that file is the core's to judge: keys that are not ours are not
 * looked at.
 */
#ifndef POSTERN_SUPERVISOR_SETTINGS_H
#define POSTERN_SUPERVISOR_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/str.h"

struct err;

/* Offsets in block 0 (ARCHITECTURE.md, Ids). */
#define ID_CORE         1
#define ID_SIGNER       2
#define ID_LISTENER     3
#define ID_EXPORT       4
#define ID_WORKER_FIRST 4096
#define ID_WORKERS      4096

#define SPARE_WORKERS_DEFAULT 4
#define SPARE_WORKERS_MAX     64

struct settings {
	char state[PATH_MAX];
	char config[PATH_MAX];
	char run[PATH_MAX];
	char listen[128]; /* HOST:PORT; the argument, else postern.yaml */
	char instance[NAME_MAX_LEN + 1];
	bool foreground; /* print "ready HOST:PORT" on stdout */
	int lock_fd;     /* an inherited lock on the state directory, or -1 */
	int64_t ids_base, ids_count;
	int64_t spare_workers;
};

/* Defaults are those of an installed Postern; with state=DIR, config is DIR/etc and run is DIR/run.
 * -EINVAL with the argument that is wrong. */
int settings_args(struct settings *s, int argc, char **argv, struct err *e);
/* Reads postern.yaml below config_fd over the defaults. May be called again (reload): then only
 * spare_workers changes. On failure s is unchanged. */
int settings_load(struct settings *s, int config_fd, bool again, struct err *e);

#endif
