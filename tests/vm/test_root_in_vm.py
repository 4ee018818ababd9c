#!/usr/bin/python3
"""The root tests of the sandbox on Debian 12's own kernel with version 2 of cgroups alone, below this machine's files
(read only, by virtiofs). Each result of theirs is one here. VM_TESTS: other programs of tests/root, by name."""
# serial
import os, sys
sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]

import glob, re, shutil, tempfile

import vm

BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(HERE, "../../build"))
NAMES = os.environ.get("VM_TESTS", "").split() or sorted(
    os.path.basename(f)[:-2] for f in glob.glob(os.path.join(HERE, "../root/test_sandbox*.c")))
SECONDS = 240  # for one program; emulated

# as a service would be: in a cgroup of its own, below one that hands its controllers on
SCRIPT = """
export BUILD=/tmp/x/b CMOCKA_MESSAGE_OUTPUT=TAP
mkdir -p /tmp/x; mount -t ext4 /dev/vda /tmp/x || exit 9
ulimit -n 20000
mkdir /sys/fs/cgroup/svc
echo "+memory +pids +cpu +io" >/sys/fs/cgroup/cgroup.subtree_control
echo $$ >/sys/fs/cgroup/svc/cgroup.procs
echo "@kernel $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers)"
for t in %s; do
	echo "@begin $t"
	timeout %d /tmp/x/b/tests/root/$t 2>&1
	echo "@end $t $?"
done
echo "@left $(find /sys/fs/cgroup/svc -mindepth 1 -type d | wc -l)"
"""


def build_tree(where):
    os.makedirs(f"{where}/b/tests/root")
    shutil.copytree(f"{BUILD}/libexec", f"{where}/b/libexec")
    for n in NAMES:
        shutil.copy(f"{BUILD}/tests/root/{n}", f"{where}/b/tests/root/{n}")
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(where) for f in fs)


def main():
    work = tempfile.mkdtemp(prefix="vm-root-")
    try:
        size = build_tree(work + "/tree")
        vm.make_disk(work + "/disk.img", 2 * size + (128 << 20), work + "/tree")
        m = vm.Machine(BUILD, memory=1500)
        r = m.run(SCRIPT % (" ".join(NAMES), SECONDS), [vm.disk(work + "/disk.img")], host=True,
                  timeout=60 + SECONDS * len(NAMES))
    except vm.CannotRun as e:
        print(f"1..1\nnot ok 1 - the machine runs: {e}")
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report(r)


def report(r):
    n, failed, name, planned, seen = 0, 0, "", 0, 0

    def say(good, what):
        nonlocal n, failed
        n += 1
        failed += not good
        print(f"{'ok' if good else 'not ok'} {n} - {what}")

    for line in r.lines:
        if line.startswith("@kernel "):
            print("# " + line[1:])
        elif line.startswith("@begin "):
            name, planned, seen = line.split()[1], 0, 0
        elif line.startswith("@end "):
            if planned == 0 or seen < planned:
                say(False, f"{name} ended early: {seen} of {planned}, status {line.split()[2]}")
        elif line.startswith("@left "):
            say(line == "@left 0", "no_cgroup_is_left")
        elif m := re.match(r"1\.\.(\d+)", line):
            planned = int(m.group(1))
        elif m := re.match(r"(not ok|ok) \d+ - (.*)", line):
            seen += 1
            say(m.group(1) == "ok", f"{name}: {m.group(2)}")
        else:
            print("# " + line)
    if r.done != 0:
        say(False, f"the machine ended early: {r.done}")
    print(f"1..{n}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
