#include "broker/audit/record_class.h"

#include <stddef.h>
#include <string.h>

#include "lib/util.h"

enum {
	OTHER = 99,
	OCSF_BASE = 0,
	OCSF_PROCESS = 1007,   /* launch 1, terminate 2 */
	OCSF_FINDING = 2004,   /* create 1 */
	OCSF_AUTH = 3002,      /* logon 1, logoff 2 */
	OCSF_AUTHORIZE = 3003, /* assign privileges 1 */
	OCSF_SSH = 4007,       /* open 1, close 2, refuse 5, traffic 6 */
	OCSF_LIFECYCLE = 6002, /* start 3, stop 4, restart 5, enable 6, update 8 */
	OCSF_API = 6003,       /* create 1, read 2, update 3, delete 4 */
};

static const struct record_class classes[] = {
    {"auth.refused", OCSF_AUTH, 1, RECORD_DENIAL, true},
    {"channel.denied", OCSF_PROCESS, OTHER, RECORD_DENIAL},
    {"channel.end", OCSF_PROCESS, 2, RECORD_END},
    {"channel.exec", OCSF_PROCESS, 1, RECORD_PLAIN},
    {"clock.accepted", OCSF_BASE, OTHER, RECORD_END},
    {"clock.stepped", OCSF_BASE, OTHER, RECORD_END},
    {"config.loaded", OCSF_LIFECYCLE, 8, RECORD_PLAIN},
    {"config.refused", OCSF_LIFECYCLE, OTHER, RECORD_DENIAL},
    {"conn.accepted", OCSF_SSH, 1, RECORD_PLAIN, true},
    {"conn.end", OCSF_SSH, 2, RECORD_END},
    {"conn.event", OCSF_SSH, 6, RECORD_PLAIN, true},
    {"conn.refused", OCSF_SSH, 5, RECORD_DENIAL, true},
    {"core.restored", OCSF_LIFECYCLE, 5, RECORD_END},
    {"ctl", OCSF_API, OTHER, RECORD_PLAIN},
    {"export.skipped", OCSF_FINDING, 1, RECORD_PLAIN},
    {"grant", OCSF_AUTHORIZE, 1, RECORD_PLAIN},
    {"host.start", OCSF_LIFECYCLE, 3, RECORD_END},
    {"host.stop", OCSF_LIFECYCLE, 4, RECORD_END},
    {"lease.denied", OCSF_API, OTHER, RECORD_DENIAL},
    {"lease.end", OCSF_API, 4, RECORD_END},
    {"lease.granted", OCSF_API, 1, RECORD_PLAIN},
    {"log.alive", OCSF_BASE, OTHER, RECORD_END},
    {"log.archived", OCSF_BASE, OTHER, RECORD_END},
    {"log.break", OCSF_BASE, OTHER, RECORD_END},
    {"log.checkpoint", OCSF_BASE, OTHER, RECORD_END},
    {"log.coalesced", OCSF_BASE, OTHER, RECORD_END},
    {"log.conflict", OCSF_FINDING, 1, RECORD_END},
    {"log.conflict.accepted", OCSF_BASE, OTHER, RECORD_END},
    {"log.created", OCSF_BASE, OTHER, RECORD_END},
    {"log.epoch", OCSF_BASE, OTHER, RECORD_END},
    {"log.erased", OCSF_BASE, OTHER, RECORD_END},
    {"log.late", OCSF_BASE, OTHER, RECORD_END},
    {"log.lost", OCSF_BASE, OTHER, RECORD_END},
    {"log.pruned", OCSF_FINDING, 1, RECORD_END},
    {"log.read", OCSF_API, 2, RECORD_PLAIN},
    {"log.rollback", OCSF_FINDING, 1, RECORD_END},
    {"log.space", OCSF_BASE, OTHER, RECORD_END},
    {"log.unarchived", OCSF_FINDING, 1, RECORD_END},
    {"log.unsealed", OCSF_FINDING, 1, RECORD_END},
    {"log.unwitnessed", OCSF_FINDING, 1, RECORD_END},
    {"log.witnessed", OCSF_BASE, OTHER, RECORD_END},
    {"peer.dropped", OCSF_FINDING, 1, RECORD_DENIAL},
    {"peer.refused", OCSF_FINDING, 1, RECORD_DENIAL},
    {"sandbox.orphan", OCSF_FINDING, 1, RECORD_END},
    {"session.end", OCSF_LIFECYCLE, 4, RECORD_END},
    {"session.enforced", OCSF_LIFECYCLE, 6, RECORD_PLAIN},
    {"session.files", OCSF_LIFECYCLE, OTHER, RECORD_PLAIN},
    {"session.lost", OCSF_LIFECYCLE, 4, RECORD_END},
    {"session.programs", OCSF_PROCESS, 1, RECORD_PLAIN},
    {"session.start", OCSF_LIFECYCLE, 3, RECORD_PLAIN},
    {"spawn.lost", OCSF_LIFECYCLE, 4, RECORD_END},
    {"workspace.create", OCSF_API, 1, RECORD_PLAIN},
    {"workspace.delete", OCSF_API, 4, RECORD_PLAIN},
    {"workspace.export", OCSF_API, 2, RECORD_PLAIN},
    {"workspace.fork", OCSF_API, 1, RECORD_PLAIN},
    {"workspace.rollback", OCSF_API, 3, RECORD_PLAIN},
    {"workspace.snapshot", OCSF_API, 1, RECORD_PLAIN},
};

const struct record_class *record_class_find(const char *name)
{
	static const struct record_class unknown = {"", OCSF_BASE, OTHER, RECORD_PLAIN};
	size_t low = 0, high = ARRAY_LEN(classes);

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(name, classes[mid].name);

		if (c == 0)
			return &classes[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return &unknown;
}
