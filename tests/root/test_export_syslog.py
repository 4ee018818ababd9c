#!/usr/bin/env python3
"""Syslog over TLS to a real rsyslogd: order, nothing lost when either side is killed, and who is not spoken to."""
import json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))

import tap
from export_rig import Rig, until
from pki import Pki, read
from rsyslog import LINE, Rsyslogd
from tap import Skip, rule

tap.RULE_SECONDS = 200
PKI = tempfile.mkdtemp(prefix="postern-pki-")


def config(port, host="localhost", extra=""):
    return ("export:\n  - {name: siem, kind: syslog, to: \"%s:%d\", ca: ca.pem, cert: me.pem, key: me.key%s}\n"
            % (host, port, extra))


def files(pki, ca=None):
    cert, key = pki.cert("client")
    return {"ca.pem": (read((ca or pki).ca), 0o644), "me.pem": (read(cert), 0o644), "me.key": (read(key), 0o600)}


def in_order(seqs, n):
    assert list(dict.fromkeys(seqs)) == list(range(1, n + 1)), "each at least once, and in order"


def with_both(f):
    def run():
        if not shutil.which("rsyslogd"):
            raise Skip("no rsyslogd")
        pki = Pki(f"{PKI}/{f.__name__}")
        server = Rsyslogd(pki)
        rig = Rig(config(server.port), files(pki))
        try:
            f(rig, server)
        finally:
            rig.close()
            server.close()
    run.__name__ = f.__name__
    return rule(run)


@with_both
def sends_what_rsyslog_takes_apart(rig, server):
    rig.grow("demo", 150)
    rig.delivered("siem")
    in_order(server.seqs(), 150)
    m = server.lines()[0]
    assert int(m[1]) == 10 * 8 + 6 and m[5] == b"log.example/gw/t/demo" and m[3] == b"log.example"
    event = json.loads(m[9])
    assert event["raw_data"].encode() == rig.records("demo")[0] and event["metadata"]["sequence"] == 1
    assert [int(c[7]) for c in server.lines() if c[4] == b"checkpoint" and c[6] == b"demo"] == [150]


@with_both
def loses_nothing_when_the_exporter_is_killed(rig, server):
    for i in range(6):
        rig.grow("demo", 300)
        before = len(server.seqs())
        until("something of it", lambda: len(server.seqs()) > before)
        rig.kill()
        rig.start()
    rig.delivered("siem", timeout=120)
    in_order(server.seqs(), 1800)


@with_both
def loses_nothing_when_rsyslogd_is_killed(rig, server):
    for i in range(4):
        rig.grow("demo", 300)
        before = len(server.seqs())
        until("something of it", lambda: len(server.seqs()) > before)
        server.kill()
        rig.grow("demo", 20)
        rig.state("siem", "failing")
        rig.history.clear()
        server.start()
        rig.delivered("siem")  # so the next failure is a first one, and is got over in a second
    in_order(server.seqs(), 1280)
    rig.state("siem", "ok")


@with_both
def moves_its_cursor_only_while_the_connection_is_up(rig, server):
    rig.grow("demo", 1)
    rig.delivered("siem")
    os.kill(server.p.pid, signal.SIGSTOP)  # the kernel takes bytes, nobody reads them
    rig.grow("demo", 1)
    until("it was pulled", lambda: any(t == "export.pull" and o["from"] == 2 for t, o in rig.asked))
    server.kill()
    server.start()
    rig.delivered("siem")
    assert 2 in server.seqs()


class Closing:
    """A collector that takes connections and reads; the first one it closes when told."""

    def __init__(self, pki):
        self.seqs = []  # of each connection
        self.close_first = threading.Event()
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(*pki.cert("server"))
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self.accept, args=(c,), daemon=True).start()

    def accept(self, context):
        while True:
            try:
                conn, _ = self.s.accept()
            except OSError:
                return
            got = []
            self.seqs.append(got)
            threading.Thread(target=self.read, args=(context, conn, got, len(self.seqs) == 1), daemon=True).start()

    def read(self, context, conn, got, first):
        data = b""
        with context.wrap_socket(conn, server_side=True) as t:
            t.settimeout(0.05)
            while not (first and self.close_first.is_set()):
                try:
                    data += t.recv(65536) or b"\0"
                except TimeoutError:
                    continue
                if data.endswith(b"\0"):
                    return
                while b" " in data:
                    n, rest = data.split(b" ", 1)
                    if len(rest) < int(n):
                        break
                    m = LINE.match(rest[:int(n)])
                    if m and m[4] == b"record" and m[6] == b"demo":
                        got.append(int(m[7]))
                    data = rest[int(n):]


@rule
def takes_no_answer_of_before_for_the_next_records():
    """The connection breaks while the core is asked for the next page: what was sent is sent again."""
    pki = Pki(f"{PKI}/late")
    server = Closing(pki)
    rig = Rig(config(server.port, extra=", logs: [demo]"), files(pki), start=False)
    real, asked, go = rig.export_pull, threading.Event(), threading.Event()

    def late(o):
        if o["from"] > 1 and not asked.is_set():
            asked.set()
            go.wait(60)
        return real(o)
    rig.export_pull = late
    rig.maker.grow("demo", 1000)
    rig.maker.seal("demo")
    try:
        rig.start()
        assert asked.wait(60)
        server.close_first.set()
        until(rig.stderr, lambda: "closed the connection" in rig.stderr())
        go.set()
        rig.delivered("siem")
        in_order(server.seqs[1], 1000)
    finally:
        go.set()
        rig.close()
        server.s.close()


def refused(rig, why):
    rig.grow("demo", 3)
    rig.state("siem", "failing", why)
    time.sleep(1)
    assert rig.cursor("siem") == (0, 0)


@rule
def refuses_a_server_of_another_ca():
    pki, other = Pki(f"{PKI}/one"), Pki(f"{PKI}/other", "another CA")
    server = Rsyslogd(pki)
    rig = Rig(config(server.port), files(pki, ca=other))
    try:
        refused(rig, "certificate")
        assert not server.lines()
    finally:
        rig.close()
        server.close()


@rule
def refuses_a_server_of_another_name():
    pki = Pki(f"{PKI}/name")
    pki.cert("server")
    real, pki.cert = pki.cert, lambda name, san="DNS:siem.example.com": real(name, san)
    server = Rsyslogd(pki)
    rig = Rig(config(server.port), files(pki))
    try:
        refused(rig, "subject name")
        assert not server.lines()
    finally:
        rig.close()
        server.close()


@rule
def is_refused_without_a_client_certificate():
    pki = Pki(f"{PKI}/client")
    server = Rsyslogd(pki)
    rig = Rig(config(server.port).replace(", cert: me.pem, key: me.key", ""), files(pki))
    try:
        refused(rig, "")
        assert not server.lines()
    finally:
        rig.close()
        server.close()


@rule
def waits_for_nobody_who_hangs():
    """A server that accepts and says nothing holds up no other sink."""
    pki = Pki(f"{PKI}/hang")
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(8)
    rig = Rig(config(s.getsockname()[1]) + "  - {name: lake, kind: jsonl}\n", files(pki))
    try:
        rig.grow("demo", 500)
        rig.delivered("lake")
        assert rig.cursor("siem") == (0, 0)
        rig.state("siem", "failing", "timeout")
    finally:
        rig.close()
        s.close()


@rule
def does_not_take_a_key_that_others_can_read():
    pki = Pki(f"{PKI}/open")
    f = files(pki)
    f["me.key"] = (f["me.key"][0], 0o644)
    rig = Rig(config(1), f)
    try:
        until("it says so", lambda: "me.key" in rig.stderr())
        rig.grow("demo", 1)
        time.sleep(0.5)
        assert not [t for t, _ in rig.asked if t == "export.pull"]
    finally:
        rig.close()


@rule
def takes_a_reload_with_another_server():
    pki = Pki(f"{PKI}/reload")
    server = Rsyslogd(pki)
    rig = Rig(config(1), files(pki))
    try:
        rig.grow("demo", 5)
        rig.state("siem", "failing")
        rig.configure(config(server.port))
        rig.reload()
        rig.delivered("siem")
        in_order(server.seqs(), 5)
    finally:
        rig.close()
        server.close()


try:
    tap.main()
finally:
    shutil.rmtree(PKI)
