#!/usr/bin/python3
"""A witness on bad days: rivals that race, kill -9, a damaged directory, a full disk, clients that are slow, rude or many."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import http.client, itertools, json, random, re, shutil, signal, socket, subprocess, threading, time

import proc, tlog
from postern import until
from tap import Skip, main, rule
from witness import Log, Witness

REQUEST_S = 15  # broker/witness/http.h


def at_once(*calls):
    """Their results, all begun together."""
    gate, out = threading.Barrier(len(calls)), [None] * len(calls)

    def one(i, f):
        gate.wait()
        try:
            out[i] = f()
        except OSError as e:
            out[i] = e
    threads = [threading.Thread(target=one, args=x) for x in enumerate(calls)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def size_of(w, log):
    return next((x["size"] for x in json.loads(w.ctl("list", "--json").text) if x.get("origin") == log.origin), 0)


@rule
def of_two_branches_that_race_one_is_cosigned_at_the_most():
    with Witness(Log()) as w:
        log, = w.logs
        log.cosigned(w.add(log, 0, 4), 4, w.key)
        leaves, n = log.leaves(4), 4
        for turn in range(40):
            # both continue what was cosigned last, with other leaves from there on, or one is longer
            a, b = f"a{turn}", f"b{turn}"
            sizes = n + 1 + turn % 3, n + 1 + turn // 3 % 3
            tails = [leaves + [tlog.leaf(f"{i} {x}".encode()) for i in range(n, s)] for x, s in zip((a, b), sizes)]
            bodies = []
            for t in tails:
                text = tlog.checkpoint_text(log.origin, len(t), tlog.root(t))
                note = text + "\n" + tlog.signature(log.origin, log.seed, text)
                bodies.append((text, tlog.add_checkpoint(n, tlog.subproof(n, t), note)))
            answers = at_once(*(lambda body=body: w.post(body) for _, body in bodies for _ in range(2)))
            good = {i // 2 for i, r in enumerate(answers) if r.status == 200}
            assert len(good) == 1, answers
            assert {r.status for r in answers} <= {200, 409}, answers
            i = good.pop()
            for k, r in enumerate(answers):
                if r.status == 200:
                    tlog.cosigned(bodies[i][0], r.body, w.key)
            leaves, n = tails[i], sizes[i]
            assert size_of(w, log) == n


@rule
def a_race_of_sizes_never_rolls_back():
    """The specification's own: A with size N and B with N+K are both checked before either is stored."""
    with Witness(Log()) as w:
        log, = w.logs
        n = 0
        for _ in range(30):
            wanted = [n + k for k in (1, 2, 5, 9)]
            answers = at_once(*(lambda s=s: w.add(log, n, s) for s in wanted))
            cosigned = [s for s, r in zip(wanted, answers) if r.status == 200]
            assert len(cosigned) == 1, answers
            n = cosigned[0]
            assert all(r.body == b"%d\n" % n for r in answers if r.status == 409), answers
            assert size_of(w, log) == n


@rule
def a_kill_between_requests_forgets_nothing():
    with Witness(Log()) as w:
        log, = w.logs
        n = 0
        for _ in range(8):
            log.cosigned(w.add(log, n, n + 1), n + 1, w.key)
            n += 1
            w.stop(signal.SIGKILL)
            w.start()
            r = w.add(log, 0, 1)
            assert r.status == 409 and r.body == b"%d\n" % n, r


@rule
def a_kill_at_any_moment_forgets_no_cosignature_that_left():
    rng = random.Random(11)
    with Witness(Log()) as w:
        log, = w.logs
        told, went = 0, 0
        for _ in range(20):
            stop = threading.Event()
            state = {"n": told}

            def client():
                n = told
                while not stop.is_set():
                    try:
                        r = w.add(log, n, n + 1)
                    except (OSError, http.client.HTTPException):
                        return
                    if r.status == 200:
                        n = state["n"] = n + 1
                    elif r.status == 409:  # it was stored, and the answer was lost
                        n = int(r.body)
            t = threading.Thread(target=client)
            t.start()
            time.sleep(rng.uniform(0.0, 0.12))
            proc.kill(w.process.pid)
            stop.set()
            t.join()
            w.stop()
            went += state["n"] - told
            w.start()
            now = size_of(w, log)
            assert state["n"] <= now <= state["n"] + 1, (state, now)
            # what left is never contradicted: the same size of another history
            if now:
                assert w.add(log, now, now, "fork", 0).status == 409
                shutil.rmtree(os.path.join(w.state, "forks"))
                os.mkdir(os.path.join(w.state, "forks"))
                w.stop()
                w.start()
            told = now
        assert went > 20, f"only {went} cosignatures in all"
        assert [f for f in os.listdir(os.path.join(w.state, "logs")) if f.endswith(".tmp")] in ([], [os.path.basename(w.file(log)) + ".tmp"])


@rule
def the_checkpoint_is_on_disk_before_the_answer_leaves():
    with Witness(Log(), start=False) as w:
        log, = w.logs
        w.start()
        log.cosigned(w.add(log, 0, 3), 3, w.key)
        trace = os.path.join(w.dir, "trace")
        if not shutil.which("strace"):
            raise Skip("strace is missing")
        s = subprocess.Popen(["strace", "-o", trace, "-e", "trace=fsync,renameat,renameat2,rename,sendto,sendmsg,write,writev", "-p",
                              str(w.process.pid)], stderr=subprocess.PIPE)
        assert b"attached" in s.stderr.readline()
        log.cosigned(w.add(log, 3, 4), 4, w.key)
        s.terminate()
        s.wait()
        with open(trace) as f:
            calls = [m.group(1) for m in re.finditer(r"^(\w+)\((?:.*HTTP/1.1 200)?", f.read(), re.M)]
        order = [c for c in calls if c.startswith(("fsync", "rename"))]
        assert order == ["fsync", order[1], "fsync"] and order[1].startswith("rename"), calls
        answer = max(i for i, c in enumerate(calls) if c.startswith(("send", "write")))
        last = max(i for i, c in enumerate(calls) if c == "fsync")
        sent = [i for i, c in enumerate(calls) if c.startswith("send")]
        assert sent and min(sent) > last and answer > last, calls


@rule
def a_damaged_memory_is_refused_and_the_others_go_on():
    log, other = Log(), Log("other.example/log")
    with Witness(log, other) as w:
        for x in (log, other):
            x.cosigned(w.add(x, 0, 5), 5, w.key)
        with open(w.file(log), "rb") as f:
            good = f.read()
        forged = tlog.checkpoint_text(log.origin, 3, tlog.root(log.leaves(3)))
        forged = (forged + "\n" + tlog.signature(log.origin, log.seed, forged)).encode()
        with open(w.file(other), "rb") as f:
            foreign = f.read()
        for bad in (b"", good[:40], good[:-1], good.replace(b"\n5\n", b"\n4\n"), forged, foreign, os.urandom(300), b"x" * 100000):
            for restart in (False, True):
                with open(w.file(log), "wb") as f:
                    f.write(bad)
                if restart:
                    w.stop()
                    w.start()
                    assert "is damaged" in w.said()
                for old, n in ((5, 6), (0, 6), (0, 1), (5, 5), (4, 6), (3, 6)):
                    r = w.add(log, old, n)
                    assert r.status == 500 and tlog.DASH.encode() not in r.body, (bad, r)
                assert w.add(other, 5, 5).status == 200
        r = w.ctl("list", "--json")
        assert r.code == 9 and [x["state"] for x in json.loads(r.text)].count("damaged") == 1, r
        assert "DAMAGED" in w.ctl("list").text
        w.stop()
        assert w.ctl("forget", "no.such/log").code == 6
        assert w.ctl("forget", log.origin).code == 0  # the operator has looked
        w.start()
        log.cosigned(w.add(log, 0, 6), 6, w.key)


@rule
def a_memory_that_is_gone_is_not_taken_for_a_new_beginning():
    log = Log()
    with Witness(log) as w:
        log.cosigned(w.add(log, 0, 5), 5, w.key)
        w.stop()
        shutil.move(os.path.join(w.state, "logs"), os.path.join(w.dir, "away"))
        assert "is lost" in w.refuses_to_start().error
        shutil.move(os.path.join(w.dir, "away"), os.path.join(w.state, "logs"))
        with open(os.path.join(w.state, "key"), "r+b") as f:
            f.seek(20)
            f.write(b"?")
        w.refuses_to_start()


@rule
def a_full_disk_is_an_error_and_no_cosignature():
    """Bytes and inodes, on a small file system in a mount name space of its own."""
    log = Log()
    for options, fill in (("size=128k", "bytes"), ("size=1m,nr_inodes=20", "inodes")):
        with Witness(log, start=False) as w:
            small = os.path.join(w.dir, "small")
            os.mkdir(small)
            w.state = small + "/state"
            w.wrap = ["unshare", "-m", "--propagation", "private", "sh", "-c",
                      f"mount -t tmpfs -o {options} tmpfs {small} && exec \"$@\"", "sh"]
            w.start()
            inside = f"/proc/{w.process.pid}/root{small}"
            log.cosigned(w.add(log, 0, 3), 3, w.key)
            made = []
            try:
                for i in itertools.count():
                    made.append(f"{inside}/fill{i}")
                    with open(made[-1], "wb", buffering=0) as f:
                        if fill == "bytes":
                            while f.write(b"x" * 512) == 512:
                                pass
            except OSError as e:
                assert e.errno == 28, e
            for old, n in ((3, 5), (3, 4), (3, 3)):
                r = w.add(log, old, n)
                assert 500 <= r.status < 600 and tlog.DASH.encode() not in r.body, r
            t = log.tenant("demo")
            assert w.add(t, 0, 2).status == 500
            for path in made:
                if os.path.exists(path):
                    os.unlink(path)
            log.cosigned(w.add(log, 3, 4), 4, w.key)
            t.cosigned(w.add(t, 0, 2), 2, w.key)
            assert w.process.poll() is None


@rule
def slow_clients_are_cut_off_and_hold_up_nobody():
    """More than there is room for, from many addresses, a byte at a time: an idle limit would never end them."""
    log = Log()
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + b"x" * 400
    with Witness(log) as w:
        began, slow, gone, served = time.monotonic(), [], set(), []
        for i in range(200):
            s = socket.create_connection((w.host, w.port), 20, (f"127.0.1.{1 + i // 25}", 0))
            s.setblocking(False)
            slow.append(s)

        def good():
            log.cosigned(w.add(log, 0, 1, source="127.0.3.1", timeout=40), 1, w.key)
            served.append(time.monotonic() - began)
        t = threading.Thread(target=good)
        t.start()
        for i in range(400):
            for s in slow:
                if s in gone:
                    continue
                try:
                    s.send(head[i:i + 1])
                    if s.recv(4096) == b"":
                        gone.add(s)
                except BlockingIOError:
                    pass
                except OSError:
                    gone.add(s)
            if len(gone) == len(slow):
                break
            time.sleep(0.2)
        t.join()
        for s in slow:
            s.close()
        assert len(gone) == len(slow), f"{len(gone)} of {len(slow)} after {time.monotonic() - began:.0f} s"
        assert served and served[0] < 2 * REQUEST_S, served
        log.cosigned(w.add(log, 1, 2), 2, w.key)


@rule
def one_address_cannot_take_all_connections():
    log = Log()
    with Witness(log) as w:
        many = [socket.create_connection((w.host, w.port), 5, ("127.0.2.1", 0)) for _ in range(150)]
        r = w.add(log, 0, 1, source="127.0.2.2", timeout=8)
        log.cosigned(r, 1, w.key)
        for s in many:
            s.close()


@rule
def what_is_too_large_is_refused_announced_or_not():
    log = Log()
    with Witness(log) as w:
        big = log.body(0, 5).encode() + b"x" * 30000
        assert w.post(big).status == 413
        assert w.request("POST", "/add-checkpoint", iter([big[:9000], big[9000:]])).status == 413
        r = w.raw(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert r.startswith(b"HTTP/1.1 413"), r
        endless = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%s\r\n" % (b"x" * 4096) * 2000
        assert not w.raw(endless).startswith(b"HTTP/1.1 2")
        assert b" 200 " not in w.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n")
        assert b" 200 " not in w.raw(b"GET /" + b"y" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        good = log.body(0, 5).encode()
        assert w.request("POST", "/add-checkpoint", iter([good[:9], good[9:]])).status == 200
        assert proc.memory_kb(w.process.pid) < 65536


@rule
def nonsense_hurts_nobody():
    log = Log()
    rng = random.Random(5)
    good = log.body(0, 5).encode()
    whole = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good)
    with Witness(log) as w:
        lies = [b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good),  # no Host
                b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nold 0",
                b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"POST /add-checkpoint HTTP/9.9\r\nHost: x\r\n\r\n", b"\r\n" * 1000, b"\0" * 1000, b"GET\r\n\r\n", b" / \r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500]
        for i in range(300):
            if i < len(lies):
                data = lies[i]
            elif i % 3 == 0:
                data = rng.randbytes(rng.randrange(1, 3000))
            else:
                data = bytearray(whole)
                for _ in range(rng.randrange(1, 5)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                data = bytes(data[:rng.randrange(1, len(data))] if i % 3 == 1 else data)
            s = socket.create_connection((w.host, w.port), 20)
            s.sendall(data)
            if i % 2:
                s.shutdown(socket.SHUT_WR)
            else:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
            s.close()
        assert w.process.poll() is None
        if size_of(w, log) == 0:  # a changed byte may have hit what is not signed
            log.cosigned(w.add(log, 0, 5), 5, w.key)
        log.cosigned(w.add(log, 5, 6), 6, w.key)
        # two requests in one go
        a, b = log.body(6, 7).encode(), log.body(7, 8).encode()
        two = b"".join(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (len(x), c, x)
                       for x, c in ((a, b""), (b, b"Connection: close\r\n")))
        assert w.raw(two).count(b"HTTP/1.1 200") == 2
        until(lambda: proc.fds(w.process.pid), lambda: len(proc.fds(w.process.pid)) < 16, 2 * REQUEST_S)


@rule
def strangers_do_not_fill_the_operator_s_log():
    log = Log()
    with Witness(log) as w:
        for i in range(50):
            assert w.post(b"nonsense %d\n" % i).status == 400
            assert w.add(Log("other.example"), 0, 2).status == 404
            assert w.request("GET", "/x").status == 404
        assert w.said() == "", w.said()
        log.cosigned(w.add(log, 0, 2), 2, w.key)
        with open(w.file(log), "wb"):
            pass
        for _ in range(50):
            assert w.add(log, 2, 3).status == 500
        assert w.said().count("\n") <= 2, w.said()


main(leaves_nothing=False)
