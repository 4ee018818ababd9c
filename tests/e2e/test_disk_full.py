#!/usr/bin/python3
"""A full disk under the store: what runs goes on, new sessions are refused with the reason, nothing is lost,
and all is well once there is room again. The state lies on a small tmpfs in the test's own mount namespace."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import ctypes, json, os, tempfile, time

from postern import Postern, close_all, in_sequence, run, until
from tap import main, rule

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2
libc = ctypes.CDLL(None, use_errno=True)


def check(r):
    if r != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Small(Postern):
    """With its state on a tmpfs."""

    def __init__(self):
        check(libc.unshare(CLONE_NEWNS))
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        self.disk = tempfile.mkdtemp(prefix="postern-disk-")
        check(libc.mount(b"tmpfs", self.disk.encode(), b"tmpfs", 0, b"size=12m,mode=755"))
        super().__init__(state=self.disk)

    def leftovers(self):
        return [x for x in super().leftovers() if " - tmpfs tmpfs " not in x or f" {self.disk} " not in x]

    def close(self):
        super().close()
        libc.umount2(self.disk.encode(), MNT_DETACH)
        os.rmdir(self.disk)


def fill(p):
    """Takes every byte."""
    with open(f"{p.disk}/ballast", "wb", buffering=0) as f:
        for n in (1 << 20, 1 << 12):
            try:
                while True:
                    f.write(b"\xff" * n)
            except OSError as e:
                assert e.errno == 28, e
    s = os.statvfs(p.disk)
    assert s.f_bavail == 0, s


def use_up(p):
    """Sessions until the store itself has no page left: at first it has some in its file."""
    for i in range(400):
        r = p.ssh("echo in; : " + "x" * 20000)
        if r.code != 0:
            return r
    raise AssertionError("the store never became full")


@rule
def a_full_disk_refuses_new_sessions_with_the_reason(p):
    assert p.ssh("echo in").out == b"in\n"
    p.kept, p.sid = p.session()
    p.count = len(p.records())
    fill(p)
    r = use_up(p)
    assert r.code in (254, 255) and r.out == b"", r
    if r.code == 254:
        assert r.err.startswith(b"postern: denied: "), r
        assert b"space" in r.err or b"record" in r.err or b"log" in r.err, r
    for _ in range(3):
        assert p.ssh("echo in").code in (254, 255)


@rule
def what_ran_before_runs_on(p):
    p.kept.stdin.write(b"ping\n")
    p.kept.stdin.flush()
    assert p.kept.stdout.readline() == b"ping\n"


@rule
def every_daemon_is_still_there(p):
    for role in ("supervisor", "core", "spawn", "signer", "listener"):
        p.daemon(role)
    assert p.json("status")


@rule
def no_sandbox_was_made_without_its_record(p):
    until(lambda: f"one sandbox: {p.sandbox_pids()}", lambda: len({(u - p.ids) // 65536 for u in sandbox_uids(p)}) == 1)


def sandbox_uids(p):
    import proc
    return [proc.uids(x)[0] for x in p.sandbox_pids() if proc.uids(x)]


@rule
def nothing_recorded_was_lost(p):
    rs = p.records()
    assert len(rs) > p.count and in_sequence(rs)
    assert p.postern("audit", "verify", "--chain").code == 0


@rule
def with_room_again_all_is_well(p):
    os.unlink(f"{p.disk}/ballast")
    r = until("service again", lambda: (lambda r: r if r.out == b"in\n" else None)(p.ssh("echo in")), 10, 0.3)
    p.kept.stdin.close()
    assert p.kept.wait(5) == 0
    close_all(p.kept)
    until("the end of the old session on record", lambda: any(p.sid in json.dumps(x) and "end" in x["class"] for x in p.records()))
    until("nothing left", lambda: not p.sandbox_pids() and not p.sessions())
    assert p.postern("audit", "verify", "--chain").code == 0


@rule
def a_restart_finds_everything(p):
    n = len(p.records())
    p.stop()
    p.start()
    assert len(p.records()) >= n
    assert p.postern("audit", "verify", "--chain").code == 0 and p.ssh("echo in").out == b"in\n"


if __name__ == "__main__":
    main(Small)
