#include "lib/msg.h"

#include "lib/str.h"

/*
 * The messages of every boundary. Read it as: NAME, who -> whom, when, how large, how many
 * descriptors, fields. ARCHITECTURE.md tells the same as a story.
 */

/* clang-format off */
#define KIB     1024u
#define SMALL   (4 * KIB)
#define NO_FDS  0, 0
#define LINKED  MSG_PHASE_OPEN
#define ID      {"session", MSG_STRING, 36, false}
#define CONN    {"conn", MSG_STRING, 36, false}
#define CHANNEL {"channel", MSG_INT, INT32_MAX, false}
#define REASON  {"reason", MSG_STRING, 512, false}
#define RECORD  {"record", MSG_INT, INT64_MAX, true}
#define LOG     {"log", MSG_STRING, NAME_MAX_LEN, false}
#define SINK    {"sink", MSG_NAME, NAME_MAX_LEN, false}

/* What a channel asks to run: shared by the gateway's workers and by postern-run. */
#define RUN_FIELDS \
	{"kind", MSG_STRING, 16, false}, /* exec, shell, subsystem */ \
	{"command", MSG_BYTES, 64 * KIB, true}, \
	{"env", MSG_BLOBS, 64, true}, /* NAME=VALUE */ \
	{"pty", MSG_OBJECT, 8, true} /* term, cols, rows, xpixel, ypixel: broker/core */
/* One operation on a workspace: list, create, snapshot, fork, rollback, delete, diff, export. */
#define WORKSPACE_FIELDS \
	{"op", MSG_STRING, 16, false}, \
	{"tenant", MSG_NAME, NAME_MAX_LEN, true}, \
	{"workspace", MSG_NAME, NAME_MAX_LEN, true}, \
	{"snapshot", MSG_NAME, NAME_MAX_LEN, true}, \
	{"to", MSG_NAME, NAME_MAX_LEN, true}, \
	{"allow", MSG_STRINGS, 32, true} /* flags of the export gate: broker/walk/gate.h */
/* clang-format on */

const struct msg_type msg_types[] = {
    /* ---- the supervisor and everybody it starts ---- */
    {"link", MSG_SUPERVISOR, MSG_CORE, LINKED, SMALL, 1, 1,
        {{"role", MSG_STRING, 16, false}}}, /* spawn, signer, listener, export */
    {"core.link", MSG_SUPERVISOR, MSG_SPAWN | MSG_SIGNER | MSG_LISTENER | MSG_EXPORT, LINKED, SMALL,
        1, 1, {{0}}},
    {"listen", MSG_SUPERVISOR, MSG_LISTENER | MSG_CORE, LINKED, SMALL, 1, 1,
        {{"kind", MSG_STRING, 8, false}}}, /* ssh to the listener; ctl, pam, run to the core */
    {"store.put", MSG_CORE, MSG_SUPERVISOR, LINKED, SMALL, 1, 1, {{"name", MSG_STRING, 64, false}}},
    {"store.drop", MSG_CORE, MSG_SUPERVISOR, LINKED, SMALL, NO_FDS,
        {{"name", MSG_STRING, 64, false}}},
    {"store.restore", MSG_SUPERVISOR, MSG_CORE, LINKED, SMALL, 1, 1,
        {{"name", MSG_STRING, 64, false}}},
    {"store.done", MSG_SUPERVISOR, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},
    {"ready", MSG_CORE | MSG_SPAWN | MSG_SIGNER | MSG_LISTENER | MSG_EXPORT, MSG_SUPERVISOR, LINKED,
        SMALL, NO_FDS, {{0}}},
    {"shutdown", MSG_SUPERVISOR, MSG_CORE | MSG_SPAWN | MSG_SIGNER | MSG_LISTENER | MSG_EXPORT,
        LINKED, SMALL, NO_FDS, {{0}}},
    {"reload", MSG_SUPERVISOR, MSG_CORE | MSG_LISTENER | MSG_EXPORT, LINKED, SMALL, NO_FDS, {{0}}},
    {"status.ask", MSG_CORE, MSG_SUPERVISOR, LINKED, SMALL, NO_FDS, {{0}}},
    {"status.tell", MSG_SUPERVISOR, MSG_CORE, LINKED, 16 * KIB, NO_FDS,
        {{"processes", MSG_OBJECTS, 64, false}}}, /* role, pid, uid, started_boot_ns, restarts */
    {"worker.spare", MSG_SUPERVISOR, MSG_LISTENER, LINKED, SMALL, 1, 1,
        {{"slot", MSG_INT, 65535, false}, {"pid", MSG_INT, INT32_MAX, false}}},
    {"worker.used", MSG_LISTENER, MSG_SUPERVISOR, LINKED, SMALL, NO_FDS,
        {{"slot", MSG_INT, 65535, false}}},
    {"worker.gone", MSG_SUPERVISOR, MSG_LISTENER, LINKED, SMALL, NO_FDS,
        {{"slot", MSG_INT, 65535, false},
            {"status", MSG_INT, 255, false},   /* exit status, gateway/ssh/worker.h */
            {"signal", MSG_INT, 128, false}}}, /* 0 if it exited */

    /* ---- the listener: who has connected ---- */
    {"worker.pair", MSG_LISTENER, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"slot", MSG_INT, 65535, false}, {"pid", MSG_INT, INT32_MAX, true}}},
    {"worker.paired", MSG_CORE, MSG_LISTENER, LINKED, SMALL, 1, 1,
        {{"slot", MSG_INT, 65535, false}, CONN}},
    {"conn.accepted", MSG_LISTENER, MSG_CORE, LINKED, SMALL, NO_FDS,
        {CONN, {"peer", MSG_STRING, 64, false}, {"local", MSG_STRING, 64, false}}},
    {"conn.refused", MSG_LISTENER, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"peer", MSG_STRING, 64, false}, REASON, {"count", MSG_INT, INT32_MAX, false}}},
    {"worker.core", MSG_LISTENER, MSG_WORKER, LINKED, SMALL, 1, 1, {CONN}},
    {"worker.go", MSG_LISTENER, MSG_WORKER, LINKED, SMALL, 1, 1,
        {{"peer", MSG_STRING, 64, false}, {"local", MSG_STRING, 64, false}}},

    /* ---- a worker: one connection ---- */
    {"auth.check", MSG_WORKER, MSG_CORE, MSG_PHASE_AUTH, 96 * KIB, NO_FDS,
        {{"user", MSG_BYTES, 256, false},
            {"method", MSG_STRING, 32, false}, /* publickey, none, password, ... */
            {"key", MSG_BYTES, 48 * KIB, true},
            {"proved", MSG_BOOL, 0, false},     /* possession: the signature was checked */
            {"client", MSG_BYTES, 256, true}}}, /* the client's identification string */
    {"auth.verdict", MSG_CORE, MSG_WORKER, MSG_PHASE_ANY, 16 * KIB, NO_FDS,
        {{"ok", MSG_BOOL, 0, false},
            {"banner", MSG_STRING, 1024, true}, /* why not; only if a known CA signed */
            {"grant", MSG_OBJECT, 16, true}}},  /* what the worker needs of it: grant.h */
    {"channel.exec", MSG_WORKER | MSG_RUN, MSG_CORE, MSG_PHASE_OPEN, MSG_MAX, NO_FDS,
        {CHANNEL, RUN_FIELDS}},
    /* stdin, stdout, stderr, status; with a pty: master, status */
    {"channel.started", MSG_CORE, MSG_WORKER | MSG_RUN, MSG_PHASE_ANY, SMALL, 2, 4, {CHANNEL, ID}},
    {"channel.denied", MSG_CORE, MSG_WORKER | MSG_RUN, MSG_PHASE_ANY, SMALL, NO_FDS,
        {CHANNEL, REASON, RECORD}},
    /* after channel.started: the sandbox did not come to be */
    {"channel.failed", MSG_CORE, MSG_WORKER | MSG_RUN, MSG_PHASE_ANY, SMALL, NO_FDS,
        {CHANNEL, REASON, RECORD}},
    {"channel.signal", MSG_WORKER | MSG_RUN, MSG_CORE, MSG_PHASE_OPEN, SMALL, NO_FDS,
        {CHANNEL, {"signal", MSG_STRING, 16, false}}}, /* RFC 4254 6.10: without SIG */
    {"channel.ended", MSG_WORKER | MSG_RUN, MSG_CORE, MSG_PHASE_OPEN | MSG_PHASE_ENDED, SMALL,
        NO_FDS,
        {CHANNEL, {"exit", MSG_SIGNED, 255, false}, /* -1: by a signal, or unknown */
            {"signal", MSG_STRING, 16, true}, {"bytes_in", MSG_INT, INT64_MAX, false},
            {"bytes_out", MSG_INT, INT64_MAX, false}, {"bytes_err", MSG_INT, INT64_MAX, false}}},
    {"conn.event", MSG_WORKER, MSG_CORE, MSG_PHASE_AUTH | MSG_PHASE_OPEN, SMALL, NO_FDS,
        {{"what", MSG_STRING, 32, false},
            {"detail", MSG_BYTES, 256, true}}}, /* refused forward, ... */
    {"conn.ended", MSG_WORKER, MSG_CORE, MSG_PHASE_ANY & ~MSG_PHASE_SPARE, SMALL, NO_FDS, {REASON}},
    {"conn.end", MSG_CORE, MSG_WORKER, MSG_PHASE_ANY, SMALL, NO_FDS, {REASON}},
    /* a core that came back asks; a worker tells which channels still flow */
    {"conn.who", MSG_CORE, MSG_WORKER, MSG_PHASE_ANY, SMALL, NO_FDS, {{0}}},
    {"conn.resume", MSG_WORKER, MSG_CORE, MSG_PHASE_OPEN, 16 * KIB, NO_FDS,
        {{"channels", MSG_INTS, 1024, false}}},

    /* ---- spawn: sandboxes from resolved plans ---- */
    {"probe", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {{0}}},
    {"probe.answer", MSG_SPAWN, MSG_CORE, LINKED, 16 * KIB, NO_FDS,
        {{"host", MSG_OBJECT, 32, false}}}, /* broker/spawn/backend.h */
    /* what was prepared before is kept for nobody, unless it is prepared again now */
    {"template.forget", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {{0}}},
    {"template.prepare", MSG_CORE, MSG_SPAWN, LINKED, 32 * KIB, NO_FDS,
        {{"plan", MSG_OBJECT, 32, false}}}, /* warm the caches of a plan; answered like a start */
    {"template.prepared", MSG_SPAWN, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"step", MSG_STRING, 64, true}, {"reason", MSG_STRING, 512, true}}}, /* no step: good */
    /* the descriptor: init's end of the session's one-way request socket */
    {"sandbox.start", MSG_CORE, MSG_SPAWN, LINKED, 64 * KIB, 1, 1,
        {ID, {"plan", MSG_OBJECT, 32, false}}},
    {"sandbox.started", MSG_SPAWN, MSG_CORE, LINKED, 16 * KIB, NO_FDS,
        {ID, {"pid", MSG_INT, INT32_MAX, false}, {"enforced", MSG_OBJECT, 32, false}}},
    {"sandbox.failed", MSG_SPAWN, MSG_CORE, LINKED, SMALL, NO_FDS,
        {ID, {"step", MSG_STRING, 64, false}, REASON}},
    /* a started session's worker: what it buffers counts against the session's tenant; not answered
     */
    {"sandbox.charge", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS,
        {ID, {"pid", MSG_INT, INT32_MAX, false}}},
    {"sandbox.pty", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {ID}},
    {"sandbox.pty.opened", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 2, 2, {ID}}, /* master, slave */
    {"sandbox.end", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {ID}},
    {"sandbox.ended", MSG_SPAWN, MSG_CORE, LINKED, SMALL, NO_FDS,
        {ID, REASON, {"cpu_us", MSG_INT, INT64_MAX, false},
            {"memory_peak", MSG_INT, INT64_MAX, false}, {"oom_kills", MSG_INT, INT64_MAX, false}}},
    {"sandbox.list", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {{0}}},
    {"sandbox.listing", MSG_SPAWN, MSG_CORE, LINKED, MSG_MAX, NO_FDS,
        {{"sessions", MSG_STRINGS, 2048, false}}},
    /* the sandbox has knocked at its credential listener: a lease process now serves it */
    {"lease.up", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 1, 1, {ID}},
    /* the session has ended and a process reads what it left: sandbox.ended comes after it */
    {"walk.up", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 1, 1, {ID}},
    /* a session whose programs are recorded; again when a new core has asked sandbox.list */
    {"watch.up", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 1, 1, {ID}},
    /* an sshd session: the descriptor is cgroup.procs of the cgroup that ties its
     * processes to it */
    {"tie.make", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {ID}},
    {"tie.made", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 1, 1, {ID, {"path", MSG_STRING, 256, false}}},

    /* workspaces: broker/workspace/store.h */
    {"workspace.do", MSG_CORE, MSG_SPAWN, LINKED, SMALL, NO_FDS, {WORKSPACE_FIELDS}},
    {"workspace.done", MSG_SPAWN, MSG_CORE, LINKED, MSG_MAX, NO_FDS,
        {{"data", MSG_OBJECT, 8, false}}},
    /* the pipe that a diff or an export comes from (broker/walk/{diff,export}.h), for who has
     * asked; of an export also the link to who reads it */
    {"workspace.stream", MSG_SPAWN, MSG_CORE, LINKED, SMALL, 1, 2, {{0}}},
    {"workspace.refused", MSG_SPAWN, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"code", MSG_INT, 255, false}, REASON}}, /* code: an errno */

    /* ---- the signer ---- */
    {"jwt.sign", MSG_CORE, MSG_SIGNER, LINKED, SMALL, NO_FDS,
        {{"tenant", MSG_NAME, NAME_MAX_LEN, false}, {"role", MSG_NAME, NAME_MAX_LEN, false}, ID,
            {"person", MSG_STRING, 256, false}, {"audience", MSG_STRING, 256, false},
            {"lease", MSG_STRING, 36, false}, {"issued_s", MSG_INT, INT64_MAX, false},
            {"expires_s", MSG_INT, INT64_MAX, false}, {"issuer", MSG_STRING, 256, true}}},
    {"jwt.signed", MSG_SIGNER, MSG_CORE, LINKED, 8 * KIB, NO_FDS,
        {{"token", MSG_STRING, 4096, false}}},
    {"jwks.ask", MSG_CORE, MSG_SIGNER, LINKED, SMALL, NO_FDS,
        {{"tenant", MSG_NAME, NAME_MAX_LEN, false}}},
    {"jwks.tell", MSG_SIGNER, MSG_CORE, LINKED, 8 * KIB, NO_FDS, {{"jwks", MSG_OBJECT, 4, false}}},
    {"sign.refused", MSG_SIGNER, MSG_CORE, LINKED, SMALL, NO_FDS, {REASON}},
    /* seals of the logs: creds/sealer.h */
    {"seal.keys", MSG_CORE, MSG_SIGNER, LINKED, SMALL, NO_FDS, {{0}}},
    {"seal.keys.tell", MSG_SIGNER, MSG_CORE, LINKED, 96 * KIB, NO_FDS,
        {{"origin", MSG_STRING, 255, false}, /* of the host; empty before the first checkpoint */
            {"epoch", MSG_INT, INT64_MAX, false}, {"log_key", MSG_BYTES, 32, false},
            {"epoch_key", MSG_BYTES, 32, false}, {"first_key", MSG_BYTES, 32, false},
            {"logs", MSG_OBJECTS, 256, false}}}, /* log, size, root: as sealed last; breaks */
    {"checkpoint.sign", MSG_CORE, MSG_SIGNER, LINKED, 16 * KIB, NO_FDS,
        {{"log", MSG_STRING, NAME_MAX_LEN, false}, /* a tenant's name, or host */
            {"origin", MSG_STRING, 255, false}, {"size", MSG_INT, INT64_MAX, false},
            {"root", MSG_BYTES, 32, false},
            {"proof", MSG_BLOBS, 63, false}}}, /* from what was sealed last */
    {"checkpoint.signed", MSG_SIGNER, MSG_CORE, LINKED, 32 * KIB, NO_FDS,
        {{"note", MSG_BYTES, 16 * KIB, false}}},
    /* first each log's note into the next epoch, kept; then the ratchet */
    {"epoch.note", MSG_CORE, MSG_SIGNER, LINKED, SMALL, NO_FDS,
        {{"log", MSG_STRING, NAME_MAX_LEN, false}}},
    {"epoch.noted", MSG_SIGNER, MSG_CORE, LINKED, 32 * KIB, NO_FDS,
        {{"epoch", MSG_INT, INT64_MAX, false}, {"note", MSG_BYTES, 16 * KIB, false}}},
    {"epoch.next", MSG_CORE, MSG_SIGNER, LINKED, 32 * KIB, NO_FDS,
        {{"epoch", MSG_INT, INT64_MAX, false},
            {"note", MSG_BYTES, 16 * KIB, true}}}, /* the host's into it, of a signer set back */
    {"epoch.turned", MSG_SIGNER, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"epoch", MSG_INT, INT64_MAX, false}}},
    /* an operator accepts that a log was set back: it goes on from this checkpoint */
    {"break.sign", MSG_CORE, MSG_SIGNER, LINKED, 32 * KIB, NO_FDS,
        {{"log", MSG_STRING, NAME_MAX_LEN, false},
            {"note", MSG_BYTES, 16 * KIB, true}}}, /* none: from its beginning */
    {"break.signed", MSG_SIGNER, MSG_CORE, LINKED, 32 * KIB, NO_FDS,
        {{"number", MSG_INT, 65535, false}, {"note", MSG_BYTES, 16 * KIB, false}}},

    /* ---- the exporter: sinks, witnesses, the archive (broker/export/export.h) ---- */
    /* what there is now, at the start and when something has come (at most five times a second) */
    {"export.grown", MSG_CORE, MSG_EXPORT, LINKED, MSG_MAX, NO_FDS,
        {{"logs", MSG_OBJECTS, 1024, false}}}, /* log, size, checkpoint: size of the newest */
    /* the configuration was read again, and is good */
    {"export.reload", MSG_CORE, MSG_EXPORT, LINKED, SMALL, NO_FDS, {{0}}},
    /* how far a sink has come in a log */
    {"export.open", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS, {SINK, LOG}},
    {"export.at", MSG_CORE, MSG_EXPORT, LINKED, SMALL, NO_FDS,
        {SINK, LOG, {"seq", MSG_INT, INT64_MAX, false}, /* the last record it has; 0: none */
            {"checkpoint", MSG_INT, INT64_MAX, false}}},
    {"export.pull", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {SINK, LOG, {"from", MSG_INT, INT64_MAX, false}, {"max", MSG_INT, 1024, false}}},
    {"export.batch", MSG_CORE, MSG_EXPORT, LINKED, MSG_MAX, NO_FDS,
        {{"from", MSG_INT, INT64_MAX, false}, {"size", MSG_INT, INT64_MAX, false},
            {"records", MSG_BLOBS, 1024, false},
            {"private", MSG_BLOBS, 1024, true}}}, /* as ctl.page; for sinks that may have it */
    /* the body beside a record, from byte `at` on */
    {"export.body", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {SINK, LOG, {"seq", MSG_INT, INT64_MAX, false}, {"at", MSG_INT, INT32_MAX, false}}},
    {"export.bodypart", MSG_CORE, MSG_EXPORT, LINKED, MSG_MAX, NO_FDS,
        {{"size", MSG_INT, INT32_MAX, false}, /* of all of it; 0: it is not there */
            {"data", MSG_BYTES, 64 * KIB, false},
            {"private", MSG_BLOBS, 1024, true}}}, /* as export.batch; with the first one */
    {"export.notes", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"kind", MSG_STRING, 16, false}, /* checkpoint, epoch, break; from this number on */
            {"from", MSG_INT, INT64_MAX, false}}},
    {"export.notelist", MSG_CORE, MSG_EXPORT, LINKED, MSG_MAX, NO_FDS,
        {{"notes", MSG_BLOBS, 1024, false}}}, /* each u64 number, note */
    /* everything up to these is with the sink for good */
    {"export.done", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {SINK, LOG, {"seq", MSG_INT, INT64_MAX, false}, {"checkpoint", MSG_INT, INT64_MAX, false}}},
    /* this one record the sink will never take: recorded, and passed over */
    {"export.skip", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {SINK, LOG, {"seq", MSG_INT, INT64_MAX, false}, REASON}},
    /* sinks and witnesses: name, kind, state, reason, sent, since_s */
    {"export.state", MSG_EXPORT, MSG_CORE, LINKED, 64 * KIB, NO_FDS,
        {{"sinks", MSG_OBJECTS, 64, false}}},
    {"export.refused", MSG_CORE, MSG_EXPORT, LINKED, SMALL, NO_FDS, {REASON}},
    /* a consistency proof between two sizes; no hashes in it when old is 0 or the same */
    {"witness.ask", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"old", MSG_INT, INT64_MAX, false}, {"size", MSG_INT, INT64_MAX, false}}},
    {"witness.proof", MSG_CORE, MSG_EXPORT, LINKED, 16 * KIB, NO_FDS,
        {{"proof", MSG_BLOBS, 63, false}, {"note", MSG_BYTES, 16 * KIB, false}}},
    /* a cosignature line for the checkpoint of that size, as the witness gave it */
    {"witness.signed", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"size", MSG_INT, INT64_MAX, false}, {"witness", MSG_STRING, 255, false},
            {"line", MSG_BYTES, 1024, false}}},
    /* the witness has seen more than we have, or something else: recorded, and told in status */
    {"witness.conflict", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"size", MSG_INT, INT64_MAX, false}, /* that the witness has */
            {"witness", MSG_STRING, 255, false}, REASON}},
    /* records from .. to (a checkpoint's size) into a segment */
    {"archive.cut", MSG_CORE, MSG_EXPORT, LINKED, SMALL, NO_FDS,
        {LOG, {"from", MSG_INT, INT64_MAX, false}, {"to", MSG_INT, INT64_MAX, false},
            {"edge", MSG_BYTES, 4096, true}}}, /* of record `from` - 1: leaf hash, packed tree */
    {"archive.written", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"from", MSG_INT, INT64_MAX, false}, {"to", MSG_INT, INT64_MAX, false},
            {"file", MSG_STRING, 255, false}, {"bytes", MSG_INT, INT64_MAX, false},
            {"digest", MSG_BYTES, 32, false}, /* SHA-256 of the file, read back */
            {"root", MSG_BYTES, 32, false},   /* of the first `to` records, as verified */
            {"bodies_lost", MSG_INT, INT32_MAX, true}}}, /* of records: missing, or not theirs */
    {"archive.failed", MSG_EXPORT, MSG_CORE, LINKED, SMALL, NO_FDS, {LOG, REASON}},

    /* ---- a session's lease process ---- */
    {"lease.list", MSG_LEASE, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},
    {"lease.listing", MSG_CORE, MSG_LEASE, LINKED, 32 * KIB, NO_FDS,
        {{"credentials", MSG_OBJECTS, 64, false}}},
    {"lease.get", MSG_LEASE, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"kind", MSG_STRING, 16, false}, {"audience", MSG_STRING, 256, false}}},
    {"lease.granted", MSG_CORE, MSG_LEASE, LINKED, 16 * KIB, NO_FDS,
        {{"lease", MSG_STRING, 36, false}, {"value", MSG_STRING, 4096, false},
            {"expires_s", MSG_INT, INT64_MAX, false}}},
    {"lease.denied", MSG_CORE, MSG_LEASE, LINKED, SMALL, NO_FDS, {REASON, RECORD}},
    {"lease.release", MSG_LEASE, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"lease", MSG_STRING, 36, false}}},
    {"lease.released", MSG_CORE, MSG_LEASE, LINKED, SMALL, NO_FDS, {{0}}},

    /* ---- who walks a session's private layer (broker/walk/line.h) ---- */
    {"walk.changed", MSG_WALK, MSG_CORE, LINKED, 64 * KIB, NO_FDS,
        {{"layer", MSG_STRING, 8, false}, {"files", MSG_OBJECTS, 1024, false}}},
    {"walk.done", MSG_WALK, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"added", MSG_INT, INT64_MAX, false}, {"changed", MSG_INT, INT64_MAX, false},
            {"deleted", MSG_INT, INT64_MAX, false}, {"metadata", MSG_INT, INT64_MAX, false},
            {"left_out", MSG_INT, INT64_MAX, false}, {"unreadable", MSG_INT, INT64_MAX, false},
            {"incomplete", MSG_BOOL, 0, false}}},

    /* of a workspace that is exported: may it leave? (broker/walk/export.h) */
    {"walk.export", MSG_WALK, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"files", MSG_INT, INT64_MAX, false}, {"bytes", MSG_INT, INT64_MAX, false},
            {"sha256", MSG_STRING, 64, false}, {"flags", MSG_STRINGS, 32, false}}},
    {"walk.go", MSG_CORE, MSG_WALK, LINKED, SMALL, NO_FDS, {{0}}}, /* it is on record */

    /* ---- who sees which programs a session runs (broker/watch/main.c) ---- */
    {"watch.programs", MSG_WATCH, MSG_CORE, LINKED, 64 * KIB, NO_FDS,
        {{"programs", MSG_OBJECTS, 64, false},        /* pid, path, argv, cut */
            {"dropped", MSG_INT, INT64_MAX, false}}}, /* that are not told, since the last one */

    /* ---- operators ---- */
    {"ctl.status", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},
    {"ctl.sessions", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"tenant", MSG_NAME, NAME_MAX_LEN, true}, {"all", MSG_BOOL, 0, true}}},
    {"ctl.session", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {ID}},
    {"ctl.kill", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {ID, {"reason", MSG_STRING, 256, true}}},
    {"ctl.workspace", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {WORKSPACE_FIELDS}},
    {"ctl.stream", MSG_CORE, MSG_CTL, LINKED, SMALL, 1, 1, {{0}}}, /* workspace.stream */
    {"ctl.reload", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},
    {"ctl.clock", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},    /* acknowledge a step back */
    {"ctl.epoch", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},    /* turn it now */
    {"ctl.rollback", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}}, /* accept what is lost */
    {"ctl.keys", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},     /* that seal the logs */
    {"ctl.jwks", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"tenant", MSG_NAME, NAME_MAX_LEN, false}}},
    /* raw records from sequence number `from`, as many as fit one answer */
    {"ctl.records", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"from", MSG_INT, INT64_MAX, false}, {"max", MSG_INT, 1024, false},
            {"log", MSG_STRING, NAME_MAX_LEN, true}, /* the host's if it does not say */
            {"private", MSG_BOOL, 0, true}}},        /* with personal values: that is recorded */
    /* the body beside a record, from byte `at` on */
    {"ctl.body", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"seq", MSG_INT, INT64_MAX, false}, {"at", MSG_INT, INT32_MAX, false},
            {"private", MSG_BOOL, 0, true}}},
    {"ctl.bodypart", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS,
        {{"size", MSG_INT, INT32_MAX, false}, {"data", MSG_BYTES, 64 * KIB, false},
            {"private", MSG_BLOBS, 1024, true}}}, /* with the first one */
    /* every personal value that was recorded with this person */
    {"ctl.erase", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{"person", MSG_STRING, 1024, false}}},
    {"ctl.page", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS,
        {{"from", MSG_INT, INT64_MAX, false}, {"size", MSG_INT, INT64_MAX, false},
            {"records", MSG_BLOBS, 1024, false},
            {"head", MSG_BYTES, 32, true},        /* leaf hash of the newest record */
            {"private", MSG_BLOBS, 1024, true}}}, /* salt and value of what they commit to */
    {"ctl.logs", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS, {{0}}},
    {"ctl.loglist", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS,
        {{"logs", MSG_OBJECTS, 1024, false}}}, /* {"log", "number", "seq", "bytes", "time"} */
    /* a log's checkpoints or epoch notes, as many as fit; each u64 number, note */
    {"ctl.notes", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {{"log", MSG_STRING, NAME_MAX_LEN, false}, {"kind", MSG_STRING, 16, false},
            {"from", MSG_INT, INT64_MAX, false}}},
    {"ctl.notelist", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS,
        {{"notes", MSG_BLOBS, 1024, false}}},
    /* inclusion (of record `number`) or consistency (since that size), to the newest checkpoint */
    {"ctl.prove", MSG_CTL, MSG_CORE, LINKED, SMALL, NO_FDS,
        {LOG, {"kind", MSG_STRING, 16, false}, {"number", MSG_INT, INT64_MAX, false}}},
    {"ctl.proof", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS,
        {{"text", MSG_BYTES, 32 * KIB, false}}}, /* broker/audit/proof.h */
    {"ctl.answer", MSG_CORE, MSG_CTL, LINKED, MSG_MAX, NO_FDS, {{"data", MSG_OBJECT, 256, false}}},
    {"ctl.error", MSG_CORE, MSG_CTL, LINKED, SMALL, NO_FDS,
        {{"code", MSG_INT, 255, false}, REASON}}, /* code: the tool's exit status */

    /* ---- a stock sshd ---- */
    {"pam.open", MSG_PAM, MSG_CORE, MSG_PHASE_AUTH, 96 * KIB, NO_FDS,
        {{"user", MSG_BYTES, 256, false}, {"key", MSG_BYTES, 48 * KIB, false},
            {"peer", MSG_STRING, 64, false}}},
    {"pam.opened", MSG_CORE, MSG_PAM, MSG_PHASE_ANY, SMALL, 1, 1, {ID}},
    {"pam.denied", MSG_CORE, MSG_PAM, MSG_PHASE_ANY, SMALL, NO_FDS, {REASON, RECORD}},
    {"pam.close", MSG_PAM, MSG_CORE, MSG_PHASE_OPEN, SMALL, NO_FDS, {{0}}},

    {NULL, 0, 0, 0, 0, 0, 0, {{0}}},
};
