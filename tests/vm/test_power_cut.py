#!/usr/bin/python3
"""A power cut of a whole machine: the writer of the log on ext4 on a virtual disk, killed together with its kernel at
a random moment. QEMU keeps every write and flush in order, so one life gives many cuts: each is a disk with all that
was flushed and none, all or some of the rest. Each is mended by e2fsck as at a boot, and has to have every
acknowledged record (which the writer put on the same disk, behind the file system, so that their order is known).

POWER_CUTS: how many disks; POWER_SEED: which; POWER_COMMITS: how long it writes at most."""
# serial
import os, sys
sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]

import random, shutil, struct, tempfile, time

import blklog, tap, vm
from tap import main, rule

BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(HERE, "../../build"))
CUTS = int(os.environ.get("POWER_CUTS", "24"))
COMMITS = int(os.environ.get("POWER_COMMITS", "2000"))
SEED = int(os.environ.get("POWER_SEED", str(time.time_ns())))
FS, DISK = 24 << 20, 32 << 20  # bytes of the file system; acknowledgements are behind it
ACK = 48                       # struct ack in tests/support/book.h
tap.RULE_SECONDS = 120 + 3 * CUTS


class Life:
    """One boot, its log of writes, and the disks made of it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="power-")
        self.rnd = random.Random(SEED)
        self.writer = BUILD + "/tests/vm/writer"
        os.mkdir(self.dir + "/tree")
        os.mkdir(self.dir + "/tree/core")
        self.base, self.log = self.dir + "/base.img", self.dir + "/writes.log"
        vm.make_disk(self.base, DISK, self.dir + "/tree", FS)
        shutil.copy(self.base, self.dir + "/disk.img")
        self.entries = []

    def live(self):
        m = vm.Machine(BUILD)
        m.add_program(self.writer)
        after = self.rnd.randrange(2, 12)  # lines of the writer

        def stop(line):
            nonlocal after
            after -= line.startswith("acked ")
            return after <= 0

        self.result = m.run(f"mount -t ext4 /dev/vda /mnt && writer write /mnt/core /dev/vda {FS} {COMMITS}",
                            [vm.logged_disk(self.dir + "/disk.img", self.log)], stop=stop)
        self.entries = blklog.read(self.log)

    def acks(self, upto):
        out = []
        for e in self.entries[:upto]:
            if e.off >= FS:
                out += [e.data[i:i + ACK] for i in range(0, len(e.data), 512)]
        return out

    def check(self, image, acks):
        """Nothing if the store on it is as it has to be, else what is wrong."""
        path, out = self.dir + "/cut.img", self.dir + "/core"
        with open(path, "wb") as f:
            f.write(image)
        code, text = vm.call("e2fsck", "-fy", path)
        if code >= 4:
            return f"e2fsck: status {code}: {text[-300:]}"
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        for name in ("data.mdb", "data.new"):
            vm.call("debugfs", "-R", f"dump /core/{name} {out}/{name}", path)
            if os.path.exists(f"{out}/{name}") and os.path.getsize(f"{out}/{name}") == 0:
                os.unlink(f"{out}/{name}")
        with open(self.dir + "/acks", "wb") as f:
            f.write(b"".join(acks))
        code, text = vm.call(self.writer, "check", out, self.dir + "/acks")
        return "" if code == 0 else text.strip() or f"status {code}"

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


@rule
def a_machine_writes_until_its_power_is_cut(p):
    try:
        p.live()
    except vm.CannotRun as e:
        raise AssertionError(str(e))
    assert p.result.killed, p.result.text[-1500:]
    assert any(e.flush for e in p.entries) and len(p.acks(len(p.entries))) > 20, len(p.entries)


@rule
def every_cut_has_all_that_was_acknowledged(p):
    assert p.entries
    said = [i + 1 for i, e in enumerate(p.entries) if e.off >= FS]
    # half of them right behind an acknowledgement: nothing came after it that could have helped
    at = sorted(p.rnd.choice(said) if n % 2 else p.rnd.randrange(1, len(p.entries) + 1) for n in range(CUTS))
    at[-1] = len(p.entries)
    disk, fed, wrong, late = blklog.Disk(p.base), 0, [], 0
    for n, end in enumerate(at):
        for e in p.entries[fed:end]:
            disk.feed(e)
        fed = end
        late += len(disk.late)
        how = ("none", "sectors", "some", "all")[n % 4]
        why = p.check(disk.cut(p.rnd, how), p.acks(end))
        if why:
            wrong.append(f"cut at {end} of {len(p.entries)}, {how} of the rest: {why}")
    print(f"# {CUTS} cuts of {len(p.entries)} writes, {len(p.acks(len(p.entries)))} acknowledged, "
          f"{late} writes in flight, seed {SEED}")
    assert not wrong, "; ".join(wrong[:5])


if __name__ == "__main__":
    main(Life, leaves_nothing=False)
