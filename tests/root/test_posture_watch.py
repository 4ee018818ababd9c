#!/usr/bin/python3
"""The watch process of a session, compared with the committed table tests/root/POSTURE_WATCH, as test_posture.py does
for the rest. `--write` writes what is there now."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import difflib, re

import test_posture
from postern import Postern, close_all
from tap import main, rule

TABLE = test_posture.TABLE + "_WATCH"
HEAD = "# As POSTURE, for a session whose programs are recorded.\n"


def watched():
    p = Postern()
    p.stop()
    with open(f"{p.state}/etc/templates/seen.yaml", "w") as f:
        f.write("extends: default\nwatch: true\n")
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  seen:\n    template: seen\n    allow: [exec]\n")
    p.start()
    return p


def look(p):
    s = p.ssh_open("echo up; exec cat", key=p.cert("seen", principals="seen"), user="seen")
    try:
        assert s.stdout.readline() == b"up\n", s.stderr.read()
        p.sockets = {}
        watch, = p.daemons("watch")
        return "\n".join(test_posture.describe(p, "watch", watch)) + "\n"
    finally:
        close_all(s)


@rule
def the_watch_is_what_the_table_says(p):
    got = look(p)
    with open(TABLE) as f:
        want = re.sub(r"(?m)^#.*\n", "", f.read()).strip() + "\n"
    diff = "\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "POSTURE_WATCH", "running", lineterm=""))
    assert got == want, "the watch differs from tests/root/POSTURE_WATCH:\n" + diff


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        with watched() as p:
            text = HEAD + "\n" + look(p)
        with open(TABLE, "w") as f:
            f.write(text)
        sys.exit(0)
    main(watched)
