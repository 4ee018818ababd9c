#!/usr/bin/python3
# Sessions through the gateway with OpenSSH's client: what every agent relies on.
import hashlib, os, random, re, signal, subprocess, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import Gateway, Tap, equal

gw = Gateway(config="spare_workers: 4", spares=4)


def exec_with_status_and_apart_stderr():
    r = gw.run_ssh("echo out; echo err >&2; exit 7")
    equal((r.returncode, r.stdout, r.stderr), (7, b"out\n", b"err\n"))


def status_0_and_255():
    equal(gw.run_ssh("true").returncode, 0)
    equal(gw.run_ssh("exit 255").returncode, 255)


def ended_by_signal_is_told():
    n = gw.count("channel.ended")
    r = gw.run_ssh("kill -TERM $$")
    equal(r.returncode, 255)  # ssh(1) answers 255 for exit-signal
    gw.wait(lambda: gw.count("channel.ended") > n)
    ended = gw.said("channel.ended")[-1]
    equal((ended["exit"], ended["signal"]), (-1, "TERM"))


def shell_reads_a_script_on_stdin():
    r = gw.run_ssh([], input=b"echo one\necho two\nexit 3\n")
    equal((r.returncode, r.stdout), (3, b"one\ntwo\n"))


def stdin_eof_reaches_the_command():
    equal(gw.run_ssh("wc -c", input=b"x" * 100000).stdout.strip(), b"100000")


def output_after_stdin_eof():
    equal(gw.run_ssh("cat >/dev/null; sleep 0.2; echo late", input=b"abc").stdout, b"late\n")


def stdout_eof_before_the_end():
    # half-close the other way: the command closes its output and lives on
    p = subprocess.Popen(gw.ssh("echo x; exec >&- 2>&-; sleep 0.7; exit 4"), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE)
    start = time.monotonic()
    equal(p.stdout.read(), b"x\n")
    early = time.monotonic() - start
    equal(p.wait(10), 4)
    assert time.monotonic() - start > 0.6 > early, "EOF did not come before the end"


def early_stdin_close_does_not_hang():
    r = gw.run_ssh("head -c 10; exec <&-; sleep 0.2; echo done", input=b"y" * 5000000)
    equal((r.returncode, r.stdout), (0, b"y" * 10 + b"done\n"))


def background_process_does_not_hold_the_channel():
    start = time.monotonic()
    r = gw.run_ssh("sleep 20 & echo started")
    equal((r.returncode, r.stdout), (0, b"started\n"))
    assert time.monotonic() - start < 3


def all_output_comes_before_the_status():
    for _ in range(5):
        r = gw.run_ssh("head -c 3000000 /dev/zero; head -c 100000 /dev/zero >&2; exit 9")
        equal((r.returncode, len(r.stdout), len(r.stderr)), (9, 3000000, 100000))


def fifty_megabytes_both_ways():
    data = random.Random(1).randbytes(50 * 1000 * 1000)
    r = gw.run_ssh("cat", input=data, timeout=60)
    equal((r.returncode, hashlib.sha256(r.stdout).digest()), (0, hashlib.sha256(data).digest()))


def an_eof_taken_during_a_write_is_seen():
    # libssh takes packets while it writes; one EOF in forty came that way, and the command waited for ever
    data = random.Random(3).randbytes(4000000)
    for i in range(60):
        equal(gw.run_ssh("cat", input=data, timeout=20).stdout == data, True, i)


def every_cipher():
    data = random.Random(2).randbytes(1000000)
    for c in ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"):
        equal(gw.run_ssh("cat", input=data, options=[f"Ciphers={c}"]).stdout, data, c)


def other_algorithms_are_not_offered():
    for o in ("Ciphers=aes128-cbc", "KexAlgorithms=ecdh-sha2-nistp256", "KexAlgorithms=diffie-hellman-group14-sha256",
              "HostKeyAlgorithms=rsa-sha2-512"):
        equal(gw.run_ssh("true", options=[o]).returncode, 255, o)


def compression_is_not_offered():
    cmd = [a.replace("LogLevel=ERROR", "LogLevel=DEBUG2") for a in gw.ssh("true", options=["Compression=yes"])]
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20)
    equal(re.findall(rb"compression: (\S+)", r.stderr)[-2:], [b"none", b"none"])


def env_by_the_grants_list():
    env = dict(os.environ, LC_TEST="yes", LANG="C.UTF-8", OTHER="no", LC_BIG="z" * 5000)
    r = gw.run_ssh("echo $LC_TEST $LANG [$OTHER] [$LC_BIG]", env=env,
                   options=["SendEnv=LC_* LANG OTHER"])
    equal(r.stdout, b"yes C.UTF-8 [] []\n")


def pty(args, script, options=()):
    """Runs ssh -tt; script is [(wait for, then write)]."""
    p = subprocess.Popen(gw.ssh(*args, options=["RequestTTY=force", *options]), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    got = b""
    for want, then in script:
        while want not in got:
            piece = os.read(p.stdout.fileno(), 4096)
            if not piece:
                raise AssertionError(f"ended after {got!r}, waiting for {want!r}")
            got += piece
        p.stdin.write(then)
        p.stdin.flush()
    got += p.stdout.read()
    return p.wait(10), got


def interactive_shell():
    code, out = pty([], [(b"$ ", b"tty; echo $TERM\n"), (b"/dev/pts/", b"exit 6\n")])
    equal(code, 6)
    assert b"\r\n" in out


def pty_interrupt():
    code, out = pty(["trap 'echo caught; exit 5' INT; echo ready; sleep 10"], [(b"ready", b"\x03")])
    equal(code, 5)
    assert b"caught" in out


def pty_output_is_whole():
    code, out = pty(["seq 1 20000"], [])
    equal((code, out.count(b"\r\n"), out.split()[-1]), (0, 20000, b"20000"))


def pty_refused_by_the_grant():
    gw.grant["pty"] = False
    try:
        p = subprocess.run(gw.ssh("tty || echo none", options=["RequestTTY=force"]), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10)
        assert b"PTY allocation request failed" in p.stderr, p.stderr
    finally:
        gw.grant["pty"] = True


def sixty_four_channels_on_one_connection():
    master = gw.dir + "/mux"
    opts = [f"ControlPath={master}"]
    m = subprocess.Popen(gw.ssh("-N", options=opts + ["ControlMaster=yes"]), stdin=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if os.path.exists(master):
                break
            time.sleep(0.05)
        n = gw.count("conn.accepted")
        ps = [subprocess.Popen(gw.ssh(f"read x; echo {i} $x", options=opts + ["ControlMaster=no"]),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i in range(64)]
        gw.wait(lambda: gw.count("channel.exec") - base >= 64, 20)
        extra = subprocess.run(gw.ssh("true", options=opts + ["ControlMaster=no"]), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10)
        assert b"refused by peer" in extra.stderr, extra
        for i, p in enumerate(ps):
            out, _ = p.communicate(b"go\n", timeout=20)
            equal((p.returncode, out), (0, b"%d go\n" % i))
        equal(subprocess.run(gw.ssh("echo again", options=opts + ["ControlMaster=no"]), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, timeout=10).stdout, b"again\n")
        # one connection for all, but for the client that was refused and connected anew
        assert gw.count("conn.accepted") - n <= 1
        assert {"what": "too many channels"} in gw.said("conn.event")
    finally:
        m.terminate()
        m.wait(5)


def a_hundred_execs_on_one_connection():
    master = gw.dir + "/mux2"
    opts = [f"ControlPath={master}"]
    m = subprocess.Popen(gw.ssh("-N", options=opts + ["ControlMaster=yes"]), stdin=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if os.path.exists(master):
                break
            time.sleep(0.05)
        for i in range(100):
            r = gw.run_ssh(f"echo {i}; exit {i}", options=opts + ["ControlMaster=no"])
            equal((r.returncode, r.stdout), (i, b"%d\n" % i))
    finally:
        m.terminate()
        m.wait(5)


def sftp_subsystem():
    with open(gw.dir + "/file", "wb") as f:
        f.write(os.urandom(1000000))
    r = subprocess.run(["scp", "-F", "none", "-P", str(gw.port), "-i", gw.identity(),
                        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                        "-o", "IdentityAgent=none", gw.dir + "/file", f"agent@127.0.0.1:{gw.dir}/copy"],
                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20)
    equal((r.returncode, r.stderr), (0, b""))
    equal(open(gw.dir + "/copy", "rb").read(), open(gw.dir + "/file", "rb").read())


def other_subsystems_are_refused():
    r = gw.run_ssh(["-s", "netconf"])
    assert r.returncode == 255 or r.returncode == 1, r
    assert any(e["what"] == "subsystem" for e in gw.said("conn.event"))


def forwards_are_refused_and_logged():
    p = subprocess.Popen(gw.ssh("-N", "-L", f"{gw.dir}/fwd:127.0.0.1:9", "-o", "ExitOnForwardFailure=no"),
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(100):
        if os.path.exists(gw.dir + "/fwd"):
            break
        time.sleep(0.05)
    import socket
    s = socket.socket(socket.AF_UNIX)
    s.connect(gw.dir + "/fwd")
    equal(s.recv(10), b"")
    p.kill()
    p.wait(5)
    gw.wait(lambda: any(e["what"] == "direct-tcpip" for e in gw.said("conn.event")))
    import base64
    details = [base64.b64decode(e["detail"]) for e in gw.said("conn.event") if e["what"] == "direct-tcpip"]
    equal(details[:1], [b"127.0.0.1:9"])
    r = gw.run_ssh("true", options=["RemoteForward=0 127.0.0.1:9", "ExitOnForwardFailure=yes"])
    equal(r.returncode, 255)
    gw.wait(lambda: any(e["what"] == "tcpip-forward" for e in gw.said("conn.event")))
    assert any(e["what"] == "tcpip-forward" for e in gw.said("conn.event"))


def agent_forwarding_is_refused():
    agent = subprocess.run(["ssh-agent", "-s"], stdout=subprocess.PIPE, check=True).stdout.decode()
    sock, pid = re.search(r"SSH_AUTH_SOCK=([^;]+)", agent)[1], int(re.search(r"AGENT_PID=(\d+)", agent)[1])
    try:
        r = subprocess.run(["ssh", "-A", *gw.ssh("echo [$SSH_AUTH_SOCK]")[1:]],
                           env=dict(os.environ, SSH_AUTH_SOCK=sock), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           timeout=10)
        equal(r.stdout, b"[]\n")
    finally:
        os.kill(pid, signal.SIGTERM)


def rekeying_loses_nothing():
    data = random.Random(3).randbytes(12 * 1000 * 1000)
    r = gw.run_ssh("cat", input=data, options=["RekeyLimit=1M"], timeout=60)
    equal((r.returncode, hashlib.sha256(r.stdout).digest()), (0, hashlib.sha256(data).digest()))


def rekeying_by_the_server_loses_nothing():
    g = Gateway(config="rekey_bytes: 1M", spares=1)
    try:
        data = random.Random(4).randbytes(12 * 1000 * 1000)
        r = g.run_ssh("cat", input=data, timeout=60)
        equal((r.returncode, hashlib.sha256(r.stdout).digest()), (0, hashlib.sha256(data).digest()))
        r = g.run_ssh("cat; echo end >&2; exit 3", input=data, options=["RekeyLimit=1500K"], timeout=60)
        equal((r.returncode, r.stderr, hashlib.sha256(r.stdout).digest()),
              (3, b"end\n", hashlib.sha256(data).digest()))
    finally:
        g.close()


def counted_bytes():
    n = gw.count("channel.ended")
    gw.run_ssh("cat; echo 12345 >&2", input=b"x" * 1000)
    gw.wait(lambda: gw.count("channel.ended") > n)
    e = gw.said("channel.ended")[-1]
    equal((e["exit"], e["bytes_in"], e["bytes_out"], e["bytes_err"]), (0, 1000, 1000, 6))


base = 0
tests = [v for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == "__main__"
         and k not in ("pty",)]
tap = Tap(len(tests) + 1)
for t in tests:
    base = gw.count("channel.exec")
    tap.run(t.__name__, t)


def workers_end_with_status_0():
    gw.wait(lambda: len(gw.statuses) >= gw.used - 1, 5)
    equal([s for s in gw.statuses if s not in ((0, 0), (10, 0), (13, 0))], [])


tap.run("workers_end_with_status_0", workers_end_with_status_0)
gw.close()
sys.exit(1 if tap.failed else 0)
