#!/usr/bin/python3
"""A running Postern and a running witness: what is witnessed, how far behind it is, and what a witness alone can see.
The store and the signer's keys set back together (a snapshot of the machine) fool everything else on the host."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, shutil, signal, tempfile, time

import proc
import tap
from postern import Postern, until
from tap import main, rule
from witness import Witness

GOOD, WARNING = 0, 10


class Key:
    def __init__(self, key):
        self.key = key


def status(p):
    r = p.postern("--json", "status")
    assert r.code in (0, WARNING), r
    return json.loads(r.text)["export"]


def logs(p):
    return {x["log"]: x for x in status(p)["logs"]}


def all_witnessed(p, more_than=None):
    found = logs(p)
    return len(found) >= 2 and all(x["witnessed"] >= x["sealed"] > (more_than or {}).get(n, 0) for n, x in found.items())


def wait_witnessed(p, more_than=None):
    until(lambda: status(p), lambda: all_witnessed(p, more_than), timeout=60)


def configure(p, *witnesses, quorum=None):
    path = f"{p.state}/etc/postern.yaml"
    with open(path) as f:
        lines = [l for l in f.read().split("\n") if l and not l.startswith(("witnesses:", "log:"))]
    items = ", ".join(f'{{key: "{w.key}", url: "{w.url}"}}' for w in witnesses)
    lines.append(f"witnesses: {{{f'quorum: {quorum}, ' if quorum else ''}list: [{items}]}}")
    lines.append("log: {checkpoint: 1s}")
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    r = p.postern("reload")
    assert r.code == 0, r


def host_key(p):
    until("keys", lambda: p.postern("audit", "keys").code == 0 and any(
        x["log"] == "host" for x in p.json("audit", "keys")["logs"]), timeout=20)
    return next(x["key"] for x in p.json("audit", "keys")["logs"] if x["log"] == "host")


def state_of(p):
    """Started, with a witness beside it that knows it, all of its logs witnessed."""
    assert p.ssh("echo in").out == b"in\n"
    p.witness = Witness(Key(host_key(p)))
    configure(p, p.witness)
    wait_witnessed(p)


@rule
def every_log_is_witnessed_within_seconds(p):
    state_of(p)
    assert p.ssh("echo more").out == b"more\n"
    wait_witnessed(p)
    r = p.postern("status")
    assert r.code == 0 and "WITNESSED" in r.text and "quorum" in r.text and p.witness.name in r.text, r
    w = status(p)["witnesses"][0]
    assert w["state"] not in ("unknown", "failed"), w


@rule
def the_log_does_not_feed_itself(p):
    """Checkpoints, cosignatures and cursors make no records: an idle host's log comes to rest."""
    wait_witnessed(p)
    time.sleep(3)  # what the rule before has set off
    before = {n: x["size"] for n, x in logs(p).items()}
    time.sleep(4)  # there is no event to wait for: nothing is to come
    late = [r["class"] for r in p.records() if r["log"] == "host" and r["seq"] > before["host"]]
    assert set(late) <= {"ctl", "log.read"}, late  # what we asked
    assert logs(p)["demo"]["size"] == before["demo"], logs(p)


@rule
def verification_says_witnessed(p):
    keys = os.path.join(p.work, "keys")
    all_keys = p.json("audit", "keys")
    with open(keys, "w") as f:
        f.write("\n".join([all_keys["first"]] + [x["key"] for x in all_keys["logs"]] + [p.witness.key]) + "\n")
    wait_witnessed(p)
    r = p.postern("--json", "audit", "verify", "--keys", keys)
    assert r.code in (0, 20), r
    assert "witnessed" in r.text, r
    assert "cosigned_by_unknown" not in r.text, r
    stranger = os.path.join(p.work, "keys-of-logs")
    with open(stranger, "w") as f:
        f.write("\n".join([all_keys["first"]] + [x["key"] for x in all_keys["logs"]]) + "\n")
    r = p.postern("audit", "verify", "--log", "demo", "--keys", stranger)
    assert r.code in (0, 20) and f"cosigned by {p.witness.name}, whose key is not among yours" in r.text, r
    r = p.postern("audit", "verify", "--log", "demo", "--keys", keys, "--quorum", "2")
    assert r.code == 2 and "1 witness" in r.error, r
    r = p.postern("audit", "keys")
    assert r.code == 0 and p.witness.key in r.text, r
    r = p.postern("audit", "keys", "--write")
    with open(f"{p.state}/etc/log.keys") as f:
        assert r.code == 0 and f"witness {p.witness.key}\n" in f.read(), r
    out = os.path.join(p.work, "demo.plog")
    r = p.postern("audit", "export", "--log", "demo", out)
    assert r.code == 0, r
    with open(out, "rb") as f:
        assert f"\u2014 {p.witness.name} ".encode() in f.read(), "no cosignature in the bundle"


@rule
def without_the_witness_sessions_go_on_and_the_status_says_so(p):
    wait_witnessed(p)
    sizes = {n: x["sealed"] for n, x in logs(p).items()}
    p.witness.stop(signal.SIGKILL)
    assert p.ssh("echo alone").out == b"alone\n"
    until("what is not witnessed", lambda: logs(p)["demo"]["sealed"] > logs(p)["demo"]["witnessed"], timeout=30)
    until("lag", lambda: logs(p)["demo"]["lag_s"] >= 2, timeout=20)
    until("state", lambda: status(p)["witnesses"][0]["reason"], timeout=20)
    assert p.ssh("echo still").out == b"still\n"
    assert logs(p)["demo"]["unwitnessed"] > 0, logs(p)
    restart_witness(p)
    wait_witnessed(p, sizes)


def restart_witness(p):
    """The same witness, at another port: told by the configuration."""
    p.witness.start()
    configure(p, p.witness)


@rule
def nothing_is_lost_when_any_of_them_is_killed(p):
    for victim in ("export", "core", "signer", "witness", "export"):
        if victim == "witness":
            p.witness.stop(signal.SIGKILL)
            assert p.ssh("echo x").out == b"x\n"
            restart_witness(p)
        else:
            before = p.daemon(victim)
            os.kill(before, signal.SIGKILL)
            until(f"a new {victim}", lambda: p.daemons(victim) not in ([], [before]), timeout=20)
        until("a session", lambda: p.ssh("echo in").out == b"in\n", timeout=20)
        wait_witnessed(p)
    r = p.postern("audit", "verify")
    assert r.code in (0, 20, 21), r


@rule
def a_quorum_needs_as_many_as_it_says(p):
    wait_witnessed(p)
    with Witness(Key(host_key(p)), name="witness.example/w2") as second:
        configure(p, p.witness, second, quorum=2)
        assert p.ssh("echo two").out == b"two\n"
        wait_witnessed(p)
        second.stop()
        at = {n: x["witnessed"] for n, x in logs(p).items()}
        assert p.ssh("echo one").out == b"one\n"
        until("more", lambda: logs(p)["demo"]["sealed"] > at["demo"], timeout=30)
        until("the first has signed", lambda: status(p)["witnesses"][0]["state"] != "unknown", timeout=30)
        assert logs(p)["demo"]["witnessed"] == at["demo"], logs(p)
        configure(p, p.witness)
        wait_witnessed(p, at)


@rule
def a_machine_set_back_is_seen_by_the_witness_alone(p):
    wait_witnessed(p)
    p.stop()
    with tempfile.TemporaryDirectory() as snapshot:
        for name in ("core", "keys"):
            shutil.copytree(f"{p.state}/{name}", f"{snapshot}/{name}", copy_function=copy_owned)
            os.chown(f"{snapshot}/{name}", os.stat(f"{p.state}/{name}").st_uid, -1)
        p.start()
        until("a session", lambda: p.ssh("echo lost").out == b"lost\n", timeout=20)
        wait_witnessed(p)
        p.stop()
        for name in ("core", "keys"):
            shutil.rmtree(f"{p.state}/{name}")
            shutil.copytree(f"{snapshot}/{name}", f"{p.state}/{name}", copy_function=copy_owned)
            os.chown(f"{p.state}/{name}", os.stat(f"{snapshot}/{name}").st_uid, -1)
            os.chmod(f"{p.state}/{name}", 0o700)
        p.start()
    until("the conflict", lambda: any("has seen another log" in a for a in status(p)["alarms"]), timeout=60)
    r = p.postern("status")
    assert r.code == WARNING and "has seen another log" in r.error, r
    found = [x for x in p.records() if x["class"] == "log.conflict"]
    assert found and found[0]["body"]["witness"] == p.witness.name, found
    assert len({x["body"]["log"] for x in found}) == len(found), found
    # nothing new starts until an operator accepts it, and a restart is no way around
    assert "until postern audit ack" in r.error and p.ssh("echo no").code != 0, r
    p.stop()
    p.start()
    assert p.ssh("echo no").code != 0
    assert p.postern("audit", "ack").code == GOOD
    until("a session", lambda: p.ssh("echo after").out == b"after\n", timeout=20)
    r = p.postern("status")
    assert r.code == WARNING and "has seen another log" in r.error and "until postern audit ack" not in r.error, r
    assert [x for x in p.records() if x["class"] == "log.conflict.accepted"]


def copy_owned(a, b):
    shutil.copy2(a, b)
    st = os.stat(a)
    os.chown(b, st.st_uid, st.st_gid)


class Witnessed(Postern):
    witness = None

    def close(self):
        if self.witness:
            self.witness.close()
        super().close()


if __name__ == "__main__":
    tap.RULE_SECONDS = 200
    main(Witnessed)
