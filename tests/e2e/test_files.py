#!/usr/bin/python3
"""What a session leaves in its files is on record before its end: every path, with what a later reader would run."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, json, signal, threading

from postern import Postern, until
from tap import main, rule


def left(p, name, command):
    """The files on record and the end's totals of a session that ran this."""
    r = p.ssh(command, key=p.cert(name))
    assert r.code == 0, r
    sid = [x for x in p.records() if x["class"] == "channel.exec"][-1]["subject"]["session"]
    mine = lambda c: [x for x in p.records() if x["class"] == c and x["subject"].get("session") == sid]
    until("its end", lambda: mine("session.end"))
    files = mine("session.files")
    assert all(f["seq"] < mine("session.end")[0]["seq"] for f in files)
    return [x for f in files for x in f["body"]["files"]], mine("session.end")[0]["body"]["totals"], files


@rule
def every_changed_path_is_recorded_before_the_end(p):
    files, totals, _ = left(p, "writer", "umask 022; mkdir -p ~/repo/.git/hooks; printf hello >~/repo/text; printf '#!/bin/sh\\n' "
                            ">~/repo/.git/hooks/pre-commit; chmod 755 ~/repo/.git/hooks/pre-commit; ln -s /etc/passwd ~/repo/out; "
                            "mkfifo ~/repo/pipe; printf x >/dev/shm/shared")
    by = {os.path.basename(f["path"]): f for f in files}
    assert by["text"]["sha256"] == hashlib.sha256(b"hello").hexdigest() and by["text"]["size"] == 5, by["text"]
    assert by["text"]["change"] == "added" and by["text"]["mode"] == "0644" and by["text"]["uid"] == 1000
    assert set(by["pre-commit"]["flags"]) == {"executable", "program", "hook"}, by["pre-commit"]
    assert by["out"]["kind"] == "symlink" and by["out"]["flags"] == ["link"]
    assert by["pipe"]["kind"] == "fifo" and by["pipe"]["flags"] == ["special"]
    assert "shared" in by, sorted(by)
    assert totals["files"]["added"] == len([f for f in files if f["change"] == "added"]) and not totals["files"]["incomplete"], totals


@rule
def a_session_that_wrote_nothing_has_nothing_on_record(p):
    files, totals, records = left(p, "reader", "true")
    assert not files and not records, files
    files, totals, _ = left(p, "little", "echo x >~/one")
    assert not any(f["path"] == "etc/machine-id" for f in files), files
    assert totals["files"]["added"] == len([f for f in files if f["change"] == "added"]), (totals, files)


@rule
def what_is_over_the_cap_is_counted(p):
    files, totals, _ = left(p, "many", "mkdir ~/m; cd ~/m; i=0; while [ $i -lt 4200 ]; do : >f$i; i=$((i+1)); done")
    assert len(files) == 4096 and totals["files"]["added"] >= 4201, (len(files), totals)
    assert totals["files"]["left_out"] == totals["files"]["added"] - 4096


@rule
def names_of_any_bytes_are_escaped(p):
    files, _, _ = left(p, "bytes", r"""python3 -c 'import os; open(b"/tmp/\xff\x1b]0;x\n", "w")'""")
    assert any(f["path"] == r"tmp/\xff\x1b]0;x\x0a" or f["path"].lower() == r"tmp/\xff\x1b]0;x\x0a" for f in files), files


def interrupted(p, name, signal_it):
    """The end of a session that left much to read, whose reader gets this signal while it reads: its totals, its files."""
    got = []
    t = threading.Thread(target=lambda: got.append(p.ssh(
        "cd /dev/shm; for i in 1 2 3 4; do head -c 40M /dev/urandom >f$i; done; cd; mkdir m; for i in $(seq 20000); do : >m/$i; done",
        key=p.cert(name), timeout=60)))
    t.start()
    # stopped as soon as it is there, it cannot be done before it is killed
    walk = until("the reader", lambda: p.daemons("walk"), timeout=60, every=0)
    for pid in walk:
        os.kill(pid, signal.SIGSTOP)
    sid = [x for x in p.records() if x["class"] == "channel.exec"][-1]["subject"]["session"]
    mine = lambda c: [x for x in p.records() if x["class"] == c and x["subject"].get("session") == sid]
    assert not mine("session.end")
    if signal_it != signal.SIGSTOP:
        for pid in walk:
            os.kill(pid, signal_it)
    until("its end", lambda: mine("session.end"), timeout=30)
    t.join()
    assert got[0].code == 0, got
    until("it to be gone", lambda: not p.daemons("walk"))
    until("its processes and its id block to be free", lambda: not p.sandbox_pids(), timeout=20)
    return mine("session.end")[0]["body"]["totals"], [f for x in mine("session.files") for f in x["body"]["files"]]


@rule
def killed_halfway_the_session_ends_and_the_rest_is_said_to_be_unknown(p):
    totals, files = interrupted(p, "killed", signal.SIGKILL)
    assert totals["files"] == {"incomplete": True}, totals
    assert len(files) < 20000, len(files)
    assert p.ssh("echo in").out == b"in\n"
    until("no session to be left", lambda: not p.sessions())


@rule
def one_that_hangs_is_not_waited_for(p):
    totals, _ = interrupted(p, "hung", signal.SIGSTOP)
    assert totals["files"] == {"incomplete": True}, totals
    assert p.ssh("echo in").out == b"in\n"


@rule
def people_are_shown_them(p):
    r = p.postern("audit", "show")
    assert r.code == 0 and "session.files" in r.text and "pre-commit" in r.text, r


if __name__ == "__main__":
    main(Postern)
