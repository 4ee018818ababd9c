#!/usr/bin/python3
"""900 MB to a reader that waits: every byte arrives, and the worker's memory stays bounded. (libssh 0.10.6, read in
small pieces, regrants its window, buffers 256 MiB, frees them all, and goes on as if nothing had happened.)"""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, os, subprocess, threading, time

import proc
from postern import Postern, close_all
from tap import main, rule

SIZE = 900_000_000
BOUND_KB = 48 * 1024  # of one worker, with everything that libssh needs
if "san" in os.path.basename(os.environ["BUILD"]):
    BOUND_KB *= 16  # the sanitizers keep what is freed for a while
PATTERN = bytes((i * 7 + i // 251) & 0xff for i in range(1_000_003))  # a length that fits no block


def pattern_hash():
    h, left = hashlib.sha256(), SIZE
    while left:
        n = min(left, len(PATTERN))
        h.update(PATTERN[:n])
        left -= n
    return h.hexdigest()


def watch(p, stop, peak):
    while not stop.is_set():
        for w in p.daemons("worker"):
            peak[0] = max(peak[0], int(proc.status(w).get("VmRSS", "0 kB").split()[0]))
        stop.wait(0.1)


@rule
def a_slow_command_gets_every_byte(p):
    want = {}
    t = threading.Thread(target=lambda: want.update(h=pattern_hash()))
    # the consumer in the sandbox sleeps first, then reads all
    s = p.ssh_open("sleep 6; sha256sum", opts=["Ciphers=aes128-gcm@openssh.com"])
    stop, peak = threading.Event(), [0]
    w = threading.Thread(target=watch, args=(p, stop, peak))
    w.start()
    t.start()
    try:
        left = SIZE
        while left:
            n = min(left, len(PATTERN))
            s.stdin.write(PATTERN[:n])
            left -= n
        s.stdin.close()
        got = s.stdout.read().split()[0].decode()
        assert s.wait(30) == 0
    finally:
        stop.set()
        w.join()
        t.join()
        close_all(s)
    assert got == want["h"], (got, want)
    assert peak[0] < BOUND_KB, f"a worker grew to {peak[0]} kB"


@rule
def a_slow_client_gets_every_byte(p):
    n = 120_000_000
    s = p.ssh_open(f"head -c {n} /dev/zero | tr '\\0' q")
    stop, peak = threading.Event(), [0]
    w = threading.Thread(target=watch, args=(p, stop, peak))
    w.start()
    try:
        time.sleep(4)
        h, total = hashlib.sha256(), 0
        while True:
            d = s.stdout.read1(1 << 20)
            if not d:
                break
            h.update(d)
            total += len(d)
        assert s.wait(10) == 0
    finally:
        stop.set()
        w.join()
        close_all(s)
    assert total == n and h.hexdigest() == hashlib.sha256(b"q" * n).hexdigest(), total
    assert peak[0] < BOUND_KB, f"a worker grew to {peak[0]} kB"


@rule
def a_client_that_reads_nothing_costs_bounded_memory(p):
    s = p.ssh_open("head -c 500000000 /dev/zero")
    try:
        for _ in range(30):
            time.sleep(0.1)
            for w in p.daemons("worker"):
                kb = int(proc.status(w).get("VmRSS", "0 kB").split()[0])
                assert kb < BOUND_KB, kb
        assert p.ssh("echo fine").out == b"fine\n"
    finally:
        close_all(s)


if __name__ == "__main__":
    import tap
    tap.RULE_SECONDS = 90
    main(Postern)
