#!/usr/bin/python3
"""Proofs: of one record, and that a log only grew. Against the vectors of RFC 6962's own tests, and against a second
implementation, both ways, for random sizes."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import atexit, base64, json, random, shutil, socket, tempfile, threading

import tlog
from logmaker import Maker
from postern import PROGRAM, run
from tap import main, rule

NOT_FOUND, BROKEN, UNREADABLE, NO_KEY, SIGNATURE = 6, 4, 9, 21, 25
WORK = tempfile.mkdtemp(prefix="postern-proofs-")
atexit.register(shutil.rmtree, WORK, True)


def put(name, data):
    path = os.path.join(WORK, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def prove(b, *args):
    return run([PROGRAM, "audit", "prove", "--file", put("bundle", b.dump()), *args])


def check(proof, m, *args, keys=None):
    argv = [PROGRAM, "audit", "check-proof", put("proof", proof), *args]
    for k in m.keys() if keys is None else keys:
        argv += ["--key", k]
    return run(argv)


def log_of(*sizes):
    m, at = Maker(), 0
    for n in sizes:
        m.grow("demo", n - at)
        m.seal("demo")
        at = n
    return m


@rule
def the_second_implementation_has_the_vectors():
    data = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                       "606162636465666768696a6b6c6d6e6f")]
    roots = ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
             "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
             "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
             "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
             "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
             "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
             "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"]
    leaves = [tlog.leaf(d) for d in data]
    assert [tlog.root(leaves[:n + 1]).hex() for n in range(8)] == roots
    # the paths of RFC 6962's own test program
    assert [h.hex() for h in tlog.path(5, leaves)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]
    assert [h.hex() for h in tlog.subproof(6, leaves)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]


@rule
def proofs_are_the_same_in_both_implementations():
    rng = random.Random(6962)
    for _ in range(12):
        old = rng.randrange(1, 300)
        size = old + rng.randrange(0, 300)
        m = log_of(*sorted({old, size}))
        b = m.bundle()
        note, key = b.checkpoints[-1][1], m.keys()[0]
        for seq in {1, old, size, rng.randrange(1, size + 1)}:
            r = prove(b, str(seq), "--log", "demo", "--record-out", os.path.join(WORK, "record"))
            assert r.code == 0, r
            assert r.out == tlog.format_proof(b.leaves(), note, index=seq - 1), (size, seq)
            assert tlog.check_inclusion(r.out, b.records[seq], key)
            with open(os.path.join(WORK, "record"), "rb") as f:
                assert f.read() == b.records[seq]
            c = check(r.out, m, "--record", put("record", b.records[seq]))
            assert c.code == 0 and f"record {seq} of log.example/gw/t/demo" in c.text, c
        r = prove(b, "--from", str(old), "--log", "demo")
        assert r.code == 0 and r.out == tlog.format_proof(b.leaves(), note, old=old), (old, size, r)
        first = b.checkpoints[0][1]
        assert tlog.check_consistency(r.out, first, key)
        assert check(r.out, m, "--from-checkpoint", put("old", first)).code == 0


@rule
def a_proof_of_something_else_is_refused():
    m = log_of(20, 37)
    b = m.bundle()
    proof = prove(b, "9", "--log", "demo").out
    assert check(proof, m, "--record", put("r", b.records[9])).code == 0
    assert check(proof, m, "--record", put("r", b.records[8])).code == BROKEN
    assert check(proof, m, "--record", put("r", b.records[9] + b"\n")).code == BROKEN
    assert check(proof.replace(b"index 8", b"index 7"), m, "--record", put("r", b.records[9])).code == BROKEN
    lines = proof.split(b"\n")
    assert check(b"\n".join(lines[:2] + lines[3:]), m, "--record", put("r", b.records[9])).code == BROKEN
    assert check(proof, m, "--record", put("r", b.records[9]), keys=log_of(5).keys()).code == SIGNATURE
    assert check(proof, m, "--record", put("r", b.records[9]), keys=[]).code == NO_KEY
    assert check(proof.replace(b"\n37\n", b"\n38\n"), m, "--record", put("r", b.records[9])).code == SIGNATURE
    growth = prove(b, "--from", "20", "--log", "demo").out
    other = log_of(20).bundle().checkpoints[0][1]
    assert check(growth, m, "--from-checkpoint", put("o", b.checkpoints[0][1])).code == 0
    assert check(growth, m, "--from-checkpoint", put("o", other)).code == SIGNATURE
    assert check(growth, m, "--from-checkpoint", put("o", b.checkpoints[1][1])).code == BROKEN
    fork = m.sealer.seal("demo", b.leaves(19) + [tlog.leaf(b"x")])
    assert check(growth, m, "--from-checkpoint", put("o", fork)).code == BROKEN


@rule
def a_malformed_proof_is_refused():
    m = log_of(20)
    b = m.bundle()
    proof = prove(b, "9", "--log", "demo").out
    record = put("r", b.records[9])
    for bad in (b"", b"\n", proof[:30], proof.replace(b"@v1", b"@v2"), proof.replace(b"index 8", b"index 08"),
                proof.replace(b"index 8", b"index -8"), proof.replace(b"index 8\n", b"index 8\n\n"), proof.replace(b"\n", b"\r\n"),
                proof.replace(b"index 8\n", b"index 8\n" + b"A" * 44 + b"\n"), proof.replace(b"index 8\n", b"extra *\nindex 8\n"),
                proof.replace(b"index 8\n", b"index 8\n" + (b"A" * 43 + b"=\n") * 70), proof[:proof.index(b"\n\n") + 2]):
        assert check(bad, m, "--record", record).code in (UNREADABLE, SIGNATURE), bad
    with_extra = proof.replace(b"index 8\n", b"extra aGVsbG8=\nindex 8\n")
    assert check(with_extra, m, "--record", record).code == 0


@rule
def what_is_not_sealed_is_not_proved():
    m = log_of(20)
    m.grow("demo", 2)
    b = m.bundle()
    assert prove(b, "21", "--log", "demo").code == NOT_FOUND
    assert prove(b, "--from", "21", "--log", "demo").code == NOT_FOUND
    assert prove(b, "20", "--log", "demo").code == 0


@rule
def any_changed_byte_of_a_proof_is_refused():
    m = log_of(21)
    b = m.bundle()
    proof = prove(b, "9", "--log", "demo").out
    record = put("r", b.records[9])
    name = m.sealer.origin + "/epoch/0"
    own = proof.rindex(("\u2014 " + name).encode())  # of an epoch's key nothing was said
    for at in range(0, own, 5):
        bad = proof[:at] + bytes([proof[at] ^ 2]) + proof[at + 1:]
        assert check(bad, m, "--record", record).code != 0, (at, bad[at - 5:at + 5])


def asked(state, answers, *args):
    """What a running core is asked for by `audit prove`: (type, body) each, and how the command ended."""
    os.makedirs(f"{state}/run")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    s.bind(f"{state}/run/control.sock")
    s.listen(4)
    got = []

    def serve():
        while True:
            c, _ = s.accept()
            while data := c.recv(1 << 17):
                m = json.loads(data)
                got.append((m["type"], m["body"]))
                kind, body = answers(m["type"], m["body"])
                c.send(json.dumps({"v": 1, "id": m["id"], "type": kind, "body": body}).encode())
            c.close()
    threading.Thread(target=serve, daemon=True).start()
    return run([PROGRAM, "--state", state, "audit", "prove", "--log", "demo", *args]), got


@rule
def a_running_postern_is_asked_for_the_proof_and_not_for_the_log():
    b64 = lambda x: base64.b64encode(x).decode()
    m = log_of(100, 1000)
    b = m.bundle()
    note = b.checkpoints[-1][1]

    def answers(kind, body):
        if kind == "ctl.prove":
            n = body["number"]
            which = {"old": n} if body["kind"] == "consistency" else {"index": n - 1}
            return "ctl.proof", {"text": b64(tlog.format_proof(b.leaves(), note, **which))}
        assert kind == "ctl.records" and body["max"] == 1, (kind, body)
        return "ctl.page", {"from": body["from"], "size": 1000, "records": [b64(b.records[body["from"]])]}
    r, got = asked(f"{WORK}/one", answers, "321", "--record-out", f"{WORK}/record")
    assert r.code == 0 and r.out == tlog.format_proof(b.leaves(), note, index=320), r
    assert [x[0] for x in got] == ["ctl.prove", "ctl.records"], got
    with open(f"{WORK}/record", "rb") as f:
        assert f.read() == b.records[321]
    r, got = asked(f"{WORK}/two", answers, "--from", "100")
    assert r.code == 0 and r.out == tlog.format_proof(b.leaves(), note, old=100), r
    assert [x[0] for x in got] == ["ctl.prove"], got


@rule
def what_a_running_postern_refuses_to_prove_is_told_apart():
    for code, want in ((3, NOT_FOUND), (22, 22), (23, 23), (30, 30), (1, 1), (99, 1)):
        def answers(kind, body):
            return "ctl.error", {"code": code, "reason": "for a reason"}
        r, got = asked(f"{WORK}/{code}", answers, "7")
        assert r.code == want and r.out == b"" and (b"archive" if want == 30 else b"for a reason") in r.err, (code, r)
        assert {x[0] for x in got} == {"ctl.prove"}, got


if __name__ == "__main__":
    main()
