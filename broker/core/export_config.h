/*
 * Where a host's logs go: the keys `export`, `witnesses` and `archive` of postern.yaml.
 *
 *   export:
 *     - {name: siem, kind: syslog, to: "siem.example.com:6514", ca: siem-ca.pem,
 *        cert: me.pem, key: me.key, logs: [host, demo], personal: true}
 *     - {name: otel, kind: otlp, url: "https://otel.example.com/v1/logs", ca: otel-ca.pem,
 *        headers: otel.headers}
 *     - {name: lake, kind: jsonl, file: lake}
 *   witnesses:
 *     quorum: 2
 *     conflict: refuse
 *     list:
 *       - {key: "witness.example.com+1a2b3c4d+BASE64", url: "https://witness.example.com/"}
 *   archive: {size: 1G, age: 24h, keep: 30d}
 *
 * Files that are named (ca, cert, key, headers) are below the configuration directory, or absolute
 * below /etc; a key or headers file must not be readable by others. A jsonl sink writes NAME.jsonl
 * below STATE/export, which the exporter owns. https needs no ca to use the system's; http is
 * allowed to loopback addresses only, but for witnesses, whose traffic is public and signed.
 * Without `archive` nothing is ever dropped.
 *
 * Needs lib and creds/note alone: the core and the exporter both read it.
 */
#ifndef POSTERN_CORE_EXPORT_CONFIG_H
#define POSTERN_CORE_EXPORT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "creds/note.h"
#include "lib/str.h"

struct err;

#define EXPORT_SINKS_MAX     16
#define EXPORT_WITNESSES_MAX 16
#define EXPORT_LOGS_MAX      64
#define EXPORT_URL_MAX       512
#define EXPORT_PATH_MAX      256

enum export_kind { EXPORT_SYSLOG, EXPORT_OTLP, EXPORT_JSONL };

struct export_sink {
	char name[NAME_MAX_LEN + 1]; /* of its cursors; unique; "archive" is reserved */
	enum export_kind kind;
	char to[EXPORT_URL_MAX + 1];  /* syslog: HOST:PORT */
	char url[EXPORT_URL_MAX + 1]; /* otlp */
	char file[EXPORT_PATH_MAX + 1];
	char ca[EXPORT_PATH_MAX + 1], cert[EXPORT_PATH_MAX + 1], key[EXPORT_PATH_MAX + 1],
	    headers[EXPORT_PATH_MAX + 1]; /* "": none */
	bool personal;                    /* gets personal values, not only their commitments */
	size_t nlogs;                     /* 0: all */
	char logs[EXPORT_LOGS_MAX][NAME_MAX_LEN + 1];
};

struct export_witness {
	struct note_key key;          /* type NOTE_COSIGNATURE */
	char url[EXPORT_URL_MAX + 1]; /* prefix; "/add-checkpoint" is appended; ends without "/" */
};

struct export_config {
	size_t nsinks;
	struct export_sink sinks[EXPORT_SINKS_MAX];
	size_t nwitnesses, quorum; /* quorum 0: there are no witnesses; default: more than half */
	struct export_witness witnesses[EXPORT_WITNESSES_MAX];
	bool conflict_warn; /* a witness that has seen another log stops nothing */
	bool archive;
	uint64_t archive_bytes; /* of one log's records in the store that make a segment */
	int64_t archive_age_s;  /* or when the oldest is so old */
	int64_t archive_keep_s; /* how long an archived record also stays in the store; default 0 */
};

/* Reads the keys out of HOST_FILE (broker/core/host_config.h reads the others). A missing file is
 * an empty one. 0 or -errno, with file and line where one is wrong. */
int export_config_load(int dirfd, struct export_config *ret, struct err *e);
const struct export_sink *export_config_sink(const struct export_config *c, const char *name);
const char *export_kind_name(enum export_kind kind);
/* Where a sink's records go: HOST:PORT, a URL, or a file below STATE/export. */
const char *export_sink_where(const struct export_sink *s);
/* By the name of its key. */
const struct export_witness *export_config_witness(const struct export_config *c, const char *name);
bool export_sink_wants(const struct export_sink *s, const char *log);
/* Opens a file that a sink names. secret: it must not be open to others. A descriptor, or -errno
 * with the path. dirfd: the configuration directory. */
int export_config_open(int dirfd, const char *path, bool secret, struct err *e);
/* Whether all files of a sink are there, as they must be; reader: the exporter's uid and gid, who
 * has to read them, 0: whoever. */
int export_config_files(int dirfd, const struct export_sink *s, uid_t reader, struct err *e);

#endif
