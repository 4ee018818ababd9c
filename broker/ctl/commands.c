#include "broker/ctl/ctl.h"

/* Every command, in the order of --help. postern(1) says the same at length. */

static const struct ctl_option ca_init[] = {
    {"out", "FILE", false, "write the key to FILE instead"},
    {"type", "TYPE", false, "ed25519 (default), ecdsa or rsa"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option cert_issue[] = {
    {"ca", "FILE", false, "the CA's private key (required)"},
    {"key", "PUB", false, "the agent's public key (required)"},
    {"role", "ROLE", true, "role, and login name (required)"},
    {"ttl", "TIME", false, "how long it is valid, from now on; default 5m"},
    {"id", "PERSON", false, "for whom: the key id in every record"},
    {"source", "CIDR,...", false, "only from these networks"},
    {"template", "NAME", false, "only in this template"},
    {"workspace", "NAME", false, "only this workspace, or none"},
    {"workspace-ro", NULL, false, "its workspace read-only"},
    {"credential", "jwt:AUDIENCE", true, "only these credentials"},
    {"no-credentials", NULL, false, "no credential at all"},
    {"allow", "ACTION,...", false, "only these of exec, shell, pty, sftp, credential, forward"},
    {"task", "TEXT", false, "what it is for"},
    {"command", "COMMAND", false, "whatever is asked for, run this (force-command)"},
    {"lifetime", "TIME", false, "end each session after so long"},
    {"no-pty", NULL, false, "no terminal"},
    {"serial", "N", false, "serial number; default a random one"},
    {"out", "FILE", false, "default: beside PUB, as ssh-keygen does"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option template_any[] = {
    {"tenant", "NAME", false, "as this tenant's roles get it"},
    {"config", "DIR", false, "the configuration; default STATE/etc or /etc/postern"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option template_build[] = {
    {"tenant", "NAME", false, "this tenant's template"},
    {"config", "DIR", false, "the configuration; default STATE/etc or /etc/postern"},
    {"prune", NULL, false, "remove what no template names any more"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option session_list[] = {
    {"tenant", "NAME", false, "of this tenant only"},
    {"all", NULL, false, "those that have ended, too"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option session_kill[] = {
    {"reason", "TEXT", false, "recorded, and shown to the client"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option workspace[] = {
    {"tenant", "NAME", false, "of this tenant"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option workspace_fork[] = {
    {"tenant", "NAME", false, "of this tenant"},
    {"snapshot", "SNAPSHOT", false, "as it was then"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option workspace_diff[] = {
    {"tenant", "NAME", false, "of this tenant"},
    {"snapshot", "SNAPSHOT", false, "since this one"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option workspace_export[] = {
    {"tenant", "NAME", false, "of this tenant"},
    {"allow", "FLAG", true, "what has this flag may leave"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option workspace_delete[] = {
    {"tenant", "NAME", false, "of this tenant"},
    {"snapshot", "SNAPSHOT", false, "only this snapshot of it"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_show[] = {
    {"session", "ID", false, "about this session"},
    {"connection", "ID", false, "about this connection"},
    {"tenant", "NAME", false, "of this tenant"},
    {"class", "CLASS", false, "of this class; \"auth.\" for all that begin so"},
    {"since", "TIME", false,
        "2026-11-23T15:38:48Z, any prefix of it, or 5m for the last five minutes"},
    {"until", "TIME", false, "likewise"},
    {"limit", "N", false, "the newest N of them"},
    {"seq", "N", false, "the record of this number, as a refusal names it"},
    {"actor", "WHO", false, "of this key (its fingerprint), role, person or operator"},
    {"text", "TEXT", false, "in which this text is"},
    {"log", "NAME", false, "of this log: a tenant's name, or host"},
    {"timeline", NULL, false, "with --session: told from its beginning; so in a terminal"},
    {"raw", NULL, false, "with --session: a line a record, in a terminal as well"},
    {"body", NULL, false, "at full length, with bodies that lie beside their records"},
    {"file", "FILE", false, "from a bundle, or lines, that audit export wrote"},
    {"archive", "DIR", false, "what is in the segments there first, log after log"},
    {"offline", NULL, false, "read the files even if a Postern runs"},
    {"follow", NULL, false, "go on with new ones until Ctrl-C"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_erase[] = {
    {"yes", NULL, false, "without a question"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_verify[] = {
    {"log", "NAME", false, "this log only: a tenant's name, or host"},
    {"file", "FILE", false, "a bundle that audit export wrote"},
    {"archive", "DIR", false, "segments of it; default STATE/archive if it may be read"},
    {"offline", NULL, false, "read the files even if a Postern runs"},
    {"key", "KEY", true, "a verifier key: the log's, the first epoch's, a witness's"},
    {"keys", "FILE", false, "such keys, as audit keys prints them"},
    {"quorum", "N", false, "witnesses that must have signed; default more than half of the keys"},
    {"from-checkpoint", "FILE", false, "a checkpoint that was kept: the log must still hold it"},
    {"accept-break", NULL, false, "what was kept may be lost in a break: the log was set back"},
    {"keep", "FILE", false, "write the newest checkpoint that held to FILE"},
    {"chain", NULL, false, "only whether the chain is unbroken: what is not sealed is no fault"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_export[] = {
    {"log", "NAME", false, "one log with its seals as a bundle"},
    {"archive", "DIR", false, "segments of it; default STATE/archive if it may be read"},
    {"offline", NULL, false, "read the files even if a Postern runs"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_prove[] = {
    {"log", "NAME", false, "of this log; default host"},
    {"from", "SIZE", false, "instead: that the log still begins as it was at SIZE records"},
    {"file", "FILE", false, "from a bundle"},
    {"archive", "DIR", false, "segments of it; default STATE/archive if it may be read"},
    {"offline", NULL, false, "read the files even if a Postern runs"},
    {"out", "FILE", false, "write the proof to FILE"},
    {"record-out", "FILE", false, "write the record that is proved to FILE"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_archive[] = {
    {"archive", "DIR", false, "default STATE/archive"},
    {"log", "NAME", false, "of this log only"},
    {"verify", NULL, false, "read each one, and say whether it is whole"},
    {"key", "KEY", true, "with --verify: a verifier key, as of audit verify"},
    {"keys", "FILE", false, "such keys, as audit keys prints them"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_check_proof[] = {
    {"record", "FILE", false, "the record, as it was stored"},
    {"from-checkpoint", "FILE", false, "the older checkpoint, for a proof of consistency"},
    {"key", "KEY", true, "a verifier key: the log's, a witness's"},
    {"keys", "FILE", false, "such keys, as audit keys prints them"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option backup[] = {
    {"keys", "FILE", false, "the host's keys, encrypted, into a file of their own"},
    {"passphrase-file", "FILE", false, "what opens them: its first line"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option restore[] = {
    {"keys", "FILE", false, "the host's keys, too, from this file"},
    {"passphrase-file", "FILE", false, "what opens them: its first line"},
    {"force", NULL, false, "put the store that is there aside"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option audit_keys[] = {
    {"write", NULL, false, "into log.keys of the configuration, for audit verify"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option check[] = {
    {"config", "DIR", false, "the configuration directory; default /etc/postern or STATE/etc"},
    {"sshd-config", "FILE", false, "judge this file of a stock sshd"},
    {"user", "NAME", false, "as sshd would see this Unix user (Match blocks)"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option up[] = {
    {"listen", "HOST:PORT", false, "default 127.0.0.1:2222; port 0 takes a free one"},
    {"ids", "BASE", false, "the first of its numeric ids; default 1879048192"},
    {NULL, NULL, false, NULL},
};

static const struct ctl_option witness[] = {
    {"listen", "HOST:PORT", false, "where to serve (required)"},
    {"name", "NAME", false, "of its key, such as witness.example.org/w1; needed once"},
    {"log", "KEY", true, "a verifier key: cosign this log, and its tenants'"},
    {"logs", "FILE", false, "such keys, as audit keys prints them"},
    {"tls-cert", "FILE", false, "PEM: speak HTTPS"},
    {"tls-key", "FILE", false, "PEM"},
    {"user", "NAME", false, "whom to become when started as root; default postern-witness"},
    {NULL, NULL, false, NULL},
};
static const struct ctl_option witness_key[] = {
    {"name", "NAME", false, "make the key if there is none, and call it so"},
    {NULL, NULL, false, NULL},
};

const struct ctl_command ctl_commands[] = {
    {"ca", "init", "[NAME]", 0, 1, ca_init, "make a CA key", ctl_ca_init},
    {"cert", "issue", NULL, 0, 0, cert_issue, "sign a certificate", ctl_cert_issue},
    {"cert", "show", "FILE", 1, 1, NULL, "say what a certificate says", ctl_cert_show},
    {"session", "list", NULL, 0, 0, session_list, "list sessions", ctl_session_list},
    {"session", "show", "ID", 1, 1, NULL, "show one session", ctl_session_show},
    {"session", "kill", "ID", 1, 1, session_kill, "end a session now", ctl_session_kill},
    {"sessions", NULL, NULL, 0, 0, session_list, "short for session list", ctl_session_list},
    {"kill", NULL, "ID", 1, 1, session_kill, "short for session kill", ctl_session_kill},
    {"audit", "show", NULL, 0, 0, audit_show, "show records", ctl_audit_show},
    {"audit", "erase", "PERSON", 1, 1, audit_erase, "erase a person's name and addresses",
        ctl_audit_erase},
    {"audit", "verify", NULL, 0, 0, audit_verify, "say what is proved of the log",
        ctl_audit_verify},
    {"audit", "export", "FILE", 1, 1, audit_export, "write the log to a file", ctl_audit_export},
    {"audit", "archive", NULL, 0, 0, audit_archive, "list the archive's segments",
        ctl_audit_archive},
    {"audit", "prove", "[SEQ]", 0, 1, audit_prove, "prove a record, or growth", ctl_audit_prove},
    {"audit", "check-proof", "FILE", 1, 1, audit_check_proof, "check such a proof",
        ctl_audit_check_proof},
    {"audit", "keys", NULL, 0, 0, audit_keys, "print the keys that seal the logs", ctl_audit_keys},
    {"audit", "epoch", NULL, 0, 0, NULL, "seal with new keys from now on", ctl_audit_epoch},
    {"audit", "ack", NULL, 0, 0, NULL, "accept that the store was set back", ctl_audit_ack},
    {"audit", "compact", NULL, 0, 0, NULL, "give unused room back to the disk (stopped)",
        ctl_audit_compact},
    {"workspace", "list", NULL, 0, 0, workspace, "list workspaces", ctl_workspace_list},
    {"workspace", "create", "NAME", 1, 1, workspace, "make an empty one", ctl_workspace_create},
    {"workspace", "snapshot", "NAME SNAPSHOT", 2, 2, workspace, "keep it as it is now",
        ctl_workspace_snapshot},
    {"workspace", "fork", "NAME TO", 2, 2, workspace_fork, "make another one of it",
        ctl_workspace_fork},
    {"workspace", "rollback", "NAME SNAPSHOT", 2, 2, workspace, "go back to a snapshot",
        ctl_workspace_rollback},
    {"workspace", "diff", "NAME", 1, 1, workspace_diff, "what was changed in it",
        ctl_workspace_diff},
    {"workspace", "export", "NAME FILE", 2, 2, workspace_export, "a tar of it, by the gate",
        ctl_workspace_export},
    {"workspace", "delete", "NAME", 1, 1, workspace_delete, "delete it, or a snapshot of it",
        ctl_workspace_delete},
    {"backup", NULL, "FILE", 1, 1, backup, "copy store and configuration to a file", ctl_backup},
    {"restore", NULL, "FILE", 1, 1, restore, "put a backup back (stopped)", ctl_restore},
    {"template", "list", NULL, 0, 0, template_any, "list templates", ctl_template_list},
    {"template", "show", "NAME", 1, 1, template_any, "show a template, and where it says so",
        ctl_template_show},
    {"template", "check", "[FILE|NAME]", 0, 1, template_any, "check templates and what they name",
        ctl_template_check},
    {"template", "build", "[NAME]", 0, 1, template_build, "unpack the images of templates",
        ctl_template_build},
    {"check", NULL, NULL, 0, 0, check, "check configuration and host", ctl_check},
    {"status", NULL, NULL, 0, 0, NULL, "processes, host, disk, log, tenants", ctl_status},
    {"reload", NULL, NULL, 0, 0, NULL, "read the configuration again", ctl_reload},
    {"clock", "ack", NULL, 0, 0, NULL, "accept that the clock went back", ctl_clock_ack},
    {"jwks", NULL, "TENANT", 1, 1, NULL, "print a tenant's token keys", ctl_jwks},
    {"host-key", NULL, NULL, 0, 0, NULL, "print the host key for known_hosts", ctl_host_key},
    {"up", NULL, NULL, 0, 0, up, "run a throwaway Postern in the foreground", ctl_up},
    {"witness", "key", NULL, 0, 0, witness_key, "print the witness's verifier key",
        ctl_witness_key},
    {"witness", "list", NULL, 0, 0, NULL, "what the witness cosigned last", ctl_witness_list},
    {"witness", "forget", "ORIGIN", 1, 1, NULL, "forget a log", ctl_witness_forget},
    {"witness", NULL, NULL, 0, 0, witness, "cosign the logs of other hosts", ctl_witness},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL},
};
