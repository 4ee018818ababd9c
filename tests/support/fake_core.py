"""The gateway's surroundings, played by one process: supervisor, core, and a sandbox that is none.

Tests of the gateway start Gateway(), connect with real SSH clients, and look at what the core was told.
Commands are plain `sh -c` processes on pipes or a pty, as a sandbox's init would start them, with their status on
a status pipe (broker/init/proto.h). Every message travels as lib/msg.h says.
"""
import array, base64, fcntl, json, os, pty, selectors, shutil, signal, socket, struct, subprocess, sys
import tempfile, termios, threading, time

# a shell's background job has the first two ignored, nohup's the third, and so would have the commands under test
for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(sig, signal.SIG_DFL)

MSG_MAX = 128 * 1024
IDBASE = 1879048192


def seqpacket():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for s in (a, b):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MSG_MAX)
    return a, b


class Link:
    """One end of a message link. Sends may come from several threads."""

    def __init__(self, sock):
        self.sock = sock
        self.lock = threading.Lock()

    def send(self, type_, body=None, fds=(), id_=0):
        data = json.dumps({"v": 1, "id": id_, "type": type_, "body": body or {}}).encode()
        try:
            with self.lock:
                if fds:
                    socket.send_fds(self.sock, [data], list(fds))
                else:
                    self.sock.send(data)
            return True
        except OSError:
            return False

    def recv(self):
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, MSG_MAX + 1, 8)
        except OSError:
            data = b""
        if not data:
            return None, []
        return json.loads(data), fds


class Gateway:
    """grant: the worker's view; judge(user, method, key, proved) answers True, False or a banner."""

    def __init__(self, config="", spares=2, judge=None, grant=None, exec_hook=None, env=None):
        self.build = os.path.join(os.environ.get("BUILD", "build"), "libexec/postern/postern-gateway")
        with open(self.build, "rb") as f:
            self.sanitized = b"__asan_init" in f.read()  # memory is then no measure
        self.dir = tempfile.mkdtemp(prefix="postern-gw-")
        os.mkdir(self.dir + "/etc")
        os.mkdir(self.dir + "/hostkeys")
        with open(self.dir + "/etc/postern.yaml", "w", encoding="utf-8") as f:
            f.write("gateway:\n  max_tries: 6\n" + "".join("  " + l + "\n" for l in config.split("\n") if l))
        keygen("-t", "ed25519", "-f", self.dir + "/hostkeys/ssh_host_ed25519_key", "-C", "", "-N", "")
        keygen("-t", "ed25519", "-f", self.dir + "/ca", "-C", "", "-N", "")
        self.grant = grant or {"tenant": "demo", "role": "agent", "channels": 64,
                               "env": ["LANG", "LC_*"], "pty": True, "expires_in_s": 3600}
        self.judge = judge or (lambda user, method, key, proved: is_cert(key))
        self.exec_hook = exec_hook
        self.env = env
        self.log = []            # (type, body, conn)
        self.conns = {}          # id -> Link
        self.peers = {}
        self.procs = {}          # (conn, channel) -> Popen
        self.children = []
        self.workers = {}        # slot -> pid
        self.used = 0
        self.next_slot = 0
        self.next_conn = 0
        self.answering = True
        self.cond = threading.Condition()
        self.sel = selectors.DefaultSelector()
        self.wake_r, self.wake_w = os.pipe()
        self.sel.register(self.wake_r, selectors.EVENT_READ, None)
        self.todo = []
        self.running = True
        self.statuses = []       # exit statuses of workers: (status, signal)

        self.listen = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listen.bind(("127.0.0.1", 0))
        self.listen.listen(512)
        self.listen.setblocking(False)
        self.port = self.listen.getsockname()[1]

        sup, theirs = seqpacket()
        self.listener = self.start(["listener", f"uid={IDBASE + 3}", f"gid={IDBASE + 3}", "config=4"],
                                   [theirs.fileno(), self.open_dir("etc")])
        theirs.close()
        self.sup = Link(sup)
        self.sel.register(sup, selectors.EVENT_READ, self.from_listener_sup)
        self.sup.send("listen", {"kind": "ssh"}, [self.listen.fileno()])
        self.core = None
        self.link_core()
        for _ in range(spares):
            self.spare()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        if not self.wait(lambda: self.count("worker.pair") >= spares, 20):
            raise RuntimeError("the gateway does not start")

    # ---- processes
    def open_dir(self, name):
        return os.open(os.path.join(self.dir, name), os.O_RDONLY | os.O_DIRECTORY)

    def start(self, args, fds):
        acts, high = [], [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
        acts.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0))
        for i, fd in enumerate(high):
            acts.append((os.POSIX_SPAWN_DUP2, fd, 3 + i))
        env = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        # the leak check traces the process from another one, which a confined process cannot make
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        env.update(self.env or {})
        pid = os.posix_spawn(self.build, ["postern-gateway"] + args, env, file_actions=acts)
        for fd in high + fds[1:]:
            os.close(fd)
        return pid

    def spare(self):
        slot, self.next_slot = self.next_slot, self.next_slot + 1
        mine, theirs = seqpacket()
        pid = self.start(["worker", f"uid={IDBASE + 4096 + slot % 4096}", f"gid={IDBASE + 4096 + slot % 4096}",
                          "hostkeys=4", "config=5", f"slot={slot}"],
                         [theirs.fileno(), self.open_dir("hostkeys"), self.open_dir("etc")])
        theirs.close()
        self.workers[slot] = pid
        self.sup.send("worker.spare", {"slot": slot, "pid": pid}, [mine.fileno()])
        mine.close()
        pidfd = os.pidfd_open(pid)
        self.sel.register(pidfd, selectors.EVENT_READ, lambda: self.worker_ended(slot, pid, pidfd))

    def worker_ended(self, slot, pid, pidfd):
        self.sel.unregister(pidfd)
        os.close(pidfd)
        _, st = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(st)
        self.workers.pop(slot, None)
        self.statuses.append((max(code, 0), -min(code, 0)))
        self.sup.send("worker.gone", {"slot": slot, "status": max(code, 0), "signal": -min(code, 0)})

    # ---- the loop
    def run(self):
        while self.running:
            for key, _ in self.sel.select(1):
                if key.data is None:
                    os.read(self.wake_r, 4096)
                    while self.todo:
                        self.todo.pop(0)()
                else:
                    key.data()
            with self.cond:
                self.cond.notify_all()

    def call(self, fn):
        self.todo.append(fn)
        os.write(self.wake_w, b"x")

    def note(self, m, conn):
        self.log.append((m["type"], m["body"], conn))

    def from_listener_sup(self):
        m, _ = self.sup.recv()
        if m is None:
            self.sel.unregister(self.sup.sock)
            return
        self.note(m, None)
        if m["type"] == "worker.used":
            self.used += 1
            self.spare()

    # ---- the core
    def link_core(self):
        mine, theirs = seqpacket()
        self.core = Link(mine)
        link = self.core
        self.sel.register(mine, selectors.EVENT_READ, lambda: self.from_listener(link))
        self.sup.send("core.link", {}, [theirs.fileno()])
        theirs.close()

    def drop_core(self):
        link, self.core = self.core, None
        self.sel.unregister(link.sock)
        link.sock.close()

    def from_listener(self, link):
        m, _ = link.recv()
        if m is None:
            self.sel.unregister(link.sock)
            return
        self.note(m, None)
        if m["type"] == "worker.pair":
            self.next_conn += 1
            conn = f"conn-{self.next_conn}"
            mine, theirs = seqpacket()
            w = Link(mine)
            self.conns[conn] = w
            self.sel.register(mine, selectors.EVENT_READ, lambda: self.from_worker(conn, w))
            link.send("worker.paired", {"slot": m["body"]["slot"], "conn": conn}, [theirs.fileno()])
            theirs.close()
        elif m["type"] == "conn.accepted":
            self.peers[m["body"]["conn"]] = m["body"]["peer"]

    def from_worker(self, conn, w):
        try:
            m, _ = w.recv()
        except OSError:
            m = None
        if m is None:
            self.sel.unregister(w.sock)
            w.sock.close()
            self.conns.pop(conn, None)
            for (c, _), p in list(self.procs.items()):
                if c == conn and p.poll() is None:
                    try:
                        os.killpg(p.pid, signal.SIGKILL)
                    except OSError:
                        pass
            return
        self.note(m, conn)
        body = m["body"]
        if not self.answering:
            return
        if m["type"] == "auth.check":
            key = base64.b64decode(body["key"]) if "key" in body else b""
            r = self.judge(base64.b64decode(body["user"]).decode("latin-1"), body["method"], key, body["proved"])
            out = {"ok": r is True}
            if isinstance(r, str):
                out["banner"] = r
            if r is True and body["proved"]:
                out["grant"] = self.grant
            w.send("auth.verdict", out, id_=m["id"])
        elif m["type"] == "channel.exec":
            self.exec(conn, w, m)
        elif m["type"] == "channel.signal":
            p = self.procs.get((conn, body["channel"]))
            if p and p.poll() is None:
                os.killpg(p.pid, getattr(signal, "SIG" + body["signal"]))

    def exec(self, conn, w, m):
        b = m["body"]
        ch = b["channel"]
        command = base64.b64decode(b["command"]).decode() if "command" in b else ""
        if self.exec_hook:
            r = self.exec_hook(self, conn, w, m, command)
            if r:
                return
        env = {"PATH": "/usr/bin:/bin", "HOME": "/", "PS1": "$ "}
        for e in b.get("env", []):
            k, _, v = base64.b64decode(e).decode().partition("=")
            env[k] = v
        argv = {"exec": ["sh", "-c", command], "shell": ["sh"], "subsystem": ["/usr/lib/openssh/sftp-server"]}[b["kind"]]
        status_r, status_w = os.pipe()
        if "pty" in b:
            master, slave = pty.openpty()
            env["TERM"] = b["pty"]["term"]
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", b["pty"]["rows"], b["pty"]["cols"], 0, 0))
            p = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
                                 preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
            mine, theirs = [slave], [master, status_r]
        else:
            i, o, e = os.pipe(), os.pipe(), os.pipe()
            p = subprocess.Popen(argv, stdin=i[0], stdout=o[1], stderr=e[1], env=env, start_new_session=True)
            mine, theirs = [i[0], o[1], e[1]], [i[1], o[0], e[0], status_r]
        for fd in mine:
            os.close(fd)
        self.procs[(conn, ch)] = p
        self.children.append(p)
        w.send("channel.started", {"channel": ch, "session": "session-1"}, theirs, id_=m["id"])
        for fd in theirs:
            os.close(fd)
        threading.Thread(target=reap, args=(p, status_w), daemon=True).start()

    # ---- for tests
    def count(self, type_):
        return sum(1 for t, _, _ in self.log if t == type_)

    def said(self, type_):
        return [b for t, b, _ in list(self.log) if t == type_]

    def wait(self, cond, timeout=5):
        end = time.monotonic() + timeout
        with self.cond:
            while not cond():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.cond.wait(min(left, 0.1))
        return True

    def identity(self, name="agent", principals="agent", options=()):
        path = f"{self.dir}/id_{name}"
        if not os.path.exists(path):
            keygen("-t", "ed25519", "-f", path, "-C", "", "-N", "")
            keygen("-s", self.dir + "/ca", "-I", "test", "-n", principals, "-V", "-5m:+1h", *options, path + ".pub")
        return path

    def ssh(self, *args, user="agent", identity=None, options=()):
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", identity or self.identity(), "-o", "IdentitiesOnly=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                "-o", "BatchMode=yes", "-o", "IdentityAgent=none",
                *[x for o in options for x in ("-o", o)], f"{user}@127.0.0.1", *args]

    def run_ssh(self, command, **kw):
        opts = {k: kw.pop(k) for k in ("user", "identity", "options") if k in kw}
        kw.setdefault("timeout", 30)
        kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
        if "input" in kw:
            kw.pop("stdin")
        return subprocess.run(self.ssh(*([command] if isinstance(command, str) else command), **opts),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def worker_pids(self):
        return list(self.workers.values())

    def close(self):
        self.running = False
        os.write(self.wake_w, b"x")
        self.thread.join(5)
        self.sup.sock.close()   # nobody outlives the supervisor
        for w in list(self.conns.values()):
            w.sock.close()
        for p in self.children:
            if p.poll() is None:
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except OSError:
                    pass
        for pid in [self.listener] + self.worker_pids():
            end = time.monotonic() + 5
            while time.monotonic() < end:
                try:
                    if os.waitpid(pid, os.WNOHANG)[0]:
                        break
                except ChildProcessError:
                    break
                time.sleep(0.01)
            else:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                print(f"# process {pid} had to be killed", flush=True)
        self.listen.close()
        shutil.rmtree(self.dir)


def reap(p, status_w):
    code = p.wait()
    kind, value = (1, code) if code >= 0 else (2, -code)
    try:
        os.write(status_w, struct.pack(">B3xI", kind, value))
    except OSError:
        pass
    os.close(status_w)


def is_cert(blob):
    return blob[4:].startswith(b"ssh-ed25519-cert-v01@openssh.com") if blob else False


def keygen(*args):
    subprocess.run(["ssh-keygen", "-q", *args], check=True, stdin=subprocess.DEVNULL)


class Tap:
    """Prints TAP; a test is a function that raises to fail."""

    def __init__(self, plan):
        self.n, self.failed = 0, 0
        print(f"1..{plan}", flush=True)

    def run(self, name, fn):
        self.n += 1
        start = time.monotonic()
        try:
            fn()
            print(f"ok {self.n} - {name} # {time.monotonic() - start:.1f} s", flush=True)
        except Exception as e:  # noqa: BLE001
            import traceback
            self.failed += 1
            print(f"not ok {self.n} - {name}", flush=True)
            for line in traceback.format_exc().splitlines()[-12:]:
                print("# " + line, flush=True)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


if __name__ == "__main__":
    gw = Gateway(config=os.environ.get("CONFIG", ""))
    print(" ".join(gw.ssh()), flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    gw.close()
