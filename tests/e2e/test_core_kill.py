#!/usr/bin/python3
"""The real core, killed at random while agents run commands: whatever a client was given the output of is in the
log, which is one unbroken chain. CORE_KILLS sets how often, CORE_SEED which moments."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, random, threading, time

import tap
from postern import Postern, in_sequence, proc, until
from tap import main, rule

KILLS = int(os.environ.get("CORE_KILLS", "10"))
SEED = int(os.environ.get("CORE_SEED", str(time.time_ns())))
AGENTS = 3
tap.RULE_SECONDS = 60 + 12 * KILLS


class Agent(threading.Thread):
    """Runs one command after the other; remembers those whose output came."""

    def __init__(self, p, n):
        super().__init__(daemon=True)
        self.p, self.n, self.done, self.tried, self.stop = p, n, [], 0, threading.Event()

    def run(self):
        while not self.stop.is_set():
            tag = f"kept-{self.n}-{self.tried}"
            self.tried += 1
            try:
                r = self.p.ssh(f"echo {tag}", key=f"agent{self.n}")
            except AssertionError:
                continue
            if tag in r.text.split():
                self.done.append(tag)


@rule
def what_an_agent_was_answered_is_in_the_log(p):
    rnd = random.Random(SEED)
    for n in range(AGENTS):
        p.keys[f"agent{n}"] = p.cert(f"agent{n}", valid="-1m:+2h")
    agents = [Agent(p, n) for n in range(AGENTS)]
    for a in agents:
        a.start()
    try:
        for _ in range(KILLS):
            had = sum(len(a.done) for a in agents)
            until("an answer to some agent", lambda: sum(len(a.done) for a in agents) > had, 30)
            time.sleep(rnd.random() * 0.3)  # no event to wait for: the moment is what is tried
            core = until("the core", lambda: p.daemons("core"), 20)[0]
            proc.kill(core)
            until("a new core", lambda: [x for x in p.daemons("core") if x != core], 20)
    finally:
        for a in agents:
            a.stop.set()
        for a in agents:
            a.join(40)
    done = [tag for a in agents for tag in a.done]
    print(f"# {KILLS} kills, {len(done)} of {sum(a.tried for a in agents)} commands answered, seed {SEED}")
    until("service again", lambda: p.ssh("echo back").out == b"back\n", 20, 0.2)
    records = p.records()
    told = " ".join(json.dumps(x["body"]) for x in records if x["class"] == "channel.exec")
    missing = [t for t in done if f"echo {t}" not in told and f"echo {t}\"" not in told]
    assert len(done) >= KILLS and not missing, (len(done), missing[:5])
    assert in_sequence(records)


@rule
def the_log_is_one_unbroken_chain(p):
    r = p.postern("audit", "verify", "--chain")
    assert r.code == 0, r


if __name__ == "__main__":
    main(Postern)
