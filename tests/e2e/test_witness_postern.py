#!/usr/bin/python3
"""The keys, checkpoints and trees of a real Postern, brought to a witness by hand: what it seals can be witnessed, tenants' logs too,
and what it would seal after it was set back cannot."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json

import tlog
from postern import Postern, until
from tap import main, rule
from witness import Witness


class Both:
    """A Postern and its witness."""

    def __init__(self):
        self.p = Postern()
        self.bundles = 0
        keys = os.path.join(self.p.work, "host.keys")
        assert self.p.ssh("echo in").out == b"in\n"
        until("seals", lambda: all(x["sealed"] >= x["size"] > 0 for x in self.p.json("status")["seal"]["logs"] if x["log"] == "demo"), 20)
        with open(keys, "w") as f:
            f.write(self.p.postern("audit", "keys").text)
        self.w = Witness(args=["--logs", keys])

    def bundle(self, log):
        self.bundles += 1
        path = os.path.join(self.p.work, f"bundle-{self.bundles}")
        r = self.p.postern("audit", "export", path, "--log", log)
        assert r.code == 0, r
        with open(path, "rb") as f:
            return tlog.Bundle.load(f.read())

    def submit(self, old, leaves, note):
        text, _ = tlog.parse_note(note)
        _, n, root = tlog.parse_checkpoint(text)
        assert tlog.root(leaves[:n]) == root
        proof = tlog.subproof(old, leaves[:n]) if 0 < old <= n else []
        return text, self.w.post(tlog.add_checkpoint(old, proof, note.decode()))

    def stop(self):
        assert self.w.stop() in (0, None)
        return self.p.stop()

    def leftovers(self):
        return self.p.leftovers()

    def log_tail(self, n=15):
        return self.w.said() + self.p.log_tail(n)

    def close(self):
        self.w.close()
        self.p.close()


@rule
def what_postern_seals_is_cosigned_of_each_log(b):
    for log in ("host", "demo"):
        bundle, old = b.bundle(log), 0
        assert bundle.checkpoints
        for size, note in bundle.checkpoints:
            text, r = b.submit(old, bundle.leaves(), note)
            assert r.status == 200, (log, size, r)
            tlog.cosigned(text, r.body, b.w.key)
            old = size
        assert old > 0
    origins = {x["origin"] for x in json.loads(b.w.ctl("list", "--json").text)}
    assert len(origins) == 2 and any(o.endswith("/t/demo") for o in origins), origins


@rule
def what_it_seals_later_continues_that(b):
    before = {x["origin"]: x["size"] for x in json.loads(b.w.ctl("list", "--json").text)}
    assert b.p.ssh("echo more").out == b"more\n"
    old = next(s for o, s in before.items() if o.endswith("/t/demo"))
    bundle = until("a newer seal", lambda: next((x for x in [b.bundle("demo")] if x.checkpoints[-1][0] > old), None), 30, 0.5)
    text, r = b.submit(old, bundle.leaves(), bundle.checkpoints[-1][1])
    assert r.status == 200, r
    tlog.cosigned(text, r.body, b.w.key)


@rule
def a_thief_of_its_keys_who_writes_another_past_gets_nothing(b):
    bundle = b.bundle("demo")
    thief = tlog.Sealer.steal(f"{b.p.state}/keys/seal.state")
    leaves = bundle.leaves()
    forged = [tlog.leaf(b"another past")] + leaves[1:] + [tlog.leaf(b"and more")] * 3
    last = next(x["size"] for x in json.loads(b.w.ctl("list", "--json").text) if x["origin"].endswith("/t/demo"))
    _, r = b.submit(last, forged, thief.seal("demo", forged))
    assert r.status == 422, r
    _, r = b.submit(last, forged, thief.seal("demo", forged[:last]))
    assert r.status == 409, r
    _, r = b.submit(last - 1, leaves, thief.seal("demo", leaves[:last - 1]))
    assert r.status == 409 and r.body == b"%d\n" % last, r
    listed = {x["origin"]: x["state"] for x in json.loads(b.w.ctl("list", "--json").text)}
    assert [s for o, s in listed.items() if o.endswith("/t/demo")] == ["forked"], listed


main(Both)
