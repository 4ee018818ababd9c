"""A gateway with short limits and the means to break its rules: raw sockets, and paramiko's transport with hand-made
packets. For the tests under tests/root/test_gateway_*.py.
"""
import logging, socket, time, warnings

from fake_core import Gateway, equal, is_cert

warnings.filterwarnings("ignore")
import paramiko  # noqa: E402
from paramiko import Message  # noqa: E402

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def judge(user, method, key, proved):
    return "certificate expired at noon" if user == "banner" else is_cert(key)


gw = Gateway(config="login_grace: 2s\nmax_connections: 40\nmax_per_source: 30\nbroker_timeout: 2s\n"
                    "keepalive_interval: 1s\nkeepalive_count: 2", spares=4, judge=judge)


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


def with_service(fn):
    """fn(t) on a transport that has asked for ssh-userauth: paramiko does so by itself only inside auth_*."""
    def one():
        t = transport()
        m = Message()
        m.add_byte(b"\x05")
        m.add_string("ssh-userauth")
        t._send_message(m)
        fn(t)
    status_of(one, [(12, 0)])


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
