#!/usr/bin/python3
"""A running Postern and a real rsyslogd: everything arrives, in order, whoever of them is killed; what a sink may not
have does not leave; and a sink that is away holds up no session."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, shutil, signal, time

import tap
from pki import Pki
from postern import Postern, until
from rsyslog import Rsyslogd
from tap import Skip, main, rule

EXPORT_ID = 4  # offset of the exporter's uid


class Exported(Postern):
    rsyslog = None

    def start(self, *args, **more):
        super().start(*args, **more)
        if not self.rsyslog and shutil.which("rsyslogd"):
            pki = Pki(f"{self.work}/pki")
            self.rsyslog = Rsyslogd(pki)
            cert, key = pki.cert("client")
            for name, path in (("ca.pem", pki.ca), ("me.pem", cert), ("me.key", key)):
                shutil.copy(path, f"{self.state}/etc/{name}")
                os.chmod(f"{self.state}/etc/{name}", 0o600 if name == "me.key" else 0o644)
            os.chown(f"{self.state}/etc/me.key", self.ids + EXPORT_ID, 0)
            self.configure()
        return self

    def configure(self):
        path = f"{self.state}/etc/postern.yaml"
        with open(path) as f:
            kept = [l for l in f.read().split("\n") if l and l.startswith(("ids:", "limits:", "gateway:"))]
        kept += ["log: {checkpoint: 1s}", "export:",
                 f'  - {{name: siem, kind: syslog, to: "localhost:{self.rsyslog.port}", ca: ca.pem, cert: me.pem, '
                 'key: me.key, logs: [demo]}',
                 "  - {name: lake, kind: jsonl, personal: true}"]
        with open(path, "w") as f:
            f.write("\n".join(kept) + "\n")
        r = self.postern("reload")
        assert r.code == 0, r

    def close(self):
        try:
            super().close()
        finally:
            if self.rsyslog:
                self.rsyslog.close()


def need(p):
    if not p.rsyslog:
        raise Skip("no rsyslogd")


def sink(p, name):
    r = p.postern("--json", "status")
    assert r.code in (0, 10), r
    return next(s for s in json.loads(r.text)["export"]["sinks"] if s["name"] == name)


def demo(p):
    return [r for r in p.records() if r["log"] == "demo"]


def delivered(p):
    """Every record of demo's log is with rsyslog, in order, each at least once; and the core knows that."""
    want = demo(p)
    n = want[-1]["seq"]
    until(lambda: (n, p.rsyslog.seqs()[-3:], sink(p, "siem")), lambda: n in p.rsyslog.seqs(), timeout=90)
    seqs = p.rsyslog.seqs()
    assert list(dict.fromkeys(seqs))[:n] == list(range(1, n + 1)), seqs
    until(lambda: sink(p, "siem"), lambda: sink(p, "siem")["behind"] == 0, timeout=60)


@rule
def a_sessions_records_arrive_in_order(p):
    need(p)
    assert p.ssh("echo in").out == b"in\n"
    delivered(p)
    r = p.postern("status")
    assert r.code == 0 and "siem" in r.text and "syslog" in r.text and "BEHIND" in r.text, r
    bodies = [json.loads(m[9]) for m in p.rsyslog.lines() if m[4] == b"record" and m[6] == b"demo"]
    assert any(b.get("class_uid") == 1007 for b in bodies), bodies[-3:]


@rule
def checkpoints_go_out_too(p):
    need(p)
    until("a checkpoint", lambda: [m for m in p.rsyslog.lines() if m[4] == b"checkpoint"], timeout=30)
    assert {m[6] for m in p.rsyslog.lines()} == {b"demo"}, "a sink gets the logs it is to have, and no other"


@rule
def nothing_is_lost_when_the_exporter_or_the_core_is_killed(p):
    need(p)
    for victim in ("export", "core", "export", "core"):
        before = p.daemon(victim)
        running = p.ssh_open("cat")
        until("its session", lambda: any(s["channels"] for s in p.sessions()), timeout=20)
        os.kill(before, signal.SIGKILL)
        running.stdin.close()
        running.wait(30)
        until(f"a new {victim}", lambda: p.daemons(victim) not in ([], [before]), timeout=20)
        until("a session", lambda: p.ssh("echo in").out == b"in\n", timeout=20)
        delivered(p)


@rule
def a_sink_that_is_away_holds_up_nothing(p):
    need(p)
    p.rsyslog.kill()
    assert p.ssh("echo on").out == b"on\n"
    until(lambda: sink(p, "siem"), lambda: sink(p, "siem")["behind"] > 0 and sink(p, "siem")["reason"], timeout=60)
    assert p.ssh("echo on").out == b"on\n"
    p.rsyslog.start()
    delivered(p)


@rule
def a_restart_goes_on_where_it_was(p):
    need(p)
    delivered(p)
    before = len(p.rsyslog.seqs())
    p.stop()
    p.start()
    assert p.ssh("echo again").out == b"again\n"
    delivered(p)
    new = p.rsyslog.seqs()[before:]
    assert min(new) > before - 60, "not everything again"


@rule
def a_file_has_all_logs_with_personal_values(p):
    need(p)
    until(lambda: sink(p, "lake"), lambda: sink(p, "lake")["behind"] < 5, timeout=60)
    with open(f"{p.state}/export/lake.jsonl") as f:
        lines = [json.loads(l) for l in f]
    text = json.dumps(lines)
    assert "127.0.0.1" in text, lines[-2:]
    with open(p.rsyslog.out, "rb") as f:
        assert b'"127.0.0.1"' not in f.read(), "personal values went to a sink that may not have them"


@rule
def an_idle_log_comes_to_rest(p):
    need(p)
    delivered(p)
    n = demo(p)[-1]["seq"]
    time.sleep(3)  # there is no event to wait for: nothing is to come
    assert demo(p)[-1]["seq"] == n


if __name__ == "__main__":
    tap.RULE_SECONDS = 200
    main(Exported)
