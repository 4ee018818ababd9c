#!/usr/bin/python3
"""A real witness and an independent log: every status of c2sp.org/tlog-witness, who may sign, what it answers to whom."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import base64, http.client, json, ssl, time, warnings

import proc, tlog
from postern import run, until
from tap import main, rule
from witness import Log, Witness


@rule
def every_growth_is_cosigned_and_the_cosignature_verifies():
    with Witness(Log()) as w:
        log, = w.logs
        last = 0
        for n in (0, 1, 1, 2, 3, 4, 7, 8, 9, 16, 31, 33, 64, 64, 100):
            before = int(time.time())
            when = log.cosigned(w.add(log, last, n), n, w.key)
            assert before <= when <= time.time() + 1, (before, when)
            last = n


@rule
def each_pair_of_sizes_is_proved():
    base = Log()
    logs = [Log(f"log.example/{i}", base.seed) for i in range(14)]
    with Witness(*logs) as w:
        for old, log in enumerate(logs):
            log.cosigned(w.add(log, 0, old), old, w.key)
            for n in range(old, 14):
                other = log.tenant(f"t{n}")
                other.cosigned(w.add(other, 0, old), old, w.key)
                other.cosigned(w.add(other, old, n), n, w.key)


@rule
def what_is_malformed_is_a_bad_request():
    with Witness(Log()) as w:
        log, = w.logs
        good = log.body(0, 5).encode()
        head, note = good.split(b"\n\n", 1)
        b64 = base64.b64encode(b"h" * 32)
        bad = [b"", b"\n", good[:-1], good[1:], b"old 00\n\n" + note, b"old -1\n\n" + note, b"old\n\n" + note,
               b"old 1 \n\n" + note, b"old 9223372036854775808\n\n" + note, head + b"\n" + note, b"\n\n" + note,
               head + b"\nnot base64\n\n" + note, head + b"\n" + b64[:-1] + b"\n\n" + note,
               head + b"\n" + b64 + b" \n\n" + note, head + (b"\n" + b64) * 64 + b"\n\n" + note,
               good.replace(b"\n", b"\r\n"), good.replace(b"\n5\n", b"\n05\n"), good.replace(b"\n5\n", b"\n-5\n"),
               good.replace(b"\n5\n", b"\nfive\n"), head + b"\n\n" + note.split(b"\n\n")[0] + b"\n\n",
               head + b"\n\n" + note.replace(tlog.DASH.encode(), b"-"), head + b"\n\n\xff" + note, head + b"\n\n\0" + note]
        for body in bad:
            r = w.post(body)
            assert r.status == 400 and r.type.startswith("text/plain"), (body, r)
        r = w.post(head + (b"\n" + b64) * 63 + b"\n\n" + note)  # not too many, but wrong
        assert r.status == 422, r
        assert w.add(log, 6, 5).status == 400
        log.cosigned(w.post(good), 5, w.key)
        assert w.add(log, 5, 4).status == 400 and w.add(log, 6, 5).status == 400


@rule
def an_unknown_log_is_not_found_and_an_unknown_signer_forbidden():
    log = Log()
    with Witness(log) as w:
        other = Log("other.example/log")
        assert w.add(other, 0, 5).status == 404
        thief = Log(log.origin)
        assert w.add(thief, 0, 5).status == 403
        text = log.text(5)
        own = tlog.signature(log.origin, log.seed, text)
        damaged = own[:-12] + ("A" if own[-12] != "A" else "B") + own[-11:]
        assert w.post(log.body(0, 5, note=text + "\n" + damaged)).status == 403
        # one signature holds, another by the same key does not (c2sp.org/signed-note: such a note is refused)
        assert w.post(log.body(0, 5, note=text + "\n" + own + damaged)).status == 403
        # the key itself, but as a cosignature, or of another name
        assert w.post(log.body(0, 5, note=text + "\n" + tlog.cosignature(log.origin, log.seed, text, 5))).status == 403
        assert w.post(log.body(0, 5, note=text + "\n" + tlog.signature("x", log.seed, text))).status == 403
        assert w.post(log.body(0, 5, note=text + "\n" + tlog.signature(log.origin, log.seed, log.text(6)))).status == 403
        assert not os.listdir(os.path.join(w.state, "logs"))
        log.cosigned(w.add(log, 0, 5), 5, w.key)


@rule
def signatures_of_strangers_are_ignored_and_not_kept():
    log = Log()
    with Witness(log) as w:
        text = log.text(5)
        more = "".join(tlog.signature(f"s{i}", bytes([i]) * 32, text) for i in range(20))
        more += tlog.cosignature("other.witness/w", b"w" * 32, text, 5)
        more += f"{tlog.DASH} some.thing {base64.b64encode(b'nobody knows this kind').decode()}\n"
        log.cosigned(w.post(log.body(0, 5, note=log.note(5, more=more))), 5, w.key)
        with open(w.file(log)) as f:
            kept, sigs = tlog.parse_note(f.read())
        assert kept == text and [n for n, _, _ in sigs] == [log.origin, w.name], sigs


@rule
def extension_lines_are_signed_along():
    log = Log()
    with Witness(log) as w:
        note = log.note(5, extension="an extension\nand another\n")
        r = w.post(log.body(0, 5, note=note))
        log.cosigned(r, 5, w.key, extension="an extension\nand another\n")


@rule
def the_wrong_old_size_is_a_conflict_that_tells_the_right_one():
    with Witness(Log()) as w:
        log, = w.logs

        def conflict(r, size):
            assert r.status == 409 and r.type == "text/x.tlog.size" and r.body == b"%d\n" % size, r
        conflict(w.add(log, 3, 5), 0)
        log.cosigned(w.add(log, 0, 5), 5, w.key)
        conflict(w.add(log, 0, 5), 5)
        conflict(w.add(log, 0, 9), 5)
        conflict(w.add(log, 4, 9), 5)
        conflict(w.add(log, 6, 9), 5)
        conflict(w.add(log, 3, 3), 5)
        log.cosigned(w.add(log, 5, 9), 9, w.key)
        conflict(w.add(log, 5, 9), 9)
        log.cosigned(w.add(log, 9, 9), 9, w.key)


@rule
def another_root_of_the_same_size_is_a_conflict_and_both_are_kept():
    with Witness(Log()) as w:
        log, = w.logs
        log.cosigned(w.add(log, 0, 5), 5, w.key)
        for old in (5, 0):
            r = w.add(log, old, 5, "fork", 2)
            assert r.status == 409 and r.type == "text/x.tlog.size" and r.body == b"5\n", r
        base = os.path.join(w.state, "forks", os.path.basename(w.file(log)))
        for end, branch in (("kept", ()), ("other", ("fork", 2))):
            with open(f"{base}.{end}") as f:
                note = f.read()
            assert tlog.parse_note(note)[0] == log.text(5, *branch), end
            assert tlog.signed_by(note, log.origin, tlog.public(log.seed))
        listed = json.loads(w.ctl("list", "--json").text)
        assert listed[0]["state"] == "forked" and listed[0]["size"] == 5, listed
        assert "FORKED" in w.ctl("list").text and "two histories" in w.said()
        log.cosigned(w.add(log, 5, 6), 6, w.key)  # the history that it knows goes on


@rule
def a_proof_that_does_not_hold_is_unprocessable():
    with Witness(Log()) as w:
        log, = w.logs
        h = [b"h" * 32]
        assert w.post(log.body(0, 5, proof=h)).status == 422  # from nothing there is nothing to prove
        log.cosigned(w.add(log, 0, 5), 5, w.key)
        assert w.add(log, 5, 9, "fork", 2).status == 422
        right = tlog.subproof(5, log.leaves(9))
        for proof in ([], right[:-1], right[1:], right + h, right[::-1], h * len(right), h * 63):
            assert w.post(log.body(5, 9, proof=proof)).status == 422, proof
        assert w.post(log.body(5, 5, proof=h)).status == 422
        assert json.loads(w.ctl("list", "--json").text)[0]["size"] == 5
        log.cosigned(w.add(log, 5, 9), 9, w.key)


@rule
def other_methods_and_paths_are_refused_as_http_wants():
    with Witness(Log()) as w:
        r = w.request("GET", "/")
        assert r.status == 200 and w.key in r.body.decode() and "tlog-witness" in r.body.decode(), r
        assert w.request("HEAD", "/").status == 200
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            r = w.request(method, "/add-checkpoint")
            assert r.status == 405 and r.headers["Allow"] == "POST", (method, r)
        r = w.request("POST", "/", b"x")
        assert r.status == 405 and "GET" in r.headers["Allow"], r
        for path in ("/add-checkpoint/", "/add-checkpoint/x", "/Add-Checkpoint", "//add-checkpoint", "/x", "/../etc/passwd",
                     "/key", "/logs", "/add-checkpoint%00"):
            assert w.request("POST", path, b"x").status == 404, path
            assert w.request("GET", path).status == 404, path
        # one connection, many requests
        c = http.client.HTTPConnection(w.host, w.port, timeout=20)
        log, = w.logs
        for n in range(5):
            c.request("POST", "/add-checkpoint", log.body(n, n + 1).encode())
            r = c.getresponse()
            assert r.status == 200 and r.read()
            if n == 0:
                s = c.sock
            assert c.sock is s, "the connection was not kept"
        c.close()


@rule
def a_host_s_key_stands_for_its_tenants_and_no_more():
    log = Log()
    with Witness(log) as w:
        for name in ("demo", "other"):
            t = log.tenant(name)
            t.cosigned(w.add(t, 0, 3), 3, w.key)
        for name in ("Demo", "", "a/b", "host", "x" * 32):
            assert w.add(log.tenant(name), 0, 3).status == 404, name
        assert w.add(Log(log.origin + "/u/demo", log.seed), 0, 3).status == 404
        assert w.add(Log(log.origin + "/epoch/0", log.seed), 0, 3).status == 404
        assert [x["origin"] for x in json.loads(w.ctl("list", "--json").text)] != []


@rule
def keys_are_read_from_what_audit_keys_prints():
    log, other = Log(), Log("other.example/log")
    with Witness(state=None, start=False) as w:
        path = os.path.join(w.dir, "keys")
        with open(path, "w") as f:
            f.write(f"first epoch:  {tlog.vkey(log.origin + '/epoch/0', tlog.public(b'e' * 32))}\nlog host:     {log.key}\n"
                    f"# a comment\nlog other:    {other.key}\nWhoever verifies a log keeps its key.\n")
        w.args = ["--logs", path]
        w.start()
        for x in (log, other, log.tenant("demo")):
            x.cosigned(w.add(x, 0, 4), 4, w.key)
        w.stop()
        with open(path, "a") as f:
            f.write("log bad: a+b+c\n")
        assert "line 6" in w.refuses_to_start().error


@rule
def a_key_is_made_once_kept_to_its_owner_and_found_again():
    log = Log()
    with Witness(log, start=False) as w:
        r = w.ctl("key")
        assert r.code == 6 and "there is no witness" in r.error and "--name" in r.error, r
        early = w.ctl("key", "--name", w.name)
        assert early.code == 0, early
        w.start()
        assert w.key == early.text.strip() == w.ctl("key").text.strip()
        assert json.loads(w.ctl("key", "--json").text) == {"name": w.name, "key": w.key}
        st = os.stat(os.path.join(w.state, "key"))
        assert st.st_mode & 0o7777 == 0o600 and st.st_uid != 0, oct(st.st_mode)
        assert os.stat(w.state).st_mode & 0o7777 == 0o700
        # the seed is in the form of Go's note package
        with open(os.path.join(w.state, "key")) as f:
            word = f.read().strip().split("+", 4)
        raw = base64.b64decode(word[4])
        assert word[:2] == ["PRIVATE", "KEY"] and raw[0] == 4
        assert tlog.vkey(w.name, tlog.public(raw[1:]), 4) == w.key
        log.cosigned(w.add(log, 0, 3), 3, w.key)
        assert w.stop() == 0
        before = w.key
        w.start()
        assert w.key == before
        w.stop()
        w.name = "another.name"
        assert "is called" in w.refuses_to_start().error


@rule
def what_it_cannot_work_with_it_refuses_at_the_start():
    log = Log()
    with Witness(log) as w:
        assert "a witness runs there" in w.refuses_to_start().error
        assert "a witness runs there" in w.ctl("forget", log.origin).error
        w.stop()
        w.logs = ()
        assert "no log" in w.refuses_to_start().error
        w.logs = (log,)
        assert w.refuses_to_start("--log", log.key[:-1]).code == 2
        assert w.refuses_to_start("--tls-cert", "/etc/passwd").code == 2
    with Witness(log, start=False) as w:
        argv = [a for a in w.command() if a not in ("--user", "nobody")]
        r = run(argv + ["--user", "root"])
        assert r.code != 0 and "does not run as root" in r.error, r
        assert not os.path.exists(w.state)


@rule
def it_is_confined():
    log = Log()
    with Witness(log) as w:
        log.cosigned(w.add(log, 0, 3), 3, w.key)
        pid = w.process.pid
        s = proc.status(pid)
        assert set(s["Uid"].split()) == {"65534"} and s["Groups"] == "", s
        assert all(int(s[k], 16) == 0 for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), s
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2" and s["Threads"] == "1", s
        with open(f"/proc/{pid}/limits") as f:
            limits = {line[:25].strip(): line[25:].split()[0] for line in f}
        assert limits["Max core file size"] == "0" and limits["Max processes"] == "0", limits
        def kinds():
            return sorted(x.split(":")[0].replace(w.state, "STATE") for n, x in proc.fds(pid).items() if n > 2)
        # the connection of the question above closes when it sees its end
        until(kinds, lambda: kinds() == ["STATE", "STATE/forks", "STATE/lock", "STATE/logs", "anon_inode", "socket"])


@rule
def an_ordinary_user_can_run_one():
    log = Log()
    with Witness(log, start=False) as w:
        os.chown(w.dir, 12345, 12345)
        w.wrap = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
        w.user = None
        w.start()
        log.cosigned(w.add(log, 0, 3), 3, w.key)
        assert proc.uids(w.process.pid) == [12345] * 4 and os.stat(w.file(log)).st_uid == 12345
        assert w.stop() == 0
        assert "only root" in w.refuses_to_start("--user", "nobody").error


@rule
def it_speaks_tls():
    log = Log()
    with Witness(log, start=False) as w:
        def pair(name):
            cert, key = os.path.join(w.dir, name + ".pem"), os.path.join(w.dir, name + ".key")
            r = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                     "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            assert r.code == 0, r
            return cert, key
        cert, key = pair("a")
        _, wrong = pair("b")
        r = w.refuses_to_start("--tls-cert", cert, "--tls-key", wrong)
        assert "certificate" in r.error, r
        w.args = ["--tls-cert", cert, "--tls-key", key]
        w.start()
        assert w.url.startswith("https://"), w.url
        context = ssl.create_default_context(cafile=cert)
        c = http.client.HTTPSConnection("127.0.0.1", w.port, timeout=20, context=context)
        for n in range(1, 4):
            c.request("POST", "/add-checkpoint", log.body(n - 1, n).encode())
            r = c.getresponse()
            assert r.status == 200 and tlog.cosigned(log.text(n), r.read(), w.key)
        assert c.sock.version() in ("TLSv1.2", "TLSv1.3"), c.sock.version()
        c.close()
        assert b"HTTP" not in w.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        try:
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            http.client.HTTPSConnection("127.0.0.1", w.port, timeout=20, context=old).request("GET", "/")
            raise AssertionError("TLS 1.1 was spoken")
        except (ssl.SSLError, ConnectionError, ValueError):
            pass
        c = http.client.HTTPSConnection("127.0.0.1", w.port, timeout=20, context=context)
        c.request("GET", "/")
        assert c.getresponse().status == 200
        c.close()


main(leaves_nothing=False)
