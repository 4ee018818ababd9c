#!/usr/bin/python3
"""Whom a stock sshd in front of Postern does not let in: by its own judgement, by the core's, or because one of the two is not there."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import os, signal, tempfile, time

from postern import BUILD, run, until
from sshd_route import DENIED, Held, Other, refused, run_rules
from tap import rule


# ---- no way in ----

@rule
def sshd_refuses_what_is_not_a_good_certificate(t):
    cases = {
        "no principal of the role": t.p.cert("elsewhere", principals="builder"),
        "expired": t.p.cert("late", valid="-2h:-1h"),
        "a plain key": t.p.key("plain"),
        "unknown CA": t.p.cert("stranger", ca=t.p.key("strange-ca")),
    }
    for what, key in cases.items():
        r = t.d.ssh("echo ran", key=key)
        assert r.code == 255 and b"Permission denied" in r.err, (what, r)
    assert not t.sessions()


@rule
def the_core_refuses_what_sshd_lets_in(t):
    before = len(t.p.records())
    # the same principal, another tenant's CA
    refused(t.d.ssh("echo ran", key=t.keys["olga"]), b"demo-agent")
    # an account that stands for no role
    refused(t.d.ssh("echo ran", user="nobody-agent"), b"nobody-agent")
    # no sftp, no shell either
    r = run(["sftp", *t.d.options(t.keys["olga"]), "-P", str(t.d.port), "-b", "-", "demo-agent@127.0.0.1"], b"ls\n")
    assert r.code != 0, r
    refused(t.d.ssh(input=b"echo ran\n", key=t.keys["olga"], flags=("-T",)))
    text = str(t.p.records()[before:])
    assert "nobody-agent" in text, text
    assert not t.sessions() and not t.p.sandbox_pids()


@rule
def a_plain_key_that_sshd_takes_is_refused(t):
    key = t.p.key("plain")
    with Other(t, conf=lambda c: c.replace("AuthorizedKeysFile none", "AuthorizedKeysFile /etc/postern/sshd/keys"),
               keys=[open(key + ".pub").read()]) as d:
        refused(d.ssh("echo ran", key=key), b"not authenticated by a certificate")
        assert d.ssh("echo good").code == 0  # the same sshd, with a certificate


@rule
def a_password_is_refused(t):
    def conf(c):
        return c.replace("AuthenticationMethods publickey", "AuthenticationMethods password").replace(
            "PasswordAuthentication no", "PasswordAuthentication yes")
    with Other(t, conf=conf) as d:
        r = d.ssh_password("echo ran")
        assert r.code in (254, 255) and b"ran" not in r.out, r
        assert "denied: user" in d.log_tail(60) or DENIED in r.out + r.err or b"denied" in r.err, d.log_tail(60)


@rule
def two_methods_are_refused(t):
    def conf(c):
        return c.replace("AuthenticationMethods publickey", "AuthenticationMethods publickey,password").replace(
            "PasswordAuthentication no", "PasswordAuthentication yes")
    with Other(t, conf=conf) as d:
        r = d.ssh_password("echo ran", key="alice")
        assert r.code in (254, 255) and b"ran" not in r.out, r


@rule
def without_pam_nothing_runs(t):
    with Other(t, conf=lambda c: c.replace("UsePAM yes", "UsePAM no")) as d:
        refused(d.ssh("echo ran"))


@rule
def with_a_pam_stack_that_forgets_us_nothing_runs(t):
    with Other(t, pam=lambda c: "") as d:
        refused(d.ssh("echo ran"))
    # asked, but not obeyed
    with Other(t, pam=lambda c: c.replace("requisite ", "optional  ")) as d:
        refused(d.ssh("echo ran", key=t.keys["olga"]))


@rule
def people_are_not_affected(t):
    """Who is not in the group logs in as before."""
    key = t.p.key("person")
    with Other(t, conf=lambda c: c + "AuthorizedKeysFile /etc/postern/sshd/keys\n", keys=[open(key + ".pub").read()],
               outside=("nobody-agent",)) as d:
        r = d.ssh("echo ran; id -un", user="nobody-agent", key=key)
        assert r.code == 0 and r.out == b"ran\nnobody-agent\n", (r, d.log_tail())
        refused(d.ssh("echo ran", user="demo-agent", key=t.keys["olga"]))


@rule
def postern_run_outside_a_session_is_refused(t):
    uid = t.d.uids["demo-agent"]
    held = Held(t.d)  # somebody of the same uid is inside
    try:
        r = run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                 BUILD + "/libexec/postern/postern-run", "--socket",
                 t.p.state + "/run/run.sock"], env={"SSH_ORIGINAL_COMMAND": "echo ran"})
        refused(r)
        assert held.answers()
    finally:
        held.close()
    t.all_gone()


@rule
def a_dead_broker_lets_nobody_in(t):
    with tempfile.TemporaryDirectory() as empty:
        os.chmod(empty, 0o755)
        with Other(t, sockets=empty) as d:
            refused(d.ssh("echo ran"), b"the broker cannot be reached")


@rule
def a_broker_that_hangs_lets_nobody_in_and_makes_no_session_later(t):
    core = t.p.daemon("core")
    os.kill(core, signal.SIGSTOP)
    try:
        began = time.monotonic()
        refused(t.d.ssh("echo ran"), b"does not answer")
        assert 4 < time.monotonic() - began < 9
    finally:
        os.kill(core, signal.SIGCONT)
    t.all_gone(10)
    until("a login afterwards", lambda: t.d.ssh("true").code == 0, 10, 0.2)
    t.all_gone()


run_rules()
