#!/usr/bin/python3
"""Logs are sealed by the signer: soon after a session, again with new keys in a new epoch; and a store that was
set back behind what was sealed is noticed, says so, and lets nothing new in until an operator accepts it."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, shutil, signal, stat

from postern import Postern, until
from tap import main, rule


def seal(p):
    return p.json("status")["seal"]


def sealed(p):
    return {x["log"]: x["sealed"] for x in seal(p)["logs"]}


@rule
def a_log_is_sealed_soon_after_a_session(p):
    assert p.ssh("echo in").out == b"in\n"
    until(lambda: seal(p), lambda: all(x["sealed"] >= x["size"] > 0 for x in seal(p)["logs"] if x["log"] == "demo")
          and {"host", "demo"} <= set(sealed(p)), timeout=15)
    assert seal(p)["state"] == "good", seal(p)
    r = p.postern("status")
    assert r.code == 0 and "LOG" in r.text and "SEALED" in r.text, r
    points = [x for x in p.records() if x["class"] == "log.checkpoint"]
    assert points and points[-1]["log"] == "host" and points[-1]["body"]["log"] == "demo", points[-1:]
    assert points[-1]["body"]["note"].startswith(seal(p)["origin"] + "/t/demo\n"), points[-1]


@rule
def the_signers_state_is_its_own(p):
    st = os.stat(f"{p.state}/keys/seal.state")
    assert stat.S_IMODE(st.st_mode) == 0o600 and st.st_uid == os.stat(f"{p.state}/keys").st_uid, st


@rule
def an_epoch_is_turned_on_demand(p):
    keys = p.json("audit", "keys")
    assert "/epoch/0+" in keys["first"] and keys["first"] == keys["current"], keys
    before = keys["epoch"]
    r = p.postern("audit", "epoch")
    assert r.code == 0 and str(before + 1) in r.text, r
    until("its keys", lambda: p.postern("audit", "keys").code == 0)
    keys = p.json("audit", "keys")
    assert f"/epoch/{before + 1}+" in keys["current"] and "/epoch/0+" in keys["first"], keys
    r = p.postern("audit", "keys")
    assert r.code == 0 and keys["first"] in r.text and keys["logs"][0]["key"] in r.text, r
    notes = {x["log"] for x in p.records() if x["class"] == "log.epoch"}
    assert notes == {"host", "demo"}, notes


@rule
def a_core_that_was_killed_seals_on(p):
    os.kill(p.daemon("core"), signal.SIGKILL)
    assert until("a session", lambda: p.ssh("echo in").out == b"in\n", timeout=10)
    until(lambda: seal(p), lambda: seal(p)["state"] == "good", timeout=15)


@rule
def nothing_is_accepted_where_nothing_is_wrong(p):
    r = p.postern("audit", "ack")
    assert r.code == 0 and r.text.startswith("nothing to accept"), r
    assert p.json("audit", "ack") == {"accepted": False}
    assert not [x for x in p.records() if x["class"] == "log.rollback.accepted"]


@rule
def a_store_that_was_set_back_stops_what_is_new(p):
    p.stop()
    core, old = f"{p.state}/core", f"{p.work}/core.old"
    shutil.copytree(core, old)
    st = os.stat(f"{core}/data.mdb")
    p.start()
    before = sealed(p).get("demo", 0)
    assert p.ssh("echo in").out == b"in\n"
    until(lambda: seal(p), lambda: sealed(p)["demo"] > before, timeout=15)
    p.stop()
    for f in os.listdir(old):
        shutil.copy(f"{old}/{f}", f"{core}/{f}")
        os.chown(f"{core}/{f}", st.st_uid, st.st_gid)
    p.start()
    until(lambda: seal(p), lambda: "not the one that was sealed" in seal(p)["state"])
    r = p.ssh("echo in", opts=["LogLevel=INFO"])
    assert r.code in (254, 255) and r.out == b"" and b"sealed" in r.err, r
    until("the alarm on record", lambda: [x for x in p.records() if x["class"] == "log.rollback"])
    r = p.postern("audit", "ack")
    assert r.code == 0 and r.text.startswith("accepted"), r
    assert p.ssh("echo in").out == b"in\n"
    until("the acceptance on record", lambda: [x for x in p.records() if x["class"] == "log.rollback.accepted"])
    r = p.postern("audit", "ack")
    assert r.code == 0 and r.text.startswith("nothing to accept"), r
    assert len([x for x in p.records() if x["class"] == "log.rollback.accepted"]) == 1


if __name__ == "__main__":
    main(Postern)
