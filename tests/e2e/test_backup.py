#!/usr/bin/python3
"""Backup and restore: a copy while sessions run, put back onto a fresh state; an old copy is a log that was set back, which is
said, accepted by an operator and named by the verifier for good; whatever is interrupted or changed loses nothing."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import glob, json, shutil, signal, subprocess, tarfile, threading, time

import tlog
from postern import PROGRAM, Postern, run, until
from tap import main, rule

RESTORED, ROLLED_BACK, SIGNATURE, BROKEN = 31, 26, 25, 4


def secret_file(p, text="a long enough passphrase\n"):
    path = f"{p.work}/passphrase"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)
    return path


def seal(p):
    return p.json("status")["seal"]


def settled(p):
    """Every log is sealed up to where it is, but for what the looking itself adds."""
    s = seal(p)
    return s["state"] == "good" and all(x["sealed"] > 0 for x in s["logs"])


def keys(p):
    k = p.json("audit", "keys")
    out = ["--key", k["first"]]
    for x in k["logs"]:
        out += ["--key", x["key"]]
    return out


def numbers(p):
    return {(x.get("tenant") or "host", x["seq"]) for x in p.records()}


def verify(p, *args):
    r = p.postern("--json", "audit", "verify", *args)
    return r.code, json.loads(r.text) if r.text.strip() else None, r


def stored(p):
    with open(f"{p.state}/core/data.mdb", "rb") as f:
        return f.read()


@rule
def a_backup_under_load_holds_what_was_there(p):
    until(lambda: seal(p), lambda: settled(p), timeout=20)
    stop, errors = threading.Event(), []

    def load():
        while not stop.is_set():
            r = p.ssh("echo load")
            if r.code != 0:
                errors.append(r)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    before = numbers(p)
    with open(secret_file(p), "rb") as f, open(f"{p.state}/etc/sink.pem", "wb") as g:
        os.fchmod(g.fileno(), 0o640)
        g.write(f.read())
    try:
        p.backup = f"{p.work}/backup.tar"
        r = p.postern("backup", p.backup, "--keys", f"{p.work}/keys.vault", "--passphrase-file", secret_file(p), timeout=60)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert r.code == 0 and not errors, (r, errors)
    assert os.stat(p.backup).st_mode & 0o777 == 0o600
    with tarfile.open(p.backup) as t:  # any tar reads it
        names = t.getnames()
        manifest = json.load(t.extractfile("MANIFEST"))
    assert names[-1] == "MANIFEST" and "data.mdb" in names and "etc/postern.yaml" in names, names
    assert not [n for n in names if "key" in n and n != "log.keys"], names
    assert "etc/sink.pem" not in names and b"etc/sink.pem" in r.err, (names, r)  # nor what a sink is shown
    os.unlink(f"{p.state}/etc/sink.pem")
    assert set(manifest["files"]) == set(names[:-1])
    with open(f"{p.work}/keys.vault", "rb") as f:
        vault = f.read()
    for path in glob.glob(f"{p.state}/keys/*") + glob.glob(f"{p.state}/hostkeys/*"):
        with open(path, "rb") as f:
            assert f.read()[8:72] not in vault, path  # nothing of a key is readable
    p.before = before


@rule
def it_comes_back_on_a_fresh_state_with_its_keys(p):
    fresh = f"{p.work}/fresh"
    argv = [PROGRAM, "--state", fresh, "restore", p.backup]
    r = run(argv + ["--keys", f"{p.work}/keys.vault", "--passphrase-file", secret_file(p, "another passphrase\n")], timeout=60)
    assert r.code == 1 and b"passphrase" in r.err and not os.path.exists(f"{fresh}/core"), r
    r = run(argv + ["--keys", f"{p.work}/keys.vault", "--passphrase-file", secret_file(p)], timeout=60)
    assert r.code == 0, r
    with Postern(state=fresh, start=False) as q:
        q.lock, q.ids = p.lock, p.ids
        want = run(["ssh-keygen", "-lf", f"{p.state}/hostkeys/ssh_host_ed25519_key.pub"]).text
        p.stop()
        q.start()
        try:
            assert run(["ssh-keygen", "-lf", f"{fresh}/hostkeys/ssh_host_ed25519_key.pub"]).text == want
            assert p.before <= numbers(q)
            until(lambda: seal(q), lambda: seal(q)["origin"] != "", timeout=20)
            if seal(q)["state"] != "good":  # sealed between the copy of the keys and that of the store
                assert "does not know" in seal(q)["state"], seal(q)
                assert q.postern("audit", "ack").code == 0
            assert q.ssh("echo in").out == b"in\n"
            until(lambda: seal(q), lambda: all(x["state"] == "good" for x in seal(q)["logs"]), timeout=30)
            until(lambda: verify(q), lambda: verify(q)[0] in (0, 20), timeout=30)
        finally:
            q.stop()
    p.start()


@rule
def a_restore_refuses_what_it_should(p):
    r = p.postern("restore", p.backup, "--force")
    assert r.code == 1 and b"runs" in r.err, r
    assert p.postern("audit", "compact").code == 1
    p.stop()
    r = p.postern("restore", p.backup)
    assert r.code == 1 and b"--force" in r.err, r
    # a core that was put aside cannot have marked itself as what may be removed
    aside = f"{p.state}/core.before-planted"
    os.mkdir(aside)
    open(f"{aside}/unfinished", "w").close()
    os.chown(f"{aside}/unfinished", 12345, 12345)
    before, listing = stored(p), sorted(os.listdir(p.state))
    with open(p.backup, "rb") as f:
        whole = f.read()
    for at in (3, 130, 600, len(whole) // 3, len(whole) // 2, len(whole) - 2100, len(whole) - 1):
        bad = bytearray(whole)
        bad[at] ^= 1
        with open(f"{p.work}/bad.tar", "wb") as f:
            f.write(bad)
        r = p.postern("restore", f"{p.work}/bad.tar", "--force", timeout=60)
        assert r.code != 0, (at, r)
    for n in (0, 511, 5000, len(whole) - 512):
        with open(f"{p.work}/bad.tar", "wb") as f:
            f.write(whole[:n])
        assert p.postern("restore", f"{p.work}/bad.tar", "--force", timeout=60).code != 0, n
    assert stored(p) == before and sorted(os.listdir(p.state)) == listing
    shutil.rmtree(aside)
    p.start()


@rule
def a_backup_is_not_written_into_a_file_that_is_there(p):
    for args in (["taken.tar"], ["free.tar", "--keys", f"{p.work}/taken.vault", "--passphrase-file", secret_file(p)]):
        for taken in (f"{p.work}/taken.tar.partial", f"{p.work}/taken.vault.partial"):
            with open(taken, "wb") as f:
                os.fchmod(f.fileno(), 0o644)
        r = p.postern("backup", f"{p.work}/{args[0]}", *args[1:], timeout=60)
        assert r.code == 1 and b"partial" in r.err, r
        assert not os.path.getsize(f"{p.work}/taken.tar.partial") and not os.path.getsize(f"{p.work}/taken.vault.partial")
        for taken in (f"{p.work}/taken.tar.partial", f"{p.work}/taken.vault.partial"):
            os.unlink(taken)


@rule
def a_kill_in_the_middle_loses_nothing(p):
    kept = numbers(p)
    out = f"{p.work}/killed.tar"
    for ms in (1, 10, 30, 80):
        q = subprocess.Popen([PROGRAM, "--state", p.state, "backup", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(ms / 1000)
        q.kill()
        q.wait()
        if os.path.exists(out):
            with tarfile.open(out) as t:
                assert t.getnames()[-1] == "MANIFEST"
            os.unlink(out)
    assert p.postern("backup", out, timeout=60).code == 0
    p.stop()
    for args in (["audit", "compact"], ["restore", out, "--force"]):
        for ms in (1, 5, 15, 40, 100):
            q = subprocess.Popen([PROGRAM, "--state", p.state, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(ms / 1000)
            q.kill()
            q.wait()
            until(lambda: "the store is free", lambda: p.postern("audit", "verify", "--offline", "--chain").code in (0, 31))
    r = p.postern("--json", "audit", "compact")
    assert r.code == 0, r
    sizes = json.loads(r.text)
    assert 0 < sizes["after"] <= sizes["before"] == sizes["before"], sizes
    st, st_dir = os.stat(f"{p.state}/core/data.mdb"), os.stat(f"{p.state}/core")
    assert st.st_uid == st_dir.st_uid != 0 and st.st_mode & 0o777 == 0o600
    p.start()
    assert kept <= numbers(p)


@rule
def an_old_backup_is_named_for_good(p):
    until("the signer's answer", lambda: p.postern("audit", "keys").code == 0)
    assert p.postern("audit", "ack").code == 0  # a restore of the rule before may have come to its end
    until(lambda: seal(p), lambda: settled(p), timeout=20)
    old = f"{p.work}/old.tar"
    assert p.postern("backup", old, timeout=60).code == 0
    size = {x["log"]: x["sealed"] for x in seal(p)["logs"]}
    for _ in range(3):
        assert p.ssh("echo lost").out == b"lost\n"
    assert p.postern("audit", "epoch").code == 0  # a note into an epoch is lost as well
    until(lambda: seal(p), lambda: all(x["sealed"] > size[x["log"]] for x in seal(p)["logs"] if x["log"] in ("host", "demo")),
          timeout=30)
    k = keys(p)
    anchor = f"{p.work}/anchor"
    until(lambda: verify(p, "--log", "demo", "--keep", anchor),
          lambda: verify(p, "--log", "demo", "--keep", anchor)[0] in (0, 20, 31) and os.path.getsize(anchor) > 0)
    p.stop()
    r = p.postern("restore", old, "--force", timeout=60)
    assert r.code == 0, r
    assert glob.glob(f"{p.state}/core.before-*/data.mdb"), "the old store is gone"
    p.start()
    until(lambda: seal(p), lambda: "not the one that was sealed" in seal(p)["state"], timeout=20)
    assert p.ssh("echo in").code in (254, 255)
    # nobody has signed a break: that is an attack, whatever the auditor accepts
    assert verify(p, "--log", "demo", "--from-checkpoint", anchor, "--accept-break", *k)[0] == ROLLED_BACK
    assert p.postern("audit", "ack").code == 0
    until(lambda: seal(p), lambda: seal(p)["state"] == "good" and all(x["state"] == "good" for x in seal(p)["logs"]), timeout=30)
    assert p.ssh("echo in").out == b"in\n"
    breaks = until("the breaks on record", lambda: [x for x in p.records() if x["class"] == "log.break"])
    assert {x["body"]["log"] for x in breaks} >= {"host", "demo"}, breaks
    for log in ("host", "demo"):
        code, answer, r = verify(p, "--log", log, *k)
        assert code == RESTORED and answer[0]["verdict"] == "restored", r
        found = [f for f in answer[0]["findings"] if f["word"] == "restored"]
        assert found and found[-1]["from"] <= found[-1]["to"], answer
    assert verify(p, *k)[0] == RESTORED
    # an auditor who kept a checkpoint of what is lost
    code, answer, r = verify(p, "--log", "demo", "--from-checkpoint", anchor, *k)
    assert code == ROLLED_BACK, r
    assert verify(p, "--log", "demo", "--from-checkpoint", anchor, "--accept-break", *k)[0] == RESTORED
    # and one who keeps one of what came after
    later = f"{p.work}/later"
    assert p.postern("audit", "epoch").code == 0  # for sure: it is of a later epoch than the break
    assert p.ssh("echo later").out == b"later\n"
    until(lambda: seal(p), lambda: settled(p), timeout=20)
    assert verify(p, "--log", "demo", "--keep", later, *k)[0] == RESTORED
    assert verify(p, "--log", "demo", "--from-checkpoint", later, *k)[0] in (0, 20), verify(p, "--log", "demo", "--from-checkpoint", later, *k)
    p.k = k


@rule
def a_bundle_holds_the_breaks_and_needs_them(p):
    path = f"{p.work}/demo.bundle"
    until(lambda: seal(p), lambda: p.postern("audit", "epoch").code == 0)
    until(lambda: verify(p, "--log", "demo", *p.k), lambda: verify(p, "--log", "demo", *p.k)[0] == RESTORED, timeout=30)
    assert p.postern("audit", "export", path, "--log", "demo").code == 0
    assert p.postern("audit", "verify", "--file", path, *p.k).code == RESTORED
    with open(path, "rb") as f:
        b = tlog.Bundle.load(f.read())
    assert b.breaks and b.host_breaks

    def judge(c):
        with open(f"{p.work}/changed", "wb") as f:
            f.write(c.dump())
        return p.postern("--json", "audit", "verify", "--file", f"{p.work}/changed", *p.k)
    assert judge(b).code == RESTORED
    lost = tlog.check(b, p.k[1::2], restored=True)  # the other implementation says the same
    told = [f for f in json.loads(judge(b).text)[0]["findings"] if f["word"] == "restored"]
    assert lost and [(x[1], x[2]) for x in lost] == [(f["from"], f["to"]) for f in told], (lost, told)
    c = b.copy()
    c.breaks = []
    assert judge(c).code not in (0, 20, RESTORED), "a break was taken out"
    c = b.copy()
    c.host_breaks = []
    assert judge(c).code not in (0, 20, RESTORED)
    c = b.copy()
    c.breaks = [c.breaks[0].replace(b"/t/demo\n1\n", b"/t/demo\n2\n")]
    assert judge(c).code == SIGNATURE


@rule
def the_keys_can_be_written_where_verify_looks(p):
    r = p.postern("audit", "keys", "--write")
    assert r.code == 0 and r.text.strip() == f"{p.state}/etc/log.keys", r
    assert p.postern("audit", "keys", "--write").code == 0  # the same once more
    code, answer, r = verify(p)
    assert code == RESTORED and not answer[0]["keys_told"] and answer[0]["keys"].endswith("/log.keys"), r
    with open(f"{p.state}/etc/log.keys", "r+") as f:
        text = f.read().replace("/epoch/0+", "/epoch/1+")
        f.seek(0)
        f.write(text)
    assert p.postern("audit", "keys", "--write").code == SIGNATURE  # a key that is kept is not replaced
    os.unlink(f"{p.state}/etc/log.keys")


@rule
def what_nobody_seals_again_is_not_lost(p):
    """Broken off between the signer's break and the store: the same break is asked for again."""
    p.stop()
    r = p.postern("audit", "verify", "--offline", *p.k)
    assert r.code == RESTORED, r
    p.start()
    until(lambda: seal(p), lambda: seal(p)["state"] == "good", timeout=20)


@rule
def keys_that_come_back_do_not_forget_what_was_sealed(p):
    """With the keys an older memory of the seals comes back: were it taken, the same numbers would be signed twice."""
    old, vault = f"{p.work}/old2.tar", f"{p.work}/old2.keys"
    until(lambda: seal(p), lambda: settled(p), timeout=20)
    argv = ["--keys", vault, "--passphrase-file", secret_file(p)]
    assert p.postern("backup", old, *argv, timeout=60).code == 0
    size = {x["log"]: x["sealed"] for x in seal(p)["logs"]}
    assert p.ssh("echo lost").out == b"lost\n"
    until(lambda: seal(p), lambda: all(x["sealed"] > size[x["log"]] for x in seal(p)["logs"] if x["log"] in ("host", "demo")),
          timeout=30)
    p.stop()
    r = p.postern("restore", old, *argv, "--force", timeout=60)
    assert r.code == 0 and "memory of what it sealed stays" in r.text, r
    p.start()
    until(lambda: seal(p), lambda: "not the one that was sealed" in seal(p)["state"], timeout=20)
    r = p.postern("status")
    assert r.code == 10 and b"audit ack" in r.err, r
    assert p.ssh("echo in").code in (254, 255)
    assert p.postern("audit", "ack").code == 0
    until(lambda: seal(p), lambda: settled(p), timeout=30)
    until(lambda: verify(p, "--log", "demo", *p.k), lambda: verify(p, "--log", "demo", *p.k)[0] == RESTORED, timeout=30)


if __name__ == "__main__":
    main(Postern)
