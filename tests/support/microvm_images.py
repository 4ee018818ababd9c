#!/usr/bin/env python3
"""What a test of the tier microvm boots: microvm_images.py BUILD -> BUILD/microvm/{kernel/,root/,root.img}.

The kernel is Debian's, fetched once (tests/vm/vm.py); the root is busybox alone. Ends with 77 and the reason on
stderr where that cannot be had."""
import os, shutil, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm"))
import vm

APPLETS = "sh cat echo id head sleep tty stty yes env hostname ls wc ps"


def main(build):
    out = os.path.join(build, "microvm")
    try:
        kernel, _ = vm.fetch_kernel(os.path.join(build, "vm"))
    except vm.CannotRun as e:
        sys.exit(str(e))
    for p in ("busybox", vm.QEMU, "mkfs.erofs"):
        if not shutil.which(p):
            print(f"{p} is missing: make deps", file=sys.stderr)
            sys.exit(77)
    tool = os.path.join(build, "libexec/postern/microvm-image")
    os.makedirs(out + "/root/bin", exist_ok=True)
    shutil.copy(os.path.realpath(shutil.which("busybox")), out + "/root/bin/busybox")
    for a in APPLETS.split():
        if not os.path.lexists(f"{out}/root/bin/{a}"):
            os.symlink("busybox", f"{out}/root/bin/{a}")
    subprocess.run(["sh", tool, "kernel", out + "/kernel", os.path.join(build, "vm/root")], check=True)
    subprocess.run(["sh", tool, "root", out + "/root", out + "/root.img"], check=True, stdout=subprocess.DEVNULL)


main(os.path.abspath(sys.argv[1]))
