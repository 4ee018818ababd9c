#!/usr/bin/python3
"""A descriptor with SO_LINGER puts whoever drops its last reference to sleep for as long as its sender chose. So
no descriptor that an agent holds can carry one to us: none is AF_UNIX."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, time

import proc
from postern import Postern, close_all
from tap import main, rule

# Run inside: tries to hand a lingering TCP socket with a full send queue to whatever it can find, and says
# which of its descriptors took it.
SENDER = r"""
import array, json, os, socket, struct
linger = []
srv = socket.socket(); srv.bind(('127.0.0.1', 0)); srv.listen(8)
def lingering():
    c = socket.create_connection(srv.getsockname())
    try:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 60))
        linger.append('set')
    except PermissionError:
        linger.append('refused')  # a filter may refuse it altogether
    c.setblocking(False)
    try:
        while True: c.send(b'x' * 65536)
    except BlockingIOError:
        pass
    return c
took, unix = [], []
fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))
for fd in fds:
    if fd > 2: continue
    try:
        s = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
    if s.family == socket.AF_UNIX: unix.append(fd)
    try:
        s.sendmsg([b'{}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [lingering().fileno()]))])
        took.append(fd)
    except OSError:
        pass
# the credential service: a TCP socket takes no descriptors
c = socket.create_connection(('127.0.0.1', 4712))
l = lingering()
try:
    c.sendmsg([b'{}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [l.fileno()]))])
    rights = 'sent'
except OSError as e:
    rights = e.errno
c.close()
# AF_UNIX paths that lead out of the sandbox
paths = []
for base in ('/run', '/var/run', '/tmp', '/dev'):
    for d, _, names in os.walk(base):
        for n in names:
            f = os.path.join(d, n)
            try:
                if os.path.exists(f) and (os.stat(f).st_mode & 0o170000) == 0o140000: paths.append(f)
            except OSError:
                pass
# and the abstract ones
abstract = [x.split()[-1] for x in open('/proc/net/unix').read().splitlines()[1:] if '@' in x]
print(json.dumps({'took': took, 'unix': unix, 'paths': paths, 'abstract': abstract, 'tcp': rights, 'linger': linger}), flush=True)
os._exit(0)  # without closing: the linger is for others
"""


def send(p, **kw):
    r = p.ssh("cat >/tmp/s.py; exec python3 /tmp/s.py </dev/null",
              input=SENDER.encode(), **kw)
    assert r.code == 0, r
    return json.loads(r.text.splitlines()[-1])


@rule
def an_agent_holds_no_socket_of_ours(p):
    got = send(p)
    assert got["unix"] == [] and got["took"] == [], got
    assert got["paths"] == [] and got["abstract"] == [], got


@rule
def the_way_back_from_init_is_shut(p):
    s = p.ssh_open("echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n"
        for pid in p.sandbox_pids():
            socks = [n for n, v in proc.fds(pid).items() if v.startswith("socket:")]
            if (proc.uids(pid)[0] - p.ids) % 65536 == 1000:
                assert not socks, (pid, proc.fds(pid))
            else:
                assert len(socks) <= 1, (pid, proc.fds(pid))
    finally:
        close_all(s)


@rule
def our_processes_never_sleep_for_an_agent(p):
    # several agents do their worst; everybody else is served at once
    bad = [p.ssh_open("cat >/tmp/s.py; python3 /tmp/s.py </dev/null; echo done; cat") for _ in range(3)]
    try:
        for b in bad:
            b.stdin.write(SENDER.encode())
            b.stdin.close()
        slowest = 0
        for _ in range(10):
            start = time.monotonic()
            assert p.ssh("echo quick").out == b"quick\n"
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 4, slowest
    finally:
        for b in bad:
            close_all(b)
    start = time.monotonic()
    assert p.ssh("echo quick").out == b"quick\n" and time.monotonic() - start < 4


if __name__ == "__main__":
    main(Postern)
