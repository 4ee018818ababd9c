#!/usr/bin/python3
"""SIGHUP and `postern reload` take a new configuration whole or not at all."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, signal

from postern import Postern, close_all, until
from tap import main, rule


def tenant_file(p, name="demo"):
    return f"{p.state}/etc/tenants/{name}.yaml"


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def hup(p):
    """Signals, and waits for the record or the log line that answers."""
    n, size = len(p.records()), os.path.getsize(p.log_path)
    os.kill(p.up.pid, signal.SIGHUP)

    def answered():
        new = json.dumps([x for x in p.records()[n:] if "config" in x["class"] or "reload" in x["class"]])
        with open(p.log_path, "rb") as f:
            f.seek(size)
            text = new + f.read().decode("utf-8", "replace")
        return text if len(text) > 2 else None
    return until("an answer to SIGHUP", answered)


@rule
def a_new_role_is_there_after_sighup(p):
    text = read(tenant_file(p))
    key = p.cert("builder", principals="builder")
    assert p.ssh("echo in", key=key, user="builder").code == 255
    write(tenant_file(p), text + "  builder:\n    template: default\n    allow: [exec]\n")
    hup(p)
    until("the new role", lambda: p.ssh("id -un", key=key, user="builder").code == 0, 5, 0.3)
    write(tenant_file(p), text)
    hup(p)
    until("the role gone", lambda: p.ssh("echo in", key=key, user="builder").code == 255, 5, 0.3)


@rule
def a_bad_file_changes_nothing_and_says_why(p):
    good = read(tenant_file(p))
    s, sid = p.session()
    try:
        for bad, why in ((good + "surprise: 1\n", "surprise"), (good + "  : [\n", "demo.yaml"), ("", "demo.yaml"),
                         (good.replace("template: default", "template: nowhere"), "nowhere"),
                         (good + "roles: {}\n", "demo.yaml"), ("\0\1\2", "demo.yaml"), ("a: " + "[" * 3000, "demo.yaml")):
            write(tenant_file(p), bad)
            said = hup(p)
            assert why in said, (why, said)
            assert "demo.yaml" in said, said
            assert p.ssh("echo still").out == b"still\n"
        s.stdin.write(b"ping\n")
        s.stdin.flush()
        assert s.stdout.readline() == b"ping\n"
    finally:
        write(tenant_file(p), good)
        hup(p)
        close_all(s)


@rule
def a_ca_key_in_two_tenants_is_refused(p):
    good = read(tenant_file(p, "other"))
    write(tenant_file(p, "other"), read(tenant_file(p)))
    try:
        assert "other.yaml" in (said := hup(p)) or "demo" in said, said
        assert p.ssh("echo in", key=p.cert("bob", ca="other")).out == b"in\n"
        r = p.postern("check")
        assert r.code != 0 and b"other" in r.out + r.err, r
    finally:
        write(tenant_file(p, "other"), good)
        hup(p)
    assert p.postern("check").code == 0, p.postern("check")


@rule
def a_certificate_as_ca_key_is_refused(p):
    good = read(tenant_file(p))
    key = p.cert("cert-as-ca")
    with open(key + "-cert.pub") as f:
        line = f.read().strip()
    import re
    write(tenant_file(p), re.sub(r'(?m)^(ca\w*:).*(\n\s+-.*)*$', f'ca: ["{line}"]', good, count=1))
    try:
        said = hup(p)
        assert "certificate" in said or "demo.yaml" in said, said
        assert p.ssh("echo still").out == b"still\n"
    finally:
        write(tenant_file(p), good)
        hup(p)


@rule
def the_host_s_own_key_as_ca_key_is_refused(p):
    good = read(tenant_file(p))
    line = read(f"{p.state}/hostkeys/ssh_host_ed25519_key.pub").strip()
    import re
    write(tenant_file(p), re.sub(r'(?m)^(ca\w*:).*(\n\s+-.*)*$', f'ca: ["{line}"]', good, count=1))
    try:
        assert "the host's own key" in (said := hup(p)), said
        r = p.postern("check")
        assert r.code == 5 and b"own key" in r.out + r.err, r
        assert p.ssh("echo still").out == b"still\n"
    finally:
        write(tenant_file(p), good)
        hup(p)


@rule
def a_bad_file_at_the_start_stops_the_start(p):
    good = read(tenant_file(p))
    write(tenant_file(p), good + "surprise: 1\n")
    p.stop()
    try:
        try:
            p.start(timeout=15)
            raise RuntimeError("it started")
        except AssertionError as e:
            assert "surprise" in str(e) and "demo.yaml" in str(e), e
    finally:
        p.stop()
        write(tenant_file(p), good)
        p.start()
    assert p.ssh("echo fine").out == b"fine\n"


if __name__ == "__main__":
    main(Postern)
