"""What the tests of the sshd route share: Postern with Unix accounts, an sshd in front, and connections through it."""
import os, re, select

from postern import BUILD, Postern, close_all, run, until
from sshd import Sshd
from tap import main

ACCOUNTS = {"demo-agent": "agent", "other-agent": "agent", "nobody-agent": "agent"}
DENIED = b"postern: denied: "


class Route:
    """A running Postern whose roles name Unix accounts, and an sshd in front of it."""

    def __init__(self):
        self.p = Postern()
        self.d = None
        try:
            for tenant in ("demo", "other"):
                self.name_account(tenant)
            r = self.p.postern("reload")
            assert r.code == 0, r
            self.d = Sshd(self.p, ACCOUNTS)
            self.keys = {"alice": self.p.cert("alice"), "olga": self.p.cert("olga", ca="other")}
        except BaseException:
            self.close()
            raise

    def name_account(self, tenant):
        path = f"{self.p.state}/etc/tenants/{tenant}.yaml"
        with open(path) as f:
            text = f.read()
        new = re.sub(r"(?m)^( +)agent:[ \t]*\n", rf"\1agent:\n\1  unix: {tenant}-agent\n", text, count=1)
        assert new != text, text
        with open(path, "w") as f:
            f.write(new)

    def log_tail(self, n=30):
        return "\n".join(["sshd:", self.d.log_tail(n) if self.d else "", "postern:", self.p.log_tail(n)])

    def sessions(self):
        return [s["id"] for s in self.p.sessions()]

    def all_gone(self, timeout=3.0):
        until(lambda: f"{self.p.sessions()} {self.p.sandbox_pids()}",
              lambda: not self.p.sessions() and not self.p.sandbox_pids(), timeout)

    def stop(self):
        if self.d:
            self.d.close()
            self.d = None
        return self.p.stop()

    def leftovers(self):
        return self.p.leftovers()

    def close(self):
        if self.d:
            self.d.close()
        self.p.close()


class Held:
    """A connection with `cat` running in its sandbox."""

    def __init__(self, d, user="demo-agent", key="alice", opts=()):
        self.p = d.ssh_open("echo $$ here; exec cat", user=user, key=key, opts=opts)
        line = self.p.stdout.readline()
        assert line.endswith(b" here\n"), (line, self.p.stderr.read())

    def answers(self, text=b"still\n"):
        self.p.stdin.write(text)
        self.p.stdin.flush()
        assert select.select([self.p.stdout], [], [], 5)[0], "no answer"
        return self.p.stdout.readline() == text

    def ended(self, timeout=3):
        return self.p.wait(timeout)

    def close(self):
        close_all(self.p)


def refused(r, why=b""):
    """By Postern, with its reason, and nothing ran."""
    assert r.code == 254 and DENIED in r.out + r.err and why in r.out + r.err, r
    assert b"ran" not in r.out.splitlines(), r


class Other:
    """Another sshd for one rule."""

    def __init__(self, t, outside=(), **kw):
        self.d = Sshd(t.p, ACCOUNTS, outside=outside, **kw)

    def __enter__(self):
        return self.d

    def __exit__(self, *_):
        self.d.close()


class Master:
    """A connection that others share."""

    def __init__(self, t, directory):
        self.t, self.path = t, directory + "/m"

    def __enter__(self):
        r = self.t.d.ssh(flags=("-M", "-N", "-f", "-S", self.path))
        assert r.code == 0, r
        return self.path

    def __exit__(self, *_):
        run(["ssh", "-S", self.path, "-O", "exit", "x"])


def run_rules():
    """main(), unless sshd cannot load what was built."""
    if b"libasan" in run(["ldd", BUILD + "/lib/security/pam_postern.so"]).out:
        print("1..1\nok 1 - the_sshd_route # SKIP sshd cannot load a module built with sanitizers")
    else:
        main(Route)
