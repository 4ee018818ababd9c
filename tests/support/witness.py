"""A running witness, and a log that speaks with it. The log is tests/support/tlog.py's: no code of Postern's.

    w = Witness(log)                a server of its own, started
    r = w.add(log, old, size)       an answer: .status, .type, .body
    log.cosigned(r, size, w.key)    the time of its cosignature, or an exception
"""
import http.client, os, shutil, signal, socket, subprocess, tempfile

import proc, tlog
from postern import PROGRAM, run

NAME = "witness.example/w1"


class Answer:
    def __init__(self, status, kind, body, headers=None):
        self.status, self.type, self.body, self.headers = status, kind, body, headers or {}

    def __repr__(self):
        return f"{self.status} {self.type} {self.body[:200]!r}"


class Log:
    """A log by one key, with branches: `branch` names the history from leaf `at` on."""

    def __init__(self, origin="log.example/host", seed=None):
        self.origin, self.seed = origin, seed or os.urandom(32)
        self.key = tlog.vkey(origin, tlog.public(self.seed))

    def tenant(self, name):
        return Log(f"{self.origin}/t/{name}", self.seed)

    def leaves(self, n, branch="", at=0):
        return [tlog.leaf(f"{i} {branch if i >= at else ''}".encode()) for i in range(n)]

    def text(self, n, branch="", at=0, extension=""):
        return tlog.checkpoint_text(self.origin, n, tlog.root(self.leaves(n, branch, at))) + extension

    def note(self, n, branch="", at=0, extension="", more=""):
        text = self.text(n, branch, at, extension)
        return text + "\n" + more + tlog.signature(self.origin, self.seed, text)

    def body(self, old, n, branch="", at=0, proof=None, note=None):
        if proof is None:
            proof = tlog.subproof(old, self.leaves(n, branch, at)) if 0 < old <= n else []
        return tlog.add_checkpoint(old, proof, note or self.note(n, branch, at))

    def cosigned(self, answer, n, key, branch="", at=0, extension=""):
        assert answer.status == 200, answer
        return tlog.cosigned(self.text(n, branch, at, extension), answer.body, key)


class Witness:
    def __init__(self, *logs, state=None, args=(), start=True, name=NAME, wrap=(), host="127.0.0.1"):
        self.logs, self.args, self.name, self.wrap, self.host = logs, list(args), name, list(wrap), host
        self.user = "nobody" if os.geteuid() == 0 else None
        self.own = state is None
        self.dir = state or tempfile.mkdtemp(prefix="postern-witness-")
        self.state = os.path.join(self.dir, "state")
        self.process = None
        self.log = open(os.path.join(self.dir, "log"), "ab+")
        if start:
            self.start()

    def command(self, *more):
        argv = self.wrap + [PROGRAM, "witness", "--state", self.state, "--listen", self.host + ":0", "--name", self.name]
        if self.user:
            argv += ["--user", self.user]
        for log in self.logs:
            argv += ["--log", log.key]
        return argv + self.args + list(more)

    def start(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        where, key = self.process.stdout.readline().decode(), self.process.stdout.readline().decode()
        assert where.startswith("witness at "), (where, self.said())
        self.url = where.split()[-1]
        self.port = int(self.url.rstrip("/").rsplit(":", 1)[1])
        self.key = key.split()[-1]

    def said(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def refuses_to_start(self, *more):
        """Its exit status and what it said."""
        r = run(self.command(*more))
        assert r.code not in (0, None), r
        return r

    def stop(self, how=signal.SIGTERM):
        if self.process:
            proc.kill(self.process.pid, how)
            self.process.wait(20)
            self.process.stdout.close()
            code, self.process = self.process.returncode, None
            return code
        return None

    def close(self):
        self.stop(signal.SIGKILL)
        self.log.close()
        if self.own:
            shutil.rmtree(self.dir, True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- asking ----

    def request(self, method, path, body=None, headers={}, source=None, timeout=20):
        c = http.client.HTTPConnection(self.host, self.port, timeout=timeout, source_address=source and (source, 0))
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            return Answer(r.status, r.getheader("Content-Type"), r.read(), dict(r.getheaders()))
        finally:
            c.close()

    def post(self, body, **more):
        return self.request("POST", "/add-checkpoint", body if isinstance(body, bytes) else body.encode(), **more)

    def add(self, log, old, n, *branch, **more):
        return self.post(log.body(old, n, *branch), **more)

    def raw(self, data, source=None, timeout=20):
        """What comes back for these bytes, until it closes."""
        s = socket.create_connection((self.host, self.port), timeout, (source, 0) if source else None)
        out = b""
        try:
            s.sendall(data)
            while True:
                got = s.recv(65536)
                if not got:
                    return out
                out += got
        except (ConnectionResetError, BrokenPipeError):
            return out
        finally:
            s.close()

    # ---- its directory ----

    def ctl(self, verb, *more):
        return run([PROGRAM, "witness", verb, "--state", self.state, *more])

    def file(self, log):
        return os.path.join(self.state, "logs", tlog.sha(log.origin.encode()).hex())
