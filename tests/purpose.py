#!/usr/bin/env python3
"""What each source file is for: `make files` prints it, and `make lint` refuses a file that does not say it.

A header says it in its first comment, and with that for foo.c what foo.h says. A foo.c without a header has a
comment that stands by itself at its top, before or after its includes, or a header beside it has a line "foo.c  what", as *_internal.h do."""
import os, re, subprocess, sys

DIRECTIVES = re.compile(r"(?m)^[ \t]*#.*(?:\\\n.*)*\n")


def sentence(comment):
    lines = [line.strip().lstrip("*").strip() for line in comment.strip().split("\n")]
    first = " ".join(lines[:lines.index("")] if "" in lines[1:] else lines).strip()
    return re.split(r"(?<=[.:]) (?=[A-Z\"(])", first)[0]


def listed(name, headers):
    """What a header beside it says of a file in a line of its own."""
    for text in headers:
        m = re.search(r"\n \*\s+" + re.escape(name) + r" +(\S[^\n]*(?:\n \* {6,}\S[^\n]*)*)", text)
        if m:
            return sentence(m.group(1))
    return None


def purpose(path, read, beside):
    """The first sentence of what path is for, or None. read(path) gives a file's text, beside: headers of its directory."""
    own = path[:-2] + ".h"
    if path.endswith(".c") and own in beside:
        path = own
    top = DIRECTIVES.sub("", read(path)).lstrip() if path.endswith(".c") else read(path)
    m = re.match(r"/\*(?! ----)(.*?)\*/\n", top, re.S)
    if m and (read(path).startswith("/*") or top[m.end():].startswith("\n")):
        return sentence(m.group(1))
    return listed(os.path.basename(path), [read(h) for h in beside]) if path.endswith(".c") else None


def every(paths):
    cache = {}

    def read(path):
        if path not in cache:
            with open(path, encoding="utf-8") as f:
                cache[path] = f.read()
        return cache[path]

    for path in paths:
        beside = [p for p in paths if p.endswith(".h") and os.path.dirname(p) == os.path.dirname(path)]
        yield path, purpose(path, read, beside)


if __name__ == "__main__":
    names = subprocess.run(["git", "ls-files", "*.c", "*.h"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    names = [n for n in names if n.split("/")[0] != "tests" and os.path.exists(n)]
    room = None
    for name, what in every(names):
        if name.endswith(".h") and name[:-2] + ".c" in names:
            continue
        if room != os.path.dirname(name):
            room = os.path.dirname(name)
            print(f"\n{room}/")
        print(f"  {os.path.basename(name):24} {what or '?'}")
    sys.exit(0)
