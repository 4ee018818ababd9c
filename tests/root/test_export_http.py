#!/usr/bin/env python3
"""OTLP over HTTP and witnesses: servers that follow the protocol, and servers that do not."""
import base64, http.server, json, os, re, shutil, ssl, sys, tempfile, threading, time
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))

import tap, tlog
from export_rig import Rig, until
from pki import Pki, read
from tap import rule

tap.RULE_SECONDS = 150


class Server:
    """answer(path, body, headers) -> (status, headers, body) or None to hang."""

    def __init__(self, answer, pki=None, san="DNS:localhost,IP:127.0.0.1"):
        outer = self
        self.requests = []
        self.stop = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.path, body, dict(self.headers), time.monotonic()))
                got = answer(self.path, body, self.headers)
                if got is None:
                    outer.stop.wait(120)
                    return
                status, headers, out = got
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                try:
                    self.wfile.write(out)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass
        self.s = Threads(("127.0.0.1", 0), Handler)
        self.s.daemon_threads = True
        self.port = self.s.server_address[1]
        if pki:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            c.load_cert_chain(*pki.cert("server", san))
            self.s.socket = c.wrap_socket(self.s.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.s.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.stop.set()
        self.s.shutdown()
        self.s.server_close()


# ---- OTLP ----

def seqs_of(body, kind="record"):
    out = []
    for r in json.loads(body)["resourceLogs"]:
        for l in r["scopeLogs"]:
            for rec in l["logRecords"]:
                attributes = {a["key"]: list(a["value"].values())[0] for a in rec["attributes"]}
                if attributes["postern.kind"] == kind:
                    out.append(int(attributes["postern.seq"]))
    return out


class Otlp(Server):
    """Keeps what it took; script: answers that come first, each once."""

    def __init__(self, script=(), poison=(), **kw):
        self.taken, self.checkpoints, self.script, self.poison = [], [], list(script), set(poison)
        super().__init__(self.take, **kw)

    def take(self, path, body, headers):
        assert path == "/v1/logs" and headers["Content-Type"] == "application/json"
        seqs = seqs_of(body)
        if self.script:
            return self.script.pop(0)
        if self.poison & set(seqs):
            return 400, {}, b'{"code":3,"message":"bad \x1b[31m record"}'
        self.taken += seqs
        self.checkpoints += seqs_of(body, "checkpoint")
        return 200, {"Content-Type": "application/json"}, b"{}"


def otlp(port, extra="", scheme="http"):
    return f'export:\n  - {{name: otel, kind: otlp, url: "{scheme}://localhost:{port}/v1/logs", logs: [demo]{extra}}}\n'


def with_otlp(**kw):
    def wrap(f):
        def run():
            server = Otlp(**kw)
            rig = Rig(otlp(server.port))
            try:
                f(rig, server)
            finally:
                rig.close()
                server.close()
        run.__name__ = f.__name__
        return rule(run)
    return wrap


@with_otlp()
def sends_records_and_checkpoints_as_otlp(rig, server):
    rig.grow("demo", 250)
    rig.delivered("otel")
    assert server.taken == list(range(1, 251)) and server.checkpoints == [250]
    r = json.loads(server.requests[0][1])["resourceLogs"][0]
    rec = r["scopeLogs"][0]["logRecords"][0]
    assert rec["severityNumber"] == 9 and rec["timeUnixNano"].isdigit()
    assert json.loads(rec["body"]["stringValue"])["raw_data"].encode() == rig.records("demo")[0]


@with_otlp(script=[(503, {"Retry-After": "3"}, b""), (429, {"Retry-After": "2"}, b"slow")])
def waits_as_long_as_the_server_says(rig, server):
    rig.grow("demo", 3)
    rig.delivered("otel")
    at = [t for _, _, _, t in server.requests]
    assert at[1] - at[0] > 2.9 and at[2] - at[1] > 1.9, at
    assert server.taken == [1, 2, 3]
    rig.state("otel", "failing", "503")
    rig.state("otel", "ok")


@with_otlp(poison=(5, 6, 117))
def passes_over_a_poisoned_record_alone_and_says_so(rig, server):
    rig.grow("demo", 200)
    rig.delivered("otel")
    assert server.taken == [i for i in range(1, 201) if i not in server.poison]
    assert [s[:3] for s in rig.skips] == [("otel", "demo", n) for n in (5, 6, 117)] and "400" in rig.skips[0][3]


def always(status, body=b"", headers=None):
    return [(status, headers or {}, body)] * 1000


@with_otlp(script=always(400))
def passes_over_nothing_when_the_server_refuses_everything(rig, server):
    rig.grow("demo", 5)
    rig.state("otel", "failing", "even for an empty request")
    server.script.clear()
    rig.delivered("otel")
    assert not rig.skips and server.taken == [1, 2, 3, 4, 5]


@with_otlp(script=[(401, {}, b"who are you")])
def drops_nothing_when_it_may_not_speak(rig, server):
    rig.grow("demo", 2)
    rig.delivered("otel")
    assert not rig.skips and server.taken == [1, 2]


@with_otlp(script=[(200, {}, b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}')])
def records_what_was_rejected_and_does_not_send_it_again(rig, server):
    rig.grow("demo", 4, seal=False)
    rig.maker.seal("demo")
    rig.grown()
    rig.delivered("otel")
    assert server.taken == [] and len(rig.skips) == 1 and "too old" in rig.skips[0][3]


@with_otlp(script=[(200, {}, b'{"partialSuccess":{"rejectedLogRecords":"2"}}')])
def does_not_hide_what_was_rejected_behind_a_record_of_a_skip(rig, server):
    """The core makes no record when a record of a skip is skipped: another one has to be named."""
    rig.maker.grow("demo", 3)
    rig.maker.grow("demo", 2, **{"class": "export.skipped"})
    rig.maker.seal("demo")
    rig.grown()
    rig.delivered("otel")
    assert [s[2] for s in rig.skips] == [3] and "2 of 1 to 5" in rig.skips[0][3], rig.skips


@with_otlp(script=[(200, {}, b"<html>hello</html>"), (200, {}, b"x" * (1 << 20)), (302, {"Location": "/"}, b""),
                   (200, {}, b'{"partialSuccess":[]}')])
def believes_no_answer_that_is_none(rig, server):
    rig.grow("demo", 2)
    rig.delivered("otel", timeout=90)
    assert server.taken == [1, 2]
    for why in ("not OTLP", "too long", "302"):
        rig.state("otel", "failing", why)


@rule
def lets_a_server_that_hangs_hold_up_nobody():
    slow, quick = Server(lambda *a: None), Otlp()
    rig = Rig(otlp(slow.port) + otlp(quick.port).split("\n", 1)[1].replace("otel", "quick"))
    try:
        rig.grow("demo", 300)
        rig.delivered("quick", timeout=20)
        assert rig.cursor("otel") == (0, 0)
        rig.state("otel", "failing", "imed out", timeout=60)
    finally:
        rig.close()
        slow.close()
        quick.close()


PKI = tempfile.mkdtemp(prefix="postern-pki-")


@rule
def sends_its_headers_to_the_server_it_verified():
    pki, other = Pki(PKI + "/1"), Pki(PKI + "/2", "another")
    server = Otlp(pki=pki)
    extra = ", ca: ca.pem, headers: otel.headers"
    rig = Rig(otlp(server.port, extra, "https"),
              {"ca.pem": (read(other.ca), 0o644), "otel.headers": ("# mine\nAuthorization: Bearer s3cret\n", 0o600)})
    try:
        rig.grow("demo", 2)
        rig.state("otel", "failing", "certificate")
        assert not server.requests
        rig.configure(otlp(server.port, extra, "https"), {"ca.pem": (read(pki.ca), 0o644)})
        rig.reload()
        rig.delivered("otel")
        assert server.requests[0][2]["Authorization"] == "Bearer s3cret"
        assert "s3cret" not in rig.stderr() + json.dumps(rig.history)
    finally:
        rig.close()
        server.close()


@rule
def refuses_an_https_server_of_another_name():
    pki = Pki(PKI + "/3")
    server = Otlp(pki=pki, san="DNS:otel.example.com")
    rig = Rig(otlp(server.port, ", ca: ca.pem", "https"), {"ca.pem": (read(pki.ca), 0o644)})
    try:
        rig.grow("demo", 2)
        rig.state("otel", "failing", "subject name")
        assert not server.requests
    finally:
        rig.close()
        server.close()


# ---- witnesses ----

class Witness(Server):
    """c2sp.org/tlog-witness, in Python."""

    def __init__(self, name="witness.example/w", known=("log.example/gw", "log.example/gw/t/demo"), script=(), **kw):
        self.name, self.seed, self.known = name, os.urandom(32), known
        self.sizes, self.roots, self.script, self.lie = {}, {}, list(script), None
        super().__init__(self.add, **kw)

    @property
    def key(self):
        return tlog.vkey(self.name, tlog.public(self.seed), 4)

    def add(self, path, body, headers):
        assert path == "/w/add-checkpoint", path
        if self.script:
            return self.script.pop(0)
        head, note = body.decode().split("\n\n", 1)
        old, *proof = head.split("\n")
        old, proof = int(re.fullmatch(r"old (\d+)", old)[1]), [base64.b64decode(p) for p in proof]
        text = note.split("\n\n")[0] + "\n"
        origin, size, root = text.split("\n")[:3]
        size, root = int(size), base64.b64decode(root)
        if origin not in self.known:
            return 404, {}, b"unknown log"
        have = self.sizes.get(origin, 0)
        if old != have:
            return 409, {"Content-Type": "text/x.tlog.size"}, b"%d\n" % have
        if have and have < size:
            good = tlog.roots_from_subproof(have, size, proof, self.roots[origin]) == (self.roots[origin], root)
        else:
            good = have != size or root == self.roots[origin]
        if not good:
            return 422, {}, b"no"
        self.sizes[origin], self.roots[origin] = size, root
        line = tlog.cosignature(self.name, self.seed, text, int(time.time()))
        return 200, {}, (self.lie or (lambda l: l))(line if isinstance(line, bytes) else line.encode())


def witnesses(*ws):
    return "witnesses:\n  list:\n" + "".join(
        f'    - {{key: "{w.key}", url: "http://127.0.0.1:{w.port}/w/"}}\n' for w in ws)


def with_witness(**kw):
    def wrap(f):
        def run():
            w = Witness(**kw)
            rig = Rig(witnesses(w))
            try:
                f(rig, w)
            finally:
                rig.close()
                w.close()
        run.__name__ = f.__name__
        return rule(run)
    return wrap


def signed(rig, log="demo"):
    return [s[1] for s in rig.signed if s[0] == log]


@with_witness()
def has_each_newest_checkpoint_cosigned(rig, w):
    for n in (5, 7, 1):
        rig.grow("demo", n)
        size = len(rig.records("demo"))
        until("its cosignature", lambda: size in signed(rig))
    rig.maker.seal("host")
    rig.grown()
    until("the host's", lambda: signed(rig, "host"))
    log, size, name, line = rig.signed[0]
    note = dict(rig.bundle("demo").checkpoints)[size] + line
    assert name == w.name and tlog.signed_by(note, name, tlog.public(w.seed), 4)
    assert not rig.conflicts
    assert max(int(b.split(b"\n")[0][4:]) for _, b, _, _ in w.requests) >= 12, "it remembers the size"


@with_witness()
def learns_the_size_of_a_witness_when_started_anew(rig, w):
    rig.grow("demo", 9)
    until("its cosignature", lambda: 9 in signed(rig))
    rig.kill()
    rig.signed.clear()
    rig.start()
    rig.grow("demo", 4)
    until("its cosignature", lambda: 13 in signed(rig))
    assert not rig.conflicts


@with_witness()
def reports_a_witness_that_has_seen_more(rig, w):
    w.sizes["log.example/gw/t/demo"], w.roots["log.example/gw/t/demo"] = 1000, bytes(32)
    rig.grow("demo", 5)
    until("the conflict", lambda: rig.conflicts)
    assert rig.conflicts[0][:3] == ("demo", 1000, w.name)
    rig.state(w.name, "conflict", "1000")
    rig.maker.seal("host")
    rig.grown()
    until("the host's log is not held up", lambda: signed(rig, "host"))
    time.sleep(2)
    assert len(rig.conflicts) == 1, "once"


@with_witness()
def reports_a_witness_that_has_seen_something_else(rig, w):
    rig.grow("demo", 5)
    until("its cosignature", lambda: 5 in signed(rig))
    w.roots["log.example/gw/t/demo"] = os.urandom(32)
    rig.grow("demo", 5)
    until("the conflict", lambda: rig.conflicts)
    assert "422" in rig.conflicts[0][3] and 10 not in signed(rig)


@with_witness(known=("log.example/gw",))
def is_not_held_up_by_a_log_that_a_witness_does_not_know(rig, w):
    rig.grow("demo", 5)
    rig.state(w.name, "failing", "404")
    rig.maker.seal("host")
    rig.grown()
    until("the host's", lambda: signed(rig, "host"))
    assert not rig.conflicts


@with_witness()
def hands_on_no_cosignature_that_does_not_hold(rig, w):
    w.lie = lambda line: line[:-10] + b"AAAA" + line[-6:]
    rig.grow("demo", 5)
    rig.state(w.name, "failing")
    assert not rig.signed
    w.lie = lambda line: b"\xe2\x80\x94 other.example AAAAAAAA\n" + line
    until("a good one among others", lambda: 5 in signed(rig))


@with_witness(script=[(200, {}, b""), (200, {}, b"x" * (1 << 20)), (409, {}, b"99999999999999999999999"),
                      (500, {}, b"\x1b[31m"), (409, {}, b"3\n"), (409, {}, b"2\n")])
def gets_over_answers_that_are_none(rig, w):
    rig.grow("demo", 5)
    until(lambda: f"its cosignature: {rig.history}", lambda: 5 in signed(rig), 100)
    rig.state(w.name, "ok")


@with_witness(script=[(500, {}, b"")] * 4)
def asks_a_witness_that_fails_ever_less_often(rig, w):
    rig.grow("demo", 5)
    until("its cosignature", lambda: 5 in signed(rig), 100)
    times = [t for _, _, _, t in w.requests]
    assert times[3] - times[2] > 2, times


@rule
def lets_a_witness_that_hangs_hold_up_no_other():
    class Hangs(Witness):
        def add(self, *_):
            return None
    slow, quick = Hangs("slow.example/w"), Witness()
    rig = Rig(witnesses(slow, quick))
    try:
        rig.grow("demo", 5)
        until("the other's", lambda: rig.signed, 20)
        assert rig.signed[0][2] == quick.name
    finally:
        rig.close()
        slow.close()
        quick.close()


try:
    tap.main()
finally:
    shutil.rmtree(PKI)
