#!/usr/bin/python3
"""Everything that an agent or a stranger can ask for has a limit, and what goes past it hurts nobody else."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, socket, time, warnings

warnings.simplefilter("ignore")

import proc
from postern import Postern, close_all, until
from tap import main, rule

GRACE = 2


TENANT = 6


def limited():
    """A Postern with short limits."""
    return Postern(limits=f"sessions_per_tenant: {TENANT}",
                   gateway=f"login_grace: {GRACE}s, max_connections: 24, max_per_source: 12")


def hello(p):
    c = socket.create_connection(("127.0.0.1", p.port), 5)
    c.settimeout(10)
    return c


@rule
def who_does_not_authenticate_in_time_is_cut_off(p):
    for first in (b"", b"SSH-2.0-idle\r\n"):
        c = hello(p)
        start = time.monotonic()
        c.sendall(first)
        while c.recv(4096):
            pass
        took = time.monotonic() - start
        assert GRACE - 1 < took < GRACE + 3, took
        c.close()


@rule
def grace_does_not_end_who_is_in(p):
    s, _ = p.session()
    time.sleep(GRACE + 1)
    s.stdin.write(b"ping\n")
    s.stdin.flush()
    assert s.stdout.readline() == b"ping\n"
    close_all(s)


@rule
def six_attempts_are_all(p):
    import paramiko
    t = paramiko.Transport(("127.0.0.1", p.port))
    tried = 0
    try:
        t.start_client(timeout=10)
        for i in range(12):
            try:
                t.auth_publickey("agent", paramiko.Ed25519Key.from_private_key_file(p.key(f"try{i % 3}")))
                raise AssertionError("a plain key got in")
            except paramiko.AuthenticationException:
                tried += 1
                if not t.is_active():
                    break
            except (paramiko.SSHException, EOFError, OSError):
                break
    finally:
        t.close()
    assert 5 <= tried <= 6, tried


@rule
def one_source_cannot_take_all_connections(p):
    held = []
    try:
        for _ in range(30):
            try:
                held.append(hello(p))
            except OSError:
                break
        alive = 0
        for c in held:
            c.settimeout(1)
            try:
                alive += c.recv(8).startswith(b"SSH-")
            except OSError:
                pass
        assert alive <= 12, alive
    finally:
        for c in held:
            c.close()
    until("service again", lambda: p.ssh("echo fine").out == b"fine\n", GRACE + 6, 0.3)
    until("the refusals on record", lambda: [x for x in p.records() if "conn" in x["class"] and
                                             ("limit" in json.dumps(x) or "many" in json.dumps(x) or "refused" in json.dumps(x))])


@rule
def a_burst_of_connections_is_survived(p):
    for _ in range(300):
        try:
            hello(p).close()
        except OSError:
            pass
    until("service again", lambda: p.ssh("echo fine").out == b"fine\n", GRACE + 6, 0.3)
    for role in ("supervisor", "core", "spawn", "signer", "listener"):
        p.daemon(role)


@rule
def memory_is_limited(p):
    r = p.ssh("python3 -c 'x = bytearray(3_000_000_000); print(len(x))'", timeout=50)
    assert r.code != 0 and b"3000000000" not in r.out, r
    assert p.ssh("echo fine").out == b"fine\n"


@rule
def memory_in_files_counts_too(p):
    r = p.ssh("head -c 3000000000 /dev/zero >/dev/shm/x; ls -l /dev/shm/x | cut -d' ' -f5; echo over", timeout=50)
    assert b"3000000000" not in r.out, r
    r = p.ssh("head -c 3000000000 /dev/zero >~/x; stat -c %s ~/x", timeout=50)
    assert b"3000000000" not in r.out, r
    assert p.ssh("echo fine").out == b"fine\n"


@rule
def processes_are_limited(p):
    s = p.ssh_open("echo $$; python3 -c '\nimport os, time\nn = 0\ntry:\n while n < 5000:\n  if os.fork() == 0: time.sleep(30); os._exit(0)\n"
                   "  n += 1\nexcept OSError as e: print(n, e.errno, flush=True)\nelse: print(n, 0, flush=True)\n'; echo end; cat")
    try:
        s.stdout.readline()
        n, errno = map(int, s.stdout.readline().split())
        assert errno == 11 and n < 2000, (n, errno)
        r = p.ssh("for i in 1 2 3; do /bin/true || exit 9; done; echo fine")  # another session has its own
        assert r.out == b"fine\n", r
    finally:
        close_all(s)
    until(lambda: f"still there: {len(p.sandbox_pids())}", lambda: not p.sandbox_pids(), 5)


@rule
def a_busy_loop_does_not_starve_the_rest(p):
    hogs = [p.ssh_open("echo up; while :; do :; done") for _ in range(3)]
    try:
        for h in hogs:
            assert h.stdout.readline() == b"up\n"
        start = time.monotonic()
        assert p.ssh("echo fine").out == b"fine\n"
        assert time.monotonic() - start < 10
    finally:
        for h in hogs:
            close_all(h)


@rule
def open_files_are_limited(p):
    r = p.ssh("python3 -c '\nimport os\nn = 0\ntry:\n while n < 300000: os.open(\"/dev/null\", 0); n += 1\nexcept OSError as e: print(n, e.errno)\n'")
    n, errno = map(int, r.text.split())
    assert errno == 24 and n < 100000, r


@rule
def inodes_are_limited(p):
    r = p.ssh("python3 -c '\nimport os\nn = 0\ntry:\n while n < 400000: os.close(os.open(f\"/tmp/{n}\", 65)); n += 1\nexcept OSError as e: print(n, e.errno)\nelse: print(n, 0)\n'",
              timeout=55)
    n, errno = (map(int, r.text.split()) if r.text.split() else (0, 28))
    assert errno in (28, 12) or r.code == 137, r


@rule
def sessions_of_a_tenant_are_limited(p):
    key = p.cert("carol", ca="other")
    held = []
    try:
        for _ in range(TENANT):
            held.append(p.ssh_open("echo up; cat", key=key))
            assert held[-1].stdout.readline() == b"up\n"
        r = p.ssh("echo in", key=key)
        assert r.code in (254, 255) and r.out == b"", r
        if r.code == 254:
            assert r.err.startswith(b"postern: denied: "), r
        assert p.ssh("echo fine").out == b"fine\n"  # the other tenant has its own
    finally:
        for s in held:
            close_all(s)
    until("service again", lambda: p.ssh("echo fine", key=key).out == b"fine\n", 10, 0.3)


@rule
def a_session_ends_with_its_certificate(p):
    key = p.cert("fleeting", valid="-1m:+4s")
    s = p.ssh_open("echo up; cat", key=key)
    try:
        assert s.stdout.readline() == b"up\n"
        start = time.monotonic()
        s.wait(15)
        assert time.monotonic() - start < 10 and s.returncode != 0, s.returncode
    finally:
        close_all(s)
    until("nothing left", lambda: not p.sandbox_pids())


@rule
def a_lifetime_in_the_scope_ends_it_sooner(p):
    key = p.cert("short", options=['extension:scope@postern={"v":1,"lifetime_s":2}'])
    s = p.ssh_open("echo up; cat", key=key)
    try:
        assert s.stdout.readline() == b"up\n"
        s.wait(8)
        assert s.returncode != 0
    finally:
        close_all(s)


if __name__ == "__main__":
    main(limited)
