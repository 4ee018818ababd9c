#!/usr/bin/python3
"""The operator's command: what it prints, its exit statuses, and the life of `postern up`."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, re, signal, subprocess, time

import proc
from postern import PROGRAM, Postern, close_all, run, until
from tap import main, rule


def issue(p, name, *args, ca="demo", role="agent"):
    key = p.key(name)
    r = run([PROGRAM, "cert", "issue", "--ca", f"{p.state}/ca/{ca}", "--key", key + ".pub", "--role", role, *args])
    return key, r


@rule
def its_certificates_are_good_for_ssh_keygen_and_for_us(p):
    key, r = issue(p, "issued", "--id", "ann", "--ttl", "10m", "--task", "fix-1", "--source", "127.0.0.0/8")
    assert r.code == 0, r
    l = run(["ssh-keygen", "-L", "-f", key + "-cert.pub"])
    assert l.code == 0 and l.err == b"", l
    for words in ('Key ID: "ann"', "agent", "source-address 127.0.0.0/8", "scope@postern", "user certificate"):
        assert words in l.text, (words, l.text)
    assert p.ssh("echo in", key=key).out == b"in\n"
    assert any("fix-1" in json.dumps(x) for x in p.records())
    s = run([PROGRAM, "cert", "show", key + "-cert.pub"])
    assert s.code == 0 and "ann" in s.text and "fix-1" in s.text, s


@rule
def what_it_narrows_is_narrow(p):
    key, r = issue(p, "narrowed", "--allow", "exec", "--no-credentials", "--no-pty")
    assert r.code == 0, r
    assert p.ssh("echo in", key=key).out == b"in\n"
    assert p.ssh(key=key, input=b"echo in\n").code == 254
    assert p.ssh("postern-cred get jwt https://api.example.com", key=key).code != 0


@rule
def what_makes_no_sense_is_not_signed(p):
    for args in (("--ttl", "-5m"), ("--ttl", "soon"), ("--source", "everywhere"), ("--allow", "everything"),
                 ("--role", "../x"), ("--serial", "x"), ("--frobnicate",), ("--template", "A B")):
        key, r = issue(p, "nonsense", *args)
        assert r.code in (1, 2) and r.err.startswith(b"postern: "), (args, r)
        assert not os.path.exists(key + "-cert.pub"), args


@rule
def a_new_ca_key_is_made_once_and_is_openssh_s(p):
    path = os.path.join(p.work, "new-ca")
    r = run([PROGRAM, "ca", "init", "--out", path])
    assert r.code == 0, r
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert run(["ssh-keygen", "-y", "-f", path]).text.split()[:2] == open(path + ".pub").read().split()[:2]
    before = open(path).read()
    assert run([PROGRAM, "ca", "init", "--out", path]).code != 0
    assert open(path).read() == before


@rule
def sessions_are_listed_shown_and_killed(p):
    s, sid = p.session()
    try:
        table = p.postern("session", "list")
        assert table.code == 0 and sid in table.text and "alice" in table.text and "demo" in table.text, table
        assert p.postern("sessions").text.split()[:3] == table.text.split()[:3]
        show = p.json("session", "show", sid)
        assert show["state"] == "live" and show["tenant"] == "demo" and show["role"] == "agent", show
        assert show["grant"] and show["enforced"] and show["open"], show
        r = p.postern("session", "show", sid)
        assert r.code == 0, r
        for line in (r"grant role +agent", r"grant actions +.*exec", r"grant expires +20\d\d-\d\d-\d\dT\S+Z", r"grant lifetime +\d+[dhms]"):
            assert re.search(f"^{line}", r.text, re.M), (line, r)
        r = p.postern("session", "kill", sid, "--reason", "tests say so")
        assert r.code == 0, r
        s.wait(3)
        until("it to be gone from the list", lambda: sid not in p.postern("session", "list").text)
        assert "tests say so" in json.dumps(p.records())
    finally:
        close_all(s)
    for a in (("show", "s-0000000000000000"), ("kill", "s-0000000000000000")):
        r = p.postern("session", *a)
        assert r.code in (3, 6) and r.err, r
    for a in (("show", "../x"), ("kill", "")):
        assert p.postern("session", *a).code != 0


@rule
def status_tells_processes_host_disk_log_and_ca(p):
    r = p.postern("status")
    assert r.code == 0, r
    for word in ("core", "spawn", "signer", "listener", "supervisor", "demo", "landlock", "cgroup", "clock"):
        assert word in r.text.lower(), (word, r.text)
    s = p.json("status")
    roles = {x["role"] for x in s["processes"]}
    assert {"supervisor", "core", "spawn", "signer", "listener", "spare worker"} <= roles, roles
    for x in s["processes"]:
        if x["role"] not in ("worker", "spare worker", "lease"):
            assert x["pid"] == p.daemon(x["role"]), x


@rule
def options_stand_before_or_after(p):
    a = run([PROGRAM, "--state", p.state, "--json", "status"])
    b = run([PROGRAM, "status", "--json", "--state", p.state])
    c = run([PROGRAM, "status", f"--state={p.state}", "--json"])
    assert a.code == b.code == c.code == 0 and json.loads(a.text).keys() == json.loads(c.text).keys(), (a, b, c)


@rule
def wrong_usage_is_status_2_with_a_word(p):
    for args in ((), ("frobnicate",), ("session",), ("session", "frobnicate"), ("session", "show"), ("status", "x"),
                 ("session", "list", "--tenant"), ("status", "--json", "--json"), ("audit", "show", "--limit", "x")):
        r = p.postern(*args)
        assert r.code == 2 and r.err and not r.out, (args, r)
    for args in (("--help",), ("session", "--help"), ("--version",)):
        r = run([PROGRAM, *args])
        assert r.code == 0 and r.out, (args, r)


@rule
def without_a_daemon_it_says_so(p):
    r = run([PROGRAM, "--state", p.work, "status"])
    assert r.code == 3 and r.err.startswith(b"postern: "), r


@rule
def who_is_not_permitted_is_refused(p):
    r = run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", PROGRAM, "--state", p.state, "session", "list"])
    assert r.code in (3, 7) and not r.out, r


@rule
def the_host_key_is_told(p):
    r = p.postern("host-key")
    with open(p.known_hosts) as f:
        assert f.read().split()[2] in r.text, r


@rule
def check_reads_everything(p):
    r = p.postern("check")
    assert r.code == 0 and "demo" in r.text and "archive" in r.text, r
    assert p.json("check")


@rule
def a_second_one_on_the_same_state_is_refused(p):
    r = run([PROGRAM, "up", "--state", p.state, "--listen", "127.0.0.1:0"])
    assert r.code != 0 and b"ready" not in r.out and r.err, r
    assert p.ssh("echo in").out == b"in\n"


@rule
def a_port_that_is_taken_is_said(p):
    q = Postern(start=False)
    try:
        q._configure()
        r = run([PROGRAM, "up", "--state", q.state, "--listen", f"127.0.0.1:{p.port}"])
        assert r.code != 0 and b"ready" not in r.out and b"ddress" in r.err, r
        assert not proc.by_uid(q.ids, q.ids + 64 * 65536)
    finally:
        q.close()


@rule
def a_stop_ends_sessions_and_records_it(p):
    s, sid = p.session()
    assert p.stop() == 0
    s.wait(5)
    assert s.returncode != 0
    close_all(s)
    assert not p.leftovers(), p.leftovers()
    p.start()
    assert [x for x in p.records() if sid in json.dumps(x) and "session.end" in x["class"]], p.records()[-6:]
    assert not p.sessions()


@rule
def sigint_stops_as_well(p):
    p.pids()
    p.up.send_signal(signal.SIGINT)
    assert p.up.wait(10) == 0
    p.stop()
    assert not p.leftovers(), p.leftovers()
    p.start()


@rule
def an_interrupted_start_leaves_nothing(p):
    q = Postern(start=False)
    try:
        for i in range(6):
            q._configure()
            u = subprocess.Popen([PROGRAM, "up", "--state", q.state, "--listen", "127.0.0.1:0"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(0.004 * 3 ** i)
            u.terminate()
            u.wait(10)
            until(lambda: f"left: {q.leftovers()}", lambda: not q.leftovers(), 3)
        q.start()
        assert q.ssh("echo in").out == b"in\n"
    finally:
        q.close()


if __name__ == "__main__":
    main(Postern)
