#!/usr/bin/python3
"""The log for people: a session told from its beginning, searched, followed, erased; and what an agent types does
nothing to the reader's terminal."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, pty, re, select, signal, subprocess, threading, time

import tlog
from postern import PROGRAM, Postern, close_all, until
from tap import main, rule


def session_of(p, marker):
    """The id of the session in which `marker` was typed."""
    for x in reversed(p.records()):
        if x["class"] == "channel.exec" and marker in json.dumps(x["body"]):
            return x["subject"]["session"]
    raise AssertionError(f"no session with {marker}")


def ended(p, marker):
    sid = session_of(p, marker)
    until("its end", lambda: any(x["class"] == "session.end" and x["subject"]["session"] == sid for x in p.records()))
    return sid


def timeline(p, sid, *more):
    r = p.postern("audit", "show", "--session", sid, "--timeline", *more)
    assert r.code == 0, r
    return r.text


@rule
def a_session_is_told_from_its_beginning_to_its_end(p):
    key = p.cert("teller", id="tell@example.com", serial=4711)
    r = p.ssh("echo told-marker; echo err >&2; postern-cred get jwt https://api.example.com >/dev/null; exit 3", key=key)
    assert r.code == 3, r
    sid = ended(p, "told-marker")
    text = timeline(p, sid)
    for want in (rf"^session {sid} of tenant demo, connection c-\w+, ended$", r"who +tell@example.com as agent",
                 r"key +SHA256:\S+, key id tell@example.com, certificate serial 4711, CA SHA256:", r"from +127.0.0.1 by ssh",
                 r"grant +.*exec.*; credentials .*jwt:", r"at most \d", r"limits +memory \d+\w, disk \d\S*, \d+ processes, cpu \d+ %$", r"started +20\d\d-", r"exec echo told-marker; ",
                 r"\d m?s, exit 3, 0B in, 12B out, \d+B err", r"credential jwt for https://api.example.com, lease ",
                 r"ended +20\d\d-\S+ after ", r"totals +1 command, 1 credential"):
        assert re.search(want, text, re.M), (want, text)


@rule
def programs_get_the_same_as_one_object(p):
    sid = session_of(p, "told-marker")
    o = json.loads(timeline(p, sid, "--json"))
    assert o["session"] == sid and o["state"] == "ended" and o["person"] == "tell@example.com" and o["serial"] == "4711"
    what = [e["what"] for e in o["events"]]
    assert what[0] == "command" and "credential" in what, what
    e = o["events"][0]
    assert e["exit"] == 3 and e["bytes_out"] == 12 and e["ms"] >= 0 and e["ended"] > e["time"], e
    assert o["grant"]["lifetime_s"] > 0 and o["totals"]["lasted_ms"] >= 0


@rule
def a_refusal_is_told(p):
    p.ssh("echo refused-marker; postern-cred get jwt https://not.granted.example 2>/dev/null")
    text = timeline(p, ended(p, "refused-marker"))
    assert re.search(r"REFUSED lease.denied: .*not.granted.example", text), text


@rule
def who_is_not_there_is_not_found(p):
    r = p.postern("audit", "show", "--session", "s-0000000000000000", "--timeline")
    assert r.code == 6 and not r.out, r


@rule
def it_is_the_same_offline_and_from_a_bundle(p):
    sid = session_of(p, "told-marker")
    online = json.loads(timeline(p, sid, "--json"))
    path = os.path.join(p.work, "demo.bundle")
    assert p.postern("audit", "export", path, "--log", "demo").code == 0
    other = json.loads(timeline(p, sid, "--json", "--file", path))
    assert other["events"] == online["events"] and other["person"].startswith("c:"), other
    p.stop()
    try:
        offline = json.loads(timeline(p, sid, "--json", "--offline"))
    finally:
        p.start()
    assert offline == online


def pages(p, *args):
    r = p.postern("--json", "audit", "show", *args)
    assert r.code == 0, r
    return [json.loads(x) for x in r.text.splitlines()]


@rule
def an_actor_is_found_by_key_role_and_person(p):
    key = p.cert("seeker", id="seek@example.com")
    p.ssh("echo seeker-marker", key=key)
    sid = ended(p, "seeker-marker")
    finger = subprocess.run(["ssh-keygen", "-lf", key + ".pub"], capture_output=True, text=True).stdout.split()[1]
    by_key, by_person = pages(p, "--actor", finger), pages(p, "--actor", "seek@example.com")
    for found in (by_key, by_person):
        classes = [x["class"] for x in found if sid in json.dumps(x)]
        assert {"session.start", "channel.exec", "channel.end", "session.end"} <= set(classes), classes
        assert not any("told-marker" in json.dumps(x) for x in found)
    assert "grant" in [x["class"] for x in by_key]
    assert any("told-marker" in json.dumps(x) for x in pages(p, "--actor", "agent"))
    assert not pages(p, "--actor", "nobody@example.com")


@rule
def text_is_found_also_in_what_was_committed_to(p):
    found = pages(p, "--text", "seeker-mark")
    assert found and all("seeker-mark" in json.dumps(x) for x in found)
    assert pages(p, "--text", "seek@exam", "--class", "channel.exec", "--log", "demo")
    assert not pages(p, "--text", "seek@exam", "--log", "host")


HOSTILE = ("".join(chr(c) for c in range(1, 0xa0) if chr(c) not in "\n'") +
           "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u061c\u2028\u2029\U000e0001")


def harmless(out):
    bad = [b for b in set(out) if not (0x20 <= b < 0x7f or b == 0x0a)]
    return not bad


@rule
def no_byte_of_an_agents_command_reaches_the_terminal(p):
    p.ssh(f"true hostile-marker '{HOSTILE}'".encode(), flags=("-tt",))
    p.ssh(b"true bytes-marker '" + bytes(b for b in range(1, 256) if b not in b"\n'") + b"'")
    p.ssh("true long-marker " + "\u202e" * 9000)
    for marker in ("hostile-marker", "long-marker"):
        sid = ended(p, marker)
        outs = [timeline(p, sid).encode(), timeline(p, sid, "--json").encode()]
        for args in ([], ["--json"], ["--raw"], ["--body"]):
            r = p.postern("audit", "show", "--session", sid, *args)
            assert r.code == 0 and marker.encode() in r.out, r
            outs.append(r.out)
        for out in outs:
            assert harmless(out), [b for b in set(out) if not 0x20 <= b < 0x7f]
    r = p.postern("audit", "show", "--text", "long-marker")
    assert max(len(x) for x in r.out.splitlines()) <= 4096
    r = p.postern("audit", "show")
    assert r.code == 0 and harmless(r.out + r.err)


@rule
def on_a_terminal_the_timeline_comes_by_itself(p):
    sid = session_of(p, "hostile-marker")
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [PROGRAM, "--state", p.state, "audit", "show", "--session", sid])
    out = b""
    while True:
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        if not got:
            break
        out += got
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert b"  who " in out and harmless(out.replace(b"\r\n", b"\n")), out[:600]


@rule
def a_hostile_file_cannot_either(p):
    path = os.path.join(p.work, "evil.log")
    with open(path, "wb") as f:
        f.write(b'{"v":2,"log":"\x1b]0;x\x07","seq":1}\n{"v":2,"log":"demo",\x1b[2J\x9b2J\n\xff\xfe\n' + b"\x1b" * 70000 + b"\n")
    r = p.postern("audit", "show", "--file", path)
    assert harmless(r.out + r.err), r


@rule
def a_large_log_is_read_in_little_memory(p):
    path = os.path.join(p.work, "large.log")
    line = ('{"v":2,"log":"demo","seq":%d,"time":"2026-11-23T15:38:48.123456Z","class":"channel.exec","tenant":"demo",'
            '"subject":{"session":"s-%d","conn":"c-%d"},"body":{"channel":0,"command":"' + "x" * 200 + '"},"prev":"00"}\n')
    with open(path, "w") as f:
        f.writelines(line % (n, n // 10, n // 10) for n in range(1, 400_001))
    # the sanitizer would keep 256 MB of what was freed
    env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")
    for args, n in (["--session", "s-39999"], 10), (["--limit", "5", "--text", "xxx"], 5), (["--session", "s-7", "--timeline"], 0):
        c = subprocess.Popen([PROGRAM, "--state", p.state, "audit", "show", "--file", path, *args],
                             stdout=subprocess.PIPE, env=env)
        out = c.stdout.read()
        c.stdout.close()
        _, status, used = os.wait4(c.pid, 0)
        c.returncode = os.waitstatus_to_exitcode(status)
        assert c.returncode == 0 and (not n or len(out.splitlines()) == n), (args, c.returncode, out[:300])
        assert used.ru_maxrss < 40_000, (args, used.ru_maxrss)  # KiB; the file has 150 MB
    os.unlink(path)


@rule
def a_long_body_lies_beside_and_is_proved(p):
    forced = "true forced-marker " + "'" + '"' * 7000 + "'"
    key = p.cert("forced", options=["force-command=" + forced])
    command = "true body-marker '" + '"' * 50000 + "'"
    assert p.ssh(command, key=key).code == 0
    sid = ended(p, "body-marker")
    x = [x for x in pages(p, "--session", sid) if x["class"] == "channel.exec"][0]
    assert x["body"]["command"] == command and x["body"]["forced"] == forced and "cut" not in x["body"], list(x["body"])
    assert x["body"]["body_bytes"] > 100000
    assert ('"' * 100).encode().replace(b'"', b"\\x22") in p.postern("audit", "show", "--session", sid, "--body").out
    path = os.path.join(p.work, "bodies.bundle")
    until("a seal", lambda: sealed(p, path), timeout=40, every=1)
    with open(path, "rb") as f:
        b = tlog.Bundle.load(f.read())
    keys = keys_of(p)
    assert x["seq"] in b.bodies and json.loads(b.bodies[x["seq"]])["command"] == command
    assert verify(p, b, keys) == 0
    changed = b.copy()
    changed.bodies[x["seq"]] = changed.bodies[x["seq"]].replace(b"body-marker", b"bodymarker-", 1)
    assert verify(p, changed, keys) == 4
    gone = b.copy()
    del gone.bodies[x["seq"]]
    assert verify(p, gone, keys, b"1 long body is missing, the first of record %d:" % x["seq"]) == 23


def keys_of(p):
    """The keys that seal the logs, in a file."""
    path = os.path.join(p.work, "log.keys")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.write(p.postern("audit", "keys").out)
    return path


def sealed(p, path):
    if os.path.exists(path):
        os.unlink(path)
    assert p.postern("audit", "export", path, "--log", "demo").code == 0
    return p.postern("audit", "verify", "--file", path, "--keys", keys_of(p)).code == 0


def verify(p, bundle, keys, said=b""):
    path = os.path.join(p.work, "again.bundle")
    with open(path, "wb") as f:
        f.write(bundle.dump())
    r = p.postern("audit", "verify", "--file", path, "--keys", keys)
    assert said in r.out, r
    return r.code


class Follower:
    def __init__(self, p, *args):
        self.p = subprocess.Popen([PROGRAM, "--state", p.state, "audit", "show", "--follow", *args],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seen = b""

    def expect(self, word, timeout=30):
        end = time.monotonic() + timeout
        while word not in self.seen:
            assert time.monotonic() < end, (word, self.seen[-500:])
            if select.select([self.p.stdout], [], [], 0.2)[0]:
                got = os.read(self.p.stdout.fileno(), 65536)
                assert got, (word, self.seen[-500:], self.p.stderr.read())
                self.seen += got

    def close(self):
        self.p.stdout.close()
        self.p.stderr.close()


@rule
def following_goes_on_when_the_core_was_restarted(p):
    f = Follower(p, "--class", "channel.exec")
    p.ssh("true before-the-restart")
    f.expect(b"before-the-restart")
    old = p.daemon("core")
    os.kill(old, signal.SIGKILL)
    until("another core", lambda: p.daemons("core") and p.daemons("core") != [old], timeout=20)
    until("it works", lambda: p.ssh("true behind-the-restart").code == 0, timeout=30)
    f.expect(b"behind-the-restart")
    assert f.seen.count(b"before-the-restart") == 1
    f.p.send_signal(signal.SIGINT)
    assert f.p.wait(10) == 0
    f.close()


@rule
def following_ends_when_nobody_reads(p):
    f = Follower(p, "--class", "none.such")
    time.sleep(0.2)
    f.p.stdout.close()
    assert f.p.wait(10) == 0
    f.p.stderr.close()
    r = subprocess.run(f"{PROGRAM} --state {p.state} audit show | head -1", shell=True, capture_output=True)
    assert r.returncode == 0 and not r.stderr, r


@rule
def who_reads_names_is_on_record(p):
    def reads():
        return [x for x in pages(p) if x["class"] == "log.read"]

    before = len(reads())
    p.postern("audit", "show", "--limit", "1")
    after = reads()
    assert after and len(after) - before == 2, (before, len(after))  # the one of reads() itself, and that
    assert "root" in json.dumps(after[-1]["subject"]), after[-1]
    plain = len(reads())
    path = os.path.join(p.work, "quiet.log")
    assert p.postern("audit", "export", path).code == 0  # commitments only
    assert len(reads()) == plain + 1


@rule
def a_person_is_erased_and_the_log_stays_proved(p):
    key = p.cert("gone", id="gone@example.com")
    p.ssh("echo gone-marker", key=key)
    sid = ended(p, "gone-marker")
    before = os.path.join(p.work, "before.bundle")
    until("a seal", lambda: sealed(p, before), timeout=40, every=1)
    r = p.postern("audit", "erase", "gone@example.com")
    assert r.code == 2 and "gone@example.com" in timeline(p, sid)  # nobody was asked
    r = p.postern("audit", "erase", "gone@example.com", "--yes")
    assert r.code == 0 and re.match(rb"erased [1-9]\d* values", r.out), r
    text = timeline(p, sid)
    assert "gone@example.com" not in text and "who        (erased)" in text and "from       (erased)" in text, text
    assert b"gone@example.com" not in p.postern("audit", "show").out
    assert b"gone@example.com" not in p.postern("session", "list", "--all").out
    assert any(x["class"] == "log.erased" and x["body"]["values"] > 0 for x in pages(p))
    assert p.postern("audit", "verify", "--chain").code == 0
    after = os.path.join(p.work, "after.bundle")
    until("a seal", lambda: sealed(p, after), timeout=40, every=1)
    assert p.postern("audit", "verify", "--file", before, "--keys", keys_of(p)).code == 0
    with open(before, "rb") as a, open(after, "rb") as b:
        old, new = tlog.Bundle.load(a.read()), tlog.Bundle.load(b.read())
    assert all(new.records[s] == d for s, d in old.records.items())
    r = p.postern("audit", "erase", "gone@example.com", "--yes")
    assert r.code == 6, r


if __name__ == "__main__":
    main(Postern)
