#!/usr/bin/python3
"""postern workspace export: the gate between what an agent wrote and the host, and the record of what leaves."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, tarfile

from postern import Postern, until
from tap import main, rule


def configured():
    p = Postern()
    p.stop()
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("".join(f"  {w}:\n    template: default\n    allow: [exec]\n    workspace: {w}\n" for w in ("plain", "bad", "big")))
    p.start()
    p.one = p.cert("one", principals="plain,bad,big")
    p.n = 0
    return p


def write(p, user, command):
    r = p.ssh(command, key=p.one, user=user)
    assert r.code == 0, r
    until("sessions to end", lambda: not p.sessions(), timeout=20)


def export(p, name, *allow):
    p.n += 1
    file = f"{p.state}/export-{p.n}.tar"
    args = [a for flag in allow for a in ("--allow", flag)]
    return p.postern("workspace", "export", name, file, "--tenant", "demo", *args), file


def exports(p):
    return [r for r in p.records() if r["class"] == "workspace.export"]


def members(file):
    with tarfile.open(file) as t:
        return {m.name: (m, t.extractfile(m).read() if m.isfile() else None) for m in t.getmembers()}


@rule
def what_leaves_is_the_tree_and_on_record(p):
    long = "d/" + "n" * 150
    write(p, "plain", f"umask 022; echo one >a; mkdir d; echo three >{long}; ln -s a link; chmod 0640 a; : >empty; "
                      "printf x >\"$(printf 'odd\\303\\244\\n')\"; head -c 100000 /dev/zero >zeros")
    r, file = export(p, "plain")
    assert r.code == 0, r
    m = members(file)
    assert set(m) == {"a", "d", long, "link", "empty", "odd\u00e4", "zeros"}, sorted(m)
    assert m["a"][1] == b"one\n" and m["a"][0].mode == 0o640 and m["a"][0].uid == 1000, m["a"][0].get_info()
    assert m[long][1] == b"three\n" and m["zeros"][1] == bytes(100000) and m["link"][0].linkname == "a"
    data = open(file, "rb").read()
    record, = exports(p)
    assert record["body"]["sha256"] == hashlib.sha256(data).hexdigest() and record["body"]["bytes"] == len(data), record
    assert record["body"]["workspace"] == "plain" and record["body"]["files"] == 7 and record["tenant"] == "demo", record
    assert record["subject"]["uid"] == 0, record
    assert os.stat(file).st_mode & 0o777 == 0o600


@rule
def what_a_later_reader_would_run_is_kept_back(p):
    write(p, "bad", "mkdir -p .git/hooks .vscode .github/workflows; echo x >.git/hooks/post-checkout; printf '[core]\\nhooksPath=/tmp\\n' "
          ">.git/config; echo {} >.vscode/tasks.json; echo x >.github/workflows/ci.yml; echo x >run; chmod 4755 run; "
          "ln -s ../../etc/shadow out; echo fine >fine")
    before = len(exports(p))
    r, file = export(p, "bad")
    assert r.code == 11 and not os.path.exists(file), r
    text = r.out.decode()
    for path, flag in ((".git/hooks/post-checkout", "hook"), (".git/config", "git"), (".vscode/tasks.json", "editor"),
                       (".github/workflows/ci.yml", "ci"), ("run", "setuid"), ("run", "executable"), ("out", "link")):
        line, = [x for x in text.splitlines() if f"  {path}  [" in x]
        assert flag in line, (flag, line)
    assert "fine" not in text and len(exports(p)) == before, text


@rule
def only_what_is_allowed_leaves(p):
    r, file = export(p, "bad", "hook", "git", "editor", "ci", "setuid", "executable")
    assert r.code == 11 and "  out  [link]" in r.out.decode() and not os.path.exists(file), r
    assert len(r.out.splitlines()) == 1, r
    r, file = export(p, "bad", "hook", "git", "editor", "ci", "setuid", "executable", "link")
    assert r.code == 0, r
    assert members(file)["run"][0].mode == 0o4755
    assert set(exports(p)[-1]["body"]["flags"]) == {"hook", "git", "editor", "ci", "setuid", "executable", "link"}, exports(p)[-1]
    r, _ = export(p, "bad", "nonsense")
    assert r.code == 2 and "no flag nonsense" in r.error, r


@rule
def a_file_that_is_there_is_not_replaced(p):
    before = len(exports(p))
    file = f"{p.state}/there"
    open(file, "w").write("mine")
    r = p.postern("workspace", "export", "plain", file, "--tenant", "demo")
    assert r.code == 1 and open(file).read() == "mine" and len(exports(p)) == before, r
    assert export(p, "nothing")[0].code == 6


@rule
def more_than_a_pipe_holds_leaves_whole(p):
    write(p, "big", "i=0; while [ $i -lt 300 ]; do echo $i >f$i; i=$((i+1)); done; head -c 5000000 /dev/urandom >random; sha256sum random >sum")
    r, file = export(p, "big")
    assert r.code == 0, r
    m = members(file)
    assert len(m) == 302 and m["sum"][1].split()[0].decode() == hashlib.sha256(m["random"][1]).hexdigest()


if __name__ == "__main__":
    main(configured)
