/*
 * What the core answers an operator: the shapes of ctl.answer's data, written by handle_ctl.c and
 * shown by broker/ctl. Times are text (UTC, as in records) unless the name says otherwise; an
 * optional key may be absent.
 *
 * ctl.status
 *   {"version", "boot", "uptime_s",
 *    "processes": [{"role","pid","uid","started_boot_ns","restarts"}],     as status.tell
 *    "host": {...},                                                         as probe.answer
 *    "disk": {"map_size","map_used","disk_size","disk_free","warnings"},
 *    "log": {"size","newest": time, "clock": "good" | "behind by N s"},
 *    "seal": null | {"origin","epoch","state": "good" or why not,"accepted": a rollback, by an
 * operator, "logs": [{"log","size","sealed","state","epoch","sealed_s": seconds ago}],"more"},
 *    "export": null | {"running": the exporter is there, "sinks": [{"name","kind","to","personal",
 * "state","reason","since_s","sent","logs","behind": records it has not got}], "quorum",
 * "witnesses": [{"name","url","state","reason","since_s"}], "logs": [{"log","size","sealed",
 * "witnessed","unwitnessed": records,"lag_s": age of the oldest sealed one of these}] (none without
 * witnesses), "more", "skipped": records, since the core started, "alarms": [text]},
 *    "archive": null | {"on": it is configured, "logs": [{"log","archived": up to this record,
 * "pruned": likewise,"held": whom the next records wait for}], "more", "cutting": a log,
 * "segments": since the core started, "last": null | {"log","from","to","ago_s"}, "failed": why the
 * last one was not written}, "config": {"digest","loaded": time}, "tenants":
 * [{"name","cas":[fingerprint],"roles":[name],"sessions": live,"limit"}], "connections": open,
 * "sessions": live, "sessions_limit"}
 *
 * ctl.sessions -> {"sessions": [SUMMARY, ...]}, newest first, at most 256; "more": true if there
 * are more SUMMARY {"id","state","tenant","role","template","person","task","peer","route": "ssh" |
 * "sshd","conn", "started","ends": time,"channels": open,"ended": time,"reason"} ctl.session  ->
 * SUMMARY and {"grant": {...},"plan": {...},"enforced": {...},"pid","leases":
 * [{"id","kind","audience","issued","expires","state"}], "open":
 * [{"channel","kind","command","pty","started"}],"totals": {...}} ctl.kill     ->
 * {"session","state"}     after its end was recorded and ordered ctl.reload   ->
 * {"digest","tenants","templates"} ctl.clock    -> {"clock"} ctl.jwks     -> {"jwks": {...}}
 *
 * ctl.erase -> {"values": that were erased, "sessions": rows of ended ones that went with them}
 *
 * ctl.epoch -> {"epoch"}  ctl.rollback -> {"accepted"}  ctl.keys -> broker/core/seal.h
 *
 * ctl.error codes: 1 refused or failed, 2 not understood, 3 no such thing, 4 not permitted, 5 the
 * configuration is wrong; of a proof 22 nothing is sealed, 23 records are missing, 30 they are in
 * the archive.
 */
#ifndef POSTERN_CORE_CTL_ANSWERS_H
#define POSTERN_CORE_CTL_ANSWERS_H

#define CTL_FAILED    1
#define CTL_USAGE     2
#define CTL_NOT_FOUND 3
#define CTL_DENIED    4
#define CTL_CONFIG    5
#define CTL_UNSEALED  22
#define CTL_LOST      23
#define CTL_ARCHIVED  30

#define CTL_SESSIONS_MAX 256

#endif
