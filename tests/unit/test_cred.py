#!/usr/bin/env python3
"""postern-cred against a service of the test's own."""
import json, os, socket, subprocess, sys, threading

CRED = os.path.join(os.environ.get("BUILD", "build"), "libexec/postern/postern-cred")
_rules = []


def rule(f):
    _rules.append(f)
    return f


class Service:
    """Answers one connection with these bytes (piece by piece) and keeps what was asked."""

    def __init__(self, *pieces, family=socket.AF_INET, close_first=False):
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.sock.listen(1)
        self.sock.settimeout(10)
        self.pieces, self.asked, self.close_first = pieces, b"", close_first
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        try:
            conn, _ = self.sock.accept()
        except OSError:
            return
        with conn:
            if self.close_first:
                return
            while b"\n" not in self.asked:
                got = conn.recv(4096)
                if not got:
                    return
                self.asked += got
            for p in self.pieces:
                try:
                    conn.sendall(p)
                except OSError:
                    return

    def name(self):
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def run(self, *args):
        out = subprocess.run([CRED, *args], capture_output=True, timeout=60,
                             env={"POSTERN_CRED": self.name()})
        self.sock.close()
        self.thread.join()
        return out.returncode, out.stdout, out.stderr


GET = b'{"ok":true,"lease":"l-1","value":"a.b.c","expires":1795449600}\n'


@rule
def get_prints_the_value_alone():
    s = Service(GET)
    code, out, err = s.run("get", "jwt", "https://api.example")
    assert (code, out) == (0, b"a.b.c\n"), (code, out, err)
    assert b"l-1" in err
    assert json.loads(s.asked) == {"op": "get", "kind": "jwt", "audience": "https://api.example"}
    assert s.asked.endswith(b"}\n") and s.asked.count(b"\n") == 1


@rule
def list_prints_a_table():
    s = Service(b'{"ok":true,"credentials":[{"kind":"jwt","audience":"https://a"},'
                b'{"audience":"b \\"c\\"","kind":"jwt"}]}\n')
    code, out, _ = s.run("list")
    assert code == 0
    assert out.decode().splitlines() == ["KIND     AUDIENCE", "jwt      https://a", 'jwt      b "c"'], out
    assert json.loads(s.asked) == {"op": "list"}
    code, out, _ = Service(b'{"ok":true,"credentials":[]}\n').run("list")
    assert (code, out) == (0, b"KIND     AUDIENCE\n")


@rule
def release_says_which_lease():
    s = Service(b'{"ok":true}\n')
    assert s.run("release", "l-1")[:2] == (0, b"")
    assert json.loads(s.asked) == {"op": "release", "lease": "l-1"}


@rule
def json_is_passed_on_wherever_the_option_stands():
    for args in (["--json", "get", "jwt", "a"], ["get", "jwt", "a", "--json"]):
        code, out, err = Service(GET).run(*args)
        assert (code, out, err) == (0, GET, b""), (code, out, err)


@rule
def a_refusal_gives_its_reason_and_1():
    code, out, err = Service(b'{"ok":false,"error":"the session has ended"}\n').run("get", "jwt", "a")
    assert (code, out) == (1, b"")
    assert err == b"postern-cred: refused: the session has ended\n", err


@rule
def an_answer_may_come_in_pieces():
    code, out, _ = Service(*[GET[i:i + 1] for i in range(len(GET))]).run("get", "jwt", "a")
    assert (code, out) == (0, b"a.b.c\n")


@rule
def arguments_are_quoted():
    for text in ('a"b\\c', "ä€😀", "a\nb\x01", "{}"):
        s = Service(GET)
        assert s.run("get", "jwt", text)[0] == 0
        assert json.loads(s.asked)["audience"] == text


@rule
def arguments_that_cannot_be_said_are_refused():
    for text in ("", "x" * 257, b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
        out = subprocess.run([CRED, "get", "jwt", text], capture_output=True,
                             env={"POSTERN_CRED": "127.0.0.1:1"})
        assert out.returncode == 2, (text, out)


@rule
def wrong_usage_is_2():
    for args in ([], ["get"], ["get", "jwt"], ["get", "a", "b", "c"], ["list", "x"], ["release"], ["other"],
                 ["--other", "list"], ["-x"]):
        out = subprocess.run([CRED, *args], capture_output=True)
        assert out.returncode == 2 and b"usage:" in out.stderr and out.stdout == b"", (args, out)
    out = subprocess.run([CRED, "--help"], capture_output=True)
    assert out.returncode == 0 and b"usage:" in out.stdout


@rule
def no_service_is_3():
    for where in ("127.0.0.1:1", "nonsense", "127.0.0.1:", "127.0.0.1:x", "x" * 400 + ":1"):
        out = subprocess.run([CRED, "list"], capture_output=True, env={"POSTERN_CRED": where})
        assert out.returncode == 3 and b"no credential service" in out.stderr, (where, out)
    assert Service(close_first=True).run("list")[0] == 3


@rule
def an_answer_without_sense_is_3():
    bad = [b"\n", b"x\n", b"{}\n", b"[]\n", b'{"ok":1\n', b'{"ok":true}x\n', b'{"ok":true}\n', b'{"ok":"true"}\n',
           b'{"ok":true,"lease":"l","value":1}\n', b'{"ok":true,"value":"x"}\n', b'{"ok":false}\n',
           b'{"ok":true,"ok":true,"lease":"l","value":"x"}\n', b'{"ok":true,"lease":"l","value":"a\\u0000"}\n',
           b'{"ok":true,"lease":"l","value":"\x1b[2J"}\n', b'{"ok":true,"lease":"l","value":"\\u001b[2J"}\n',
           b'{"ok":true,"lease":"l","value":"\xc2\x9b2J"}\n', b'{"ok":true,"lease":"l","value":"\xff"}\n',
           b'{"ok":true,"lease":"l","value":"a\\nb"}\n', b'{"ok":false,"error":"\\u009b2J"}\n',
           b'{"ok":true,"x":' + b"[" * 20 + b"]" * 20 + b"}\n", GET[:-1], b"x" * 70000]
    for answer in bad:
        code, out, err = Service(answer).run("get", "jwt", "a")
        assert code == 3 and out == b"", (answer[:80], code, out, err)


@rule
def an_address_of_version_6_is_in_brackets():
    try:
        s = Service(GET, family=socket.AF_INET6)
    except OSError:
        return
    assert s.run("get", "jwt", "a")[:2] == (0, b"a.b.c\n")


def main():
    print(f"1..{len(_rules)}")
    failed = 0
    for n, f in enumerate(_rules, 1):
        try:
            f()
            print(f"ok {n} - {f.__name__}", flush=True)
        except Exception as e:
            failed += 1
            print(f"not ok {n} - {f.__name__}\n# {e!r}", flush=True)
    sys.exit(1 if failed else 0)


main()
