#!/usr/bin/env python3
"""postern-run as a program, confined as it is, against a core that the test plays.

The fake core runs the command on the host, in place of a sandbox: what is tested is postern-run.
"""
import array, base64, fcntl, json, os, pty, select, shutil, signal, socket, struct, subprocess, sys, tempfile, termios
import threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tap import main, rule
import proc

PROGRAM = os.path.abspath(os.environ.get("BUILD", "build")) + "/libexec/postern/postern-run"
SESSION = "01890a5d-ac96-774b-bcce-b302099a8057"
SOCK = socket.SOCK_SEQPACKET


class FakeCore:
    """Listens, answers each channel.exec by self.answer, keeps what was said in self.heard."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-test-run-")
        os.chmod(self.dir, 0o755)
        self.path = self.dir + "/run.sock"
        self.listener = socket.socket(socket.AF_UNIX, SOCK)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o666)
        self.listener.listen(16)
        self.answer, self.heard, self.lock = self.start, [], threading.Lock()
        self.hold = None  # a function called with (connection, pid) after the start
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def accept(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        while True:
            try:
                data = c.recv(1 << 17)
            except OSError:
                return
            if not data:
                return
            m = json.loads(data)
            with self.lock:
                self.heard.append(m)
            if m["type"] == "channel.exec":
                self.answer(c, m)

    def say(self, c, kind, id, body, fds=()):
        data = json.dumps({"v": 1, "id": id, "type": kind, "body": body}).encode()
        c.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def deny(self, c, m):
        self.say(c, "channel.denied", m["id"], {"channel": m["body"]["channel"], "reason": "no \x1b]0;x\x07", "record": 7})

    def start(self, c, m):
        body = m["body"]
        command = base64.b64decode(body["command"]).decode() if "command" in body else None
        argv = ["/bin/sh", "-c", command] if body["kind"] == "exec" else ["/bin/sh"] if command is None else ["/bin/cat"]
        status_r, status_w = os.pipe()
        if "pty" in body:
            master, slave = pty.openpty()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", body["pty"]["rows"], body["pty"]["cols"], 0, 0))
            mine, ours = [slave] * 3, [master, status_r]
        else:
            pipes = [os.pipe() for _ in range(3)]
            mine, ours = [pipes[0][0], pipes[1][1], pipes[2][1]], [pipes[0][1], pipes[1][0], pipes[2][0], status_r]
        p = subprocess.Popen(argv, stdin=mine[0], stdout=mine[1], stderr=mine[2], start_new_session=True,
                             preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if "pty" in body else None)
        for fd in set(mine):
            os.close(fd)
        self.say(c, "channel.started", m["id"], {"channel": body["channel"], "session": SESSION}, ours)
        for fd in ours:
            os.close(fd)
        if self.hold:
            self.hold(c, p.pid)
        threading.Thread(target=self.wait, args=(p, status_w), daemon=True).start()

    def wait(self, p, status_w):
        code = p.wait()
        try:
            os.write(status_w, struct.pack(">BxxxI", 1, code) if code >= 0 else struct.pack(">BxxxI", 2, -code))
        except BrokenPipeError:
            pass
        os.close(status_w)

    def last(self, kind):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with self.lock:
                for m in reversed(self.heard):
                    if m["type"] == kind:
                        return m["body"]
            time.sleep(0.01)
        raise AssertionError(f"no {kind}: {self.heard}")

    def log_tail(self, n=30):
        return "\n".join(map(str, self.heard[-n:]))

    def run(self, command=None, input=b"", env=None, **kw):
        self.heard.clear()
        e = dict(env or {})
        if command is not None:
            e["SSH_ORIGINAL_COMMAND"] = command
        p = subprocess.Popen([PROGRAM, "--socket", self.path], env=e, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True, **kw)
        out, err = p.communicate(input, 20)
        return p.returncode, out, err


@rule
def a_command_gets_its_streams_and_its_status(core):
    assert core.run("cat; echo bad >&2; exit 3", b"hello") == (3, b"hello", b"bad\n")
    ended = core.last("channel.ended")
    assert ended == {"channel": 1, "exit": 3, "bytes_in": 5, "bytes_out": 5, "bytes_err": 4}, ended


@rule
def a_megabyte_each_way_is_whole(core):
    data = os.urandom(1 << 20)
    code, out, err = core.run("cat", data)
    assert (code, out == data, err) == (0, True, b"")


@rule
def without_a_command_it_is_a_shell(core):
    assert core.run(None, b"echo from $0; exit 5") == (5, b"from /bin/sh\n", b"")
    assert core.last("channel.exec")["kind"] == "shell"


@rule
def sftp_is_asked_for_as_a_subsystem(core):
    assert core.run("/usr/lib/openssh/sftp-server", b"bytes") == (0, b"bytes", b"")
    assert core.last("channel.exec")["kind"] == "subsystem"


@rule
def a_signal_that_ended_the_command_ends_it(core):
    code, _, _ = core.run("kill -TERM $$")
    assert code == -signal.SIGTERM, code
    code, _, _ = core.run("kill -KILL $$")
    assert code == -signal.SIGKILL, code
    assert core.last("channel.ended")["signal"] == "KILL"


@rule
def a_refusal_says_why_and_gives_254(core):
    core.answer = core.deny
    try:
        assert core.run("true") == (254, b"", b"postern: denied: no \\x1b]0;x\\x07 (record 7)\n")
    finally:
        core.answer = core.start


@rule
def a_dead_core_gives_254(core):
    p = subprocess.run([PROGRAM, "--socket", core.dir + "/none"], capture_output=True, stdin=subprocess.DEVNULL)
    assert p.returncode == 254 and p.stderr.startswith(b"postern: denied: the broker cannot be reached"), p
    core.answer = lambda c, m: c.shutdown(socket.SHUT_RDWR)
    try:
        code, out, err = core.run("true")
        assert code == 254 and b"does not answer" in err, (code, err)
    finally:
        core.answer = core.start


@rule
def descriptors_that_do_not_fit_are_refused(core):
    def sockets(c, m):
        a, b = socket.socketpair()
        r, w = os.pipe()
        core.say(c, "channel.started", m["id"], {"channel": 1, "session": SESSION}, [a.fileno(), b.fileno(), a.fileno(), r])
        os.close(r), os.close(w)

    def too_few(c, m):
        r, w = os.pipe()
        core.say(c, "channel.started", m["id"], {"channel": 1, "session": SESSION}, [r, w])
        os.close(r), os.close(w)

    try:
        for core.answer in (sockets, too_few):
            code, out, err = core.run("true")
            assert code == 254 and b"other descriptors" in err, (code, err)
    finally:
        core.answer = core.start


@rule
def its_environment_says_nothing_about_who_it_is(core):
    core.run("true", env={"POSTERN_SESSION": "x", "SSH_USER_AUTH": "/x", "LANG": "C", "USER": "root"})
    asked = core.last("channel.exec")
    assert sorted(asked) == ["channel", "command", "kind"], asked


@rule
def a_command_that_is_too_long_is_refused_here(core):
    code, _, err = core.run("a" * 65537)
    assert code == 254 and b"too long" in err, (code, err)


@rule
def wrong_options_give_2(core):
    for args in (["--nonsense"], ["--socket"], ["word"]):
        p = subprocess.run([PROGRAM, *args], capture_output=True, stdin=subprocess.DEVNULL)
        assert p.returncode == 2 and b"usage:" in p.stderr, p


@rule
def it_is_confined_before_it_passes_a_byte(core):
    p = subprocess.Popen([PROGRAM, "--socket", core.path], env={"SSH_ORIGINAL_COMMAND": "echo up; cat"},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert p.stdout.readline() == b"up\n"
    s = proc.status(p.pid)
    assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", s
    limits = open(f"/proc/{p.pid}/limits").read()
    assert [l.split()[2] for l in limits.splitlines() if l.startswith("Max processes")] == ["0"], limits
    kinds = sorted(v.split(":")[0] for v in proc.fds(p.pid).values())
    # ours towards sshd, the copy of stderr, the sandbox's pipes and status, the core's socket, signals
    assert set(kinds) <= {"pipe", "socket", "anon_inode"} and len(kinds) == 10, proc.fds(p.pid)
    p.stdin.close()
    assert p.wait(5) == 0
    p.stdout.close()


@rule
def inherited_descriptors_are_closed(core):
    r, w = os.pipe()
    p = subprocess.Popen([PROGRAM, "--socket", core.path], env={"SSH_ORIGINAL_COMMAND": "echo up; cat"},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[w], start_new_session=True)
    os.close(w)
    assert p.stdout.readline() == b"up\n"
    assert select.select([r], [], [], 5)[0] and os.read(r, 1) == b""
    os.close(r)
    p.stdin.close()
    assert p.wait(5) == 0
    p.stdout.close()


@rule
def signals_go_to_the_core_not_to_it(core):
    p = subprocess.Popen([PROGRAM, "--socket", core.path], env={"SSH_ORIGINAL_COMMAND": "echo up; cat"},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert p.stdout.readline() == b"up\n"
    for name in ("HUP", "INT", "TERM"):
        p.send_signal(getattr(signal, "SIG" + name))
        end = time.monotonic() + 5
        while core.last("channel.signal")["signal"] != name:
            assert time.monotonic() < end, name
            time.sleep(0.01)
    assert p.poll() is None
    p.stdin.close()
    assert p.wait(5) == 0
    p.stdout.close()


@rule
def a_terminal_becomes_a_pty_of_the_sandbox(core):
    pid, master = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, "--socket", core.path], {"TERM": "vt220"})
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    got = b""

    def until(text):
        nonlocal got
        while text not in got:
            assert select.select([master], [], [], 10)[0], got
            got += os.read(master, 4096)

    os.write(master, b"stty -echo; tty | cut -c1-8; stty size; echo ready$((1+1))\r")
    until(b"ready2")
    assert b"/dev/pts" in got and b"33 99" in got, got
    assert core.last("channel.exec")["pty"]["term"] == "vt220"
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    got = b""
    end = time.monotonic() + 5
    while b"50 150" not in got:
        assert time.monotonic() < end, got
        os.write(master, b"stty size; echo size\r")
        until(b"size")
    os.write(master, b"exit 6\r")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    os.close(master)


@rule
def a_client_that_goes_away_hangs_the_terminal_up(core):
    pids = []
    core.hold = lambda c, pid: pids.append(pid)
    pid, master = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, "--socket", core.path], {"TERM": "vt220", "SSH_ORIGINAL_COMMAND": "exec sleep 100"})
    core.heard.clear()
    core.last("channel.exec")
    while not pids:
        time.sleep(0.01)
    os.close(master)
    end = time.monotonic() + 5
    while proc.alive(pids[0]):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.waitpid(pid, 0)
    core.hold = None


main(FakeCore, leaves_nothing=False)
