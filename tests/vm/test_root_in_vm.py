#!/usr/bin/python3
"""The root and end-to-end tests on Debian 12's own kernel with version 2 of cgroups alone: the floor that is promised.
They run below this machine's files (read only, by virtiofs); each result of theirs is one here, named PROGRAM: RULE.
What cannot be had in there is in NOT_HERE, with its reason.

VM_TESTS: "short" (what `make check` runs), or programs by name (root/test_sandbox, e2e/test_exec.py)."""
# serial
import os, sys
sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]

import glob, re, shutil, tempfile

import vm

ROOT = os.path.abspath(os.path.join(HERE, "../.."))
BUILD = os.path.abspath(os.environ.get("BUILD") or ROOT + "/build")
SLOW = 4            # how much slower the emulated machine is, for deadlines
SECONDS = 900       # for one program
JOBS = 2
PROGRESS = os.environ.get("PROGRESS_FD")
SHORT = """root/test_escapes root/test_sandbox root/test_sandbox_cgroup root/test_sandbox_contain root/test_sandbox_end
root/test_sandbox_limits root/test_sandbox_linger root/test_sandbox_pool root/test_sandbox_spawn root/test_pam_module
root/test_walk e2e/test_pty.py""".split()

# as services would be: each program in a cgroup of its own, below one that hands its controllers on
SCRIPT = """
ulimit -n 20000
export BUILD=/tmp/build POSTERN_SLOW=%(slow)d HOME=/root PYTHONDONTWRITEBYTECODE=1
echo "+memory +pids +cpu +io" >/sys/fs/cgroup/cgroup.subtree_control
echo "@kernel $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers)"
cd %(root)s || exit 9
tests/runner --tap --cgroups /sys/fs/cgroup --build "$BUILD" --jobs %(jobs)d --timeout %(seconds)d %(programs)s
"""


def programs():
    """Every program of tests/root and tests/e2e, as NOT_HERE names it: where it is."""
    out = {}
    for f in sorted(glob.glob(ROOT + "/tests/root/test_*") + glob.glob(ROOT + "/tests/e2e/test_*")):
        name = os.path.relpath(f, ROOT + "/tests")
        if name.endswith((".py", ".sh")):
            out[name] = "tests/" + name
        elif name.endswith(".c"):
            out[name[:-2]] = f"/tmp/build/tests/{name[:-2]}"
    return out


def build_tree(where):
    """What is built, where the guest can write beside it, too: the root tests do. Its size."""
    for part in ("bin", "lib", "libexec", "weak/libexec", "tests/root"):
        if os.path.isdir(f"{BUILD}/{part}"):
            shutil.copytree(f"{BUILD}/{part}", f"{where}/build/{part}", ignore=shutil.ignore_patterns("*.o", "*.d"))
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(where) for f in fs)


class NotHere:
    """The committed table: a program, or a rule of one, and why it cannot hold in there."""

    def __init__(self, there):
        self.programs, self.rules, self.gone = {}, {}, []
        with open(HERE + "/NOT_HERE", encoding="utf-8") as f:
            lines = [line.strip() for line in f if line.strip() and not line.startswith("#")]
        for line in lines:
            name, _, why = (part.strip() for part in line.partition(" | "))
            program, _, rule = name.partition(": ")
            (self.rules if rule else self.programs)[name] = why
            if program not in there or not why:
                self.gone.append(name)


class Report:
    """What the guest says, as one TAP."""

    def __init__(self, nothere):
        self.n, self.failed, self.nothere, self.seen = 0, 0, nothere, set()

    def say(self, good, what):
        self.n += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {what}", flush=True)

    def line(self, line):
        m = re.match(r"(not ok|ok) - ([^:]*: (.*))", line)
        if not m:
            if PROGRESS and re.match(r"# \S+: \d+ s$", line):
                os.write(int(PROGRESS), f"       {line[2:]}, {self.n} results\n".encode())
            print("# " + line.lstrip("#@ "), flush=True)
            return
        name = m.group(2).partition(" # SKIP")[0]
        why = self.nothere.rules.get(name)
        self.seen.add(name)
        if why and m.group(1) == "not ok":
            self.say(True, f"{name} # SKIP {why}")
        else:
            self.say(m.group(1) == "ok", m.group(2))

    def end(self, done, ran):
        """A listed rule of a program that ran has to have been there."""
        self.nothere.gone += [r for r in self.nothere.rules if r.partition(": ")[0] in ran and r not in self.seen]
        for name in self.nothere.gone:
            self.say(False, f"NOT_HERE: {name} is no test, or has no reason")
        if done is None:
            self.say(False, "the machine ended early")
        elif done != 0 and self.n == 0:
            self.say(False, f"nothing ran: {done}")
        print(f"1..{self.n}")
        return 1 if self.failed else 0


def main():
    there = programs()
    report = Report(NotHere(there))
    wanted = os.environ.get("VM_TESTS", "").split()
    wanted = SHORT if wanted == ["short"] else wanted or list(there)
    for name in [n for n in wanted if n in report.nothere.programs]:
        report.say(True, f"{name} # SKIP {report.nothere.programs[name]}")
    wanted = [n for n in wanted if n not in report.nothere.programs]
    work = tempfile.mkdtemp(prefix="vm-root-")
    try:
        os.mkdir(work + "/tree")
        size = build_tree(work + "/tree")
        vm.make_disk(work + "/disk.img", 2 * size + (4 << 30), work + "/tree")
        m = vm.Machine(BUILD, memory=3000)
        m.keep = [ROOT]
        r = m.run(SCRIPT % {"root": ROOT, "slow": SLOW, "seconds": SECONDS, "jobs": JOBS,
                            "programs": " ".join(there[n] for n in wanted)},
                  [vm.disk(work + "/disk.img")], host=True, tmp="/dev/vda", timeout=60 + SECONDS * len(wanted),
                  stop=report.line)
    except vm.CannotRun as e:
        report.say(False, f"the machine runs: {e}")
        r = vm.Result()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report.end(r.done, wanted)


if __name__ == "__main__":
    sys.exit(main())
