#!/usr/bin/python3
"""postern workspace diff: what was changed in a workspace, with modes and hashes, and what of it a later reader would run."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, subprocess

from postern import Postern, until
from tap import main, rule


def configured():
    p = Postern()
    p.stop()
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  writer:\n    template: default\n    allow: [exec]\n    workspace: main\n")
    p.start()
    p.one = p.cert("one", principals="writer")
    p.demo = ("--tenant", "demo")
    return p


def write(p, command):
    r = p.ssh(command, key=p.one, user="writer")
    assert r.code == 0, r
    until("sessions to end", lambda: not p.sessions(), timeout=20)


def diff(p, *args):
    answer = p.json("workspace", "diff", "main", *args, *p.demo)
    return {f["path"]: f for f in answer["files"]}, answer


def sha(text):
    return hashlib.sha256(text).hexdigest()


@rule
def each_added_file_is_told_with_its_mode_and_hash(p):
    write(p, "umask 022; echo one >a; echo two >b; mkdir -p d/e; echo three >d/e/c; chmod 0640 b; ln -s ../../etc/passwd out")
    files, answer = diff(p)
    assert set(files) == {"a", "b", "d", "d/e", "d/e/c", "out"}, files
    assert all(f["change"] == "added" for f in files.values()), files
    assert answer["added"] == 6 and not answer["incomplete"], answer
    assert files["a"]["sha256"] == sha(b"one\n") and files["d/e/c"]["sha256"] == sha(b"three\n"), files
    assert files["b"]["mode"] == "0640" and files["a"]["size"] == 4 and files["d"]["kind"] == "dir", files
    assert files["a"]["uid"] == 1000, files["a"]


@rule
def what_a_later_reader_would_run_is_flagged(p):
    files, _ = diff(p)
    assert files["out"]["flags"] == ["link"] and "flags" not in files["a"], files
    write(p, "mkdir -p .git/hooks .vscode .github/workflows; printf '#!/bin/sh\\n' >.git/hooks/post-checkout; echo {} >.vscode/tasks.json;"
             "echo x >.github/workflows/ci.yml; printf '#!/bin/sh\\n' >run; chmod 4755 run; echo '[core]' >.git/config")
    files, _ = diff(p)
    for path, flag in ((".git/hooks/post-checkout", "hook"), (".git/config", "git"), (".vscode/tasks.json", "editor"),
                       (".github/workflows/ci.yml", "ci"), ("run", "executable"), ("run", "setuid")):
        assert flag in files[path]["flags"], (path, flag, files[path])


@rule
def since_a_snapshot_only_what_came_after_it_is_told(p):
    assert p.postern("workspace", "snapshot", "main", "first", *p.demo).code == 0
    assert diff(p)[0] == {}, diff(p)
    write(p, "echo other >a; rm b; chmod 0600 d/e/c; echo new >n; rm -r .vscode")
    files, answer = diff(p)
    assert {k: v["change"] for k, v in files.items()} == {
        "a": "changed", "b": "deleted", "d/e/c": "metadata", "n": "added", ".vscode": "deleted"}, files
    assert files["a"]["sha256"] == sha(b"other\n") and "sha256" not in files["b"], files
    assert (answer["added"], answer["changed"], answer["deleted"], answer["metadata"]) == (1, 1, 2, 1), answer


@rule
def layers_between_are_seen_through(p):
    assert p.postern("workspace", "snapshot", "main", "second", *p.demo).code == 0
    write(p, "rm n; echo again >b")
    files, _ = diff(p, "--snapshot", "first")
    assert {k: v["change"] for k, v in files.items()} == {
        "a": "changed", "b": "changed", "d/e/c": "metadata", ".vscode": "deleted"}, files
    files, _ = diff(p)
    assert {k: v["change"] for k, v in files.items()} == {"b": "added", "n": "deleted"}, files


@rule
def many_layers_can_be_read(p):
    for i in range(20):
        write(p, f"echo {i} >many{i}")
        assert p.postern("workspace", "snapshot", "main", f"many{i}", *p.demo).code == 0
    files, _ = diff(p, "--snapshot", "second")
    assert {f"many{i}" for i in range(20)} <= set(files), files


@rule
def names_do_not_reach_the_terminal_as_they_are(p):
    write(p, "touch \"$(printf 'x\\033[2J\\nadded  y')\"")
    r = p.postern("workspace", "diff", "main", *p.demo)
    lines = r.out.decode().splitlines()
    assert r.code == 0 and r"x\x1b[2J\x0aadded  y" in lines[0] and b"\x1b" not in r.out, r
    assert lines[1:] == ["1 added, 0 changed, 0 deleted, 0 metadata"], r


@rule
def whoever_does_not_exist_or_is_written_to_is_refused(p):
    r = p.postern("workspace", "diff", "nothing", *p.demo)
    assert r.code == 6, r
    r = p.postern("workspace", "diff", "main", "--snapshot", "nothing", *p.demo)
    assert r.code == 6, r
    r = p.postern("workspace", "diff", "main", "--tenant", "other")
    assert r.code == 6, r
    with p.ssh_open("echo in; read x", key=p.one, user="writer") as s:
        assert s.stdout.readline() == b"in\n"
        r = p.postern("workspace", "diff", "main", *p.demo)
        assert r.code == 1 and "writes to workspace main" in r.error, r
        s.stdin.close()
        s.wait()
    until("sessions to end", lambda: not p.sessions(), timeout=20)


@rule
def the_reader_ends_with_who_asked(p):
    for i in range(12):
        assert p.postern("workspace", "diff", "main", *p.demo).code == 0
    until("nobody to read it", lambda: [w["readers"] for w in p.json("workspace", "list")["workspaces"]] == [0], timeout=20)


if __name__ == "__main__":
    main(configured)
