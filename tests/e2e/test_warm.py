#!/usr/bin/python3
"""Sandboxes that wait: claimed by sessions, made again, and taken down when the templates change."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import re

import proc
from postern import Postern, close_all, until
from tap import main, rule


def write(p, name, text):
    path = f"{p.state}/etc/templates/{name}.yaml"
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def warmed():
    p = Postern(start=False)
    p.start()
    p.stop()
    write(p, "warm", "warm: 2\nlimits: {memory: 64M}\nenv: {ROUND: one}\n")
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  warm:\n    template: warm\n    allow: [exec, credential]\n  second:\n    template: warm\n    allow: [exec]\n")
    p.start()
    p.warm = p.cert("warm", principals="warm,second")
    return p


def pool(p):
    """What spawn says of its pool."""
    found = []

    def look(x):
        if isinstance(x, dict):
            if "ready" in x and "claimed" in x:
                found.append(x)
            for v in x.values():
                look(v)
        elif isinstance(x, list):
            for v in x:
                look(v)
    look(p.json("status"))
    assert found, p.json("status")
    return found[0]


def ready(p, n):
    return until(lambda: f"{n} to wait: {pool(p)}", lambda: (q := pool(p))["ready"] == n and q["wanted"] == n and q, timeout=20)


def waiting(p):
    """The cgroups of members: never a session's name."""
    return [d for c in proc.cgroups(p.instance) for d, _, _ in os.walk(c) if re.search(r"/warm-\d+$", d)]


def start_of(p, user, command="true"):
    r = p.ssh(command, key=p.warm, user=user)
    assert r.code == 0, r
    return r, [x for x in p.records() if x["class"] == "session.enforced"][-1]["body"]["enforced"]["start"]


def reload(p):
    r = p.postern("reload")
    assert r.code == 0, r


@rule
def every_role_with_such_a_template_is_made_ready_before_anybody_comes(p):
    q = ready(p, 4)
    assert q["shelves"] == 2 and q["claimed"] == 0, q
    assert waiting(p), proc.cgroups(p.instance)


@rule
def sessions_take_one_each_and_others_take_their_place(p):
    before = pool(p)["claimed"]
    for user in ("warm", "second"):
        r, start = start_of(p, user, "id -un; echo $ROUND; cat ~/mine 2>/dev/null; echo x >~/mine; cat /etc/machine-id")
        lines = r.text.splitlines()
        assert start == "warm" and lines[:2] == [user, "one"] and len(lines) == 3, (start, r)
        until("the pool to be full", lambda: ready(p, 4))
    assert pool(p)["claimed"] == before + 2, pool(p)


@rule
def no_two_are_the_same_machine(p):
    seen = set()
    for _ in range(3):
        r, start = start_of(p, "warm", "cat /etc/machine-id; ls ~; od -An -N16 -tx1 /dev/urandom")
        assert start == "warm" and len(r.text.splitlines()) == 2, (start, r)
        seen.update(r.text.splitlines())
        ready(p, 4)
    assert len(seen) == 6, seen


@rule
def an_empty_pool_is_a_cold_start(p):
    """More at once than wait: each gets a sandbox of its own."""
    ready(p, 4)
    many = [p.ssh_open("echo up; exec cat", key=p.warm, user="warm") for _ in range(8)]
    try:
        for s in many:
            assert s.stdout.readline() == b"up\n", s.stderr.read()
        starts = [x["body"]["enforced"]["start"] for x in p.records() if x["class"] == "session.enforced"][-8:]
        assert "warm" in starts and set(starts) <= {"warm", "cold"}, starts
        assert len({s["id"] for s in p.sessions()}) == 8
    finally:
        for s in many:
            close_all(s)
    ready(p, 4)


@rule
def a_dead_one_is_never_handed_out(p):
    ready(p, 4)
    victims = p.daemons("init")
    assert victims
    for pid in victims:
        proc.kill(pid)
    r, start = start_of(p, "warm", "echo fine")
    assert r.out == b"fine\n" and start == "cold", (r, start)
    ready(p, 4)


@rule
def a_reload_that_changes_nothing_keeps_them(p):
    ready(p, 4)
    before = sorted(p.daemons("init"))
    reload(p)
    end = [x for x in range(60)]
    until("a while to pass", lambda: end.pop() == 0, every=0.05)
    assert sorted(p.daemons("init")) == before


@rule
def a_changed_template_takes_down_those_of_the_old_one(p):
    before = set(p.daemons("init"))
    write(p, "warm", "warm: 1\nlimits: {memory: 96M, pids: 20}\nenv: {ROUND: two}\n")
    reload(p)
    ready(p, 2)
    until("the old ones to go", lambda: not before & set(p.daemons("init")), timeout=10)
    r, start = start_of(p, "second", "echo $ROUND")
    assert r.out == b"two\n" and start == "warm", (r, start)
    limits = [x for x in p.records() if x["class"] == "session.enforced"][-1]["body"]["enforced"]["limits"]
    assert limits["pids"] == 20 and limits["memory_bytes"] == 96 << 20, limits


@rule
def a_role_that_is_gone_keeps_none(p):
    path = f"{p.state}/etc/tenants/demo.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text[:text.index("  second:")])
    reload(p)
    ready(p, 1)
    with open(path, "w") as f:
        f.write(text)
    reload(p)
    ready(p, 2)


@rule
def without_warm_none_is_left(p):
    write(p, "warm", "limits: {memory: 64M}\n")
    reload(p)
    ready(p, 0)
    until(lambda: f"them to go: {waiting(p)}", lambda: not waiting(p) and not p.daemons("init"), timeout=10)
    assert start_of(p, "warm")[1] == "cold"


@rule
def they_go_with_spawn(p):
    write(p, "warm", "warm: 2\nlimits: {memory: 64M}\n")
    reload(p)
    ready(p, 4)
    assert p.stop() == 0 and not p.leftovers(), p.leftovers()


if __name__ == "__main__":
    main(warmed)
