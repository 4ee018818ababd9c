#!/usr/bin/python3
"""A stock sshd as the way in: Debian's own, with the delivered drop-in and PAM lines, and the whole of Postern."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import fcntl, pty, re, select, signal, struct, tempfile, termios, time

import proc
from postern import BUILD, run, until
from sshd_route import DENIED, Held, Master, run_rules
from tap import rule


# ---- the way in ----

@rule
def a_command_runs_in_a_sandbox(t):
    r = t.d.ssh("echo out; echo err >&2; id -u; cat /proc/1/comm; pwd; exit 7")
    assert r.code == 7 and r.err == b"err\n", r
    out = r.text.split()
    assert out[:2] == ["out", "1000"] and "sshd" not in out and "systemd" not in out, r
    t.all_gone()


@rule
def nothing_of_the_host_is_in_it(t):
    with tempfile.NamedTemporaryFile(prefix="postern-mark-") as f:
        r = t.d.ssh(f"ls {f.name} /run/postern /run/sshd 2>&1; ls /proc | grep -c '^[0-9]'; ls -l /proc/self/fd")
    assert ".sock" not in r.text and r.text.count("No such file") == 2, r
    assert "socket:" not in r.text, r  # sshd's socketpairs stay outside


@rule
def bytes_on_stdin_come_back_whole(t):
    data = os.urandom(3 << 20)
    r = t.d.ssh("cat", input=data)
    assert r.code == 0 and r.out == data, (r.code, len(r.out), r.err)


@rule
def a_shell_without_a_command(t):
    r = t.d.ssh(input=b"echo in $((6*7))\nexit 5\n", flags=("-T",))
    assert r.code == 5 and b"in 42" in r.out, r


@rule
def a_terminal_with_its_size(t):
    argv = t.d.argv("tty; stty size; echo TERM=$TERM; read x; stty size; exit 6", flags=("-tt",))
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "vt220"
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        os.execvp(argv[0], argv)
    seen = b""

    def expect(text):
        nonlocal seen
        while text not in seen:
            assert select.select([fd], [], [], 10)[0], seen
            seen += os.read(fd, 4096)

    expect(b"TERM=vt220")
    assert b"/dev/pts/" in seen and b"33 101" in seen, seen
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    time.sleep(0.3)  # the change has to pass two programs before the line that asks for it
    os.write(fd, b"\n")
    expect(b"50 150")
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    os.close(fd)


@rule
def sftp_and_both_kinds_of_scp(t):
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/one", "wb") as f:
            f.write(os.urandom(300000))
        opts = [*t.d.options(), "-P", str(t.d.port)]
        batch = f"put {d}/one there\nget there {d}/two\nbye\n".encode()
        r = run(["sftp", *opts, "-b", "-", "demo-agent@127.0.0.1"], batch)
        assert r.code == 0, r
        assert open(d + "/one", "rb").read() == open(d + "/two", "rb").read()
        with Master(t, d) as path:
            for n, flags in enumerate(([], ["-O"])):
                to = f"demo-agent@127.0.0.1:/tmp/f{n}"
                r = run(["scp", *flags, *opts, "-o", f"ControlPath={path}", d + "/one", to])
                assert r.code == 0, r
                r = run(["scp", *flags, *opts, "-o", f"ControlPath={path}", to, f"{d}/back{n}"])
                assert r.code == 0, r
                assert open(d + "/one", "rb").read() == open(f"{d}/back{n}", "rb").read()


@rule
def one_connection_is_one_sandbox(t):
    with tempfile.TemporaryDirectory() as d, Master(t, d) as path:
        share = [f"ControlPath={path}"]
        assert t.d.ssh("echo kept > /tmp/mine", opts=share).code == 0
        r = t.d.ssh("cat /tmp/mine", opts=share)
        assert r.out == b"kept\n", r
        assert len(t.sessions()) == 1, t.sessions()
        many = [t.d.ssh_open(f"cat /tmp/mine; sleep 0.2; exit {n}", opts=share) for n in range(8)]
        for n, q in enumerate(many):
            out, err = q.communicate(timeout=20)
            assert (q.returncode, out) == (n, b"kept\n"), (n, q.returncode, out, err)
        assert len(t.sessions()) == 1, t.sessions()
    t.all_gone()


@rule
def a_missing_command_gives_127_and_a_signal_its_own_end(t):
    r = t.d.ssh("no-such-command-here")
    assert r.code == 127 and b"not found" in r.err, r
    r = t.d.ssh("kill -TERM $$", flags=("-v",))
    assert r.code == 255 and b"exit-signal" in r.err, r


@rule
def nothing_can_be_forwarded(t):
    r = t.d.ssh(flags=("-W", f"127.0.0.1:{t.p.port}"))
    assert r.code == 255 and b"SSH-2.0" not in r.out, r
    r = t.d.ssh("echo SOCK=$SSH_AUTH_SOCK DISPLAY=$DISPLAY", flags=("-A", "-X"))
    assert r.code == 0 and b"SOCK= DISPLAY=\n" in r.out, r


@rule
def postern_check_finds_the_delivered_settings_good(t):
    r = run(["nsenter", f"--target={t.d.proc.pid}", "--mount", BUILD + "/bin/postern", "--state", t.p.state,
             "--json", "check", "--user", "demo-agent"])
    found = [line for line in re.findall(r"\{[^{}]*\}", r.text) if '"sshd ' in line]
    assert len(found) >= 9, r
    bad = [line for line in found if '"sshd acceptenv"' not in line and not re.search(r'"(ok|good)"', line)]
    assert not bad, bad


@rule
def the_log_has_it(t):
    before = len(t.p.records())
    assert t.d.ssh("echo a mark of its own").code == 0
    text = str(t.p.records()[before:])
    assert "a mark of its own" in text and "demo" in text, text
    assert t.p.postern("audit", "verify", "--chain").code == 0


# ---- two at once ----

@rule
def two_connections_of_one_account_are_not_confused(t):
    a, b = Held(t.d), Held(t.d)
    try:
        assert len(t.sessions()) == 2, t.sessions()
        assert a.answers() and b.answers()
        assert len(t.d.monitors("demo-agent")) == 2
        a.close()
        until("the first session's end", lambda: len(t.sessions()) == 1)
        assert b.answers()
    finally:
        a.close()
        b.close()
    t.all_gone()


@rule
def two_tenants_are_not_confused(t):
    a, b = Held(t.d), Held(t.d, user="other-agent", key=t.keys["olga"])
    try:
        tenants = sorted(s["tenant"] for s in t.p.sessions())
        assert tenants == ["demo", "other"], tenants
        assert a.answers() and b.answers()
    finally:
        a.close()
        b.close()
    t.all_gone()


# ---- the end ----

@rule
def the_end_of_the_connection_ends_the_sandbox(t):
    a = Held(t.d)
    assert t.p.sandbox_pids()
    a.p.kill()
    t.all_gone()
    a.close()


@rule
def the_death_of_sshds_process_ends_the_sandbox(t):
    a = Held(t.d)
    try:
        (monitor,) = t.d.monitors("demo-agent")
        proc.kill(monitor)
        t.all_gone()
        a.ended()
        # and nothing of the login stays on the host
        until(lambda: str([proc.argv(q) for q in t.d.pids()]),
              lambda: not t.d.titled("demo-agent|postern-run"))
    finally:
        a.close()


@rule
def an_operator_ends_it(t):
    a = Held(t.d)
    try:
        (sid,) = t.sessions()
        r = t.p.postern("kill", sid)
        assert r.code == 0, r
        a.ended()
        t.all_gone()
    finally:
        a.close()


@rule
def a_core_that_dies_takes_no_session_with_it(t):
    with tempfile.TemporaryDirectory() as d, Master(t, d) as path:
        a = Held(t.d, opts=[f"ControlPath={path}"])
        try:
            (sid,) = t.sessions()
            core = t.p.daemon("core")
            proc.kill(core)
            assert a.answers()
            until("another core", lambda: t.p.daemons("core") not in ([], [core]), 10)
            until("the session again", lambda: t.p.postern("status").code == 0 and t.sessions() == [sid], 10, 0.1)
            # the same login, a new command in the same sandbox
            until("a new channel", lambda: t.d.ssh("true", opts=[f"ControlPath={path}"]).code == 0, 5, 0.2)
            assert t.sessions() == [sid] and a.answers()
            # and its end is still noticed
            (monitor,) = t.d.monitors("demo-agent")
            proc.kill(monitor)
            t.all_gone()
        finally:
            a.close()


@rule
def a_sandbox_that_cannot_be_made_is_said(t):
    path = f"{t.p.state}/etc/templates/default.yaml"
    with open(path) as f:
        good = f.read()
    bad = re.sub(r"(?m)^root:.*$", "root: /no/such/root", good)
    assert bad != good, good
    try:
        with open(path, "w") as f:
            f.write(bad)
        assert t.p.postern("reload").code == 0
        r = t.d.ssh("echo ran")
        assert r.code == 254 and DENIED in r.err and r.out == b"", r
    finally:
        with open(path, "w") as f:
            f.write(good)
        assert t.p.postern("reload").code == 0
    t.all_gone()


@rule
def no_cgroup_of_a_session_is_left(t):
    assert t.d.ssh("true").code == 0
    t.all_gone()
    until(lambda: str(ties(t)), lambda: not ties(t))


def ties(t):
    return [c for top in proc.cgroups(t.p.instance) for base, dirs, _ in os.walk(top) for c in dirs
            if os.path.basename(base) == "ties"]


run_rules()
