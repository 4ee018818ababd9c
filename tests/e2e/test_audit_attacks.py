#!/usr/bin/python3
"""What root on the log's host can do to a log, and the word that the verifier has for each.

The logs are made and sealed in Python (tests/support/logmaker.py), attacked, and handed to `postern audit verify` as a
stranger gets them: a bundle and two public keys.
"""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import atexit, base64, json, shutil, tempfile

import tlog
from logmaker import Maker, rechain, record, reseal
from postern import PROGRAM, run
from tap import main, rule

# postern(1)
GOOD, BROKEN, EMPTY, UNREADABLE = 0, 4, 8, 9
TAIL, NO_KEY, UNSEALED, MISSING, EPOCH, SIGNATURE, ROLLED_BACK, RESIGNED, FORK = range(20, 29)
RESTORED = 31

WORK = tempfile.mkdtemp(prefix="postern-attacks-")
atexit.register(shutil.rmtree, WORK, True)


def put(name, data):
    path = os.path.join(WORK, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def verify(b, keys, anchor=None, raw=None):
    """(exit status, the answer as JSON or None, the result)"""
    path = put("bundle", b.dump() if raw is None else raw)
    argv = [PROGRAM, "--json", "audit", "verify", "--file", path]
    for k in keys:
        argv += ["--key", k]
    if anchor:
        argv += ["--from-checkpoint", put("anchor", anchor)]
    r = run(argv)
    assert b"Sanitizer" not in r.err, r
    return r.code, json.loads(r.text)[0] if r.text.strip() else None, r


def states(answer):
    return [(x["from"], x["to"], x["state"]) for x in answer["ranges"]]


def expect(b, m, code, word, anchor=None, ranges=None, keys=None):
    got, answer, r = verify(b, m.keys(b.log) if keys is None else keys, anchor)
    assert got == code, (code, word, r)
    assert answer["verdict"] == word and answer["exit"] == code, (word, answer)
    if ranges is not None:
        assert states(answer) == ranges, (ranges, answer)
    if code != GOOD:
        assert answer["findings"], answer
        if anchor is None:
            try:  # the other implementation refuses it as well
                tlog.check(b, m.keys(b.log) if keys is None else keys)
            except (AssertionError, ValueError, IndexError, KeyError, StopIteration):
                pass
            else:
                raise AssertionError("the verifier in Python finds nothing wrong")
    return answer


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


M = make()


@rule
def a_whole_log_is_good():
    for log in ("demo", "host"):
        b = M.bundle(log)
        tlog.check(b, M.keys(log))
        n = len(b.records)
        assert expect(b, M, GOOD, "good", ranges=[(1, n, "signed")])["epoch"] == 2
    for size, note in M.bundle().checkpoints:
        expect(M.bundle(), M, GOOD, "good", anchor=note)


@rule
def the_hosts_key_is_the_tenants_log_key():
    expect(M.bundle(), M, GOOD, "good", keys=M.keys("host"))


@rule
def an_unsealed_tail_is_chained_only():
    m = make()
    m.grow("demo", 3)
    expect(m.bundle(), m, TAIL, "tail", ranges=[(1, 30, "signed"), (31, 33, "chained only")])


def set_back(size=15):
    """demo with its first records, and others behind them, in the last epoch; the log as it was."""
    m = make()
    old, b = m.bundle(), m.logs["demo"]
    b.records = {s: d for s, d in b.records.items() if s <= size}
    b.checkpoints = [c for c in b.checkpoints if c[0] <= size]
    b.epochs = b.epochs[:1]  # the note into epoch 2 is lost as well: it was made at 20
    b.breaks = [m.sealer.break_note("demo", 1, old.leaves(), b.leaves())]
    m.grow("demo", 9, command="anew")
    m.seal("demo")
    return m, old


@rule
def a_log_that_was_set_back_is_named_and_goes_on():
    m, old = set_back()
    b = m.bundle()
    b.breaks = m.logs["demo"].breaks
    answer = expect(b, m, RESTORED, "restored", ranges=[(1, 24, "signed")])
    assert [(f["from"], f["to"]) for f in answer["findings"]] == [(16, 30)], answer
    assert tlog.check(b, m.keys("demo"), restored=True) == [(1, 16, 30)]
    expect(b, m, ROLLED_BACK, "rolled-back", anchor=old.checkpoints[-1][1])  # at 30, which is lost
    expect(b, m, RESTORED, "restored", anchor=old.checkpoints[0][1])  # at 5, which is not
    m.grow("demo", 9, command="anew")
    m.seal("demo")
    b.records, b.checkpoints = m.logs["demo"].records, m.logs["demo"].checkpoints
    code, answer, r = verify(b, m.keys("demo"), anchor=b.checkpoints[-1][1])  # of what came after
    assert code == GOOD, r


@rule
def without_its_break_it_is_an_attack():
    m, old = set_back()
    expect(_without(m.bundle()), m, EPOCH, "epoch-gap")
    m, old = set_back(20)  # between two epochs nothing else is missing
    b = _without(m.bundle())
    b.epochs = old.epochs
    expect(b, m, FORK, "fork", anchor=old.checkpoints[4][1])  # at 25, of another history


def _without(b):
    b.breaks = []
    return b


@rule
def a_break_needs_both_keys_and_the_root_that_is_there():
    m, old = set_back()
    good = m.logs["demo"].breaks[0]
    text, sigs = tlog.parse_note(good)
    thief = tlog.Sealer(m.sealer.origin, epoch=m.sealer.epoch)
    forged = [
        (SIGNATURE, "bad-signature", thief.break_note("demo", 1, old.leaves(), old.leaves(15))),
        (SIGNATURE, "bad-signature", good[:good.rstrip().rindex(b"\n") + 1]),  # the log's key alone
        (SIGNATURE, "bad-signature", good.replace(b"\n30\n", b"\n16\n")),
        (BROKEN, "broken", m.sealer.break_note("demo", 1, old.leaves(), old.leaves(14) + old.leaves(1))),
    ]
    for code, word, note in forged:
        b = m.bundle()
        b.breaks = [note]
        got, answer, r = verify(b, m.keys("demo"))
        assert got == code or word in [f["word"] for f in answer["findings"]] and got not in (GOOD, TAIL, RESTORED), (word, r)


@rule
def without_keys_nothing_is_signed():
    expect(M.bundle(), M, NO_KEY, "no-key", keys=[], ranges=[(1, 30, "chained only")])
    expect(M.bundle(), M, NO_KEY, "no-key", keys=M.keys("demo")[:1])
    expect(M.bundle(), M, NO_KEY, "no-key", keys=M.keys("demo")[1:], ranges=[(1, 30, "chained only")])


@rule
def a_witnesss_range_is_told():
    m = make()
    seed = os.urandom(32)
    b = m.bundle()
    size, note = b.checkpoints[3]
    text, _ = tlog.parse_note(note)
    b.checkpoints[3] = size, note + tlog.cosignature("witness.example/w1", seed, text, 1700000000).encode()
    key = tlog.vkey("witness.example/w1", tlog.public(seed), 4)
    expect(b, m, GOOD, "good", keys=m.keys() + [key], ranges=[(1, 20, "witnessed"), (21, 30, "signed")])
    other = tlog.vkey("witness.example/w1", tlog.public(os.urandom(32)), 4)
    expect(b, m, GOOD, "good", keys=m.keys() + [other], ranges=[(1, 30, "signed")])
    raw = tlog.key_id("witness.example/w1", 4, tlog.public(seed)) + bytes(72)
    b.checkpoints[3] = size, note + f"\u2014 witness.example/w1 {base64.b64encode(raw).decode()}\n".encode()
    got, answer, r = verify(b, m.keys() + [key])
    assert got == SIGNATURE and answer["verdict"] == "bad-signature", r


# ---- the attacks ----

@rule
def flip_a_byte():
    for seq in (1, 2, 5, 10, 11, 15, 29):
        whole = M.bundle().records[seq]
        for at in (0, 6, whole.index(b'"seq":') + 6, whole.index(b'"time":') + 10, whole.index(b'"boot":') + 9, whole.index(b'"class":') + 10,
                   whole.index(b'"command":') + 12, whole.index(b'"prev":') + 9, len(whole) - 2, len(whole) - 1):
            b = M.bundle()
            b.records[seq] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]
            a = expect(b, M, BROKEN, "broken")
            bad = [x for x in states(a) if x[2] == "broken"]
            assert bad == [(seq, seq, "broken")], (seq, at, whole[at:at + 1], a)
            assert [x[2] for x in states(a) if x[0] <= 30 and x not in bad] == ["signed"] * (1 if seq == 1 else 2), a
    b = M.bundle()  # of the newest only the seal can tell
    b.records[30] = b.records[30].replace(b"command 30", b"command 31")
    expect(b, M, BROKEN, "broken", ranges=[(1, 25, "signed"), (26, 30, "broken")])


@rule
def insert_a_record():
    for at in (1, 7, 10, 11, 30):
        b = M.bundle()
        old = b.copy().records
        b.records = {s if s < at else s + 1: d for s, d in old.items()}
        b.records[at] = record("demo", at, tlog.leaf(old[at - 1]) if at > 1 else bytes(32), {"command": "never"})
        expect(b, M, BROKEN, "broken")
        rechain(b, at)
        a = expect(b, M, BROKEN, "broken")
        good = max([s for s, _ in b.checkpoints if s < at], default=0)
        assert ([x[1] for x in states(a) if x[2] == "signed"] or [0])[0] == good, (at, a)


@rule
def delete_a_record():
    for at in (1, 7, 10, 29):
        b = M.bundle()
        del b.records[at]
        a = expect(b, M, MISSING, "missing")
        assert [x for x in states(a) if x[2] != "signed"] == [(at, at, "missing")], a
    b = M.bundle()
    for at in (12, 13, 14):
        del b.records[at]
    a = expect(b, M, MISSING, "missing")
    assert (12, 14, "missing") in states(a) and a["sealed"] == 10, a
    b = M.bundle()  # and those behind it moved up
    b.records = {s if s < 7 else s - 1: d for s, d in b.records.items() if s != 7}
    rechain(b, 7)
    expect(b, M, BROKEN, "broken")


@rule
def truncate_at_each_boundary():
    for n in range(0, 30):
        b = M.bundle()
        b.records = {s: d for s, d in b.records.items() if s <= n}
        a = expect(b, M, MISSING, "missing")
        assert states(a)[-1] == (n + 1, 30, "missing") and a["records"] == n, a
        good = max([s for s, _ in b.checkpoints if s <= n], default=0)
        assert a["sealed"] == good, (n, a)


@rule
def truncate_seals_and_all():
    """Without an own checkpoint only the epochs show it; with one all of it."""
    anchor = M.bundle().checkpoints[-1][1]
    for n in range(0, 30):
        b = M.bundle()
        b.records = {s: d for s, d in b.records.items() if s <= n}
        b.checkpoints = [c for c in b.checkpoints if c[0] <= n]
        if n < 20:
            expect(b, M, MISSING, "missing")  # an epoch's note tells of 20
        else:
            code, a, r = verify(b, M.keys())
            assert code == (GOOD if n % 5 == 0 else TAIL), r
        b.head = n
        got, a, r = verify(b, M.keys(), anchor)
        assert got == ROLLED_BACK and a["verdict"] == "rolled-back" and states(a)[-1][2] == "missing", r


@rule
def a_head_that_tells_of_more():
    b = M.bundle()
    b.head = 32
    expect_head = verify(b, M.keys())
    assert expect_head[0] == MISSING and states(expect_head[1])[-1] == (31, 32, "missing"), expect_head[2]
    b.head = 29
    assert verify(b, M.keys())[0] == BROKEN


@rule
def cut_epochs_out():
    b = M.bundle()
    b.epochs = b.epochs[:1]
    expect(b, M, EPOCH, "epoch-gap")
    b = M.bundle()
    b.epochs = []
    expect(b, M, EPOCH, "epoch-gap")
    b = M.bundle()
    b.host_epochs = b.host_epochs[:1]
    expect(b, M, EPOCH, "epoch-gap")
    b = M.bundle()
    b.host_epochs = b.host_epochs[1:]
    expect(b, M, EPOCH, "epoch-gap")
    b = M.bundle()
    b.host_epochs, b.epochs = [], []
    expect(b, M, EPOCH, "epoch-gap")


@rule
def an_epoch_of_the_thiefs_own():
    thief = tlog.Sealer("log.example/gw", M.sealer.log_seed)  # the log key, and an epoch nobody vouches for
    b = M.bundle()
    b.host_epochs[1] = thief.epoch_note("host", M.bundle("host").leaves(4))
    expect(b, M, EPOCH, "epoch-gap")


@rule
def rewrite_and_recompute():
    for at in (1, 8, 10, 23, 30):
        b = M.bundle()
        b.records[at] = b.records[at].replace(b"command ", b"kommand ")
        rechain(b, at + 1)
        a = expect(b, M, BROKEN, "broken")
        good = max([s for s, _ in b.checkpoints if s < at], default=0)
        assert a["sealed"] == good and states(a)[-1] == (good + 1, 30, "broken"), (at, a)


@rule
def rewrite_and_sign_with_the_stolen_current_key():
    """Epoch 2 began at 20 records: what is older cannot be signed again."""
    for at in (1, 8, 15, 20):
        b = M.bundle()
        b.records[at] = b.records[at].replace(b"command ", b"kommand ")
        rechain(b, at + 1)
        reseal(b, M.sealer.copy(), at)
        expect(b, M, RESIGNED, "re-signed")
        # and with the seals of that time left out, the epoch's note still stands
        b.checkpoints = [c for c in b.checkpoints if c[0] < at or c[0] > 20]
        a = expect(b, M, RESIGNED, "re-signed")
        assert states(a)[-1][2] == "broken", a


@rule
def rewrite_within_the_current_epoch():
    """Its key is the thief's: only a checkpoint from before, or a witness, can tell."""
    b = M.bundle()
    anchor = b.checkpoints[-2][1]
    b.records[23] = b.records[23].replace(b"command ", b"kommand ")
    rechain(b, 24)
    reseal(b, M.sealer.copy(), 23)
    assert verify(b, M.keys())[0] == GOOD
    expect(b, M, FORK, "fork", anchor=anchor)


@rule
def fork():
    """Two histories, both signed, shown to two people; or in one file."""
    m = make()
    left, right = m.bundle(), m.bundle()
    key = m.sealer.copy()
    for b, word in ((left, "left"), (right, "right")):
        for s in (31, 32):
            b.records[s] = record("demo", s, tlog.leaf(b.records[s - 1]), {"command": word})
        b.checkpoints.append((32, key.seal("demo", b.leaves())))
        assert verify(b, m.keys())[0] == GOOD
    expect(left, m, FORK, "fork", anchor=right.checkpoints[-1][1])
    left.checkpoints.append(right.checkpoints[-1])
    expect(left, m, FORK, "fork")


@rule
def fork_at_another_size():
    m = make()
    left, right = m.bundle(), m.bundle()
    key = m.sealer.copy()
    for b, word, n in ((left, "left", 33), (right, "right", 32)):
        for s in range(31, n + 1):
            b.records[s] = record("demo", s, tlog.leaf(b.records[s - 1]), {"command": word})
        b.checkpoints.append((n, key.seal("demo", b.leaves())))
    expect(left, m, FORK, "fork", anchor=right.checkpoints[-1][1])
    left.checkpoints.append(right.checkpoints[-1])
    expect(left, m, FORK, "fork")


@rule
def roll_a_snapshot_back():
    m = make()
    old = m.bundle()
    m.grow("demo", 5)
    m.seal_all()
    anchor = m.bundle().checkpoints[-1][1]
    expect(old, m, ROLLED_BACK, "rolled-back", anchor=anchor, ranges=[(1, 30, "signed"), (31, 35, "missing")])


@rule
def remove_seals():
    m = Maker()
    m.grow("demo", 12)
    m.seal_all()
    b = m.bundle()
    b.checkpoints = []
    expect(b, m, UNSEALED, "unsealed", ranges=[(1, 12, "chained only")])
    b = M.bundle()
    b.checkpoints, b.epochs, b.host_epochs = [], [], []
    expect(b, M, UNSEALED, "unsealed", ranges=[(1, 30, "chained only")])
    b = M.bundle()
    b.checkpoints = b.checkpoints[:-1]
    expect(b, M, TAIL, "tail", ranges=[(1, 25, "signed"), (26, 30, "chained only")])


@rule
def signatures_of_other_keys():
    b = M.bundle()
    other = tlog.Sealer("log.example/gw")
    b.checkpoints[-1] = (30, other.seal("demo", b.leaves()))
    expect(b, M, SIGNATURE, "bad-signature")
    half = tlog.Sealer("log.example/gw", M.sealer.log_seed, epoch=2)
    b.checkpoints[-1] = (30, half.seal("demo", b.leaves()))
    expect(b, M, SIGNATURE, "bad-signature")
    b.checkpoints[-1] = (30, M.sealer.seal("host", b.leaves()))
    expect(b, M, SIGNATURE, "bad-signature")
    whole = M.bundle().checkpoints[-1][1]
    for at in range(0, len(whole), 7):
        b.checkpoints[-1] = (30, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        code, a, r = verify(b, M.keys())
        assert code in (SIGNATURE, TAIL, EPOCH), (at, whole[at:at + 1], r)
    code, a, r = verify(M.bundle(), Maker().keys())
    assert code in (SIGNATURE, EPOCH) and a["sealed"] == 0, r


@rule
def a_checkpoint_of_another_log_is_no_anchor():
    code, a, r = verify(M.bundle(), M.keys(), M.bundle("host").checkpoints[-1][1])
    assert code == SIGNATURE and a is None, r
    for junk in (b"\n", b"junk", M.bundle().checkpoints[0][1][:-9]):
        assert verify(M.bundle(), M.keys(), junk)[0] == 2, junk  # no checkpoint at all: the command line is wrong
    r = run([PROGRAM, "audit", "verify", "--file", put("bundle", M.bundle().dump()), "--from-checkpoint", put("anchor", b"")])
    assert r.code == 2, r  # nothing is no checkpoint, and not none


@rule
def nothing_is_not_good():
    b = tlog.Bundle("demo")
    expect(b, M, EMPTY, "empty", ranges=[])


@rule
def a_bundle_that_is_cut_or_changed_is_never_good():
    whole = M.bundle().dump()
    for n in list(range(0, len(whole), 211)) + [len(whole) - 1]:
        code, a, r = verify(None, M.keys(), raw=whole[:n])
        assert code not in (GOOD, TAIL), (n, r)
    for at in range(0, len(whole), 97):
        code, a, r = verify(None, M.keys(), raw=whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        assert code not in (GOOD, TAIL), (at, r)
    code, a, r = verify(None, M.keys(), raw=whole + b"x")
    assert code == UNREADABLE, r


if __name__ == "__main__":
    main()
