#!/usr/bin/python3
"""The clients that agents use, unchanged: OpenSSH's, rsync, git, paramiko, asyncssh."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import asyncio, filecmp, hashlib, io, os, random, shutil, subprocess, threading, time, warnings

warnings.simplefilter("ignore")

from postern import Postern, close_all, run, until
from tap import Skip, main, rule


def blob(n, seed=1):
    return random.Random(seed).randbytes(n)


class Master:
    """One connection held open, so that its session lives between commands."""

    def __init__(self, p):
        self.p, self.path = p, os.path.join(p.work, "mux")
        r = p.ssh("true", opts=[f"ControlPath={self.path}", "ControlMaster=yes", "ControlPersist=60"])
        assert r.code == 0, r
        self.opts = [f"ControlPath={self.path}", "ControlMaster=no"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run(["ssh", "-F", "none", "-o", f"ControlPath={self.path}", "-O", "exit", "x"])
        until("the connection's sandbox to end", lambda: not self.p.sandbox_pids())

    def ssh(self, *command, **kw):
        return self.p.ssh(*command, opts=self.opts, **kw)

    def command(self):
        """For programs that start ssh by themselves."""
        return ["ssh", *self.p.ssh_options(opts=self.opts), "-p", str(self.p.port)]


def shell_join(argv):
    return " ".join("'" + a.replace("'", "'\\''") + "'" for a in argv)


def tree(base):
    os.makedirs(os.path.join(base, "sub/deep"))
    for i, size in enumerate((0, 1, 4095, 4096, 70000, 300000)):
        with open(os.path.join(base, "sub" if i % 2 else "", f"file {i}"), "wb") as f:
            f.write(blob(size, i))
    os.symlink("file 0", os.path.join(base, "link"))
    os.chmod(os.path.join(base, "file 0"), 0o755)
    return base


def same_trees(a, b):
    c = filecmp.dircmp(a, b)
    assert not c.left_only and not c.right_only and not c.funny_files, (c.left_only, c.right_only)
    _, differ, errors = filecmp.cmpfiles(a, b, c.common_files, shallow=False)
    assert not differ and not errors, (differ, errors)
    for d in c.common_dirs:
        same_trees(os.path.join(a, d), os.path.join(b, d))


def scp_rules(p, flag):
    with Master(p) as m:
        src, back = os.path.join(p.work, "up"), os.path.join(p.work, "down")
        with open(src, "wb") as f:
            f.write(blob(5_000_000))
        os.chmod(src, 0o640)
        scp = ["scp", *flag, "-q", "-p", *p.ssh_options(opts=m.opts), "-P", str(p.port)]
        far = "agent@127.0.0.1:" + ("a\\ file" if flag else "a file")  # the old protocol passes it to a shell
        r = run([*scp, src, far])
        assert r.code == 0, r
        assert m.ssh("stat -c '%s %a' 'a file'").text == "5000000 640\n"
        r = run([*scp, far, back])
        assert r.code == 0 and filecmp.cmp(src, back, False), r
        t = tree(os.path.join(p.work, "tree"))
        try:
            r = run([*scp, "-r", t, "agent@127.0.0.1:copy"])
            assert r.code == 0, r
            r = run([*scp, "-r", "agent@127.0.0.1:copy", t + "2"])
            assert r.code == 0, r
            same_trees(t, t + "2")
        finally:
            shutil.rmtree(t)
            shutil.rmtree(t + "2", ignore_errors=True)
        r = run([*scp, "agent@127.0.0.1:not-there", back])
        assert r.code == 1 and b"No such file" in r.err, r


@rule
def scp_works_over_sftp(p):
    scp_rules(p, [])


@rule
def scp_works_with_its_old_protocol(p):
    scp_rules(p, ["-O"])


@rule
def sftp_works(p):
    up, down = os.path.join(p.work, "s-up"), os.path.join(p.work, "s-down")
    with open(up, "wb") as f:
        f.write(blob(3_000_000, 2))
    batch = f"pwd\nmkdir d\nput {up} d/x\nchmod 600 d/x\nrename d/x d/y\nls -l d\nget d/y {down}\nrm d/y\nrmdir d\n" \
            "symlink /etc/passwd l\n-get nowhere\nbye\n"
    r = run(["sftp", "-q", "-b", "-", *p.ssh_options(), "-P", str(p.port), "agent@127.0.0.1"], input=batch.encode())
    assert r.code == 0 and b"/home/agent" in r.out and b"3000000" in r.out, r
    assert filecmp.cmp(up, down, False)


@rule
def rsync_works_both_ways(p):
    if not shutil.which("rsync"):
        raise Skip("no rsync")
    with Master(p) as m:
        t = tree(os.path.join(p.work, "r-tree"))
        e = shell_join(m.command())
        r = run(["rsync", "-a", "-e", e, t + "/", "agent@127.0.0.1:mirror/"])
        assert r.code == 0, r
        with open(os.path.join(t, "file 4"), "r+b") as f:
            f.seek(1000)
            f.write(b"changed")
        r = run(["rsync", "-a", "--checksum", "-e", e, t + "/", "agent@127.0.0.1:mirror/"])
        assert r.code == 0, r
        r = run(["rsync", "-a", "-e", e, "agent@127.0.0.1:mirror/", t + "-back/"])
        assert r.code == 0, r
        same_trees(t, t + "-back")


@rule
def git_clones_from_and_pushes_into_a_sandbox(p):
    with Master(p) as m:
        r = m.ssh("git init -q --bare project.git && git -C project.git symbolic-ref HEAD refs/heads/main && "
                  "git init -q -b main seed && cd seed && git config user.email a@example.org && "
                  "git config user.name A && echo one >file && git add file && git commit -qm one && "
                  "git push -q ../project.git main")
        assert r.code == 0, r
        env = dict(os.environ, GIT_SSH_COMMAND=shell_join(m.command()), GIT_CONFIG_GLOBAL="/dev/null",
                   GIT_CONFIG_SYSTEM="/dev/null", GIT_AUTHOR_NAME="B", GIT_AUTHOR_EMAIL="b@example.org",
                   GIT_COMMITTER_NAME="B", GIT_COMMITTER_EMAIL="b@example.org")
        local = os.path.join(p.work, "clone")
        r = run(["git", "clone", "-q", f"ssh://agent@127.0.0.1:{p.port}/home/agent/project.git", local], env=env)
        assert r.code == 0, r
        with open(local + "/file") as f:
            assert f.read() == "one\n"
        with open(local + "/big", "wb") as f:
            f.write(blob(2_000_000))
        for c in (["add", "big"], ["commit", "-qm", "two"], ["push", "-q", "origin", "main"]):
            r = run(["git", "-C", local, *c], env=env)
            assert r.code == 0, r
        r = m.ssh("git -C project.git log --format=%s main && git -C project.git cat-file -s main:big")
        assert r.text == "two\none\n2000000\n", r


@rule
def sixty_four_channels_share_one_connection(p):
    with Master(p) as m:
        running = [p.ssh_open(f"echo {i}; read x; echo $x-{i}", opts=m.opts) for i in range(63)]
        for i, s in enumerate(running):
            assert s.stdout.readline() == f"{i}\n".encode(), (i, s.stderr.read())
        ids = {s["id"] for s in p.sessions()}
        assert len(ids) == 1, ids
        for i, s in enumerate(running):
            s.stdin.write(b"back\n")
            s.stdin.close()
        for i, s in enumerate(running):
            assert s.stdout.read() == f"back-{i}\n".encode(), i
            assert s.wait(10) == 0
            close_all(s)
        assert m.ssh("echo one more").out == b"one more\n"


@rule
def channels_of_one_connection_share_a_sandbox(p):
    with Master(p) as m:
        assert m.ssh("echo kept >~/note; hostname").code == 0
        assert m.ssh("cat ~/note").out == b"kept\n"
    assert p.ssh("cat ~/note").code != 0  # another connection: another sandbox


@rule
def rekeying_in_the_middle_loses_nothing(p):
    data = blob(24_000_000, 3)
    r = p.ssh("cat", input=data, opts=["RekeyLimit=1M"], timeout=50)
    assert r.code == 0 and r.out == data, (r.code, len(r.out), r.err[-200:])


@rule
def keepalives_are_answered(p):
    r = p.ssh("sleep 3; echo ok", opts=["ServerAliveInterval=1", "ServerAliveCountMax=1"])
    assert r.out == b"ok\n", r


@rule
def every_key_type_gets_in(p):
    for kind, bits in (("ed25519", None), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048), ("rsa", 3072)):
        key = p.cert(f"k-{kind}{bits or ''}", type=kind, bits=bits)
        r = p.ssh("echo in", key=key)
        assert r.out == b"in\n", (kind, bits, r)


@rule
def every_offered_cipher_works(p):
    for c in ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com"):
        data = blob(300_000)
        r = p.ssh("cat", input=data, opts=[f"Ciphers={c}"])
        assert r.out == data, (c, r.code, r.err)


@rule
def agent_and_x11_forwarding_are_refused(p):
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", p.work + "/agent.sock"], stdout=subprocess.DEVNULL)
    try:
        until("an agent", lambda: os.path.exists(p.work + "/agent.sock"))
        env = dict(os.environ, SSH_AUTH_SOCK=p.work + "/agent.sock", DISPLAY=":9")
        r = run(p.ssh_argv("echo =$SSH_AUTH_SOCK=$DISPLAY=", flags=("-A", "-X"), opts=["IdentityAgent=SSH_AUTH_SOCK"]),
                env=env)
        assert b"===" in r.out, r
    finally:
        close_all(agent)


@rule
def port_forwarding_is_refused_and_recorded(p):
    import socket
    s = p.ssh_open("echo up; cat", flags=("-L", f"127.0.0.1:{free_port()}:127.0.0.1:22"))
    try:
        assert s.stdout.readline() == b"up\n"
        port = int(s.args[s.args.index("-L") + 1].split(":")[1])
        with socket.create_connection(("127.0.0.1", port)) as c:
            c.settimeout(5)
            assert c.recv(100) == b""
    finally:
        close_all(s)
    until("the refusal on record", lambda: any("direct-tcpip" in str(r["body"]) for r in p.records()))
    r = p.ssh("echo up", flags=("-R", "0:127.0.0.1:22"), opts=["ExitOnForwardFailure=yes"])
    assert r.code == 255, r


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def paramiko_client(p, key=None):
    import paramiko
    path = key or p.ssh_options()[-1]
    pk = paramiko.Ed25519Key.from_private_key_file(path)
    pk.load_certificate(path + "-cert.pub")
    c = paramiko.SSHClient()
    c.load_host_keys(p.known_hosts)
    c.connect("127.0.0.1", p.port, "agent", pkey=pk, look_for_keys=False, allow_agent=False, timeout=15)
    return c


@rule
def paramiko_works(p):
    c = paramiko_client(p)
    try:
        i, o, e = c.exec_command("cat; echo err >&2; exit 4")
        i.write(b"hello")
        i.channel.shutdown_write()
        assert o.read() == b"hello" and e.read() == b"err\n" and o.channel.recv_exit_status() == 4
        s = c.open_sftp()
        data = blob(2_000_000, 5)
        s.putfo(io.BytesIO(data), "file")
        back = io.BytesIO()
        s.getfo("file", back)
        assert back.getvalue() == data
        assert s.listdir(".").count("file") == 1
        s.close()
        ch = c.invoke_shell(term="vt100", width=90, height=30)
        ch.send(b"stty size; exit\n")
        got = b""
        while True:
            d = ch.recv(4096)
            if not d:
                break
            got += d
        assert b"30 90" in got, got
    finally:
        c.close()


@rule
def asyncssh_works(p):
    import asyncssh
    path = p.ssh_options()[-1]

    async def go():
        async with asyncssh.connect("127.0.0.1", p.port, username="agent", known_hosts=p.known_hosts,
                                    client_keys=[path], agent_path=None, config=None) as c:
            r = await c.run("cat; exit 5", input="hello")
            assert r.stdout == "hello" and r.exit_status == 5, r
            r = await c.run("kill -TERM $$")
            assert r.exit_signal and r.exit_signal[0] == "TERM", r.exit_signal
            many = await asyncio.gather(*(c.run(f"echo {i}") for i in range(60)))
            assert not (odd := [(i, m) for i, m in enumerate(many) if m.stdout != f"{i}\n"]), odd
            async with c.start_sftp_client() as s:
                async with s.open("x", "wb") as f:
                    await f.write(b"\0\1" * 50000)
                async with s.open("x", "rb") as f:
                    assert await f.read() == b"\0\1" * 50000
    asyncio.run(go())


@rule
def a_signal_request_reaches_the_command(p):
    import asyncssh
    path = p.ssh_options()[-1]

    async def go():
        async with asyncssh.connect("127.0.0.1", p.port, username="agent", known_hosts=p.known_hosts,
                                    client_keys=[path], agent_path=None, config=None) as c:
            pr = await c.create_process("trap 'echo got; exit 6' USR1; echo up; while :; do sleep 0.1; done")
            assert (await pr.stdout.readline()) == "up\n"
            pr.send_signal("USR1")
            r = await asyncio.wait_for(pr.wait(), 10)
            assert r.stdout == "got\n" and r.exit_status == 6, r
            pr = await c.create_process("echo up; exec sleep 100")
            assert (await pr.stdout.readline()) == "up\n"
            pr.send_signal("KILL")
            r = await asyncio.wait_for(pr.wait(), 10)
            assert r.exit_signal and r.exit_signal[0] == "KILL", r.exit_signal
    asyncio.run(go())


@rule
def sixty_five_channels_are_one_too_many(p):
    c = paramiko_client(p)
    try:
        import paramiko
        held = []
        refused = 0
        for i in range(66):
            try:
                ch = c.get_transport().open_session(timeout=10)
                ch.exec_command("cat")
                held.append(ch)
            except paramiko.SSHException:
                refused += 1
        # either the open is refused, or the channel is accepted and denied with a reason
        denied = 0
        for ch in held:
            if ch.exit_status_ready() or ch.recv_stderr_ready():
                denied += 1
        until(lambda: f"refused {refused}, denied {denied}",
              lambda: refused + sum(1 for ch in held if ch.exit_status_ready()) >= 2, 5)
        ok = [ch for ch in held if not ch.exit_status_ready()]
        assert len(ok) == 64, len(ok)
    finally:
        c.close()


if __name__ == "__main__":
    main(Postern)
