#!/usr/bin/python3
"""The processes of a session in a virtual machine, compared with the committed table tests/root/POSTURE_VM, as
test_posture.py does for the rest. `--write` writes what is there now."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import difflib, re, shutil, subprocess

import proc, test_posture
from postern import BUILD, Postern, close_all
from tap import Skip, main, rule

TABLE = test_posture.TABLE + "_VM"
HEAD = """\
# As POSTURE, for a session of the tier microvm. QEMU's threads and its own descriptors vary with what it emulates.
"""
test_posture.VARY["qemu"] = ("eventpoll", "eventfd", "signalfd", "unix-", "memfd", "pipe", "elsewhere")


def booted():
    p = Postern()
    p.stop()
    tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "microvm_images.py")
    made = subprocess.run(["python3", tool, BUILD], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    p.no_vm = made.stderr.strip() or f"status {made.returncode}" if made.returncode else None
    root = f"{p.state}/vm-root"
    if not p.no_vm:
        shutil.copytree(f"{BUILD}/microvm/kernel", f"{p.state}/spawn/microvm")
        shutil.copytree(f"{BUILD}/microvm/root", root, symlinks=True)
        shutil.copy(f"{BUILD}/microvm/root.img", root + ".img")
        with open(f"{p.state}/etc/templates/vm.yaml", "w") as f:
            f.write(f"base: {root}\ntier: microvm\nemulate: true\nshell: /bin/sh\nlimits: {{memory: 256M, disk: 32M}}\n")
        with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
            f.write("  vm:\n    template: vm\n    allow: [exec, credential]\n")
    p.start()
    return p


def look(p):
    with p.ssh_open("echo up; exec cat", key=p.cert("vm", principals="vm"), user="vm") as s:
        assert s.stdout.readline() == b"up\n", s.stderr.read()
        p.sockets = {}
        session, = [x for x in proc.tree(p.daemon("spawn")) if proc.argv(x)[:2] == ["postern-vm", "session"]]
        own = proc.tree(session)
        who = {("vm" if x == session else "qemu"): x for x in own}
        assert len(own) == 2 and "qemu" in proc.argv(who["qemu"])[0], [proc.argv(x) for x in own]
        out = []
        for role in ("vm", "qemu"):
            lines = test_posture.describe(p, role, who[role])
            out.append([re.sub(r"^threads .*", "threads n", x) for x in lines] if role == "qemu" else lines)
        close_all(s)
    return "\n\n".join("\n".join(x) for x in out) + "\n"


@rule
def every_process_of_a_virtual_machine_is_what_the_table_says(p):
    if p.no_vm:
        if os.environ.get("POSTERN_MUST_WORK"):
            raise AssertionError(p.no_vm)
        raise Skip(p.no_vm)
    got = look(p)
    with open(TABLE) as f:
        want = re.sub(r"(?m)^#.*\n", "", f.read()).strip() + "\n"
    diff = "\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "POSTURE_VM", "running", lineterm=""))
    assert got == want, "the processes differ from tests/root/POSTURE_VM:\n" + diff


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        with booted() as p:
            text = HEAD + "\n" + look(p)
        with open(TABLE, "w") as f:
            f.write(text)
        sys.exit(0)
    main(booted)
