#!/usr/bin/python3
"""A wall clock that steps back an hour would revive expired certificates: new sessions are refused until an
operator says that the clock is right. (Seen from the log, a clock an hour back and a newest record an hour
ahead are the same; the test makes the second.)"""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, shutil, time

import lmdb_edit
from postern import Postern, close_all, until
from tap import main, rule


def step_back(p, seconds):
    p.stop()
    st = os.stat(f"{p.state}/core/data.mdb")
    lmdb_edit.append_record(f"{p.state}/core", seconds)
    for f in os.listdir(f"{p.state}/core"):
        os.chown(f"{p.state}/core/{f}", st.st_uid, st.st_gid)
    p.start()


@rule
def a_small_step_is_tolerated(p):
    assert p.ssh("echo in").out == b"in\n"
    step_back(p, 20)
    assert p.ssh("echo in").out == b"in\n"
    times = [x["time"] for x in p.records()]
    assert times == sorted(times)


@rule
def an_hour_back_refuses_new_sessions_and_says_why(p):
    step_back(p, 3600)
    r = p.ssh("echo in", opts=["LogLevel=INFO"])
    assert r.code in (254, 255) and r.out == b"", r
    until("the reason on record", lambda: [x for x in p.records()[-40:] if "clock" in json.dumps(x)])
    assert b"clock" in p.postern("status").out, p.postern("status")
    assert p.json("status")["log"]["clock"] != "good"


@rule
def a_certificate_that_had_expired_stays_expired(p):
    # by the log's time it ended half an hour ago; by the stepped-back clock it would be good
    r = p.ssh("echo in", key=p.cert("revived", valid="-5m:+30m"))
    assert r.code in (254, 255) and r.out == b"", r


@rule
def it_is_still_refused_after_a_restart(p):
    p.stop()
    p.start()
    assert p.ssh("echo in").code in (254, 255)


@rule
def an_operators_word_opens_it_again_and_is_recorded(p):
    r = p.postern("clock", "ack")
    assert r.code == 0, r
    r = p.ssh("echo in")
    assert r.out == b"in\n", r
    assert [x for x in p.records()[-12:] if x["class"] == "clock.accepted"], p.records()[-12:]
    assert p.json("status")["log"]["clock"] == "good"
    r = p.postern("audit", "verify", "--chain")
    assert r.code == 0, r


@rule
def a_clock_that_was_in_2100_is_left_again_by_an_operators_word(p):
    step_back(p, 4102444800 - int(time.time()))
    assert p.ssh("echo in").code in (254, 255)
    assert p.postern("clock", "ack").code == 0
    assert p.ssh("echo in").out == b"in\n"
    assert [x for x in p.records() if x["time"].startswith("2100-01-01T")]
    r = p.postern("audit", "verify", "--chain")
    assert r.code == 0, r


if __name__ == "__main__":
    main(Postern)
