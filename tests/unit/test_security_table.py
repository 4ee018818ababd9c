#!/usr/bin/env python3
"""SECURITY.md names a test behind each promise: every one of them is there. It has each case of tests/root/ESCAPES,
with the tests that are listed there, and no switch of lib/defence.h that does not exist."""
import os, re

base = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
with open(os.path.join(base, "..", "SECURITY.md"), encoding="utf-8") as f:
    document = f.read()
rows = [line for line in document.splitlines() if line.startswith("|") and re.search(r"`(unit|root|e2e|fuzz)/", line)]
ALSO = {"root/test_escapes.c": ["support/escape_probe.c"]}  # where a test's rules have their names
missing = []
for row in rows:
    cell = row.rstrip().rstrip("|").rsplit("|", 1)[1]
    files = re.findall(r"`((?:unit|root|e2e|fuzz)/[^`]*)`", cell)
    rules = [w for w in re.findall(r"`([a-z_0-9]+)`", cell)]
    text = ""
    for name in files:
        path = os.path.join(base, name)
        if not os.path.exists(path):
            missing.append(name)
        elif os.path.isfile(path):
            for part in [name, *ALSO.get(name, [])]:
                with open(os.path.join(base, part), encoding="utf-8") as f:
                    text += f.read()
    missing += [f"{files}: {rule}" for rule in rules if rule not in text]


def cases():
    """The rows of "The known ways out": number, switches, what is in the last column."""
    chapter = document.split("## The known ways out", 1)[1].split("\n## ", 1)[0]
    for line in chapter.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        for a, b in re.findall(r"(\d+)(?: - (\d+))?", cells[0]) if len(cells) == 5 else ():
            for number in range(int(a), int(b or a) + 1):
                yield number, re.findall(r"`([^`]*)`", cells[3]), re.findall(r"`([^`]*)`", cells[4])


listed = {}
with open(os.path.join(base, "root", "ESCAPES"), encoding="utf-8") as f:
    for line in f:
        if line.strip() and not line.startswith("#"):
            number, _, _, tests = (x.strip() for x in line.split("|"))
            listed[int(number)] = set() if tests.startswith("missing") else set(re.split(r"[: ]", tests))
told = {number: set(names) for number, _, names in cases()}
with open(os.path.join(base, "support", "escape_probe.c"), encoding="utf-8") as f:
    probes = f.read()
unknown = [w for _, switches, _ in cases() for w in switches if not re.search(rf'[",]{w}[",]', probes)]

results = [
    ("the_table_is_not_empty", [] if len(rows) > 20 else ["too few rows"]),
    ("every_test_that_it_names_is_there", missing),
    ("each_known_way_out_has_its_row_and_tests",
     [f"case {n}: {sorted(listed[n] - told.get(n, set())) or 'no row'}" for n in listed if n not in told or listed[n] - told[n]]),
    ("every_switch_that_it_names_is_one", unknown),
]
print(f"1..{len(results)}")
for n, (name, problems) in enumerate(results, 1):
    print(f"{'not ok' if problems else 'ok'} {n} - {name}")
    for problem in problems:
        print("#", problem)
