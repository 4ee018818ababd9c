#!/usr/bin/env python3
"""The part of `make lint` that reads sources: lint.py FILE... prints one line a problem.

Paths are as git has them, from the root. tests/ may include anything; it is held only to the size of
files and to the banned functions that are dangerous anywhere.
"""
import re, sys

sys.dont_write_bytecode = True
from purpose import every

ROOMS = {  # who may include whom
    "lib": {"lib"},
    "creds": {"lib", "creds"},
    "gateway": {"lib", "gateway"},
    "pam": {"lib", "pam"},
    "broker": {"lib", "creds", "broker"},
}
GENERATED = {"filters.h"}
PLACES = [  # a library, and the one place for it
    (r"libssh/", r"gateway/ssh/"),
    (r"openssl/", r"creds/|lib/digest\.c$"),
    (r"curl/", r"broker/export/http\.c$"),
    (r"lmdb\.h$", r"broker/store/"),
    (r"zstd\.h$", r"broker/audit/segment_file\.c$"),
    (r"seccomp\.h$", r"broker/spawn/"),
    (r"event2/|event\.h$|ev(util|http|dns|rpc)\.h$", r"lib/loop\.c$"),
    (r"yaml\.h$", r"lib/yaml\.c$"),
    (r"archive(_entry)?\.h$", r"broker/image/tar\.c$"),
    (r"microhttpd\.h$", r"broker/witness/"),
    (r"security/", r"pam/"),
    (r"sys/capability\.h$", r"lib/confine\.c$"),
    (r"(sys|linux)/mount\.h$", r"broker/(spawn|init)/"),
]
MOUNTS = re.compile(r"\b(?:SYS_|__NR_)?(mount|umount2?|pivot_root|fsopen|fsconfig|fsmount|fspick|move_mount|"
                    r"open_tree|mount_setattr)\b\s*[(,]")
MOUNT_PLACE = re.compile(r"broker/(spawn|init)/")
BANNED = "strcpy strcat sprintf vsprintf gets strtok alloca setjmp longjmp atoi atol".split()
BANNED_IN_ROOMS = "system popen sleep usleep".split()
LINES_MAX = 500
TABLES = {"lib/msg_table.c"}  # a table is as long as what it lists

TOKENS = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def code_only(text):
    """text with comments and literals emptied, line numbers kept."""
    return TOKENS.sub(lambda m: "\n" * m.group().count("\n") or " ", text)


def calls(code, names):
    pattern = re.compile(r"(?<![.>\w])(" + "|".join(names) + r")\s*\(")
    for n, line in enumerate(code.split("\n"), 1):
        for m in pattern.finditer(line):
            yield n, m.group(1)


def early_returns(code):
    """A buffer that cleans itself up must be initialised before the first way out."""
    lines = code.split("\n")
    for n, line in enumerate(lines):
        m = re.match(r"\s*cleanup_buf struct buf ([\w, ]+);", line)
        for name in m.group(1).replace(" ", "").split(",") if m else ():
            for after in lines[n + 1:]:
                if re.search(rf"buf_init\(&{name}\b", after) or after.startswith("}"):
                    break
                if re.search(r"\b(return|goto)\b", after):
                    yield n + 1, name
                    break


def includes(path, text, room):
    found = re.findall(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.M)
    for kind, name in found:
        if kind == "<":
            for lib, place in PLACES:
                if re.match(lib, name) and not re.match(place, path):
                    yield f"{path}: <{name}> has its place in {place}"
        elif name not in GENERATED and name.split("/")[0] not in ROOMS[room]:
            yield f'{path}: {room}/ may not include "{name}"'
    own = path[:-2] + ".h"
    if path.endswith(".c") and own in FILES and (not found or found[0] != ('"', own)):
        yield f'{path}: "{own}" must be included first'


def check(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    lines = text.count("\n")
    if lines > LINES_MAX and path not in TABLES:
        yield f"{path}: {lines} lines, more than {LINES_MAX}"
    if not path.endswith((".c", ".h")):
        return
    room, code = path.split("/")[0], code_only(text)
    banned = BANNED + (BANNED_IN_ROOMS if room in ROOMS else [])
    for n, name in calls(code, banned):
        yield f"{path}:{n}: {name}() is banned"
    if room not in ROOMS:
        if room != "tests":
            yield f"{path}: not in a room"
        return
    yield from includes(path, text, room)
    for n, name in early_returns(code):
        yield f"{path}:{n}: {name} is not initialised before the first return"
    if not MOUNT_PLACE.match(path):
        for n, line in enumerate(code.split("\n"), 1):
            if m := MOUNTS.search(line):
                yield f"{path}:{n}: {m.group(1)} has its place in broker/spawn and broker/init"


FILES = {f for f in sys.argv[1:] if f.endswith((".c", ".h", ".py", ".sh"))}
if not FILES:
    print("lint.py: no files given")
for file in sorted(FILES):
    for problem in check(file):
        print(problem)
for file, what in every([f for f in sorted(FILES) if f.endswith((".c", ".h")) and f.split("/")[0] in ROOMS]):
    if not what:
        print(f"{file}: says nowhere what it is for (tests/purpose.py)")
