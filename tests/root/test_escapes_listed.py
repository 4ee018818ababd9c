#!/usr/bin/python3
"""tests/root/ESCAPES is exact: every case once, every test in it is there and passes, every case that a probe
tries is listed; and no program that is installed has the switches of lib/defence.h."""
import os, sys
sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import re, subprocess

from tap import main, rule

TESTS = os.path.join(HERE, "..")
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "..", "build"))
MISSING = {"missing: egress": {18, 19, 20, 21, 22, 26}, "missing: a hostile root": {6},
           "missing: a probe": {29}}


def rows():
    with open(os.path.join(HERE, "ESCAPES")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                number, what, owner, tests = (x.strip() for x in line.split("|"))
                yield int(number), what, owner, tests


def probes():
    with open(os.path.join(TESTS, "support", "escape_probe.c")) as f:
        return [(int(n), name, off) for n, name, off in
                re.findall(r'\{(\d+), "(\w+)",\s*"[^"]*",\s*(NULL|NS|"[^"]*")', f.read())]


@rule
def every_case_has_its_row():
    assert [r[0] for r in rows()] == list(range(1, 32)), [r[0] for r in rows()]


@rule
def what_is_missing_is_what_is_not_built():
    said = {}
    for number, _, _, tests in rows():
        if tests.startswith("missing"):
            said.setdefault(tests, set()).add(number)
    assert said == MISSING, said


@rule
def every_test_is_there_and_passes():
    wanted = {}
    for _, _, _, tests in rows():
        for t in [] if tests.startswith("missing") else tests.split():
            file, name = t.split(":")
            wanted.setdefault(file, set()).add(name)
    for file, names in sorted(wanted.items()):
        program = [os.path.join(TESTS, file)] if file.endswith(".py") else [os.path.join(BUILD, "tests", file[:-2])]
        out = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")).stdout
        passed = set(re.findall(r"^ok \d+ - (\S+)", out, re.M))
        assert names <= passed, (file, names - passed)


@rule
def every_case_that_a_probe_tries_is_listed():
    listed = {number: tests for number, _, _, tests in rows()}
    found = probes()
    assert len(found) > 10, found
    for number, name, _ in found:
        assert number == 0 or f"root/test_escapes.c:{name}" in listed[number].split(), (number, name)
    tried = {name for _, name, _ in found}
    for tests in listed.values():
        for t in re.findall(r"root/test_escapes.c:(\w+)", tests):
            assert t in tried, t


@rule
def what_is_installed_has_no_switches():
    names = {n for _, _, off in probes() for n in off.strip('"').split(",") if "-" in n}
    assert {"init-dumpable", "close-fds"} <= names, names
    for program in ("postern-spawn", "postern-init"):
        with open(os.path.join(BUILD, "libexec", "postern", program), "rb") as f:
            data = f.read()
        for word in [*names, "DEFENCES_OFF", "defence_off", "userns-limit", "seccomp-namespaces"]:
            assert word.encode() not in data, (program, word)
    with open(os.path.join(BUILD, "weak", "libexec", "postern-init"), "rb") as f:
        assert b"init-dumpable" in f.read(), "the build for tests has none either"


if __name__ == "__main__":
    main()
