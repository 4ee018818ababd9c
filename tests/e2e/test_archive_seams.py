#!/usr/bin/python3
"""Where the archive meets the rest: witnesses hold records back and let them go, long bodies go into segments with their
records, and a log that was set back is archived and verified on."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, signal, time

import tap, tlog
from archiving import Small
from postern import PROGRAM, run, until
from tap import main, rule
from witness import Witness

GOOD, BROKEN, WARNING, TAIL, LOST, ARCHIVED, RESTORED = 0, 4, 10, 20, 23, 30, 31
tap.RULE_SECONDS = 240


def archive(p):
    r = p.postern("--json", "status")
    assert r.code in (GOOD, WARNING), r
    return json.loads(r.text)["archive"]


def of(p, log="host"):
    return next((x for x in archive(p)["logs"] if x["log"] == log), {"archived": 0, "pruned": 0, "held": ""})


class Key:
    def __init__(self, p):
        until("keys", lambda: p.postern("audit", "keys").code == 0 and any(
            x["log"] == "host" for x in p.json("audit", "keys")["logs"]), timeout=20)
        self.key = next(x["key"] for x in p.json("audit", "keys")["logs"] if x["log"] == "host")


def told(p, witness=True):
    w = p.witness
    p.more = f'witnesses: {{quorum: 1, list: [{{key: "{w.key}", url: "{w.url}"}}]}}\n' if witness else ""
    path = f"{p.state}/etc/postern.yaml"
    with open(path) as f:
        lines = [x for x in f if not x.startswith("witnesses:")]
    with open(path, "w") as f:
        f.write("".join(lines) + p.more)
    r = p.postern("reload")
    assert r.code == 0, r


@rule
def nothing_leaves_before_the_quorum_has_signed(p):
    assert p.ssh("echo in").out == b"in\n"
    p.witness = Witness(Key(p))
    told(p)
    until(lambda: archive(p), lambda: p.postern("--json", "status").code == GOOD, timeout=60)
    p.witness.stop(signal.SIGKILL)
    p.flood(900)
    until(lambda: archive(p), lambda: "quorum" in of(p)["held"], timeout=60)
    r = p.postern("status")
    assert "ARCHIVED" in r.text and "quorum" in r.text, r
    time.sleep(6)  # longer than the archive looks again
    signed = {x["log"]: x["witnessed"] for x in p.json("status")["export"]["logs"]}["host"]
    assert of(p)["archived"] <= signed < 900 and of(p)["pruned"] == 0, (signed, archive(p))


@rule
def it_goes_on_when_the_witness_is_back(p):
    p.witness.start()
    told(p)
    until(lambda: archive(p), lambda: of(p)["pruned"] >= 768, timeout=90)
    a = archive(p)
    assert a["on"] and a["segments"] > 0 and a["last"]["to"] >= 768 and a["failed"] == "", a
    g = p.segments()[-1]
    b = tlog.load_segment(f"{p.archive}/{g['file']}")
    assert p.witness.name.encode() in b.checkpoints[-1][1], "the segment does not end with what the witness signed"


@rule
def a_running_postern_proves_without_its_archive(p):
    os.mkdir(f"{p.work}/none")
    proof, record, old = (f"{p.work}/{x}" for x in ("proof", "record", "old"))
    log_key = p.witness.logs[0].key
    sealed = {x["log"]: x["sealed"] for x in p.json("status")["seal"]["logs"]}["host"]
    gone = of(p)["pruned"]
    for n in (gone + 1, gone + 7, sealed):
        r = p.postern("audit", "prove", str(n), "--out", proof, "--record-out", record, "--archive", f"{p.work}/none")
        assert r.code == GOOD, r
        with open(proof, "rb") as f, open(record, "rb") as g:
            assert tlog.check_inclusion(f.read(), g.read(), log_key), n
        assert run([PROGRAM, "audit", "check-proof", proof, "--record", record, "--key", log_key]).code == GOOD, n
    b = tlog.load_segment(f"{p.archive}/{p.segments()[-1]['file']}")
    with open(old, "wb") as f:
        f.write(b.checkpoints[-1][1])
    r = p.postern("audit", "prove", "--from", str(b.checkpoints[-1][0]), "--out", proof, "--archive", f"{p.work}/none")
    assert r.code == GOOD, r
    assert run([PROGRAM, "audit", "check-proof", proof, "--from-checkpoint", old, "--key", log_key]).code == GOOD
    r = p.postern("audit", "prove", "7", "--out", proof, "--archive", f"{p.work}/none")
    assert r.code == ARCHIVED and b"archive" in r.err, r
    r = p.postern("audit", "prove", "7", "--out", proof, "--record-out", record)  # with it
    assert r.code == GOOD, r
    with open(proof, "rb") as f, open(record, "rb") as g:
        assert tlog.check_inclusion(f.read(), g.read(), log_key)
    for n, code in ((sealed + 100000, 6), (0, 2)):
        assert p.postern("audit", "prove", str(n), "--out", proof).code == code, n
    assert p.postern("audit", "prove", "1", "--log", "nothing", "--out", proof).code == 6


@rule
def a_long_body_goes_into_the_segment(p):
    command = "true body-marker '" + '"' * 50000 + "'"
    assert p.ssh(command).code == 0
    until(lambda: archive(p), lambda: of(p, "demo")["archived"] > 0, timeout=90)
    g = p.segments("demo")[-1]
    path = f"{p.archive}/{g['file']}"
    b = tlog.load_segment(path)
    assert any(b"body-marker" in x for x in b.bodies.values()), list(b.bodies)
    said = [x["body"] for x in p.records() if x["class"] == "log.archived" and x["log"] == "demo"][-1]
    assert "bodies_lost" not in said, said
    p.keys_file = os.path.join(p.work, "keys")
    with open(p.keys_file, "w") as f:
        f.write(p.postern("audit", "keys").text)
    r = run([PROGRAM, "audit", "verify", "--file", path, "--keys", p.keys_file])
    assert r.code == (ARCHIVED if g["from"] > 1 else GOOD), r
    for change in (lambda x: x.replace(b"body-marker", b"bodymarker-", 1), None):
        c = b.copy()
        seq = next(s for s, x in b.bodies.items() if b"body-marker" in x)
        if change:
            c.bodies[seq] = change(c.bodies[seq])
        else:
            del c.bodies[seq]
        with open(f"{p.work}/changed", "wb") as f:
            f.write(c.dump())
        r = run([PROGRAM, "audit", "verify", "--file", f"{p.work}/changed", "--keys", p.keys_file])
        assert r.code == BROKEN if change else r.code == LOST and "1 long body is missing" in r.text, r


def verify(p, *args):
    r = p.postern("--json", "audit", "verify", "--log", "host", "--keys", p.keys_file, *args, timeout=60)
    return r.code, r


@rule
def a_log_that_was_set_back_is_archived_and_verified_on(p):
    p.witness.stop(signal.SIGKILL)  # it would sign nothing of a log that was set back, and it is right
    told(p, witness=False)
    old, lost = f"{p.work}/old.tar", {g["file"] for g in p.segments()}
    assert p.postern("backup", old, timeout=60).code == GOOD
    at = max(g["to"] for g in p.segments())
    p.flood(500)
    until(lambda: archive(p), lambda: len(p.segments()) > len(lost), timeout=60)
    p.flood(300)
    lost = {g["file"] for g in p.segments() if g["from"] > at}
    p.stop()
    r = p.postern("restore", old, "--force", timeout=60)
    assert r.code == GOOD, r
    p.start()
    until(lambda: p.log_tail(), lambda: "not the one that was sealed" in p.json("status")["seal"]["state"], timeout=20)
    # what is left of the lost history is no part of this one, and no secret either
    assert verify(p)[0] not in (BROKEN,), verify(p)[1]
    assert p.postern("audit", "ack").code == GOOD
    until(lambda: p.json("status")["seal"], lambda: all(x["state"] == "good" for x in p.json("status")["seal"]["logs"]), timeout=30)
    for _ in range(3):
        p.flood(400)
        n = of(p)["archived"]
        until(lambda: archive(p), lambda: of(p)["archived"] > n, timeout=60)
    until(lambda: archive(p), lambda: of(p)["pruned"] > at, timeout=90)
    aside = {x.removesuffix(".superseded") for x in os.listdir(p.archive) if x.endswith(".superseded")}
    assert lost <= aside | {g["file"] for g in p.segments()} and aside, (lost, aside, p.segments())
    assert all(g["missing_before"] == 0 for g in p.segments()), p.segments()
    # the chain of segments and store
    code, r = verify(p)
    assert code == RESTORED, r
    code, r = verify(p, "--offline")
    assert code == RESTORED, r
    # each segment behind the break alone: it has the note that tells of it
    for g in p.segments():
        r = run([PROGRAM, "--json", "audit", "verify", "--file", f"{p.archive}/{g['file']}", "--keys", p.keys_file])
        got = json.loads(r.text)[0]
        if g["from"] > at:
            assert r.code in (ARCHIVED, RESTORED) and tlog.load_segment(f"{p.archive}/{g['file']}").host_breaks, (g, r)
        else:
            assert r.code in (GOOD, ARCHIVED), (g, r)
        assert got["sealed"] == g["to"], (g, got)
    r = p.postern("audit", "archive", "--verify", "--keys", p.keys_file)
    assert r.code in (GOOD, RESTORED), r


if __name__ == "__main__":
    main(Small)
