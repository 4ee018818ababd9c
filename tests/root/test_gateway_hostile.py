#!/usr/bin/python3
# Clients that break the rules or vanish, workers that die, a core that does not answer; confinement.
import os, re, signal, socket, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import IDBASE, Tap, equal
from gateway_rig import Message, gone_soon, gw, login, paramiko, raw, status_of, still_works, transport

HELPERS = ("sockets", "tcp", "busy_with")


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
    assert gw.sanitized or max(rss) < 20 * 1024, rss
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


def a_burst_is_queued_for_workers():
    ps = [subprocess.Popen(gw.ssh(f"echo {i}"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for i in range(16)]
    for i, p in enumerate(ps):
        out, _ = p.communicate(timeout=20)
        equal((p.returncode, out), (0, b"%d\n" % i))


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


def nothing_is_left():
    assert gw.wait(lambda: len(gw.worker_pids()) <= 4, 6), "workers are left"
    assert not [s for s in gw.statuses if s[0] == 1 or s[1] not in (0, signal.SIGKILL, signal.SIGPROF)], gw.statuses


tests = [v for v in list(globals().values())
         if callable(v) and getattr(v, "__module__", "") == "__main__" and v.__name__ not in HELPERS]
if len(sys.argv) > 1:
    tests = [t for t in tests if t.__name__ in sys.argv[1:]]
tap = Tap(len(tests))
for t in tests:
    tap.run(t.__name__, t)
gw.close()
sys.exit(1 if tap.failed else 0)
