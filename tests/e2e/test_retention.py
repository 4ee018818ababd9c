#!/usr/bin/python3
"""Records go into the archive and leave the store; everything is proved as before with the archive, and nothing is called
good without it. Kills, a sink that is away and a full disk lose nothing."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, re, shutil, signal, stat, threading, time

import tap, tlog
from archiving import Small
from postern import PROGRAM, parse_records, run, until
from tap import main, rule

GOOD, BROKEN, TAIL, LOST, ARCHIVED = 0, 4, 20, 23, 30
tap.RULE_SECONDS = 240


# Whatever a rule needs of the state it asks for here, so that it fails for its own reason alone.

def archived(p):
    """Four segments, and the store without what is in the first ones."""
    if not p.segments():
        assert p.ssh("echo in").out == b"in\n"
    while len(p.segments()) < 4:
        n = len(p.segments())
        p.flood(400)
        until(lambda: f"segment {n + 1}: {p.log_tail()}", lambda: len(p.segments()) > n, timeout=60)
    until(lambda: p.log_tail(), lambda: p.edge() >= 1024, timeout=60)


def old_checkpoint(p):
    """A file with the first checkpoint in the archive."""
    archived(p)
    path = os.path.join(p.work, "old")
    first = tlog.load_segment(f"{p.archive}/{p.segments()[0]['file']}").checkpoints[0]
    with open(path, "wb") as f:
        f.write(first[1])
    return path, first[0]


def log_keys(p):
    keys = p.json("audit", "keys")
    return [next(x["key"] for x in keys["logs"] if x["log"] == "host"), keys["first"]]


def stopped(p):
    """Not running any more: p.list, the segments; p.gone, how many records the store is without; p.old."""
    if p.up is None:
        return
    p.old, _ = old_checkpoint(p)
    p.list, p.gone = p.segments(), p.edge()
    p.stop()


@rule
def segments_appear_and_the_store_shrinks(p):
    archived(p)
    for g in p.segments():
        assert g["missing_before"] == 0, g
        st = os.stat(f"{p.archive}/{g['file']}")
        assert stat.S_IMODE(st.st_mode) == 0o640 and st.st_uid == os.stat(p.archive).st_uid != 0, st


@rule
def each_segment_is_on_record(p):
    archived(p)
    import hashlib
    told = {x["body"]["file"]: x["body"] for x in p.records() if x["class"] == "log.archived" and x["log"] == "host"}
    left = [g for g in p.segments() if g["file"] in told]
    assert left
    for g in left:
        with open(f"{p.archive}/{g['file']}", "rb") as f:
            digest = hashlib.sha256(f.read()).digest()
        import base64
        assert base64.b64decode(told[g["file"]]["digest"]) == digest, g
    g = left[-1]
    line = next(x for x in p.postern("audit", "archive").text.splitlines() if x.startswith(g["file"]))
    assert re.search(rf"  {g['to'] - g['from'] + 1} records, [0-9.]+[BKM], 20\d\d-\S+Z$", line), line
    assert g["bytes"] == os.path.getsize(f"{p.archive}/{g['file']}"), g
    r = p.postern("audit", "archive", "--verify", "--keys", p.keys_file)
    assert r.code == GOOD and r.text.count("good") == len(r.text.splitlines()), r


@rule
def with_the_archive_everything_is_proved(p):
    archived(p)
    code, got, r = p.verify()
    assert code in (GOOD, TAIL) and {x["log"] for x in got} >= {"host", "demo"}, r
    assert all(x["archived"] == 0 for x in got), r
    code, got, r = p.verify("--offline")
    assert code in (GOOD, TAIL), r


@rule
def a_stranger_with_other_tools_proves_it_too(p):
    archived(p)
    path = os.path.join(p.work, "whole.bundle")
    r = p.postern("audit", "export", path, "--log", "host", timeout=60)
    assert r.code == 0, r
    with open(path, "rb") as f:
        whole = tlog.Bundle.load(f.read())
    size = whole.checkpoints[-1][0]
    parts = [tlog.load_segment(f"{p.archive}/{g['file']}") for g in p.segments() if g["to"] <= size]
    b = tlog.join(parts + [whole])
    b.records = {s: d for s, d in b.records.items() if s <= size}
    tlog.check(b, log_keys(p))


@rule
def an_auditors_old_checkpoint_is_held_against_the_archive(p):
    old, size = old_checkpoint(p)
    assert size < p.edge()
    code, got, r = p.verify("--log", "host", "--from-checkpoint", old)
    assert code in (GOOD, TAIL), r


@rule
def an_archived_record_is_proved_from_the_archive(p):
    archived(p)
    proof, record = os.path.join(p.work, "proof"), os.path.join(p.work, "record")
    for flags in ((), ("--offline",)):
        r = p.postern("audit", "prove", "7", "--log", "host", "--out", proof, "--record-out", record, *flags, timeout=60)
        assert r.code == 0, r
        with open(proof, "rb") as f, open(record, "rb") as g:
            assert tlog.check_inclusion(f.read(), g.read(), log_keys(p)[0])
    n = p.edge() + 5
    r = p.postern("audit", "prove", str(n), "--log", "host", "--out", proof, "--record-out", record, "--offline")
    assert r.code == 0, r


# ---- kills, while it cuts and prunes ----

def killed(p, role):
    archived(p)
    stop, acked = threading.Event(), [0]

    def press():
        while not stop.is_set():
            try:
                p.flood(50)
                acked[0] += 50
                time.sleep(0.03)
            except OSError:
                time.sleep(0.05)
    before = p.segments()[-1]["to"]
    t = threading.Thread(target=press)
    t.start()
    try:
        for i in range(12):
            time.sleep(0.13 + 0.07 * i)
            for pid in p.daemons(role):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
    finally:
        stop.set()
        t.join()
    p.flood(400)
    until(lambda: p.log_tail(), lambda: p.segments()[-1]["to"] > before + 200, timeout=90)
    code, got, r = p.verify("--log", "host")
    assert code in (GOOD, TAIL), r
    assert all(g["missing_before"] == 0 for g in p.segments())


@rule
def a_core_killed_while_it_archives_loses_nothing(p):
    killed(p, "core")


@rule
def an_exporter_killed_while_it_archives_loses_nothing(p):
    killed(p, "export")
    assert not [x for x in os.listdir(p.archive) if not x.endswith((".plog.zst", ".superseded", "cut.tmp"))]


# ---- a full disk ----

@rule
def a_full_disk_drops_nothing(p):
    archived(p)
    until("all is quiet", lambda: (a := p.edge()) and not time.sleep(3) and p.edge() == a, timeout=60)
    with open(f"{p.archive}/ballast", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\xff" * 4096)
        except OSError as e:
            assert e.errno == 28, e
    try:
        edge, n = p.edge(), len(p.segments())
        p.flood(900)
        until(lambda: p.log_tail(), lambda: any(x["class"] == "log.unarchived" for x in p.records()), timeout=60)
        assert len(p.segments()) == n and p.edge() == edge
        assert not os.path.exists(f"{p.archive}/cut.tmp")
        assert p.ssh("echo in").out == b"in\n"
    finally:
        os.unlink(f"{p.archive}/ballast")
    until(lambda: p.log_tail(), lambda: len(p.segments()) > n and p.edge() > edge, timeout=90)
    code, got, r = p.verify("--log", "host")
    assert code in (GOOD, TAIL), r


# ---- a sink that has not taken what is to go ----

@rule
def a_sink_that_lags_holds_the_records(p):
    archived(p)
    p.stop()
    p.more = 'export: [{name: siem, kind: otlp, url: "http://127.0.0.1:1/v1/logs"}]\n'
    p.start()
    try:
        edge, n = p.edge(), len(p.segments())
        for _ in range(3):
            p.flood(400)
        until(lambda: p.log_tail(), lambda: len(p.segments()) > n, timeout=60)
        time.sleep(6)  # longer than the archive looks again
        assert p.edge() == edge, (p.edge(), edge)
    finally:
        p.stop()
        p.more = ""
        p.start()
    until(lambda: p.log_tail(), lambda: p.edge() > edge, timeout=60)


# ---- stopped: what is wrong with the archive is told apart ----

def copy(p, change=None):
    """A copy of the state with the archive beside it, changed."""
    state = os.path.join(p.work, "copy")
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(f"{p.state}/core", state + "/core")
    shutil.copytree(p.archive, state + "/archive")
    if change:
        change(state + "/archive")
    return state


def verdict(p, change=None, *args):
    state = copy(p, change)
    r = run([PROGRAM, "--state", state, "--json", "audit", "verify", "--offline", "--log", "host", "--keys", p.keys_file,
             *args], timeout=60)
    return r.code, json.loads(r.text)[0] if r.text.strip() else None, r


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        b = f.read(2)
        f.seek(at)
        f.write(bytes(x ^ 0xff for x in b))  # single bits of a frame may mean nothing


@rule
def without_the_archive_the_word_is_archived(p):
    stopped(p)
    code, got, r = verdict(p)
    assert code in (GOOD, TAIL), r
    code, got, r = verdict(p, shutil.rmtree)
    assert code == ARCHIVED and got["verdict"] == "archived", r
    assert got["ranges"][0] == {"from": 1, "to": p.gone, "state": "archived"} and got["archived"] == p.gone, r
    code, got, r = verdict(p, shutil.rmtree, "--from-checkpoint", p.old)
    assert code == ARCHIVED, r


@rule
def an_archive_that_was_named_and_is_empty_is_lost(p):
    stopped(p)
    code, got, r = verdict(p, None, "--archive", f"{p.work}/no-archive")
    assert code == LOST and got["verdict"] == "missing", r


@rule
def a_missing_segment_is_lost(p):
    stopped(p)
    for i in range(len(p.list)):
        if p.list[i]["from"] > p.gone:
            break
        code, got, r = verdict(p, lambda d: os.unlink(f"{d}/{p.list[i]['file']}"))
        assert code == LOST, (i, r)
        gap = [x for x in got["ranges"] if x["state"] == "missing"]
        assert gap == [{"from": p.list[i]["from"], "to": min(p.list[i]["to"], p.gone), "state": "missing"}], (i, r)


@rule
def a_segment_cut_off_is_lost(p):
    stopped(p)
    for part in (0, 3, 1000, -4, -1):
        def change(d):
            path = f"{d}/{p.list[1]['file']}"
            os.truncate(path, part if part >= 0 else os.path.getsize(path) + part)
        code, got, r = verdict(p, change)
        assert code == LOST, (part, r)


@rule
def flipped_bits_in_a_segment_are_broken(p):
    stopped(p)
    size = os.path.getsize(f"{p.archive}/{p.list[1]['file']}")
    for at in range(50, size - 8, size // 12):
        code, got, r = verdict(p, lambda d: flip(f"{d}/{p.list[1]['file']}", at))
        assert code == BROKEN, (at, r)


@rule
def a_segment_that_was_written_anew_is_broken(p):
    """By somebody who can make a perfect file, and not the log's signatures."""
    def change(d):
        path = f"{d}/{p.list[1]['file']}"
        b = tlog.load_segment(path)
        seq = sorted(b.records)[7]
        b.records[seq] = b.records[seq].replace(b'"class":"', b'"class":"x', 1)
        edge = b.edge
        data = b.dump()
        item = tlog.struct.pack(">Q", edge[0]) + edge[1] + tlog.struct.pack(">Q", edge[2][0]) + b"".join(edge[2][1])
        at = data.index(b"R" + tlog.struct.pack(">I", 8 + len(b.records[sorted(b.records)[0]])))
        body = data[:at] + b"P" + tlog.struct.pack(">I", len(item)) + item + data[at:data.rindex(b"Z\0\0\0")]
        end = tlog.struct.pack(">QQQ", len(b.records), len(b.checkpoints), len(b.host_epochs) + len(b.epochs))
        body += b"Z" + tlog.struct.pack(">I", 56) + end + tlog.sha(body)
        with open(path + ".new", "wb") as f:
            f.write(body)
        assert run(["zstd", "-q", "-f", path + ".new", "-o", path]).code == 0
        os.unlink(path + ".new")
    stopped(p)
    code, got, r = verdict(p, change)
    assert code == BROKEN, r


@rule
def one_segment_alone_says_what_it_proves(p):
    stopped(p)
    for i, g in enumerate(p.list[:3]):
        r = run([PROGRAM, "--json", "audit", "verify", "--file", f"{p.archive}/{g['file']}", "--keys", p.keys_file])
        got = json.loads(r.text)[0]
        assert r.code == (ARCHIVED if i else GOOD) and got["records"] == g["to"] and got["sealed"] == g["to"], r
        assert got["archived"] == g["from"] - 1, r


@rule
def archived_records_are_shown(p):
    stopped(p)
    r = run([PROGRAM, "--state", p.state, "--json", "audit", "show", "--log", "host", "--offline", "--archive", p.archive],
            timeout=60)
    got = [x["seq"] for x in parse_records(r.text) if x["log"] == "host"]
    assert r.code == 0 and got[0] == 1 and got == list(range(1, len(got) + 1)) and len(got) > p.gone, (r.code, got[:5], r.err)
    g = p.list[1]
    r = run([PROGRAM, "--json", "audit", "show", "--file", f"{p.archive}/{g['file']}"])
    assert [x["seq"] for x in parse_records(r.text)] == list(range(g["from"], g["to"] + 1)), r


@rule
def proofs_without_the_archive_say_where_it_is(p):
    stopped(p)
    state = copy(p, shutil.rmtree)
    r = run([PROGRAM, "--state", state, "audit", "prove", "7", "--log", "host", "--offline"])
    assert r.code == ARCHIVED and b"archive" in r.err, r
    r = run([PROGRAM, "--state", state, "audit", "prove", str(p.gone + 9), "--log", "host", "--offline"])
    assert r.code == 0, r


if __name__ == "__main__":
    main(Small)
