#!/usr/bin/env python3
"""The signer as a process: started as the supervisor starts it, asked as the core asks it."""
import array, json, os, socket, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import jose  # noqa: E402
from tap import main, rule  # noqa: E402

SIGNER = os.path.join(os.environ.get("BUILD", "build"), "libexec/postern/postern-signer")
UID = 0x70000000 + 2


def pair():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a.settimeout(10)
    return a, b


class Signer:
    def __init__(self, *extra):
        self.dir = tempfile.TemporaryDirectory(prefix="postern-signer-")
        os.chmod(self.dir.name, 0o700)
        os.chown(self.dir.name, UID, UID)
        self.links = []
        self.start(*extra)

    def start(self, *extra):
        keys = os.open(self.dir.name, os.O_RDONLY | os.O_DIRECTORY)
        stray = os.open("/etc/hostname", os.O_RDONLY)
        self.sup, theirs = pair()

        def child():
            os.dup2(theirs.fileno(), 60)
            os.dup2(keys, 61)
            os.dup2(stray, 62)
            os.dup2(60, 3)
            os.dup2(61, 4)
            os.dup2(62, 9)  # something that the supervisor forgot

        self.proc = subprocess.Popen([SIGNER, f"uid={UID}", f"gid={UID}", "keys=4", *extra], preexec_fn=child,
                                     close_fds=False, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        theirs.close()
        os.close(keys)
        os.close(stray)
        assert self.recv(self.sup)["type"] == "ready"
        self.core = self.link()

    def link(self):
        ours, theirs = pair()
        self.links.append(ours)
        rec = json.dumps({"v": 1, "id": 0, "type": "core.link", "body": {}}).encode()
        self.sup.sendmsg([rec], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        return ours

    @staticmethod
    def recv(sock):
        return json.loads(sock.recv(200000))

    def ask(self, type_, body, id_=1):
        self.core.send(json.dumps({"v": 1, "id": id_, "type": type_, "body": body}).encode())
        answer = self.recv(self.core)
        assert answer["id"] == id_, answer
        return answer["type"], answer["body"]

    def status(self):
        with open(f"/proc/{self.proc.pid}/status", encoding="ascii") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def stop(self):
        self.sup.close()
        code = self.proc.wait(10)
        self.proc.stderr.close()
        for s in self.links:
            s.close()
        return code

    def leftovers(self):
        return []

    def log_tail(self, _n=0):
        return ""

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.dir.cleanup()


def body(**more):
    now = int(time.time())
    return {"tenant": "demo", "role": "agent", "session": "s-1", "person": "jo", "audience": "https://api.example",
            "lease": "l-1", "issued_s": now, "expires_s": now + 600, **more}


@rule
def a_token_is_good_for_others(s):
    kind, answer = s.ask("jwt.sign", body())
    assert kind == "jwt.signed", answer
    kind, keys = s.ask("jwks.ask", {"tenant": "demo"})
    assert kind == "jwks.tell"
    claims = jose.verify(answer["token"], keys["jwks"])
    assert claims["sub"] == "tenant:demo:role:agent:session:s-1" and claims["aud"] == "https://api.example", claims
    assert claims["exp"] - claims["iat"] == 600 and claims["jti"] == "l-1" and claims["person"] == "jo", claims


@rule
def one_tenants_key_does_not_verify_anothers(s):
    _, answer = s.ask("jwt.sign", body(tenant="one"))
    _, keys = s.ask("jwks.ask", {"tenant": "two"})
    try:
        jose.verify(answer["token"], keys["jwks"])
    except AssertionError:
        return
    raise AssertionError("tenant two's keys verify tenant one's token")


@rule
def it_refuses_with_the_reason(s):
    kind, answer = s.ask("jwt.sign", body(expires_s=int(time.time()) + 700))
    assert kind == "sign.refused" and "600 s" in answer["reason"], answer


@rule
def keys_are_files_of_its_own(s):
    path = os.path.join(s.dir.name, "demo.es256")
    st = os.stat(path)
    assert (st.st_uid, st.st_mode & 0o7777) == (UID, 0o600), st
    out = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, check=False)
    assert out.returncode == 0 and b"ECDSA" in out.stdout, out


@rule
def it_is_confined(s):
    st = s.status()
    assert st["Uid"].split() == [str(UID)] * 4 and st["Gid"].split() == [str(UID)] * 4, st
    assert st["Groups"].strip() == "", st["Groups"]
    for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(st[caps], 16) == 0, (caps, st[caps])
    assert st["NoNewPrivs"] == "1" and st["Seccomp"] == "2", st
    fds = {n: os.readlink(f"/proc/{s.proc.pid}/fd/{n}") for n in os.listdir(f"/proc/{s.proc.pid}/fd")}
    assert "9" not in fds and not any("hostname" in v for v in fds.values()), fds
    for n, v in fds.items():
        assert int(n) < 3 or v == s.dir.name or v.startswith(("socket:", "anon_inode:", "pipe:")), fds


@rule
def a_rule_broken_costs_the_link_and_nothing_else(s):
    for record in (b"x", b'{"v":1,"id":1,"type":"shutdown","body":{}}',
                   b'{"v":1,"id":1,"type":"jwt.signed","body":{"token":"x"}}',
                   json.dumps({"v": 1, "id": 1, "type": "jwt.sign", "body": body(extra=1)}).encode(),
                   json.dumps({"v": 1, "id": 1, "type": "jwt.sign", "body": body(tenant="../x")}).encode()):
        s.core.send(record)
        assert s.core.recv(1000) == b"", record
        s.core = s.link()
        assert s.ask("jwt.sign", body())[0] == "jwt.signed"


@rule
def a_new_link_takes_the_place_of_the_old(s):
    old = s.core
    s.core = s.link()
    assert old.recv(1000) == b""
    assert s.ask("jwt.sign", body())[0] == "jwt.signed"


@rule
def keys_survive_a_restart(s):
    _, before = s.ask("jwks.ask", {"tenant": "demo"})
    assert s.stop() == 0
    s.start("issuer=https://issuer.example")
    _, after = s.ask("jwks.ask", {"tenant": "demo"})
    assert before == after
    _, answer = s.ask("jwt.sign", body())
    assert jose.verify(answer["token"], after["jwks"])["iss"] == "https://issuer.example"


@rule
def shutdown_ends_it_with_0(s):
    s.sup.send(json.dumps({"v": 1, "id": 0, "type": "shutdown", "body": {}}).encode())
    assert s.proc.wait(10) == 0
    s.start()


@rule
def wrong_arguments_end_it_with_2(_s):
    for args in ([], ["uid=0", "gid=1", "keys=4"], ["uid=1", "gid=1", "keys=3"], ["uid=1", "gid=1"], ["x"],
                 ["uid=1", "gid=1", "keys=4", "issuer="], ["uid=-1", "gid=1", "keys=4"]):
        out = subprocess.run([SIGNER, *args], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        assert out.returncode == 2, (args, out)


main(Signer)
