"""A Postern that archives early: segments of 64 KiB, on a file system of their own."""
import ctypes, json, os, socket

from postern import PROGRAM, Postern, run
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2
GOOD, LOST = 0, 23
libc = ctypes.CDLL(None, use_errno=True)


def check(r):
    if r != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Small(Postern):
    """Segments of 64 KiB, and the archive on a file system of its own."""

    def __init__(self):
        check(libc.unshare(CLONE_NEWNS))
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        self.more = ""
        super().__init__(start=False)
        self.archive = f"{self.state}/archive"
        try:
            os.mkdir(self.archive, 0o750)
            check(libc.mount(b"tmpfs", self.archive.encode(), b"tmpfs", 0, b"size=8m,mode=750"))
            self.start()
            os.mkdir(f"{self.work}/no-archive")
            self.keys_file = os.path.join(self.work, "keys")
            r = self.postern("audit", "keys")
            assert r.code == 0, r
            with open(self.keys_file, "w") as f:
                f.write(r.text)
        except BaseException:
            self.close()
            raise

    def _configure(self):
        super()._configure()
        path = os.path.join(self.state, "etc", "postern.yaml")
        with open(path) as f:
            lines = [x for x in f if not x.startswith(("archive:", "log:", "export:"))]
        with open(path, "w") as f:
            f.write("".join(lines) + "archive: {size: 64K}\nlog: {checkpoint: 1s}\n" + self.more)

    def leftovers(self):
        return [x for x in super().leftovers() if self.archive not in x]

    def close(self):
        libc.umount2(self.archive.encode(), MNT_DETACH)
        super().close()

    def flood(self, n):
        """n records in the host's log, and as many answers."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(20)
        s.connect(f"{self.state}/run/control.sock")
        for i in range(1, n + 1):
            s.send(json.dumps({"v": 1, "id": i, "type": "ctl.session", "body": {"session": f"s-{i}"}}).encode())
            if not s.recv(1 << 17):
                raise ConnectionError(f"closed after {i}")
        s.close()

    def segments(self, log="host"):
        r = self.postern("--json", "audit", "archive", "--log", log)
        assert r.code in (GOOD, LOST), r
        return json.loads(r.text)

    def edge(self, log="host"):
        """Up to where the store has no records any more."""
        away = f"{self.work}/no-archive"
        r = run([PROGRAM, "--state", self.state, "--json", "audit", "verify", "--log", log, "--keys", self.keys_file,
                 "--archive", away], timeout=60)
        gone = [x for x in json.loads(r.text)[0]["ranges"] if x["state"] == "missing"]
        return gone[0]["to"] if gone else 0

    def verify(self, *args):
        r = self.postern("--json", "audit", "verify", "--keys", self.keys_file, *args, timeout=60)
        return r.code, json.loads(r.text) if r.text.strip() else None, r
