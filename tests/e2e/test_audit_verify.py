#!/usr/bin/python3
"""A running Postern's logs, verified on line, off line, as bundles by a stranger, and after root has been at the store."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, shutil, subprocess

import tlog
from logstore import Store
from postern import PROGRAM, Postern, run, until
from tap import main, rule

GOOD, BROKEN, TAIL, MISSING, RESIGNED, ROLLED_BACK, UNSEALED, NO_KEY, DROPPED = 0, 4, 20, 23, 27, 26, 22, 21, 29


def keys_of(p):
    r = p.postern("audit", "keys")
    assert r.code == 0, r
    path = os.path.join(p.work, "keys")
    with open(path, "w") as f:
        f.write(r.text)
    return path


def vkeys(p, log):
    d = p.json("audit", "keys")
    return [next(x["key"] for x in d["logs"] if x["log"] == log), d["first"]]


def verdicts(r):
    return {x["log"]: x["verdict"] for x in json.loads(r.text)}


def sealed(p, log):
    got = p.json("status")["seal"]["logs"]
    return next((x for x in got if x["log"] == log), None)


def wait_sealed(p, log="demo"):
    until(f"{log} sealed", lambda: (s := sealed(p, log)) and s["sealed"] == s["size"], timeout=15)


@rule
def a_running_postern_proves_its_logs(p):
    p.ssh("echo one")
    p.ssh("echo two", key=p.cert("bob", ca="other"))
    wait_sealed(p)
    wait_sealed(p, "other")
    r = p.postern("audit", "epoch")
    assert r.code == 0, r
    p.ssh("echo three")
    wait_sealed(p)
    p.keys_file = keys_of(p)
    r = p.postern("--json", "audit", "verify", "--keys", p.keys_file)
    assert r.code in (GOOD, TAIL), r
    got = json.loads(r.text)
    assert {x["log"] for x in got} == {"host", "demo", "other"}
    assert all(x["sealed"] > 0 and x["epoch"] == 1 for x in got), got
    assert next(x for x in got if x["log"] == "demo")["verdict"] == "good", got
    r = p.postern("audit", "verify", "--offline", "--keys", p.keys_file)
    assert r.code in (GOOD, TAIL), r


@rule
def a_stranger_verifies_a_bundle(p):
    path = os.path.join(p.work, "demo.bundle")
    r = p.postern("audit", "export", path, "--log", "demo")
    assert r.code == 0, r
    os.chmod(p.work, 0o755)
    os.chmod(path, 0o644)
    argv = [PROGRAM, "--json", "audit", "verify", "--file", path]
    for k in vkeys(p, "demo"):
        argv += ["--key", k]
    r = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv])
    if r.code == 126 or b"Permission denied" in r.err:  # a build directory that nobody may enter
        r = run(argv)
    assert r.code == GOOD and json.loads(r.text)[0]["verdict"] == "good", r
    with open(path, "rb") as f:
        data = f.read()
    tlog.check(tlog.Bundle.load(data), vkeys(p, "demo"))
    p.bundle = data


@rule
def a_tenants_bundle_has_nothing_of_another(p):
    for word in (b"other", b"bob", b"echo two"):
        assert word not in p.bundle, word
    assert b"echo three" in p.bundle


@rule
def proofs_hold_for_a_stranger(p):
    key = vkeys(p, "demo")[0]
    proof, record, old = (os.path.join(p.work, n) for n in ("proof", "record", "old"))
    b = tlog.Bundle.load(p.bundle)
    for flags in ((), ("--offline",)):
        r = p.postern("audit", "prove", "2", "--log", "demo", "--out", proof, "--record-out", record, *flags)
        assert r.code == 0, r
        with open(proof, "rb") as f, open(record, "rb") as g:
            assert tlog.check_inclusion(f.read(), g.read(), key)
        assert run([PROGRAM, "audit", "check-proof", proof, "--record", record, "--key", key]).code == 0
        size, note = b.checkpoints[0]
        with open(old, "wb") as f:
            f.write(note)
        r = p.postern("audit", "prove", "--from", str(size), "--log", "demo", *flags)
        assert r.code == 0 and tlog.check_consistency(r.out, note, key), r
        with open(proof, "wb") as f:
            f.write(r.out)
        assert run([PROGRAM, "audit", "check-proof", proof, "--from-checkpoint", old, "--key", key]).code == 0


@rule
def a_checkpoint_that_was_kept_is_asked_for(p):
    p.kept = os.path.join(p.work, "kept")
    r = p.postern("audit", "verify", "--log", "demo", "--keys", p.keys_file, "--keep", p.kept)
    assert r.code in (GOOD, TAIL) and os.path.getsize(p.kept) > 100, r
    shutil.copytree(f"{p.state}/core", os.path.join(p.work, "snapshot"))
    p.ssh("echo four")
    wait_sealed(p)
    r = p.postern("audit", "verify", "--log", "demo", "--keys", p.keys_file, "--from-checkpoint", p.kept, "--keep", p.kept)
    assert r.code in (GOOD, TAIL), r
    p.keys_demo = vkeys(p, "demo")


@rule
def files_of_another_kind_are_named(p):
    other, empty, pipe = (os.path.join(p.work, n) for n in ("other", "empty", "pipe"))
    with open(other, "w") as f:
        f.write("some text\nand more\nand more\n")
    open(empty, "w").close()
    os.mkfifo(pipe)
    bundle = ["--log", "demo", "--keys", p.keys_file]
    for args, code, word in (
            (("verify", "--keys", other), 2, f"{other}: there is no key in it"),
            (("verify", "--keys", empty), 2, f"{empty}: there is no key in it"),
            (("verify", *bundle, "--from-checkpoint", other), 2, f"{other}: it is no checkpoint"),
            (("verify", *bundle, "--from-checkpoint", empty), 2, f"{empty}: it is empty"),
            (("verify", "--file", other), 9, f"{other}: it is no log"),
            (("show", "--file", other), 9, f"{other}: it is no log"),
            (("verify", "--file", pipe), 9, f"{pipe}: not a file"),
            (("show", "--file", pipe), 9, f"{pipe}: not a file"),
            (("show", "--file", p.work), 9, f"{p.work}: not a file"),
            (("show", "--file", other + "x"), 8, f"{other}x: No such file")):
        r = p.postern("audit", *args)
        assert r.code == code and word in r.error and r.error.count("\n") == 1 and not r.out, (args, r)
    host = os.path.join(p.work, "host.kept")
    assert p.postern("audit", "verify", "--log", "host", "--keys", p.keys_file, "--keep", host).code in (GOOD, TAIL)
    r = p.postern("audit", "verify", *bundle, "--from-checkpoint", host)
    assert r.code == 25 and host in r.error and "of another log" in r.error, r


# ---- with the store stopped; from here on nothing runs ----

def attacked(p, change, *args, log="demo", **kw):
    """What `audit verify` says of a copy of the store after change(Store)."""
    state = os.path.join(p.work, "copy")
    shutil.rmtree(state, ignore_errors=True)
    os.makedirs(state)
    shutil.copytree(kw.get("source") or f"{p.state}/core", state + "/core")
    with Store(state + "/core") as s:
        change(s)
    argv = ["--json", "audit", "verify", "--offline", "--keys", p.keys_file, *args]
    r = run([PROGRAM, "--state", state, *argv, *(("--log", log) if log else ())])
    return r.code, json.loads(r.text) if r.text.strip() else None, r


@rule
def a_stopped_store_is_good(p):
    p.stop()
    code, got, r = attacked(p, lambda s: None, log=None)
    assert code in (GOOD, TAIL) and {x["log"] for x in got} == {"host", "demo", "other"}, r
    p.demo = next(x for x in got if x["log"] == "demo")
    assert attacked(p, lambda s: None)[0] == GOOD


@rule
def a_record_changed_in_the_store_is_named(p):
    def change(s):
        s.records("demo")[3]  # there
        s.put_record("demo", 3, s.records("demo")[3].replace(b'"boot":"', b'"boot":"x', 1)[:-1] + b"}")
    code, got, r = attacked(p, change)
    assert code == BROKEN and {"from": 3, "to": 3, "state": "broken"} in got[0]["ranges"], r


@rule
def a_deleted_record_and_a_cut_tail_are_missing(p):
    n = p.demo["records"]
    code, got, r = attacked(p, lambda s: s.del_record("demo", 3))
    assert code == MISSING and {"from": 3, "to": 3, "state": "missing"} in got[0]["ranges"], r
    for k in range(1, n):
        def cut(s):
            for i in range(k + 1, n + 1):
                s.del_record("demo", i)
        code, got, r = attacked(p, cut)
        assert code == MISSING and got[0]["ranges"][-1] == {"from": k + 1, "to": n, "state": "missing"}, (k, r)


@rule
def a_dropped_tenant_is_named_by_the_hosts_log(p):
    code, got, r = attacked(p, lambda s: s.drop("demo"), log=None)
    assert code == DROPPED and {x["log"]: x["verdict"] for x in got}["demo"] == "dropped", r


@rule
def a_tenant_set_back_is_named_by_the_hosts_log(p):
    def change(s):
        size = s.checkpoints("demo")[0][0]
        s.cut("demo", size)
    code, got, r = attacked(p, change, log=None)
    assert code != GOOD and code != TAIL, r
    assert {x["log"]: x["verdict"] for x in got}["demo"] in ("rolled-back", "missing", "epoch-gap"), r


@rule
def removed_seals_are_missed(p):
    def change(s):
        for log in ("host", "demo", "other"):
            s.drop_notes(log)
    code, got, r = attacked(p, change)
    assert code == UNSEALED and got[0]["ranges"] == [{"from": 1, "to": p.demo["records"], "state": "chained only"}], r


@rule
def a_snapshot_put_back_is_noticed_by_who_kept_a_checkpoint(p):
    snapshot = os.path.join(p.work, "snapshot")
    assert attacked(p, lambda s: None, source=snapshot)[0] in (GOOD, TAIL)
    code, got, r = attacked(p, lambda s: None, "--from-checkpoint", p.kept, source=snapshot)
    assert code == ROLLED_BACK and got[0]["verdict"] == "rolled-back", r


@rule
def a_thief_of_todays_key_cannot_sign_yesterday(p):
    state = subprocess.run(["find", p.state, "-name", "seal.state"], capture_output=True, text=True).stdout.split()
    assert len(state) == 1, state
    thief = tlog.Sealer.steal(state[0])
    assert thief.epoch == 1 and thief.keys("demo") == p.keys_demo

    def change(s):
        old = s.records("demo")
        s.put_record("demo", 2, old[2].replace(b'"mono_ns":', b'"mono_ns":1', 1))
        s.rechain("demo", 3)
        b = s.bundle("demo")
        for size, note in s.checkpoints("demo"):
            if size >= 2:
                s.put_checkpoint("demo", size, thief.seal("demo", b.leaves(size)))
    code, got, r = attacked(p, change)
    assert code == RESIGNED and got[0]["verdict"] == "re-signed", r


if __name__ == "__main__":
    main(Postern)
