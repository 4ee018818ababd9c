#!/usr/bin/python3
"""Who is not let in, with which reason in the log, and what the client is told: the reason only if a known
CA really signed."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, re, warnings

warnings.simplefilter("ignore")

from postern import Postern, run, until
from tap import main, rule


def refused(p, words, banner, key=None, user="agent", opts=()):
    """ssh with this key and name is refused; the log says why in these words; so does the banner, or it
    does not."""
    before = len(p.records())
    r = p.ssh("echo in", key=key, user=user, opts=["LogLevel=INFO", *opts])
    assert r.code == 255 and r.out == b"", r
    said(p, before, words)
    if banner:
        assert re.search(words, r.error), f"no banner with {words!r}: {r}"
    else:
        assert not re.search(words, r.error), f"a stranger was told: {r}"
    return r


def said(p, before, words):
    def find():
        return [x for x in p.records()[before:] if re.search(words, json.dumps(x["body"], ensure_ascii=False))]
    return until(lambda: f"a record with {words!r} among {p.records()[before:]}", find)


def own_ca(p, name):
    return p.key(name)


@rule
def a_good_certificate_gets_in(p):
    r = p.ssh("echo in", opts=["LogLevel=INFO"])
    assert r.out == b"in\n" and r.err == b"", r


@rule
def an_expired_one_does_not(p):
    refused(p, "expired", True, p.cert("old", valid="-10m:-5m"))


@rule
def one_for_tomorrow_does_not(p):
    refused(p, "not yet valid|not valid (before|until|yet)", True, p.cert("young", valid="+1d:+2d"))


@rule
def one_of_an_unknown_ca_does_not(p):
    refused(p, "unknown CA", False, p.cert("stranger", ca=own_ca(p, "nobodys-ca")))


@rule
def one_of_another_tenants_ca_is_that_tenants(p):
    # the CA's key says which tenant, whatever else the certificate claims
    key = p.cert("bob", ca="other", principals="agent")
    r = p.ssh("echo in", key=key)
    assert r.out == b"in\n", r
    last = [x for x in p.records() if "bob" in json.dumps(x)]
    assert last and all(x.get("tenant") == "other" for x in last if x.get("tenant")), last


@rule
def one_of_another_tenant_for_a_role_it_lacks_does_not(p):
    refused(p, "role|principal", True, p.cert("bob2", ca="other", principals="builder"), user="builder")


@rule
def a_plain_key_does_not(p):
    refused(p, "not a certificate|plain key|no certificate", False, p.key("plain"))


@rule
def a_wrong_principal_does_not(p):
    refused(p, "principal", True, p.cert("wrong", principals="builder,other"))


@rule
def an_unknown_role_does_not(p):
    refused(p, "role", True, p.cert("rolo", principals="nobody-here"), user="nobody-here")


@rule
def no_principals_at_all_does_not_mean_everybody(p):
    refused(p, "principal", True, p.cert("every", principals=None))


@rule
def names_that_are_not_names_are_refused(p):
    for i, name in enumerate(("../x", "a+b", "a" * 300, "Agent", "-agent", "agent ", "9x", "root", "ca", "host", "none",
                              "postern", "agent/../agent", "a\nb", "\u00e4gent")):
        key = p.cert(f"odd{i}", principals="agent,root,ca,host,none,postern,a+b")
        before = len(p.records())
        r = run(["ssh", *p.ssh_options(key), "-p", str(p.port), "-o", f"User={name}", "127.0.0.1", "echo in"]) \
            if not name.startswith("-") and "\n" not in name and name.strip() == name else login(p, key, name)
        assert r.code != 0 and b"in" not in r.out, (name, r)
        if len(name) <= 255 and r.code == 255:
            said(p, before, "name|role|principal")
    assert p.ssh("echo in").out == b"in\n"


def login(p, key, user, command="echo in"):
    """The same by paramiko, which passes any bytes as a name."""
    import paramiko
    from postern import Result
    pk = paramiko.Ed25519Key.from_private_key_file(key)
    pk.load_certificate(key + "-cert.pub")
    t = paramiko.Transport(("127.0.0.1", p.port))
    try:
        t.start_client(timeout=10)
        t.auth_publickey(user, pk)
        ch = t.open_session()
        ch.exec_command(command)
        out = ch.recv(1000)
        return Result(ch.recv_exit_status(), out, b"")
    except (paramiko.SSHException, EOFError, OSError) as e:
        return Result(255, b"", str(e).encode())
    finally:
        t.close()


@rule
def a_name_with_a_nul_is_refused(p):
    for name in ("agent\0", "agent\0x", "\0"):
        r = login(p, p.cert("nul"), name)
        assert r.code == 255, (name, r)


@rule
def a_host_certificate_is_not_a_users(p):
    before = len(p.records())
    r = login(p, p.cert("hostly", host=True), "agent")  # OpenSSH's client would not offer it
    assert r.code == 255, r
    said(p, before, "host certificate|not a user certificate")


@rule
def an_unknown_critical_option_refuses(p):
    refused(p, "critical option", True, p.cert("crit", options=["critical:frobnicate@example.org=1"]))


@rule
def an_unknown_extension_does_not(p):
    r = p.ssh("echo in", key=p.cert("ext", options=["extension:frobnicate@example.org=1"]))
    assert r.out == b"in\n", r


@rule
def a_source_address_elsewhere_refuses(p):
    refused(p, "not valid from", True, p.cert("far", options=["source-address=10.0.0.0/8,2001:db8::/32"]))
    r = p.ssh("echo in", key=p.cert("near", options=["source-address=10.0.0.0/8,127.0.0.0/8"]))
    assert r.out == b"in\n", r


@rule
def a_scope_that_is_not_understood_refuses(p):
    refused(p, "scope", True, p.cert("scope1", options=['extension:scope@postern={"v":1,"frobnicate":true}']))
    refused(p, "scope", True, p.cert("scope2", options=["extension:scope@postern=nonsense"]))


@rule
def a_scope_for_a_template_that_the_role_lacks_refuses(p):
    key = p.cert("scope3", options=['extension:scope@postern={"v":1,"template":"no-such-template"}'])
    before = len(p.records())
    r = p.ssh("echo in", key=key, opts=["LogLevel=INFO"])
    assert r.code in (254, 255) and r.out == b"", r
    said(p, before, "template")


@rule
def a_scope_can_take_the_shell_and_sftp_away(p):
    key = p.cert("narrow", options=['extension:scope@postern={"v":1,"allow":["exec"]}'])
    assert p.ssh("echo in", key=key).out == b"in\n"
    r = p.ssh(key=key, input=b"echo in\n")
    assert r.code == 254 and b"postern: denied: " in r.err and r.out == b"", r
    r = p.ssh("sftp", key=key, flags=("-s",), input=b"")
    assert r.code == 254 and b"postern: denied: " in r.err, r
    r = p.ssh("tty", key=key, flags=("-tt",))
    assert b"/dev/pts" not in r.out, r


@rule
def a_denied_channel_names_its_record(p):
    key = p.cert("narrow2", options=['extension:scope@postern={"v":1,"allow":["shell"]}'])
    r = p.ssh("echo in", key=key)
    m = re.fullmatch(r"postern: denied: (.+) \(record (\d+)\)\s*", r.error)
    assert r.code == 254 and m, r
    record = [x for x in p.records() if x["log"] == "demo" and x["seq"] == int(m.group(2))]
    assert record and m.group(1) in json.dumps(record[0], ensure_ascii=False), (m.groups(), record)


@rule
def an_unknown_subsystem_is_refused(p):
    r = p.ssh("netconf", flags=("-s",), input=b"")
    assert r.code in (254, 255, 1) and r.out == b"", r


@rule
def a_tampered_certificate_is_told_nothing(p):
    import base64
    key = p.cert("forged")
    with open(key + "-cert.pub") as f:
        kind, text, comment = f.read().split(None, 2)
    raw = bytearray(base64.b64decode(text))
    at = raw.index(b"\0\0\0\5agent") + 4
    raw[at:at + 5] = b"admin"  # another principal, the signature no longer fits
    with open(key + "-cert.pub", "w") as f:
        f.write(f"{kind} {base64.b64encode(raw).decode()} {comment}")
    before = len(p.records())
    r = login(p, key, "admin")  # OpenSSH's client would not offer it
    assert r.code == 255 and b"signature" not in r.err, r
    said(p, before, "signature")


@rule
def passwords_and_nothing_are_not_ways_in(p):
    import paramiko
    for method in ("none", "password"):
        t = paramiko.Transport(("127.0.0.1", p.port))
        try:
            t.start_client(timeout=10)
            try:
                t.auth_none("agent") if method == "none" else t.auth_password("agent", "secret", fallback=False)
                raise AssertionError(f"in by {method}")
            except paramiko.BadAuthenticationType as e:
                assert e.allowed_types == ["publickey"], e.allowed_types
            except paramiko.AuthenticationException:
                pass
        finally:
            t.close()


@rule
def a_channel_before_authentication_is_not_opened(p):
    import paramiko
    t = paramiko.Transport(("127.0.0.1", p.port))
    try:
        t.start_client(timeout=10)
        try:
            t.open_session(timeout=5)
            raise AssertionError("a channel without authentication")
        except (paramiko.SSHException, EOFError, OSError):
            pass
    finally:
        t.close()
    assert p.ssh("echo in").out == b"in\n"


@rule
def the_user_name_is_fixed_by_the_first_attempt(p):
    import paramiko
    key = p.cert("switcher", principals="agent")
    pk = paramiko.Ed25519Key.from_private_key_file(key)
    pk.load_certificate(key + "-cert.pub")
    t = paramiko.Transport(("127.0.0.1", p.port))
    try:
        t.start_client(timeout=10)
        for user in ("somebody", "agent"):
            try:
                t.auth_publickey(user, pk)
                raise AssertionError(f"in as {user}")
            except (paramiko.SSHException, EOFError, OSError):
                pass
    finally:
        t.close()


@rule
def a_template_whose_root_is_missing_is_a_denial_with_the_reason(p):
    tenant = f"{p.state}/etc/tenants/demo.yaml"
    with open(tenant) as f:
        text = f.read()
    with open(f"{p.state}/etc/templates/rootless.yaml", "w") as f:
        f.write(rootless(p))
    changed = re.sub(r"(?m)^(\s*template:\s*).*$", r"\1rootless", text)
    assert changed != text, text
    with open(tenant, "w") as f:
        f.write(changed)
    p.stop()
    p.start()
    try:
        before = len(p.records())
        r = p.ssh("echo in")
        assert r.code == 254 and r.out == b"" and r.err.startswith(b"postern: denied: ") \
            and b"/no/such/root" in r.err + json.dumps(p.records()[before:]).encode(), r
        # the other tenant's template is fine
        assert p.ssh("echo in", key=p.cert("bob3", ca="other")).out == b"in\n"
    finally:
        with open(tenant, "w") as f:
            f.write(text)
        p.stop()
        p.start()
    assert p.ssh("echo in").out == b"in\n"


def rootless(p):
    """The default template with another root."""
    with open(f"{p.state}/etc/templates/default.yaml") as f:
        text = f.read()
    if re.search(r"(?m)^root:", text):
        return re.sub(r"(?m)^root:.*$", "root: /no/such/root", text)
    return "root: /no/such/root\n" + text


if __name__ == "__main__":
    main(Postern)
