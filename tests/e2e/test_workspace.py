#!/usr/bin/python3
"""Workspaces through ssh and by command: what lasts, one writer at a time, snapshots, forks, two tenants."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, stat

from postern import Postern, until
from tap import main, rule


def configured():
    p = Postern()
    p.stop()
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  writer:\n    template: default\n    allow: [exec, shell, sftp]\n    workspace: main\n"
                "  reader:\n    template: default\n    allow: [exec]\n    workspace: main\n    workspace_mode: ro\n"
                "  forked:\n    template: default\n    allow: [exec]\n    workspace: copy\n")
    p.start()
    p.one = p.cert("one", principals="writer,reader,forked")
    p.demo = ("--tenant", "demo")
    return p


def ended(p):
    until("sessions to end", lambda: not p.sessions(), timeout=20)


@rule
def commands_begin_in_it_and_what_they_write_lasts(p):
    r = p.ssh("pwd; echo kept >file; mkdir dir; echo $HOME", key=p.one, user="writer")
    assert r.out == b"/workspace\n/home/agent\n", r
    ended(p)
    r = p.ssh("cat file; ls", key=p.one, user="writer")
    assert r.out == b"kept\ndir\nfile\n", r
    ended(p)
    r = p.ssh("cat file; touch x", key=p.one, user="reader")
    assert r.out == b"kept\n" and r.code != 0 and "Read-only" in r.error, r
    ended(p)


@rule
def a_session_without_one_has_none(p):
    r = p.ssh("pwd; ls -d /workspace")
    assert r.out == b"/home/agent\n" and r.code != 0, r
    ended(p)


@rule
def one_session_writes(p):
    with p.ssh_open("echo in; read x", key=p.one, user="writer") as s:
        assert s.stdout.readline() == b"in\n"
        r = p.ssh("true", key=p.one, user="writer")
        assert r.code == 254 and "writes to workspace main" in r.error and "fork it" in r.error, r
        w, = [x for x in p.json("workspace", "list")["workspaces"] if x["name"] == "main"]
        assert w["writer"] in [x["id"] for x in p.sessions()], w
        r = p.postern("workspace", "snapshot", "main", "busy", *p.demo)
        assert r.code == 1 and w["writer"] in r.error, r
        s.stdin.close()
        s.wait()
    ended(p)


@rule
def it_is_kept_forked_rolled_back_and_deleted(p):
    assert p.postern("workspace", "snapshot", "main", "first", *p.demo).code == 0
    p.ssh("rm file; echo new >file2", key=p.one, user="writer")
    ended(p)
    assert p.postern("workspace", "fork", "main", "copy", "--snapshot", "first", *p.demo).code == 0
    r = p.ssh("ls; echo theirs >mine", key=p.one, user="forked")
    assert r.out == b"dir\nfile\n", r
    ended(p)
    assert p.ssh("ls", key=p.one, user="reader").out == b"dir\nfile2\n"
    ended(p)
    assert p.postern("workspace", "rollback", "main", "first", *p.demo).code == 0
    assert p.ssh("ls", key=p.one, user="reader").out == b"dir\nfile\n"
    ended(p)
    assert p.postern("workspace", "delete", "main", *p.demo).code == 0
    assert p.postern("workspace", "delete", "main", *p.demo).code == 6
    r = p.ssh("true", key=p.one, user="reader")
    assert r.code == 254 and "no workspace main" in r.error, r
    ended(p)
    assert p.ssh("ls; cat mine", key=p.one, user="forked").out == b"dir\nfile\nmine\ntheirs\n"
    ended(p)
    until("the trash to be empty", lambda: not os.listdir(f"{p.state}/workspaces/demo/trash"))


@rule
def each_change_is_on_record_with_who_asked(p):
    classes = [r["class"] for r in p.records() if r["class"].startswith("workspace.")]
    for c in ("workspace.snapshot", "workspace.fork", "workspace.rollback", "workspace.delete"):
        assert c in classes, (c, classes)
    fork, = [r for r in p.records() if r["class"] == "workspace.fork"]
    assert "copy" in json.dumps(fork) and "first" in json.dumps(fork), fork


@rule
def on_the_disk_nothing_is_roots_or_can_be_reached(p):
    top = f"{p.state}/workspaces"
    st = os.lstat(top)
    assert st.st_uid == 0 and stat.S_IMODE(st.st_mode) == 0o700, st
    n = 0
    for d, ds, fs in os.walk(f"{top}/demo/layers"):
        for f in ds + fs:
            st = os.lstat(os.path.join(d, f))
            assert p.ids < st.st_uid and st.st_uid == st.st_gid, (d, f, st)
            n += 1
    assert n > 5


@rule
def spawn_comes_back_without_a_lock(p):
    with p.ssh_open("echo in; read x", key=p.one, user="forked") as s:
        assert s.stdout.readline() == b"in\n"
        os.kill(p.daemon("spawn"), 9)
        s.stdin.close()
        s.wait()
    ended(p)
    until("a session again", lambda: p.ssh("cat mine", key=p.one, user="forked").out == b"theirs\n", timeout=20, every=0.3)
    ended(p)


if __name__ == "__main__":
    main(configured)
