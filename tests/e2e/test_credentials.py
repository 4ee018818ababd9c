#!/usr/bin/python3
"""A credential is lent to one session, for an audience that the grant names, for a while; and is on record
before it is handed out."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, time

import jose
from postern import Postern, close_all, until
from tap import main, rule

AUDIENCE = "https://api.example.com"


def tool(p, *args, key="alice", **kw):
    return p.ssh("postern-cred " + " ".join(args), key=key, **kw)


def jwks(p, tenant="demo"):
    return p.json("jwks", tenant)


@rule
def what_can_be_had_is_listed(p):
    r = tool(p, "list")
    assert r.code == 0 and AUDIENCE in r.text, r


@rule
def a_token_names_tenant_role_session_and_person(p):
    r = tool(p, "get", "jwt", AUDIENCE)
    assert r.code == 0, r
    c = jose.verify(r.text.strip(), jwks(p))
    now = time.time()
    assert c["aud"] == AUDIENCE and c["iat"] <= now + 5 and now < c["exp"] <= now + 600, c
    text = json.dumps(c)
    assert "demo" in text and '"agent"' in text and "alice" in text, c
    ids = [s["id"] for s in p.json("session", "list", "--all")["sessions"]]
    assert any(i in text for i in ids), (c, ids)


@rule
def it_never_outlives_the_certificate(p):
    key = p.cert("brief", valid="-1m:+60s")
    c = jose.verify(tool(p, "get", "jwt", AUDIENCE, key=key).text.strip(), jwks(p))
    assert c["exp"] <= time.time() + 61, (c, time.time())


@rule
def it_is_another_tenants_key_for_another_tenant(p):
    r = tool(p, "get", "jwt", AUDIENCE, key=p.cert("bob", ca="other"))
    if r.code == 0:
        jose.verify(r.text.strip(), jwks(p, "other"))
    mine, theirs = jwks(p), jwks(p, "other")
    assert {k["kid"] for k in mine["keys"]}.isdisjoint(k["kid"] for k in theirs["keys"]), (mine, theirs)


@rule
def a_changed_token_does_not_verify(p):
    t = tool(p, "get", "jwt", AUDIENCE).text.strip()
    head, body, sig = t.split(".")
    at = 10
    forged = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1:]
    try:
        jose.verify(f"{head}.{forged}.{sig}", jwks(p))
    except (AssertionError, ValueError):
        return
    raise AssertionError("a forged token verified")


@rule
def the_exit_status_and_the_streams_are_as_documented(p):
    r = tool(p, "get", "jwt", AUDIENCE)
    assert r.out.count(b"\n") == 1 and r.err.count(b"\n") == 1, r  # the token; its lease
    assert tool(p, "get", "jwt").code == 2
    assert tool(p, "frobnicate").code == 2
    assert tool(p, "get", "jwt", "https://elsewhere.example.org").code == 1
    assert p.ssh("POSTERN_CRED=127.0.0.1:1 postern-cred list").code == 3


@rule
def an_audience_that_the_role_lacks_is_denied(p):
    before = len(p.records())
    r = tool(p, "get", "jwt", "https://elsewhere.example.org")
    assert r.code != 0 and r.out == b"" and r.err, r
    until("the refusal on record", lambda: [x for x in p.records()[before:] if "elsewhere.example.org" in json.dumps(x)
                                            and ("denied" in json.dumps(x) or "refused" in json.dumps(x))])


@rule
def a_scope_narrows_to_less(p):
    none = p.cert("none", options=['extension:scope@postern={"v":1,"credentials":[]}'])
    r = tool(p, "get", "jwt", AUDIENCE, key=none)
    assert r.code != 0 and r.out == b"", r
    r = tool(p, "list", key=none)
    assert AUDIENCE not in r.text, r
    other = p.cert("elsewhere", options=['extension:scope@postern={"v":1,"credentials":["jwt:https://elsewhere.example.org"]}'])
    r = tool(p, "get", "jwt", "https://elsewhere.example.org", key=other)
    assert r.code != 0 and r.out == b"", f"a scope widened: {r}"
    not_allowed = p.cert("exec-only", options=['extension:scope@postern={"v":1,"allow":["exec"]}'])
    r = tool(p, "get", "jwt", AUDIENCE, key=not_allowed)
    assert r.code != 0 and r.out == b"", r


@rule
def it_is_recorded_before_it_is_handed_out_and_without_its_value(p):
    r = tool(p, "get", "jwt", AUDIENCE)
    token = r.text.strip()
    lease = [x for x in p.records() if "lease" in x["class"] or "credential" in x["class"]]
    assert lease and AUDIENCE in json.dumps(lease[-1]) or any(AUDIENCE in json.dumps(x) for x in lease[-3:]), lease[-3:]
    text = json.dumps(p.records())
    assert token not in text and token.split(".")[2] not in text


@rule
def it_is_released_on_request(p):
    r = p.ssh(f"postern-cred --json get jwt {AUDIENCE} >t && id=$(sed 's/.*\"lease\": *\"\\([^\"]*\\)\".*/\\1/' t) && "
              "postern-cred release $id; echo released $?; postern-cred release $id; echo again $?; "
              "postern-cred release 00000000-0000-0000-0000-000000000000; echo stranger $?")
    assert r.text.startswith("released 0\n") and r.text.endswith("stranger 1\n"), r
    assert [x for x in p.records()[-12:] if "release" in x["class"] or "release" in json.dumps(x)]


@rule
def it_is_dead_after_the_session(p):
    r = tool(p, "get", "jwt", AUDIENCE)
    c = jose.verify(r.text.strip(), jwks(p))
    sid = next(i for i in (s["id"] for s in p.json("session", "list", "--all")["sessions"]) if i in json.dumps(c))

    until("the end of its lease on record", lambda: [x for x in p.records() if x["class"] == "lease.end" and
                                                     x["subject"]["session"] == sid])
    assert p.json("session", "show", sid)["state"] == "ended"


@rule
def only_its_own_session_can_ask(p):
    # the service is inside each sandbox's own network: nothing listens for it on the host
    import socket
    for port in (4712,):
        with socket.socket() as s:
            s.settimeout(2)
            assert s.connect_ex(("127.0.0.1", port)) != 0


@rule
def nonsense_from_the_sandbox_hurts_nobody(p):
    r = p.ssh("""python3 - <<'X'
import socket, os
for data in (b'', b'\\0' * 100, b'{' * 5000, b'[1]\\n', b'{"request":"get"}\\n', b'\\xff\\xfe\\n', b'a' * 200000, b'{"v":1}\\n' * 200):
    try:
        c = socket.create_connection(('127.0.0.1', 4712), 3); c.settimeout(3)
        c.sendall(data); c.shutdown(1); c.recv(1000)
    except OSError:
        pass
many = []
for i in range(300):
    try:
        c = socket.create_connection(('127.0.0.1', 4712), 1); many.append(c)
    except OSError:
        break
for c in many: c.close()
X
postern-cred get jwt """ + AUDIENCE, timeout=50)
    assert p.ssh("echo fine").out == b"fine\n"
    assert r.code == 0 and r.text.count(".") == 2, r


@rule
def a_session_without_credentials_has_no_service_process(p):
    s = p.ssh_open("echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n"
        assert p.daemons("lease") == []
    finally:
        close_all(s)


@rule
def after_the_end_no_lease_process_is_left(p):
    tool(p, "list")
    until(lambda: f"still there: {p.daemons('lease')}", lambda: not p.daemons("lease"))


if __name__ == "__main__":
    main(Postern)
