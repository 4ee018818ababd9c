#!/usr/bin/python3
"""Attacks with what a log may be made of besides its records: edges, segments, and notes of breaks.

Logs and keys are made in Python, as in test_audit_attacks.py; `postern` judges what it is handed.
"""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import atexit, json, shutil, tempfile

import tlog
from logmaker import Maker
from postern import PROGRAM, run
from tap import main, rule

# postern(1)
GOOD, UNREADABLE, TAIL, UNSEALED, EPOCH = 0, 9, 20, 22, 24
ARCHIVED, RESTORED = 30, 31

WORK = tempfile.mkdtemp(prefix="postern-parts-")
atexit.register(shutil.rmtree, WORK, True)


def path(name, data=None):
    p = os.path.join(WORK, name)
    if data is not None:
        with open(p, "wb") as f:
            f.write(data)
    return p


def keyed(m, log="demo"):
    return [x for k in m.keys(log) for x in ("--key", k)]


def verify(b, args, anchor=None):
    """(exit status, the answer)"""
    args = ["--file", path("bundle", b.dump()), *args]
    if anchor:
        args += ["--from-checkpoint", path("anchor", anchor)]
    r = run([PROGRAM, "--json", "audit", "verify", *args])
    assert b"Sanitizer" not in r.err and r.text.strip(), r
    return r.code, json.loads(r.text)[0]


def words(answer):
    return [f["word"] for f in answer["findings"]]


def make():
    """30 records of demo in three epochs: 1-10, 11-20, 21-30; checkpoints at 5, 10, 15, 20, 25, 30."""
    m = Maker()
    for epoch in range(3):
        for _ in range(2):
            m.grow("demo", 5)
            m.grow("host", 2)
            m.seal_all()
        if epoch < 2:
            m.turn()
    return m


def segment(directory, b):
    name = f"{b.log}-{b.edge[0] + 1 if b.edge else 1}-{max(b.records)}.plog"
    file = path(os.path.join(directory, name), b.dump())
    assert run(["zstd", "-q", "--rm", file, "-o", file + ".zst"]).code == 0


def shelf(m, directory, *args):
    r = run([PROGRAM, "--json", "audit", "archive", "--archive", path(directory), *args, *keyed(m)])
    return r.code, [x["verdict"] for x in json.loads(r.text)] if r.text.strip() else None, r


# ---- breaks ----

@rule
def a_break_that_keeps_what_an_auditor_knows_is_named():
    """A thief of epoch 2 sets the log back to 10 in it, keeps the records up to 15, of which somebody has the checkpoint,
    and writes the rest anew: among it what epoch 1 had sealed."""
    m = make()
    old, b = m.bundle(), m.logs["demo"]
    anchor = old.checkpoints[2][1]
    b.epochs = b.epochs[:1]
    b.breaks = [m.sealer.break_note("demo", 1, old.leaves(), old.leaves(10))]
    b.records = {s: d for s, d in b.records.items() if s <= 15}
    b.checkpoints = b.checkpoints[:2]
    m.grow("demo", 20, command="anew")
    m.seal("demo")
    forged = m.bundle()
    assert verify(forged, keyed(m))[0] == RESTORED
    code, answer = verify(forged, keyed(m), anchor)
    assert code == RESTORED, answer
    # within its own epoch, too: a core without keys may have asked for it
    b.breaks = [m.sealer.break_note("demo", 1, old.leaves(25), old.leaves(20))]
    b.epochs = old.epochs
    b.records = {s: d for s, d in old.records.items() if s <= 23}
    b.checkpoints = [c for c in old.checkpoints if c[0] <= 20]
    anchor = m.seal("demo")
    b.checkpoints = b.checkpoints[:-1]
    m.grow("demo", 9, command="anew")
    m.seal("demo")
    code, answer = verify(m.bundle(), keyed(m), anchor)
    assert code == RESTORED, answer


@rule
def a_checkpoint_behind_a_break_knows_of_it():
    m = make()
    old, b = m.bundle(), m.logs["demo"]
    b.breaks = [m.sealer.break_note("demo", 1, old.leaves(), old.leaves(25))]
    b.records = {s: d for s, d in b.records.items() if s <= 25}
    b.checkpoints = b.checkpoints[:-1]
    m.grow("demo", 3, command="anew")
    within = m.seal("demo")
    m.grow("demo", 4, command="anew")
    beyond = m.seal("demo")
    m.turn()
    m.grow("demo", 1)
    later = m.seal("demo")
    assert verify(m.bundle(), keyed(m), within)[0] == RESTORED  # it may be of what was lost, for all that shows
    for anchor in (beyond, later):
        code, answer = verify(m.bundle(), keyed(m), anchor)
        assert code == GOOD, answer


@rule
def an_epoch_that_was_made_up_is_not_the_auditors():
    """The log key alone, and a break that names an epoch of the thief's own."""
    m = make()
    old = m.bundle("host")
    anchor = old.checkpoints[3][1]  # of epoch 1
    thief = tlog.Sealer(m.sealer.origin, log_seed=m.sealer.log_seed, epoch=1)
    b = old.copy()
    b.host_epochs = []
    b.host_breaks = [thief.break_note("host", 1, old.leaves(), old.leaves(2))]
    b.records[len(b.records)] = b.records[len(b.records)].replace(b"command ", b"kommand ")
    b.checkpoints = [c for c in b.checkpoints if c[0] < 2] + [(len(b.records), thief.seal("host", b.leaves()))]
    code, answer = verify(b, keyed(m, "host"), anchor)
    assert code == EPOCH and "epoch-gap" in words(answer), answer


# ---- edges and segments ----

@rule
def an_edge_that_no_seal_proves_is_unsealed():
    m = make()
    b = m.bundle().behind(20)
    code, answer = verify(b, keyed(m))
    assert code == ARCHIVED and [x["state"] for x in answer["ranges"]] == ["archived", "signed"], answer
    b = m.bundle().behind(22)  # behind the last note of an epoch
    b.checkpoints = []
    forged = b.copy()
    leaves = [tlog.sha(b"anything")] * 22
    forged.edge = 22, leaves[-1], tlog.range_of(leaves)
    rechain_behind(forged)
    for x in (b, forged):
        code, answer = verify(x, keyed(m))
        assert code == UNSEALED and [x["state"] for x in answer["ranges"]] == ["chained only"], answer


def rechain_behind(b):
    for seq in sorted(b.records):
        o = json.loads(b.records[seq])
        o["prev"] = (b.edge[1] if seq == b.edge[0] + 1 else tlog.leaf(b.records[seq - 1])).hex()
        b.records[seq] = json.dumps(o, separators=(",", ":")).encode()


@rule
def a_segment_whose_end_is_not_sealed_is_not_good():
    m = make()
    for name, last in (("whole", 30), ("tail", 25)):
        os.mkdir(path(name))
        first, b = m.bundle(), m.bundle().behind(20)
        first.records = {s: d for s, d in first.records.items() if s <= 20}
        first.checkpoints, first.epochs = first.checkpoints[:4], first.epochs
        segment(name, first)
        b.checkpoints = [c for c in b.checkpoints if c[0] <= last]
        if last < 30:
            b.records[28] = b.records[28].replace(b"command ", b"kommand ")
            for seq in (29, 30):
                o = json.loads(b.records[seq])
                o["prev"] = tlog.leaf(b.records[seq - 1]).hex()
                b.records[seq] = json.dumps(o, separators=(",", ":")).encode()
        segment(name, b)
    code, verdicts, r = shelf(m, "whole", "--verify")
    assert code == GOOD and verdicts == ["good", "good"], r
    code, verdicts, r = shelf(m, "tail", "--verify")
    assert code == TAIL and verdicts == ["good", "tail"], r


@rule
def a_chain_without_its_beginning_is_not_passed():
    m = make()
    b = m.bundle().behind(20)
    for args in (["--chain"], ["--chain", *keyed(m)]):
        assert verify(b, args)[0] == ARCHIVED, args
    b.checkpoints, b.epochs, b.host_epochs = [], [], []
    assert verify(b, ["--chain"])[0] == ARCHIVED
    assert verify(m.bundle(), ["--chain"])[0] == GOOD


@rule
def what_is_no_file_in_an_archive_holds_nobody_up():
    os.mkdir(path("pipes"))
    os.mkfifo(path("pipes/demo-1-20.plog.zst"))
    r = run([PROGRAM, "audit", "archive", "--archive", path("pipes")], timeout=20)
    assert r.code == UNREADABLE and b"not a file" in r.err, r
    r = run([PROGRAM, "audit", "show", "--archive", path("pipes")], timeout=20)
    assert r.code == UNREADABLE and b"not a file" in r.err, r


if __name__ == "__main__":
    main()
