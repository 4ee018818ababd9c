#!/usr/bin/python3
# Clients that break the rules, vanish, or stay silent; workers that die; a core that does not answer.
import os, random, re, signal, socket, subprocess, sys, threading, time, warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import Gateway, IDBASE, Link, Tap, equal, seqpacket

warnings.filterwarnings("ignore")
import logging  # noqa: E402

import paramiko  # noqa: E402

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False
from paramiko import Message  # noqa: E402

ANSWER = {"v": True}


def judge(user, method, key, proved):
    from fake_core import is_cert
    if user == "banner":
        return "certificate expired at noon"
    return is_cert(key) and ANSWER["v"]


CONFIG = "login_grace: 2s\nmax_connections: 40\nmax_per_source: 30\nbroker_timeout: 2s\nkeepalive_interval: 1s\nkeepalive_count: 2"
gw = Gateway(config=CONFIG, spares=4, judge=judge)


def raw():
    s = socket.create_connection(("127.0.0.1", gw.port), 5)
    s.settimeout(8)
    return s


def closed_within(s, limit):
    start = time.monotonic()
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    took = time.monotonic() - start
    assert took < limit, f"closed only after {took:.1f} s"
    return took


def status_of(fn, want, busy=0):
    """fn makes (or, with busy=1, ends) one connection; its worker's exit status is one of want."""
    assert gw.wait(lambda: len(gw.worker_pids()) <= 4 + busy, 8), "an earlier worker is left"
    n = len(gw.statuses)
    fn()
    assert gw.wait(lambda: len(gw.statuses) > n, 8), "no worker ended"
    got = gw.statuses[n]
    assert got in want, f"got {got}, want one of {want}"


def transport():
    t = paramiko.Transport(("127.0.0.1", gw.port))
    t.start_client(timeout=5)
    return t


def key():
    k = paramiko.Ed25519Key(filename=gw.identity())
    k.load_certificate(gw.identity() + "-cert.pub")
    return k


def login():
    t = transport()
    t.auth_publickey("agent", key())
    return t


def still_works():
    r = gw.run_ssh("echo fine")
    equal((r.returncode, r.stdout), (0, b"fine\n"))


# ---- before authentication

def a_silent_client_is_cut_by_the_grace_time():
    def one():
        took = closed_within(raw(), 4)
        assert took > 1.5, took
    status_of(one, [(11, 0)])


def a_client_that_only_says_its_name_is_cut():
    def one():
        s = raw()
        s.sendall(b"SSH-2.0-mute\r\n")
        closed_within(s, 4)
    status_of(one, [(11, 0)])


def a_client_silent_after_the_key_exchange_is_cut():
    def one():
        t = transport()
        end = time.monotonic() + 5
        while t.is_active() and time.monotonic() < end:
            time.sleep(0.05)
        assert not t.is_active()
    status_of(one, [(11, 0)])


def garbage_closes_that_connection_only():
    rng = random.Random(7)
    for i in range(60):
        s = raw()
        try:
            if i % 3 == 0:
                s.sendall(rng.randbytes(rng.randrange(1, 5000)))
            elif i % 3 == 1:
                s.sendall(b"SSH-2.0-x\r\n" + rng.randbytes(rng.randrange(1, 5000)))
            else:
                s.sendall(b"SSH-2.0-x\r\n" + (100).to_bytes(4, "big") + b"\x04\x14" + rng.randbytes(98))
            s.shutdown(socket.SHUT_WR)
            closed_within(s, 4)
        except OSError:
            pass
        s.close()
    still_works()
    bad = [s for s in gw.statuses if s[1] or s[0] in (1, 17)]
    equal(bad, [])


def vanishing_at_each_stage():
    hello = b"SSH-2.0-OpenSSH_9.2\r\n"
    for cut in (0, 3, len(hello), len(hello) + 5):
        s = raw()
        s.sendall((hello + b"\0\0\1\x2c\x08")[:cut])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    t = transport()
    t.sock.close()
    t = login()
    t.sock.close()
    t = login()
    c = t.open_session()
    t.sock.close()
    t = login()
    c = t.open_session()
    c.exec_command("sleep 60")
    n = gw.count("channel.exec")
    gw.wait(lambda: gw.count("channel.exec") >= n)
    time.sleep(0.2)
    t.sock.close()
    assert gw.wait(lambda: len(gw.worker_pids()) <= 4, 6), "workers are left"
    gw.wait(lambda: gw.said("channel.ended") and gw.said("channel.ended")[-1]["exit"] == -1, 3)
    equal(gw.said("channel.ended")[-1]["exit"], -1)
    still_works()


# ---- authentication

def refused_reason_comes_as_a_banner():
    t = transport()
    try:
        t.auth_publickey("banner", key())
        raise AssertionError("let in")
    except paramiko.AuthenticationException:
        pass
    equal(t.get_banner(), b"postern: denied: certificate expired at noon\r\n")
    t.close()


def password_tries(n):
    t = transport()
    for _ in range(n):
        try:
            t.auth_password("agent", "guess")
            raise AssertionError("let in")
        except paramiko.BadAuthenticationType:
            pass
        except (paramiko.AuthenticationException, paramiko.SSHException, EOFError):
            if not t.is_active():
                break
    return t


def six_failures_and_no_more():
    def one():
        before = len([b for b in gw.said("auth.check") if b["method"] == "password"])
        t = transport()
        for _ in range(20):
            m = Message()
            m.add_byte(b"\x32")
            m.add_string("agent")
            m.add_string("ssh-connection")
            m.add_string("password")
            m.add_boolean(False)
            m.add_string("guess")
            try:
                t._send_message(m)
            except (OSError, EOFError):
                break
        end = time.monotonic() + 1.5
        while t.is_active() and time.monotonic() < end:
            time.sleep(0.02)
        assert not t.is_active()
        gw.wait(lambda: False, 0.3)
        n = len([b for b in gw.said("auth.check") if b["method"] == "password"]) - before
        equal(n, 6)
    service_first(one)


def service_first(fn):
    """paramiko asks for ssh-userauth by itself only inside auth_*: ask in start_client's place."""
    real = globals()["transport"]

    def with_service():
        t = real()
        m = Message()
        m.add_byte(b"\x05")
        m.add_string("ssh-userauth")
        t._send_message(m)
        return t
    globals()["transport"] = with_service
    try:
        status_of(fn, [(12, 0)])
    finally:
        globals()["transport"] = real


def userauth(t, user, method, rest=b""):
    m = Message()
    m.add_byte(b"\x32")
    m.add_string(user)
    m.add_string("ssh-connection")
    m.add_string(method)
    t._send_message(m if not rest else Message(m.asbytes() + rest))


def gone_soon(t, limit):
    start = time.monotonic()
    while t.is_active() and time.monotonic() - start < limit + 3:
        time.sleep(0.02)
    assert time.monotonic() - start < limit, "still there"


def another_user_name_is_the_end():
    def one():
        t = transport()
        userauth(t, "agent", "none")
        userauth(t, "root", "none")
        gone_soon(t, 1)
    service_first(one)


def a_flood_of_none_is_cut():
    def one():
        n = len([b for b in gw.said("auth.check") if b["method"] == "none"])
        t = transport()
        try:
            for _ in range(2000):
                userauth(t, "agent", "none")
        except (OSError, EOFError):
            pass
        gone_soon(t, 1)
        assert len([b for b in gw.said("auth.check") if b["method"] == "none"]) - n <= 7
    service_first(one)


def keyboard_interactive_and_gssapi_are_refused():
    def one():
        t = transport()
        for _ in range(3):
            userauth(t, "agent", "keyboard-interactive", b"\0\0\0\0\0\0\0\0")
        for _ in range(3):
            userauth(t, "agent", "gssapi-with-mic", b"\0\0\0\1\0\0\0\x0b\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02")
        gone_soon(t, 1)
    service_first(one)
    assert any(b["method"] == "gssapi-with-mic" for b in gw.said("auth.check"))


def a_bad_signature_is_not_left_hanging():
    # libssh 0.10.6 answers nothing, and no callback fires
    def one():
        t = transport()
        k = key()
        rest = Message()
        rest.add_boolean(True)
        rest.add_string("ssh-ed25519-cert-v01@openssh.com")
        rest.add_string(k.public_blob.key_blob)
        sig = Message()
        sig.add_string("ssh-ed25519")
        sig.add_string(b"\x05" * 64)
        rest.add_string(sig.asbytes())
        userauth(t, "agent", "publickey", rest.asbytes())
        gone_soon(t, 1.9)
    service_first(one)


def an_unknown_key_type_is_not_left_hanging():
    def one():
        t = transport()
        rest = Message()
        rest.add_boolean(False)
        rest.add_string("ssh-mldsa-44@example")
        blob = Message()
        blob.add_string("ssh-mldsa-44@example")
        blob.add_string(b"\x05" * 64)
        rest.add_string(blob.asbytes())
        userauth(t, "agent", "publickey", rest.asbytes())
        gone_soon(t, 1.9)
    service_first(one)


def many_offered_keys_get_through():
    # an agent with ten keys that are refused, then the right one: refused offers count gently
    others = []
    for i in range(10):
        path = f"{gw.dir}/other{i}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        others += ["-i", path]
    cmd = gw.ssh("echo in")
    r = subprocess.run(["ssh", *others, *cmd[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10)
    equal((r.returncode, r.stdout), (0, b"in\n"))


def a_session_channel_before_authentication_is_refused():
    def one():
        t = transport()
        m = Message()
        m.add_byte(b"\x5a")
        m.add_string("session")
        m.add_int(0)
        m.add_int(1 << 20)
        m.add_int(32768)
        t._send_message(m)
        gone_soon(t, 3)
    status_of(one, [(10, 0), (11, 0), (13, 0)])
    still_works()


# ---- after it

def a_window_that_is_ignored_is_the_end():
    def one():
        t = login()
        c = t.open_session()
        c.exec_command("sleep 30")
        time.sleep(0.2)
        try:
            for _ in range(400):
                m = Message()
                m.add_byte(b"\x5e")
                m.add_int(c.remote_chanid)
                m.add_string(b"w" * 32000)
                t._send_message(m)
        except (OSError, EOFError):
            pass
        gone_soon(t, 3)
    status_of(one, [(13, 0)])


def a_packet_size_of_ten_cannot_spin():
    # libssh 0.10.6 writes for ever to such a channel (field: maxpacketlen - 10)
    def one():
        t = login()
        t._sanitize_packet_size = lambda n: n
        c = t.open_session(max_packet_size=10)
        c.exec_command("echo spin; sleep 1")
        start = time.monotonic()
        gone_soon(t, 10)
        print(f"# ended after {time.monotonic() - start:.1f} s", flush=True)
    status_of(one, [(0, signal.SIGPROF), (17, 0)])
    still_works()


def twenty_thousand_opens_are_bounded():
    t = login()
    pid = max(gw.worker_pids())
    rss = []
    for i in range(20000):
        m = Message()
        m.add_byte(b"\x5a")
        m.add_string("session")
        m.add_int(1000 + i)
        m.add_int(1 << 20)
        m.add_int(32768)
        t._send_message(m)
    time.sleep(0.5)
    for p in gw.worker_pids():
        with open(f"/proc/{p}/status", encoding="ascii") as f:
            rss.append(next(int(l.split()[1]) for l in f if l.startswith("VmHWM")))
    t.close()
    assert max(rss) < 20 * 1024, rss
    still_works()


def requests_out_of_order_are_refused():
    t = login()
    c = t.open_session()
    c.exec_command("sleep 0.2; exit 3")
    try:
        c.exec_command("id")  # a second one on the same channel
        raise AssertionError("accepted")
    except paramiko.SSHException:
        pass
    t2 = login()
    c2 = t2.open_session()
    c2.exec_command("sleep 0.2; exit 3")
    equal(c2.recv_exit_status(), 3)
    t.close()
    t2.close()


def a_dead_client_is_noticed():
    p = subprocess.Popen(gw.ssh("sleep 60"), stdin=subprocess.DEVNULL)
    n = gw.count("channel.exec")
    gw.wait(lambda: gw.count("channel.exec") > n - 1)
    time.sleep(0.5)

    def one():
        p.send_signal(signal.SIGSTOP)
    try:
        status_of(one, [(14, 0)], busy=1)
    finally:
        p.kill()
        p.wait()


# ---- the core and the workers

def denied_exec_says_why():
    def hook(g, conn, w, m, command):
        if command == "denied":
            w.send("channel.denied", {"channel": m["body"]["channel"], "reason": "not on Sundays", "record": 42}, id_=m["id"])
            return True
        if command == "failed":
            w.send("channel.failed", {"channel": m["body"]["channel"], "reason": "no such root"}, id_=m["id"])
            return True
        if command == "never":
            return True
        if command == "mute":
            r, wr = os.pipe()
            a, b, c = os.pipe(), os.pipe(), os.pipe()
            w.send("channel.started", {"channel": m["body"]["channel"], "session": "s"}, [a[1], b[0], c[0], r], id_=m["id"])
            for fd in (wr, r, *a, *b, *c):
                os.close(fd)
            return True
        if command.startswith("status "):
            r, wr = os.pipe()
            a, b, c = os.pipe(), os.pipe(), os.pipe()
            w.send("channel.started", {"channel": m["body"]["channel"], "session": "s"}, [a[1], b[0], c[0], r], id_=m["id"])
            os.write(wr, bytes.fromhex(command.split()[1]))
            for fd in (wr, r, *a, *b, *c):
                os.close(fd)
            return True
        return False
    gw.exec_hook = hook
    r = gw.run_ssh("denied")
    equal((r.returncode, r.stdout, r.stderr), (254, b"", b"postern: denied: not on Sundays (record 42)\n"))
    r = gw.run_ssh("failed")
    equal((r.returncode, r.stderr), (254, b"postern: denied: no such root\n"))


def an_unanswered_exec_fails_in_time():
    start = time.monotonic()
    r = gw.run_ssh("never")
    equal((r.returncode, r.stderr), (254, b"postern: denied: the broker does not answer\n"))
    assert 1.5 < time.monotonic() - start < 4


def a_sandbox_that_is_gone_is_told():
    r = gw.run_ssh("mute")
    equal((r.returncode, r.stderr), (254, b"postern: session ended: the sandbox is gone\n"))


def hostile_status_records_are_refused():
    equal(gw.run_ssh("status 0100000000000009").returncode, 9)
    r = gw.run_ssh("status 03000000000000020100000000000" + "07f")
    equal((r.returncode, r.stderr), (127, b"postern: cannot run the command: No such file or directory\n"))
    for bad in ("01000000ffffffff", "0900000000000000", "0101000000000000", "0200000000000000",
                "01000000000000000100000000000000", "0300000000000001030000000000000203"):
        equal(gw.run_ssh("status " + bad).returncode, 254, bad)


def unanswered_authentication_fails_in_time():
    gw.answering = False
    try:
        def one():
            start = time.monotonic()
            equal(gw.run_ssh("true").returncode, 255)
            assert time.monotonic() - start < 4
        status_of(one, [(17, 0), (11, 0)])
    finally:
        gw.answering = True


def conn_end_tells_every_channel():
    p = subprocess.Popen(gw.ssh("echo up; sleep 30"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    equal(p.stdout.read(3), b"up\n")
    conn = [c for t, _, c in gw.log if t == "channel.exec"][-1]

    def one():
        gw.conns[conn].send("conn.end", {"reason": "killed by root"})
        _, err = p.communicate(timeout=5)
        equal((p.returncode, err), (254, b"postern: session ended: killed by root\n"))
    status_of(one, [(15, 0)], busy=1)


def the_core_may_come_back():
    p = subprocess.Popen(gw.ssh("cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(b"before\n")
    p.stdin.flush()
    equal(p.stdout.readline(), b"before\n")
    conn = [c for t, _, c in gw.log if t == "channel.exec"][-1]
    pairs = gw.count("worker.pair")
    gw.call(gw.drop_core)
    time.sleep(0.2)
    p.stdin.write(b"while away\n")
    p.stdin.flush()
    equal(p.stdout.readline(), b"while away\n")
    s = raw()  # waits in the backlog
    gw.call(gw.link_core)
    gw.conns[conn].send("conn.who", {})
    assert gw.wait(lambda: gw.count("conn.resume") > 0)
    equal(gw.said("conn.resume")[-1], {"channels": [1]})
    equal(s.recv(8), b"SSH-2.0-")
    s.close()
    p.stdin.close()
    equal(p.wait(5), 0)
    still_works()


def a_worker_whose_core_is_gone_ends():
    p = subprocess.Popen(gw.ssh("echo up; sleep 30"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    equal(p.stdout.read(3), b"up\n")
    conn = [c for t, _, c in gw.log if t == "channel.exec"][-1]

    def one():
        gw.conns[conn].sock.shutdown(socket.SHUT_RDWR)
        _, err = p.communicate(timeout=5)
        equal((p.returncode, err), (254, b"postern: session ended: the broker is gone\n"))
    status_of(one, [(16, 0)], busy=1)


def a_killed_worker_ends_its_connection_only():
    p = subprocess.Popen(gw.ssh("echo up; sleep 30"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    other = subprocess.Popen(gw.ssh("echo up; sleep 1; echo later"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    equal(p.stdout.read(3), b"up\n")
    equal(other.stdout.read(3), b"up\n")
    pids = set(gw.worker_pids())
    for pid in pids:
        links = []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                pass
        # the one whose client is p: its socket's peer port is p's
        if busy_with(pid, p.pid):
            os.kill(pid, signal.SIGKILL)
            break
    else:
        raise AssertionError("worker not found")
    equal(p.wait(5), 255)
    equal(other.stdout.read(), b"later\n")
    equal(other.wait(5), 0)
    still_works()


def sockets(pid):
    out = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            m = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
        if m:
            out.add(m[1])
    return out


def tcp():
    out = {}
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in list(f)[1:]:
            p = line.split()
            out[p[9]] = (p[1], p[2])
    return out


def busy_with(worker, client):
    t = tcp()
    mine = {t[i] for i in sockets(worker) if i in t}
    theirs = {(b, a) for a, b in (t[i] for i in sockets(client) if i in t)}
    return bool(mine & theirs)


def limit_for_a_source():
    g = Gateway(config="max_per_source: 3\nlogin_grace: 20s", spares=2)
    try:
        ss = []
        for _ in range(3):
            s = socket.create_connection(("127.0.0.1", g.port), 5)
            equal(s.recv(8), b"SSH-2.0-")
            ss.append(s)
        for _ in range(5):
            s = socket.create_connection(("127.0.0.1", g.port), 5)
            s.settimeout(5)
            equal(s.recv(100), b"postern: too many connections from this address\r\n")
        assert g.wait(lambda: sum(b["count"] for b in g.said("conn.refused")) == 5, 3), g.said("conn.refused")
        assert len(g.said("conn.refused")) <= 3  # told together
        ss[0].close()
        assert g.wait(lambda: len(g.statuses) >= 1, 3)
        time.sleep(0.1)
        s = socket.create_connection(("127.0.0.1", g.port), 5)
        equal(s.recv(8), b"SSH-2.0-")
    finally:
        g.close()


def a_burst_is_queued_for_workers():
    ps = [subprocess.Popen(gw.ssh(f"echo {i}"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for i in range(16)]
    for i, p in enumerate(ps):
        out, _ = p.communicate(timeout=20)
        equal((p.returncode, out), (0, b"%d\n" % i))


# ---- confinement

def workers_are_confined():
    p = subprocess.Popen(gw.ssh("echo up; sleep 3"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    equal(p.stdout.read(3), b"up\n")
    uids = set()
    for pid in gw.worker_pids():
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            st = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
        uid = int(st["Uid"].split()[0])
        uids.add(uid)
        equal(st["Uid"].split(), [str(uid)] * 4)
        equal(st["Gid"].split(), [str(uid)] * 4)
        assert IDBASE + 4096 <= uid < IDBASE + 8192
        equal(st["Groups"].strip(), "")
        for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            equal(st[k], "0" * 16, k)
        equal((st["NoNewPrivs"], st["Seccomp"]), ("1", "2"))
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            limits = {l[:26].strip(): l[26:].split()[0] for l in f}
        equal((limits["Max processes"], limits["Max core file size"]), ("0", "0"))
        kinds = []
        for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
            kinds.append(re.sub(r":\[.*", "", link) if fd > 2 else "std")
        busy = busy_with(pid, p.pid)
        # a spare: its two links; with a connection: the client, the core, stdout, stderr, status; stdin is at its end
        want = ["std"] * 3 + (["pipe"] * 3 + ["socket"] * 2 if busy else ["socket"] * 2)
        if busy or "pipe" not in kinds:  # a worker of an earlier test may be on its way out
            equal(sorted(kinds), sorted(want))
    equal(len(uids), len(gw.worker_pids()))
    p.kill()
    p.wait()


def the_listener_is_confined():
    with open(f"/proc/{gw.listener}/status", encoding="ascii") as f:
        st = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
    equal(st["Uid"].split(), [str(IDBASE + 3)] * 4)
    equal((st["CapPrm"], st["CapBnd"], st["NoNewPrivs"], st["Seccomp"]), ("0" * 16, "0" * 16, "1", "2"))


def reload_takes_a_good_file_and_keeps_its_own_otherwise():
    path = gw.dir + "/etc/postern.yaml"
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write("gateway:\n  max_per_source: lots\n")
    gw.sup.send("reload")
    time.sleep(0.1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    gw.sup.send("reload")
    time.sleep(0.1)
    still_works()


names = [k for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == "__main__"]
helpers = {"raw", "judge", "closed_within", "status_of", "transport", "key", "login", "still_works", "password_tries",
           "service_first", "userauth", "gone_soon", "sockets", "tcp", "busy_with"}
tests = [globals()[n] for n in names if n not in helpers]
if len(sys.argv) > 1:
    tests = [t for t in tests if t.__name__ in sys.argv[1:]]
tap = Tap(len(tests) + 1)
for t in tests:
    tap.run(t.__name__, t)


def nothing_is_left():
    assert gw.wait(lambda: len(gw.worker_pids()) <= 4, 6), "workers are left"
    assert not [s for s in gw.statuses if s[0] == 1 or s[1] not in (0, signal.SIGKILL, signal.SIGPROF)], gw.statuses


tap.run("nothing_is_left", nothing_is_left)
gw.close()
sys.exit(1 if tap.failed else 0)
