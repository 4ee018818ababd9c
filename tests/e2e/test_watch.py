#!/usr/bin/python3
"""Programs on record: what the watch process of a session sees, what hostile programs make of it, and its death."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, signal, time

import proc
from postern import Postern, close_all, until
from tap import main, rule


def watched():
    p = Postern()
    p.stop()
    with open(f"{p.state}/etc/templates/seen.yaml", "w") as f:
        f.write("extends: default\nwatch: true\n")
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  seen:\n    template: seen\n    allow: [exec, shell, pty]\n")
    p.start()
    p.who = p.cert("seen", principals="seen")
    return p


def session_of(p, marker):
    for x in reversed(p.records()):
        if x["class"] == "channel.exec" and marker in json.dumps(x["body"]):
            return x["subject"]["session"]
    raise AssertionError(f"no session with {marker}")


def of_session(p, sid, name):
    return [x["body"] for x in p.records() if x["class"] == name and x["subject"].get("session") == sid]


def programs(p, sid):
    return [x for b in of_session(p, sid, "session.programs") for x in b["programs"]]


def run_seen(p, command, timeout=30, input=None):
    """Runs it in a session of its own to its end: (result, session, programs, body of session.end)."""
    marker = f"m{time.monotonic_ns()}"
    r = p.ssh(f": {marker}; {command}", key=p.who, user="seen", timeout=timeout, input=input)
    sid = session_of(p, marker)
    end = until("its end", lambda: of_session(p, sid, "session.end"), timeout=15)[0]
    return r, sid, programs(p, sid), end


def watches(p):
    return p.daemons("watch")


@rule
def each_program_and_its_arguments_are_on_record(p):
    r, sid, got, end = run_seen(p, "/bin/true one 'two words' ''; ls -d /tmp >/dev/null; (cd /bin && ./echo relative)")
    assert r.code == 0 and b"relative" in r.out, r
    argvs = [x["argv"] for x in got]
    assert ["/bin/true", "one", "two words", ""] in argvs, got
    assert ["ls", "-d", "/tmp"] in argvs, got
    assert any(x["path"] == "./echo" for x in got), got
    assert all(not x["cut"] for x in got if x["argv"] and x["argv"][0] == "ls"), got
    assert end["totals"]["programs"] >= len(got) > 0 and end["totals"]["programs_lost"] == 0, end
    enforced = of_session(p, sid, "session.enforced")[0]["enforced"]
    assert enforced["watch"] is True, enforced
    until("the watch to go", lambda: not watches(p))


@rule
def an_unwatched_session_has_no_watch(p):
    r = p.ssh("echo plain-marker; sleep 0")
    assert r.code == 0, r
    sid = session_of(p, "plain-marker")
    assert programs(p, sid) == [] and of_session(p, sid, "session.enforced")[0]["enforced"]["watch"] is False


@rule
def the_timeline_tells_of_them(p):
    r, sid, got, end = run_seen(p, "/bin/true in-the-timeline")
    t = p.postern("audit", "show", "--session", sid, "--timeline")
    assert t.code == 0 and "program /bin/true: /bin/true in-the-timeline" in t.text, t
    t = p.postern("audit", "show", "--session", sid, "--timeline", "--json")
    assert any(e["what"] == "program" and "in-the-timeline" in e["argv"] for e in json.loads(t.text)["events"]), t


@rule
def hostile_arguments_are_escaped_and_cut(p):
    code = r"""
import os
def go(path, argv):
    pid = os.fork()
    if pid == 0:
        try: os.execv(path, argv)
        finally: os._exit(0)
    os.waitpid(pid, 0)
go(b"/bin/true", [b"ctl", b"\x1b]0;x\x07\n\xff\xfe\"\\"])
go(b"/bin/true", [b"huge", b"A" * 100000])
go(b"/bin/true", [b"many"] + [b"x"] * 5000)
go(b"/no/such/" + b"p" * 3000, [b"longpath"])
go(b"/bin/true", [b"last"])
"""
    r, sid, got, end = run_seen(p, "python3 -", input=code.encode())
    assert r.code == 0, r
    by = {x["argv"][0]: x for x in got if x["argv"]}
    assert by["ctl"]["argv"][1] == r"\x1b]0;x\x07\x0a\xff\xfe\x22\x5c", by["ctl"]
    assert by["huge"]["cut"] and 1000 < len(by["huge"]["argv"][1]) < 3000, len(by["huge"]["argv"][1])
    assert by["many"]["cut"] and len(by["many"]["argv"]) == 32, by["many"]
    assert by["longpath"]["cut"] and len(by["longpath"]["path"]) <= 512, by["longpath"]
    assert not by["last"]["cut"], by["last"]


@rule
def racing_threads_and_bad_pointers_do_no_harm(p):
    code = r"""
import ctypes, os, threading, time
libc = ctypes.CDLL(None, use_errno=True)
for bad in (1, 8, 0x7ffffffff000, 2**64 - 8, 2**63):
    assert libc.syscall(59, ctypes.c_ulong(bad), ctypes.c_ulong(bad), None) == -1
text = ctypes.create_string_buffer(b"x" * 4000)
argv = (ctypes.c_char_p * 2)(ctypes.addressof(text), None)
stop = time.time() + 1
def flip():
    while time.time() < stop:
        ctypes.memset(text, 0x41, 3999); ctypes.memset(text, 0, 1)
threads = [threading.Thread(target=flip) for _ in range(3)]
[t.start() for t in threads]
while time.time() < stop:
    libc.syscall(59, b"/nonexistent", argv, None)
[t.join() for t in threads]
print("alive")
"""
    r, sid, got, end = run_seen(p, "python3 -; /bin/true after", input=code.encode())
    assert r.code == 0 and b"alive" in r.out, r
    assert "its watch" not in end["spawn"], end
    assert any(x["cut"] for x in got), "pointers that point nowhere are told"


@rule
def a_flood_is_counted_and_the_session_goes_on(p):
    code = r"""
import ctypes, time
libc = ctypes.CDLL(None)
stop, n = time.time() + 3, 0
while time.time() < stop:
    libc.syscall(59, b"/nonexistent", None, None); n += 1
print(n)
"""
    r, sid, got, end = run_seen(p, "python3 -; echo still here", input=code.encode())
    assert r.code == 0 and b"still here" in r.out, r
    n, totals = int(r.text.split()[0]), end["totals"]
    assert n > 1500, n
    assert totals["programs"] >= n and totals["programs_lost"] > 0, (n, totals)
    assert len(got) + totals["programs_lost"] == totals["programs"], (len(got), totals)
    assert sum(b["dropped"] for b in of_session(p, sid, "session.programs")) <= totals["programs_lost"]


@rule
def killing_the_watch_ends_the_session_with_that_reason(p):
    s = p.ssh_open("echo kill-marker; cat", key=p.who, user="seen")
    try:
        assert s.stdout.readline() == b"kill-marker\n", s.stderr.read()
        pid, = watches(p)
        os.kill(pid, signal.SIGKILL)
        assert s.wait(10) != 0
    finally:
        close_all(s)
    sid = session_of(p, "kill-marker")
    end = until("its end", lambda: of_session(p, sid, "session.end"), timeout=10)[0]
    assert "its watch process has ended" in (end["reason"], end["spawn"]), end
    until("nothing left", lambda: not p.sandbox_pids() and not watches(p))


@rule
def a_core_that_was_killed_hears_of_programs_again(p):
    s = p.ssh_open("echo core-marker; read x; /bin/true after-the-core; cat", key=p.who, user="seen")
    try:
        assert s.stdout.readline() == b"core-marker\n", s.stderr.read()
        sid, old = session_of(p, "core-marker"), p.daemon("core")
        os.kill(old, signal.SIGKILL)
        until("another core", lambda: [x for x in p.daemons("core") if x != old], timeout=10)
        s.stdin.write(b"go\n")
        s.stdin.flush()
        until("the program", lambda: any("after-the-core" in x["argv"] for x in programs(p, sid)), timeout=10)
    finally:
        close_all(s)
    until("its end", lambda: of_session(p, sid, "session.end"), timeout=10)


@rule
def the_watch_holds_what_it_needs_and_no_more(p):
    s = p.ssh_open("echo held; cat", key=p.who, user="seen")
    try:
        assert s.stdout.readline() == b"held\n", s.stderr.read()
        pid, = watches(p)
        st = proc.status(pid)
        inside = {(int(x) - p.ids) % 65536 for x in st["Uid"].split() + st["Gid"].split()}
        assert inside == {65533} and int(st["Uid"].split()[0]) - p.ids >= 65536, st["Uid"]
        assert int(st["CapEff"], 16) == int(st["CapPrm"], 16) == 1 << 19, st["CapEff"]
        assert not any(int(st[c], 16) for c in ("CapInh", "CapBnd", "CapAmb")), st
        assert st["Seccomp"] == "2" and st["NoNewPrivs"] == "1" and not st["Groups"].split()
        mine, its = proc.namespaces("self"), proc.namespaces(pid)
        assert [k for k in sorted(its) if its[k] != mine[k]] == ["user"], its
        kinds = sorted(l.split(":")[0] for l in proc.fds(pid).values() if l.startswith(("socket", "anon_inode")))
        assert kinds.count("socket") == 2, proc.fds(pid)
        assert any("seccomp" in l for l in proc.fds(pid).values()), proc.fds(pid)
    finally:
        close_all(s)
    until("the watch to go", lambda: not watches(p))


@rule
def the_watch_and_the_worker_count_against_their_tenant(p):
    s = p.ssh_open("echo charged; cat", key=p.who, user="seen")
    try:
        assert s.stdout.readline() == b"charged\n", s.stderr.read()
        watch, = watches(p)
        agent = min(p.sandbox_pids() - {watch})
        at = [{k: path for _, k, path in (l.split(":", 2) for l in open(f"/proc/{pid}/cgroup").read().split())}
              for pid in (watch, agent, *p.daemons("worker"))]
        limited = [k for k in at[1] if k and p.instance in at[1][k] and k.split(",")[0] in ("memory", "pids", "cpu")]
        for k in limited or [""]:
            tenant = os.path.dirname(at[1][k])
            assert tenant.endswith("/demo") and at[0][k] == f"{tenant}/daemons.own", (k, at)
            assert [w[k] for w in at[2:]].count(at[0][k]) == 1, (k, at)
    finally:
        close_all(s)
    until("the watch to go", lambda: not watches(p))


if __name__ == "__main__":
    main(watched)
