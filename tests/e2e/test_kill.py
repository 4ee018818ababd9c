#!/usr/bin/python3
"""Whoever dies, dies alone: clients that vanish, and each of our own processes killed with sessions running."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, shutil, signal, socket, time

import postern
import proc
from postern import Postern, close_all, in_sequence, run, until
from tap import main, rule


def quiet(p, within=3.0):
    """No connection, session or sandbox is left."""
    until(lambda: f"sandboxes {sorted(p.sandbox_pids())}, sessions {p.sessions()}, busy workers {busy(p)}",
          lambda: not p.sandbox_pids() and not p.sessions() and not busy(p), within)


def busy(p):
    """Workers that hold an established connection of ours."""
    inodes = set()
    with open("/proc/net/tcp") as f:
        for line in f.read().splitlines()[1:]:
            w = line.split()
            if int(w[1].split(":")[1], 16) == p.port and w[3] != "0A":
                inodes.add(w[9])
    return [pid for pid in p.daemons("worker") if any(v.startswith("socket:[") and v[8:-1] in inodes
                                                       for v in proc.fds(pid).values())]


def restarted(p, role, old, within=3.0):
    return until(lambda: f"a new {role}: {p.daemons(role)}", lambda: [x for x in p.daemons(role) if x != old], within)[0]


def talks(s):
    try:
        s.stdin.write(b"ping\n")
        s.stdin.flush()
        got = s.stdout.readline()
    except BrokenPipeError:
        got = b""
    assert got or s.poll() is None, (s.poll(), s.stderr.read())
    return got == b"ping\n"


def ended(p, sid):
    return [x for x in p.records() if sid in json.dumps(x) and "session" in x["class"] and "end" in x["class"]
            or sid in json.dumps(x) and "lost" in x["class"]]


# ---- clients ----

@rule
def a_client_that_vanishes_before_it_speaks_is_forgotten(p):
    for data in (b"", b"SSH-2.0-x\r\n", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + b"\0\0\1\x00" + b"\x14" * 20,
                 b"SSH-2.0-x\r\n" + b"\xff" * 100000, b"\0" * 300, b"SSH-1.0-x\r\n", b"SSH-2.0-" + b"y" * 5000):
        c = socket.create_connection(("127.0.0.1", p.port))
        try:
            c.sendall(data)
        except OSError:
            pass
        c.close()
    quiet(p)
    assert p.ssh("echo fine").out == b"fine\n"


@rule
def a_client_killed_at_any_moment_leaves_nothing(p):
    for i in range(16):
        s = p.ssh_open("head -c 100000000 /dev/zero; sleep 100")
        time.sleep(0.01 * i * 1.3)
        close_all(s)
    quiet(p)
    assert p.ssh("echo fine").out == b"fine\n"


@rule
def a_client_reset_in_mid_flow_leaves_nothing(p):
    s, sid = p.session()
    close_all(s)
    quiet(p)
    until("its end on record", lambda: ended(p, sid))


# ---- workers ----

@rule
def a_killed_worker_takes_its_connection_and_sandbox_along(p):
    other, _ = p.session(key=p.cert("bob", ca="other"))
    already = busy(p)
    s, sid = p.session()
    w = [x for x in busy(p) if x not in already]
    assert len(w) == 1, w
    mine = {x for x in p.sandbox_pids()}
    blocks = {(proc.uids(x)[0] - p.ids) // 65536 for x in mine}
    assert len(blocks) == 2
    proc.kill(w[0])
    s.wait(3)
    assert s.returncode == 255, s.returncode

    def gone():
        return len({(proc.uids(x)[0] - p.ids) // 65536 for x in p.sandbox_pids() if proc.uids(x)}) == 1
    until(lambda: f"its sandbox gone: {p.sandbox_pids()}", gone, 1.0)
    assert talks(other)
    close_all(s)
    close_all(other)
    until("its end on record", lambda: ended(p, sid))
    quiet(p)


@rule
def killed_spare_workers_are_replaced(p):
    spare = p.daemons("worker")
    assert spare
    for w in spare:
        proc.kill(w)
    # one that is dying may still be handed a client
    until("a connection", lambda: p.ssh("echo fine").out == b"fine\n")
    until("new spares", lambda: len([w for w in p.daemons("worker") if w not in spare]) >= len(spare) - 1)


@rule
def workers_have_ids_of_their_own(p):
    held = [p.session()[0] for _ in range(4)]
    try:
        uids = [proc.uids(w) for w in p.daemons("worker")]
        assert len({u[0] for u in uids}) == len(uids) >= 4, uids
        assert all(len(set(u)) == 1 and 4096 <= u[0] - p.ids < 8192 for u in uids), uids
    finally:
        for s in held:
            close_all(s)
    quiet(p)


# ---- the core ----

@rule
def with_the_core_killed_running_channels_flow_on(p):
    s, sid = p.session()
    core = p.daemon("core")
    proc.kill(core)
    for _ in range(20):
        assert talks(s)
        time.sleep(0.02)
    restarted(p, "core", core)
    assert talks(s)
    r = p.ssh("echo back")
    assert r.out == b"back\n", r
    assert sid in [x["id"] for x in p.sessions()], p.sessions()
    s.stdin.close()
    assert s.wait(5) == 0
    close_all(s)
    until(lambda: f"the end of {sid} on record", lambda: ended(p, sid))
    quiet(p)


@rule
def new_channels_of_an_old_connection_work_with_the_new_core(p):
    path = os.path.join(p.work, "m")
    opts = [f"ControlPath={path}"]
    m = p.ssh_open("echo kept >~/f; echo up; cat", opts=[*opts, "ControlMaster=yes"])
    try:
        assert m.stdout.readline() == b"up\n"
        core = p.daemon("core")
        proc.kill(core)
        restarted(p, "core", core)
        r = p.ssh("cat ~/f; exit 4", opts=[*opts, "ControlMaster=no"])
        assert r.code == 4 and r.out == b"kept\n", r
        assert talks(m)
    finally:
        close_all(m)
    quiet(p)


@rule
def a_core_killed_again_and_again_comes_back_each_time(p):
    s, sid = p.session()
    for _ in range(5):
        core = p.daemon("core")
        proc.kill(core)
        restarted(p, "core", core)
        assert talks(s)
    until("service again", lambda: p.ssh("echo back").out == b"back\n", 8, 0.2)
    close_all(s)
    quiet(p)
    r = p.postern("audit", "verify", "--chain")
    assert r.code == 0, r


@rule
def the_log_goes_on_where_it_was(p):
    n = len(p.records())
    core = p.daemon("core")
    proc.kill(core)
    restarted(p, "core", core)
    assert p.ssh("echo on").out == b"on\n"
    got = p.records()
    assert len(got) > n and in_sequence(got)
    assert p.postern("audit", "verify", "--chain").code == 0


# ---- spawn ----

@rule
def with_spawn_killed_sessions_end_and_are_recorded(p):
    s, sid = p.session()
    spawn = p.daemon("spawn")
    proc.kill(spawn)
    s.wait(5)
    assert s.returncode != 0, s.returncode
    close_all(s)
    restarted(p, "spawn", spawn)
    until(lambda: f"still there: {p.sandbox_pids()}", lambda: not p.sandbox_pids(), 2)
    until(lambda: f"the end of {sid} on record: {p.records()[-5:]}", lambda: ended(p, sid))
    until("service again", lambda: p.ssh("echo back").out == b"back\n", 8, 0.2)
    quiet(p)
    assert not [c for c in proc.cgroups(p.instance) if sid in c], proc.cgroups(p.instance)


@rule
def a_killed_init_ends_its_session_only(p):
    other, _ = p.session(key=p.cert("bob", ca="other"))
    before = p.sandbox_pids()
    s, sid = p.session()
    init = [x for x in p.sandbox_pids() - before if (proc.uids(x)[0] - p.ids) % 65536 == 65534]
    assert len(init) == 1, init
    proc.kill(init[0])
    s.wait(3)
    assert s.returncode != 0
    close_all(s)
    until("its end on record", lambda: ended(p, sid))
    assert talks(other)
    close_all(other)
    quiet(p)


# ---- the others ----

@rule
def with_the_listener_killed_connections_live_and_new_ones_come(p):
    s, _ = p.session()
    old = p.daemon("listener")
    proc.kill(old)
    r = p.ssh("echo new")  # the socket is the supervisor's: nobody is refused
    assert r.out == b"new\n", r
    assert talks(s)
    close_all(s)
    quiet(p)


@rule
def with_the_signer_killed_tokens_come_again(p):
    old = p.daemon("signer")
    proc.kill(old)
    restarted(p, "signer", old)
    until("a token", lambda: p.ssh("postern-cred get jwt https://api.example.com").code == 0, 8, 0.2)
    quiet(p)


@rule
def with_the_lease_process_killed_the_session_goes_on(p):
    s = p.ssh_open("postern-cred list >/dev/null; echo up; cat")
    assert s.stdout.readline() == b"up\n"
    lease = p.daemons("lease")
    assert len(lease) == 1, lease
    proc.kill(lease[0])
    assert talks(s)
    close_all(s)
    quiet(p)


@rule
def sessions_can_be_killed_by_an_operator(p):
    s, sid = p.session()
    r = p.postern("session", "kill", sid)
    assert r.code == 0, r
    s.wait(3)
    assert s.returncode != 0
    close_all(s)
    until("its end on record", lambda: ended(p, sid))
    assert p.postern("session", "kill", "00000000-0000-0000-0000-000000000000").code != 0
    quiet(p)


@rule
def a_core_that_stays_away_ends_its_sessions(p):
    # a copy of the programs, so that the core can be taken away
    copy = os.path.join(p.work, "programs")
    for d in ("bin", "libexec"):
        shutil.copytree(os.path.join(postern.BUILD, d), os.path.join(copy, d))
    kept = postern.PROGRAM
    postern.PROGRAM = copy + "/bin/postern"
    q = Postern()
    try:
        s, sid = q.session()
        core = q.daemon("core")
        os.unlink(copy + "/libexec/postern/postern-core")
        proc.kill(core)
        assert talks(s)
        s.wait(20)
        close_all(s)
        until(lambda: f"still there: {q.sandbox_pids()}", lambda: not q.sandbox_pids(), 4)
    finally:
        postern.PROGRAM = kept
        q.close()
        assert not q.leftovers(), q.leftovers()


@rule
def with_the_supervisor_killed_nothing_outlives_it(p):
    s, _ = p.session()
    p.pids()
    proc.kill(p.pid)
    p.up.wait(5)
    s.wait(5)
    close_all(s)
    until(lambda: f"left: {p.leftovers()}", lambda: not [x for x in p.leftovers() if x.startswith("process")], 3)
    p.stop()
    p.start()  # and the next start sweeps what was left
    assert p.ssh("echo fine").out == b"fine\n"
    assert p.postern("audit", "verify", "--chain").code == 0


if __name__ == "__main__":
    main(Postern)
