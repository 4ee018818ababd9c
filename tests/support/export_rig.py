"""The exporter's surroundings, played by one process: supervisor and core (lib/msg_table.c, "the exporter").

Core keeps logs of records as logmaker.py makes them, answers questions, and keeps every cursor as a store would: what
was told by export.done survives a new exporter.
"""
import base64, fcntl, json, os, queue, shutil, signal, socket, struct, subprocess, tempfile, threading, time

import tlog
from fake_core import Link, seqpacket
from logmaker import Maker

BUILD = os.environ.get("BUILD", "build")
PROGRAM = os.path.join(BUILD, "libexec/postern/postern-export")
UID = 1879048192 + 4
PAGE = 80 * 1024


def b64(data):
    return base64.b64encode(data).decode()


def until(what, test, timeout=40.0):
    end = time.monotonic() + timeout
    while True:
        got = test()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Rig:
    """config: the text of postern.yaml; files: name -> (content, mode) beside it."""

    def __init__(self, config="", files=None, tenants=("demo",), start=True):
        self.dir = tempfile.mkdtemp(prefix="postern-export-")
        os.chmod(self.dir, 0o755)
        for d in ("etc", "export", "archive"):
            os.mkdir(f"{self.dir}/{d}")
        for d in ("export", "archive"):
            os.chown(f"{self.dir}/{d}", UID, UID)
        self.maker = Maker(tenants=tenants)
        self.sink_cursors = {}    # (sink, log) -> [seq, checkpoint]
        self.skips = []           # (sink, log, seq, reason)
        self.states = {}          # name -> newest report
        self.history = []         # (name, state, reason)
        self.signed, self.conflicts = [], []
        self.asked = []           # (type, body)
        self.private = {}         # (log, seq) -> [entries]
        self.bodies = {}          # (log, seq) -> bytes
        self.refuse = {}          # type -> reason
        self.lock = threading.RLock()
        self.pid = None
        self.core = self.sup = None
        self.errors = open(f"{self.dir}/stderr", "ab", buffering=0)
        self.configure(config, files)
        if start:
            self.start()

    # ---- configuration
    def configure(self, config, files=None):
        for name, (content, mode) in (files or {}).items():
            path = f"{self.dir}/etc/{name}"
            with open(path, "wb") as f:
                f.write(content if isinstance(content, bytes) else content.encode())
            os.chmod(path, mode)
            os.chown(path, UID if mode & 0o077 == 0 else 0, 0)
        with open(f"{self.dir}/etc/postern.yaml", "w", encoding="utf-8") as f:
            f.write(config)

    def reload(self):
        self.sup.send("reload")

    # ---- the process
    def start(self):
        mine, theirs = seqpacket()
        fds = [theirs.fileno()] + [os.open(f"{self.dir}/{d}", os.O_RDONLY | os.O_DIRECTORY)
                                   for d in ("etc", "export", "archive")]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
        acts = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, self.errors.fileno(), 2)]
        acts += [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(high)]
        env = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.pid = os.posix_spawn(PROGRAM, ["postern-export", f"uid={UID}", f"gid={UID}", "config=4", "export=5",
                                            "archive=6"], env, file_actions=acts)
        for fd in high + fds[1:]:
            os.close(fd)
        theirs.close()
        self.sup = Link(mine)
        m, _ = self.sup.recv()
        assert m and m["type"] == "ready", (m, self.stderr())
        self.link()

    def link(self):
        mine, theirs = seqpacket()
        self.core = Link(mine)
        self.sup.send("core.link", {}, [theirs.fileno()])
        theirs.close()
        threading.Thread(target=self.serve, args=(self.core,), daemon=True).start()
        self.grown()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.reap()

    def reap(self):
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        self.sup.sock.close()
        self.core.sock.close()
        return os.waitstatus_to_exitcode(status)

    def shutdown(self):
        self.sup.send("shutdown")
        return self.reap()

    def close(self):
        if self.pid:
            self.kill()
        self.errors.close()
        shutil.rmtree(self.dir)

    def stderr(self):
        with open(f"{self.dir}/stderr", "rb") as f:
            return f.read().decode("utf-8", "replace")

    # ---- logs
    def grow(self, log, n, seal=True, **body):
        with self.lock:
            self.maker.grow(log, n, **body)
            if seal:
                self.maker.seal(log)
        self.grown()

    def bundle(self, log):
        return self.maker.logs[log]

    def records(self, log):
        b = self.bundle(log)
        return [b.records[s] for s in sorted(b.records)]

    def put(self, log, data):
        """A record of any bytes."""
        with self.lock:
            b = self.bundle(log)
            b.records[len(b.records) + 1] = data
        self.grown()
        return len(self.bundle(log).records)

    def grown(self):
        with self.lock:
            logs = [{"log": n, "size": len(b.records), "checkpoint": b.checkpoints[-1][0] if b.checkpoints else 0}
                    for n, b in self.maker.logs.items()]
        if self.core:
            self.core.send("export.grown", {"logs": logs})

    def cursor(self, sink, log="demo"):
        return tuple(self.sink_cursors.get((sink, log), (0, 0)))

    # ---- the core
    def serve(self, link):
        while True:
            try:
                m, _ = link.recv()
            except (OSError, ValueError):
                return
            if m is None:
                return
            with self.lock:
                self.asked.append((m["type"], m["body"]))
                answer = self.answer(m["type"], m["body"])
            if answer:
                link.send(answer[0], answer[1], id_=m["id"])

    def answer(self, kind, o):
        if kind in self.refuse:
            return "export.refused", {"reason": self.refuse[kind]}
        return getattr(self, kind.replace(".", "_"))(o)

    def export_open(self, o):
        seq, ckpt = self.cursor(o["sink"], o["log"])
        return "export.at", {"sink": o["sink"], "log": o["log"], "seq": seq, "checkpoint": ckpt}

    def export_pull(self, o):
        records = self.records(o["log"])
        out, entries, size = [], [], 0
        for i in range(o["from"] - 1, min(len(records), o["from"] - 1 + o["max"])):
            size += len(b64(records[i])) + 4
            if size > PAGE and out:
                break
            out.append(b64(records[i]))
            entries += [b64(e) for e in self.private.get((o["log"], i + 1), [])]
        return "export.batch", {"from": o["from"], "size": len(records), "records": out, "private": entries}

    def export_body(self, o):
        body = self.bodies.get((o["log"], o["seq"]), b"")
        entries = [b64(e) for e in self.private.get((o["log"], o["seq"], "body"), [])] if o["at"] == 0 else []
        return "export.bodypart", {"size": len(body), "data": b64(body[o["at"]:o["at"] + 60 * 1024]), "private": entries}

    def export_notes(self, o):
        notes = self.bundle(o["log"]).checkpoints if o["kind"] == "checkpoint" else []
        return "export.notelist", {"notes": [b64(struct.pack(">Q", n) + c) for n, c in notes if n >= o["from"]][:64]}

    def export_done(self, o):
        old = self.cursor(o["sink"], o["log"])
        assert o["seq"] >= old[0] and o["checkpoint"] >= old[1], (old, o)
        self.sink_cursors[o["sink"], o["log"]] = [o["seq"], o["checkpoint"]]

    def export_skip(self, o):
        self.skips.append((o["sink"], o["log"], o["seq"], o["reason"]))
        old = self.cursor(o["sink"], o["log"])
        assert o["seq"] == old[0] + 1, (old, o)
        self.sink_cursors[o["sink"], o["log"]] = [o["seq"], old[1]]
        return self.export_open(o)

    def export_state(self, o):
        for s in o["sinks"]:
            assert set(s) == {"name", "kind", "state", "reason", "sent", "since_s"} and len(s["reason"]) <= 200, s
            self.states[s["name"]] = s
            self.history.append((s["name"], s["state"], s["reason"]))

    def witness_ask(self, o):
        b = self.bundle(o["log"])
        leaves = b.leaves(o["size"])
        proof = tlog.subproof(o["old"], leaves) if 0 < o["old"] < o["size"] else []
        return "witness.proof", {"proof": [b64(h) for h in proof], "note": b64(dict(b.checkpoints)[o["size"]])}

    def witness_signed(self, o):
        self.signed.append((o["log"], o["size"], o["witness"], base64.b64decode(o["line"])))

    def witness_conflict(self, o):
        self.conflicts.append((o["log"], o["size"], o["witness"], o["reason"]))

    # ---- waiting
    def delivered(self, sink, log="demo", timeout=60):
        def there():
            b = self.bundle(log)
            return self.cursor(sink, log) == (len(b.records), b.checkpoints[-1][0] if b.checkpoints else 0)
        until(lambda: f"{sink}/{log} at {self.cursor(sink, log)} of {len(self.bundle(log).records)}; "
              f"{self.states}; {self.stderr()[-2000:]}", there, timeout)

    def state(self, name, state, why="", timeout=40):
        until(lambda: f"{name} {state} {why!r}: {self.states.get(name)}; {self.history[-20:]}",
              lambda: any(n == name and s == state and why in r for n, s, r in self.history), timeout)
