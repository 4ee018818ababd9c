"""A whole Postern for one test: started, spoken to, stopped, and looked for afterwards.

Every test file has a Postern of its own: its own state directory, its own range of ids, its own port. So the
files run in parallel. Nothing here knows how Postern works inside, except where its files and processes are, which
ARCHITECTURE.md promises.
"""
import fcntl, json, os, re, shutil, signal, stat, subprocess, tempfile, threading, time

import proc

BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(os.path.dirname(__file__), "../../build"))
PROGRAM = BUILD + "/bin/postern"
IDS_FIRST = 0x70000000 + 1024 * 65536  # behind what `make demo` and `make up` use
IDS_COUNT = 64 * 65536
SLOW = int(os.environ.get("POSTERN_SLOW", "1"))  # deadlines are so much longer, where a machine is emulated


class Result:
    """How a command ended: code, out and err (bytes), and the same as text."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out.decode("utf-8", "replace")

    @property
    def error(self):
        return self.err.decode("utf-8", "replace")

    def __repr__(self):
        return f"status {self.code}, stdout {self.out[-600:]!r}, stderr {self.err[-900:]!r}"


def run(argv, input=None, timeout=30, env=None, cwd=None):
    """Runs a command to its end. input: bytes, or None for no input at all."""
    timeout *= SLOW
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd)
    try:
        out, err = p.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        raise AssertionError(f"not ended after {timeout} s: {argv!r}: {Result(None, out, err)!r}")
    return Result(p.returncode, out, err)


def until(what, test, timeout=5.0, every=0.02):
    """Waits until test() is true and returns what it returned. Fails with the text otherwise."""
    timeout *= SLOW
    end = time.monotonic() + timeout
    while True:
        got = test()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(every)


def claim_ids():
    """A range of ids that no other test on this machine has now: (lock to hold, first id)."""
    d = os.path.join(tempfile.gettempdir(), "postern-test-ids")
    os.makedirs(d, mode=0o700, exist_ok=True)
    for n in range(48):
        f = open(os.path.join(d, str(n)), "w")
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return f, IDS_FIRST + n * IDS_COUNT
        except OSError:
            f.close()
    raise AssertionError("no free range of ids")


class Postern:
    """One running system. Use it as a context manager, or call start() and stop()."""

    def __init__(self, state=None, wrap=(), start=True, limits="", gateway=""):
        self.own_dir = state is None
        self.state = state or tempfile.mkdtemp(prefix="postern-test-")
        os.chmod(self.state, 0o755)  # sandboxes and daemons of other ids pass through it
        self.work = tempfile.mkdtemp(prefix="postern-keys-")
        self.lock, self.ids = claim_ids()
        self.wrap = list(wrap)  # a command in front of `postern up`
        self.limits, self.gateway = limits, gateway  # more of postern.yaml: "key: value, key: value"
        self.up = self.instance = None
        self.seen = set()  # (pid, start time) of every process of ours that was ever looked at
        self.keys, self.making = {}, threading.Lock()
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    # ---- life ----

    def start(self, timeout=20, args=()):
        self.log_path = os.path.join(self.work, "log")
        errors = open(self.log_path, "ab")
        self._configure()
        argv = self.wrap + [PROGRAM, "up", "--state", self.state, "--listen", "127.0.0.1:0", *args]
        self.up = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        errors.close()
        line, timer = b"", threading.Timer(timeout * SLOW, self.up.kill)
        timer.start()
        try:
            while not line.startswith(b"ready "):
                line = self.up.stdout.readline()
                if not line:
                    self.up.wait()
                    raise AssertionError(f"`postern up` ended with {self.up.returncode}: {self.log_tail()}")
        finally:
            timer.cancel()
        self.host, port = line.split()[1].decode().rsplit(":", 1)
        self.port = int(port)
        self.pid = proc.child_named(self.up.pid, "postern-supervisor") or self.up.pid
        self.known_hosts = os.path.join(self.work, "known_hosts")
        key = run(["ssh-keygen", "-y", "-f", f"{self.state}/hostkeys/ssh_host_ed25519_key"])
        with open(self.known_hosts, "w") as f:
            f.write(f"[127.0.0.1]:{self.port} {key.text}")
        self.instance = self._instance()
        return self

    def _configure(self):
        """`up` makes what is missing; the range of ids is ours to choose."""
        path = os.path.join(self.state, "etc", "postern.yaml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.write(f"ids: {{base: {self.ids}, count: {IDS_COUNT}}}\n"
                        f"limits: {{sessions: 60{', ' + self.limits if self.limits else ''}}}\n"
                        f"gateway: {{{self.gateway}}}\n")

    def _instance(self):
        for pid in self.pids():
            for a in proc.argv(pid):
                if a.startswith("instance="):
                    return a[len("instance="):]
        return None

    def stop(self, timeout=10):
        """Ends it as an operator does, and returns the exit status."""
        self.pids()
        if self.up is None:
            return None
        if self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
        try:
            code = self.up.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            for pid in self.pids():
                proc.kill(pid)
            self.up.wait()
            raise AssertionError(f"still there {timeout} s after SIGTERM: {self.log_tail()}")
        finally:
            self.up.stdout.close()
            self.up = None
        return code

    def close(self):
        try:
            self.stop()
        finally:
            for pid, began in self.seen:
                if proc.alive(pid, began):
                    proc.kill(pid)
            shutil.rmtree(self.work, ignore_errors=True)
            if self.own_dir:
                shutil.rmtree(self.state, ignore_errors=True)
            self.lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def log_tail(self, n=30):
        try:
            with open(self.log_path, "rb") as f:
                return "\n".join(f.read().decode("utf-8", "replace").splitlines()[-n:])
        except OSError:
            return ""

    # ---- what it is made of ----

    def pids(self):
        """Every process of this system now: below `up`, or with an id of its range."""
        found = set()
        if self.up is not None and self.up.poll() is None:
            found.update(proc.tree(self.up.pid))
        found.update(proc.by_uid(self.ids, self.ids + IDS_COUNT))
        for pid in found:
            began = proc.began(pid)
            if began is not None:
                self.seen.add((pid, began))
        return found

    def daemons(self, role):
        """Process ids of a role: supervisor, core, spawn, signer, listener, worker, lease, init."""
        out = []
        for pid in sorted(self.pids()):
            a = proc.argv(pid)
            if not a:
                continue
            name = os.path.basename(a[0])
            if name == f"postern-{role}" or name == "postern-gateway" and role in a[1:2]:
                out.append(pid)
        return out

    def daemon(self, role):
        got = self.daemons(role)
        assert len(got) == 1, f"{role}: {got}"
        return got[0]

    def sandbox_pids(self):
        """Processes that run as somebody inside a session's block."""
        return proc.by_uid(self.ids + 65536, self.ids + IDS_COUNT)

    def leftovers(self):
        """What is still there of it, by name. Empty when it went cleanly."""
        left = [f"process {pid} {proc.argv(pid)}" for pid, began in self.seen if proc.alive(pid, began)]
        left += [f"process {pid} {proc.argv(pid)}" for pid in proc.by_uid(self.ids, self.ids + IDS_COUNT)]
        left += [f"mount {m}" for m in proc.mounts() if self.state in m]
        if self.instance:
            left += [f"cgroup {c}" for c in proc.cgroups(self.instance)]
        return left

    # ---- keys and certificates, made by OpenSSH's own tool ----

    def key(self, name, type="ed25519", bits=None):
        """A key pair without a certificate: the path of its private half."""
        path = os.path.join(self.work, name)
        if not os.path.exists(path):
            argv = ["ssh-keygen", "-q", "-t", type, "-N", "", "-C", name, "-f", path]
            r = run(argv + (["-b", str(bits)] if bits else []))
            assert r.code == 0, r
        return path

    def cert(self, name, ca="demo", principals="agent", valid="-1m:+5m", id=None, options=(), type="ed25519",
             bits=None, host=False, serial=None):
        """A key with a certificate: the path of the private key. ca: a tenant's name or a path. principals
        None: none at all."""
        path = self.key(name, type, bits)
        ca_path = ca if "/" in ca else f"{self.state}/ca/{ca}"
        argv = ["ssh-keygen", "-q", "-s", ca_path, "-I", id or name, "-V", valid]
        argv += ["-n", principals] if principals is not None else []
        argv += ["-h"] if host else []
        argv += ["-z", str(serial)] if serial else []
        for o in options:
            argv += ["-O", o]
        r = run(argv + [path + ".pub"])
        assert r.code == 0, r
        return path

    # ---- clients ----

    def ssh_options(self, key="alice", opts=()):
        """What every OpenSSH client gets: nothing from the machine's own configuration."""
        if key is not None and "/" not in key:
            with self.making:  # clients run in threads, too
                if key not in self.keys:
                    self.keys[key] = self.cert(key)
                key = self.keys[key]
        out = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
               "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none",
               "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15", "-o", "UpdateHostKeys=no"]
        if key is not None:
            out += ["-i", key]
        for o in opts:
            out += ["-o", o]
        return out

    def ssh_argv(self, *command, key="alice", user="agent", opts=(), flags=()):
        return ["ssh", *self.ssh_options(key, opts), "-p", str(self.port), *flags, "-l", user, "127.0.0.1",
                *command]

    def ssh(self, *command, key="alice", user="agent", input=None, opts=(), flags=(), timeout=30):
        return run(self.ssh_argv(*command, key=key, user=user, opts=opts, flags=flags), input, timeout)

    def ssh_open(self, *command, key="alice", user="agent", opts=(), flags=(), **kw):
        """Starts ssh and leaves it running, with pipes."""
        for name in ("stdin", "stdout", "stderr"):
            kw.setdefault(name, subprocess.PIPE)
        return subprocess.Popen(self.ssh_argv(*command, key=key, user=user, opts=opts, flags=flags), **kw)

    def session(self, key="alice", **kw):
        """An ssh with `cat` running in a sandbox, ready to be used: (process, session id)."""
        before = {s["id"] for s in self.sessions()}
        p = self.ssh_open("echo here; exec cat", key=key, **kw)
        line = p.stdout.readline()
        assert line == b"here\n", (line, p.stderr.read())
        new = [s["id"] for s in self.sessions() if s["id"] not in before]
        assert len(new) == 1, new
        return p, new[0]

    # ---- the operator's command ----

    def postern(self, *args, timeout=20, input=None):
        return run([PROGRAM, "--state", self.state, *args], timeout=timeout, input=input)

    def json(self, *args):
        r = self.postern("--json", *args)
        assert r.code == 0 or (r.code == 10 and args[0] == "status"), r  # a full disk is none of a test's business
        return json.loads(r.text)

    def sessions(self):
        got = self.json("session", "list")
        return got["sessions"] if isinstance(got, dict) else got

    def records(self):
        """The whole log: one dictionary a record, oldest first."""
        r = self.postern("--json", "audit", "show")
        assert r.code == 0, r
        return parse_records(r.text)


def in_sequence(rs):
    """Each log counts from 1 without a gap."""
    logs = {}
    for x in rs:
        logs.setdefault(x["log"], []).append(x["seq"])
    return all(s == list(range(1, len(s) + 1)) for s in logs.values())


def parse_records(text):
    text = text.strip()
    if not text:
        return []
    try:
        got = json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]
    if isinstance(got, dict):
        return got["records"] if "records" in got else [got]
    return got


def close_all(p):
    """Ends a process of ours and its pipes."""
    if p.poll() is None:
        p.kill()
    p.wait()
    for f in (p.stdin, p.stdout, p.stderr):
        if f is not None:
            try:
                f.close()
            except OSError:
                pass
