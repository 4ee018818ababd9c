#!/usr/bin/python3
# Clients that are not let in: silent, garbled, guessing, flooding.
import os, random, socket, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import Gateway, Tap, equal
from gateway_rig import (Message, closed_within, gone_soon, gw, key, paramiko, raw, status_of, still_works, transport,
                         userauth, with_service)

HELPERS = ()


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


def refused_reason_comes_as_a_banner():
    t = transport()
    try:
        t.auth_publickey("banner", key())
        raise AssertionError("let in")
    except paramiko.AuthenticationException:
        pass
    equal(t.get_banner(), b"postern: denied: certificate expired at noon\r\n")
    t.close()


def six_failures_and_no_more():
    def one(t):
        before = len([b for b in gw.said("auth.check") if b["method"] == "password"])
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
        end = time.monotonic() + 10
        while t.is_active() and time.monotonic() < end:
            time.sleep(0.02)
        assert not t.is_active()
        tries = lambda: len([b for b in gw.said("auth.check") if b["method"] == "password"]) - before
        gw.wait(lambda: tries() >= 6, 10)
        gw.wait(lambda: False, 0.3)
        equal(tries(), 6)
    with_service(one)


def other_packets_are_no_attempts():
    # IGNORE, UNIMPLEMENTED, DEBUG: a client may send them at any time (RFC 4253 11), and paramiko answers so
    def one(t):
        before = len([b for b in gw.said("auth.check") if b["method"] == "password"])
        tries = lambda: len([b for b in gw.said("auth.check") if b["method"] == "password"]) - before
        for n in range(1, 7):
            for code, rest in ((2, b"\0\0\0\1x"), (3, b"\0\0\0\0"), (4, b"\0" + b"\0\0\0\0" * 2)):
                t._send_message(Message(bytes([code]) + rest))
            assert gw.wait(lambda: t.is_active() and tries() == n - 1, 5), (n, tries())
            userauth(t, "agent", "password", b"\0\0\0\0\5guess")
            assert gw.wait(lambda: tries() == n, 10), (n, tries())
        gone_soon(t, 2)
        equal(tries(), 6)
    with_service(one)


def another_user_name_is_the_end():
    def one(t):
        userauth(t, "agent", "none")
        userauth(t, "root", "none")
        gone_soon(t, 1)
    with_service(one)


def a_flood_of_none_is_cut():
    def one(t):
        n = len([b for b in gw.said("auth.check") if b["method"] == "none"])
        try:
            for _ in range(2000):
                userauth(t, "agent", "none")
        except (OSError, EOFError):
            pass
        gone_soon(t, 1)
        assert len([b for b in gw.said("auth.check") if b["method"] == "none"]) - n <= 7
    with_service(one)


def keyboard_interactive_and_gssapi_are_refused():
    def one(t):
        for _ in range(3):
            userauth(t, "agent", "keyboard-interactive", b"\0\0\0\0\0\0\0\0")
        for _ in range(3):
            userauth(t, "agent", "gssapi-with-mic", b"\0\0\0\1\0\0\0\x0b\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02")
        gone_soon(t, 1)
    with_service(one)
    assert any(b["method"] == "gssapi-with-mic" for b in gw.said("auth.check"))


def a_bad_signature_is_not_left_hanging():
    # libssh 0.10.6 answers nothing, and no callback fires
    def one(t):
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
    with_service(one)


def an_unknown_key_type_is_not_left_hanging():
    def one(t):
        rest = Message()
        rest.add_boolean(False)
        rest.add_string("ssh-mldsa-44@example")
        blob = Message()
        blob.add_string("ssh-mldsa-44@example")
        blob.add_string(b"\x05" * 64)
        rest.add_string(blob.asbytes())
        userauth(t, "agent", "publickey", rest.asbytes())
        gone_soon(t, 1.9)
    with_service(one)


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


def nothing_is_left():
    assert gw.wait(lambda: len(gw.worker_pids()) <= 4, 6), "workers are left"
    assert not [s for s in gw.statuses if s[0] == 1 or s[1]], gw.statuses


tests = [v for v in list(globals().values())
         if callable(v) and getattr(v, "__module__", "") == "__main__" and v.__name__ not in HELPERS]
if len(sys.argv) > 1:
    tests = [t for t in tests if t.__name__ in sys.argv[1:]]
tap = Tap(len(tests))
for t in tests:
    tap.run(t.__name__, t)
gw.close()
sys.exit(1 if tap.failed else 0)
