#!/usr/bin/python3
"""The log: everything that happens is on record, in order, before it happens; and a changed byte shows."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, json, os, re, threading, time

from postern import Postern, close_all, in_sequence, run, until
from tap import main, rule


def session_of(p, words):
    """The records that concern the session in which `words` ran."""
    rs = p.records()
    sid = next(v for x in rs if words in json.dumps(x) for k, v in walk(x) if k == "session" and isinstance(v, str))
    return sid, [x for x in rs if sid in json.dumps(x)]


def walk(o):
    if isinstance(o, dict):
        for k, v in o.items():
            yield k, v
            yield from walk(v)
    elif isinstance(o, list):
        for v in o:
            yield from walk(v)


def data_file(p):
    return f"{p.state}/core/data.mdb"


@rule
def a_sessions_life_is_on_record_in_order(p):
    r = p.ssh("echo the-marker; postern-cred get jwt https://api.example.com >/dev/null; exit 3")
    assert r.code == 3, r
    until("its end", lambda: any("end" in x["class"] for x in session_of(p, "the-marker")[1] if "session" in x["class"]))
    sid, mine = session_of(p, "the-marker")
    order = [x["class"] for x in mine]
    for a, b in zip(EXPECTED, EXPECTED[1:]):
        assert a in order and b in order and order.index(a) < order.index(b), (a, b, order)
    whole = p.records()
    assert in_sequence(whole) and {"host", "demo"} <= {x["log"] for x in whole}
    assert [x["time"] for x in whole] == sorted(x["time"] for x in whole)
    # the connection and its grant come before the session
    first = whole.index(mine[0])
    before = [x["class"] for x in whole[:first]]
    for c in BEFORE:
        assert c in before + order, (c, before)


# the classes of a session's records, as postern(1) names them
EXPECTED = ["session.start", "channel.exec", "lease.granted", "channel.end", "session.end"]
BEFORE = ["conn.accepted", "grant"]


@rule
def the_exec_line_is_there_whole(p):
    command = "echo 'a \"quoted\" \\ line'; true " + "x" * 3000
    p.ssh(command)
    assert any(v == command for x in p.records() for k, v in walk(x)), "not found"


@rule
def foreign_text_cannot_reach_a_terminal(p):
    p.ssh("echo \x1b]52;c;ZXZpbA==\x07 \x1b[2J evil-marker\n\nfake line")
    r = p.postern("audit", "show")
    assert r.code == 0 and b"evil-marker" in r.out, r
    assert b"\x1b" not in r.out and b"\x07" not in r.out
    assert not any(l.startswith("fake line") for l in r.text.splitlines())


@rule
def the_end_of_a_channel_has_status_and_bytes(p):
    p.ssh("cat; echo totals-marker >&2; exit 9", input=b"x" * 1234)
    sid, mine = session_of(p, "totals-marker")
    ends = [x for x in mine if x["class"] == "channel.end"]
    assert len(ends) == 1, [x["class"] for x in mine]
    b = ends[0]["body"]
    assert b["exit"] == 9 and b["bytes_in"] == 1234 and b["bytes_out"] == 1234 and b["bytes_err"] == 14, b


@rule
def the_end_of_a_session_has_its_totals(p):
    p.ssh("python3 -c 'sum(range(10**6)); x = bytearray(30_000_000)'; echo cpu-marker")
    sid, _ = session_of(p, "cpu-marker")

    def end():
        return [x for x in session_of(p, "cpu-marker")[1] if x["class"] == "session.end" and "cpu_us" in json.dumps(x)] or \
            [x for x in session_of(p, "cpu-marker")[1] if "cpu_us" in json.dumps(x)]
    b = dict(walk(until("totals", end)[-1]))
    assert b["cpu_us"] > 10000 and b["memory_peak"] > 20_000_000, b


@rule
def what_is_enforced_is_on_record(p):
    p.ssh("echo enforced-marker")
    sid, _ = session_of(p, "enforced-marker")
    until("what holds", lambda: [x for x in session_of(p, "enforced-marker")[1] if "landlock" in json.dumps(x)])
    text = json.dumps(session_of(p, "enforced-marker")[1])
    for word in ("landlock", "seccomp", "cgroup", "kernel"):
        assert word in text, word


@rule
def the_chain_verifies(p):
    r = p.postern("audit", "verify", "--chain")
    assert r.code == 0 and r.out, r
    assert p.json("audit", "verify", "--chain")


def exported(p):
    """The log as it is stored, one record a line."""
    path = os.path.join(p.work, "export.log")
    if os.path.exists(path):
        os.unlink(path)
    r = p.postern("audit", "export", path)
    assert r.code == 0, r
    with open(path, "rb") as f:
        return f.read().splitlines(keepends=True)


@rule
def the_chain_can_be_checked_without_our_code(p):
    logs = {}
    lines = exported(p)
    assert len(lines) > 10
    for line in lines:
        o = json.loads(line)
        n, prev = logs.get(o["log"], (0, "0" * 64))
        assert o["v"] == 2 and o["seq"] == n + 1 and o["prev"] == prev, (n, o)
        assert o["type_uid"] == o["class_uid"] * 100 + o["activity_id"]
        assert o["log"] == (o["tenant"] or "host")
        logs[o["log"]] = o["seq"], hashlib.sha256(b"\0" + line.rstrip(b"\n")).hexdigest()
    assert len(logs) > 1


@rule
def who_and_from_where_are_commitments_that_show_opens(p):
    p.ssh("echo commitment-marker")
    sid, mine = session_of(p, "commitment-marker")
    start = [x for x in mine if x["class"] == "session.start"][0]
    assert start["subject"]["peer"] == "127.0.0.1" and start["subject"]["person"], start
    person = start["subject"]["person"].encode()
    raw = [json.loads(x) for x in exported(p) if sid.encode() in x]
    assert raw and all(x["subject"]["peer"].startswith("c:") for x in raw if "peer" in x["subject"])
    assert not any(b'"person":"' + person in x for x in exported(p))


@rule
def filters_choose(p):
    p.ssh("echo bob-was-here", key=p.cert("bob", ca="other"))
    r = p.postern("--json", "audit", "show", "--tenant", "other")
    assert r.code == 0 and b"bob-was-here" in r.out and b"the-marker" not in r.out, r


@rule
def a_question_that_nothing_can_answer_is_refused(p):
    for bad in ("yesterday", "23.11.2026", "2026/11", "2026-1x", "2026-11-23T15:38:48ZZ"):
        assert p.postern("audit", "show", "--since", bad).code == 2, bad
        assert p.postern("audit", "show", "--until", bad).code == 2, bad

    def shown(*args):
        return [json.loads(x) for x in p.postern("--json", "audit", "show", "--log", "demo", *args).text.splitlines()]
    first = shown()[0]
    assert shown("--since", first["time"][:19] + "Z")[0] == first, "a second holds its fractions"
    assert p.postern("audit", "show", "--log", "nobodys").code == 6
    assert [x["seq"] for x in shown("--seq", "2")] == [2]
    path = f"{p.work}/of-demo.bundle"
    assert p.postern("audit", "export", path, "--log", "demo").code == 0
    r = p.postern("audit", "verify", "--file", path, "--log", "other")
    assert r.code == 6 and b"demo" in r.err, r  # not the verdict of another log
    r = p.postern("audit", "show", "--help")
    assert b"audit show" in r.out and b"audit verify [" not in r.out


@rule
def every_operators_act_names_who_asked(p):
    s, sid = p.session()
    p.postern("kill", sid)  # the short form
    s.wait(5)
    close_all(s)
    until("the kill on record", lambda: [x for x in p.records() if sid in json.dumps(x) and "kill" in json.dumps(x)
                                         and ("root" in json.dumps(x) or '"uid": 0' in json.dumps(x))])


def flip(p, needle, change):
    """Changes bytes in the store while nobody has it open, and returns what `audit verify` says then."""
    p.stop()
    with open(data_file(p), "r+b") as f:
        places = [m.start() for m in re.finditer(re.escape(needle), f.read())]
        assert places, needle
        for at in places:  # LMDB keeps old pages for a while: there too
            f.seek(at)
            f.write(change)
    p.start()
    return p.postern("audit", "verify", "--chain")


@rule
def a_changed_byte_makes_verification_fail(p):
    p.ssh("echo flip-me-please")
    p.ssh("echo after-it")
    seq = next(x["seq"] for x in p.records() if "flip-me-please" in json.dumps(x))
    r = flip(p, b"flip-me-please", b"flip-me-plaese")
    assert r.code == VERIFY_FAILED, r
    assert f"record {seq}" in r.error + r.text or f"record {seq + 1}" in r.error + r.text, (seq, r)
    r = flip(p, b"flip-me-plaese", b"flip-me-please")
    assert r.code == 0, r


@rule
def a_log_that_grows_meanwhile_is_whole(p):
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            p.ssh("true")

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(12):
            r = p.postern("audit", "verify", "--chain")
            assert r.code == 0, r
    finally:
        stop.set()
        for t in threads:
            t.join()


@rule
def root_reads_the_files_as_their_owner_only(p):
    p.stop()
    data, gid = data_file(p), os.stat(data_file(p)).st_gid
    uid = os.stat(data).st_uid
    try:
        assert p.postern("audit", "verify", "--offline", "--chain").code == 0
        os.chown(data, 0, 0)  # what only root could read, is not read
        r = p.postern("audit", "verify", "--offline")
        assert r.code == UNREADABLE, r
        out = f"{p.state}/log.export"
        r = p.postern("audit", "export", out)
        assert r.code == UNREADABLE and not os.path.exists(out), r
    finally:
        os.chown(data, uid, gid)
        p.start()
    assert p.postern("audit", "export", out).code == 0 and os.path.getsize(out) > 0
    os.unlink(out)


VERIFY_FAILED = 4  # postern(1)
UNREADABLE = 9


@rule
def a_copy_with_records_gone_or_moved_is_noticed(p):
    whole = exported(p)
    path = os.path.join(p.work, "copy.log")
    for name, lines, ok in (("whole", whole, True), ("without the 5th", whole[:4] + whole[5:], False),
                            ("without the first", whole[1:], False), ("swapped", whole[:3] + [whole[4], whole[3]] + whole[5:], False),
                            ("cut in a line", whole[:-1] + [whole[-1][:-20]], False)):
        with open(path, "wb") as f:
            f.writelines(lines)
        r = p.postern("audit", "verify", "--chain", "--file", path)
        assert (r.code == 0) == ok, (name, r)


if __name__ == "__main__":
    main(Postern)
