#!/usr/bin/python3
# Bytes, many and slow: nothing is lost, and memory stays bounded.
import hashlib, os, subprocess, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import Gateway, Tap, equal

gw = Gateway(spares=3)
SLOW = r"""
import hashlib, sys, time
h, n, end = hashlib.md5(), 0, time.monotonic() + %d
while True:
    b = sys.stdin.buffer.raw.read(4096 if time.monotonic() < end else 1 << 20)
    if not b:
        break
    h.update(b)
    n += len(b)
    if time.monotonic() < end:
        time.sleep(0.001)
print(n, h.hexdigest())
"""


def hwm(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(l.split()[1]) for l in f if l.startswith("VmHWM"))


class Watch:
    """The largest VmHWM of any worker."""

    def __enter__(self):
        self.peak, self.stop = 0, False
        self.t = threading.Thread(target=self.run)
        self.t.start()
        return self

    def run(self):
        while not self.stop:
            for pid in gw.worker_pids():
                try:
                    self.peak = max(self.peak, hwm(pid))
                except (OSError, StopIteration):
                    pass
            time.sleep(0.02)

    def __exit__(self, *a):
        self.stop = True
        self.t.join()
        if gw.sanitized:
            self.peak = 0


def upload(total, command, options=()):
    """Sends total bytes of a known stream; returns (the digest, what the command printed, peak kB)."""
    block = os.urandom(1 << 20)
    h = hashlib.md5()
    with Watch() as w:
        p = subprocess.Popen(gw.ssh(command, options=options), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        left = total
        while left:
            piece = block[:min(left, len(block))]
            h.update(piece)
            p.stdin.write(piece)
            left -= len(piece)
        p.stdin.close()
        out = p.stdout.read().decode().split()
        equal(p.wait(30), 0)
    return h.hexdigest(), out, w.peak


def a_slow_consumer_loses_nothing():
    # libssh 0.10.6, read in small pieces, buffers 256 MiB here, drops them, and goes on
    total = 900 * 1000 * 1000
    with open(gw.dir + "/slow.py", "w", encoding="utf-8") as f:
        f.write(SLOW % 4)
    digest, out, peak = upload(total, f"exec /usr/bin/python3 {gw.dir}/slow.py")
    equal(out, [str(total), digest])
    print(f"# peak {peak} kB", flush=True)
    assert peak < 32 * 1024, f"the worker grew to {peak} kB"


def a_consumer_that_sleeps_first():
    digest, out, peak = upload(100 * 1000 * 1000, "sleep 1; md5sum")
    equal(out[0], digest)
    assert peak < 32 * 1024, f"the worker grew to {peak} kB"


def a_consumer_that_never_reads_stops_the_client():
    with Watch() as w:
        p = subprocess.Popen(gw.ssh("sleep 3; exit 4"), stdin=subprocess.PIPE)
        os.set_blocking(p.stdin.fileno(), False)
        sent, end = 0, time.monotonic() + 2
        while time.monotonic() < end:
            try:
                sent += os.write(p.stdin.fileno(), b"z" * 65536)
            except BlockingIOError:
                time.sleep(0.01)
        equal(p.wait(10), 4)
    assert sent < 16 * 1000 * 1000, sent
    assert w.peak < 32 * 1024, w.peak


def a_slow_client_loses_nothing():
    total = 200 * 1000 * 1000
    with Watch() as w:
        p = subprocess.Popen(gw.ssh(f"head -c {total} /dev/zero | tee /dev/stderr 2>/dev/null | cat; exit 5"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        n, end = 0, time.monotonic() + 2
        while True:
            b = os.read(p.stdout.fileno(), 4096 if time.monotonic() < end else 1 << 20)
            if not b:
                break
            n += len(b)
            if time.monotonic() < end:
                time.sleep(0.002)
        equal((p.wait(10), n), (5, total))
    assert w.peak < 32 * 1024, w.peak


def two_hundred_megabytes_with_rekeying():
    digest, out, _ = upload(200 * 1000 * 1000, "tee /dev/stderr 2>/dev/null | md5sum", options=["RekeyLimit=10M"])
    equal(out[0], digest)


def eight_slow_channels_stay_bounded():
    master = gw.dir + "/mux"
    opts = [f"ControlPath={master}"]
    m = subprocess.Popen(gw.ssh("-N", options=opts + ["ControlMaster=yes"]), stdin=subprocess.DEVNULL)
    while not os.path.exists(master):
        time.sleep(0.02)
    with Watch() as w:
        ps = [subprocess.Popen(gw.ssh("sleep 1; md5sum", options=opts + ["ControlMaster=no"]), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE) for _ in range(8)]
        data = os.urandom(10 * 1000 * 1000)
        want = hashlib.md5(data).hexdigest().encode()
        ts = [threading.Thread(target=lambda p=p: (p.stdin.write(data), p.stdin.close())) for p in ps]
        for t in ts:
            t.start()
        for t, p in zip(ts, ps):
            t.join()
            equal(p.stdout.read().split()[0], want)
            equal(p.wait(5), 0)
    m.terminate()
    m.wait(5)
    assert w.peak < 100 * 1024, w.peak


tap = Tap(6)
for t in (a_slow_consumer_loses_nothing, a_consumer_that_sleeps_first, a_consumer_that_never_reads_stops_the_client,
          a_slow_client_loses_nothing, two_hundred_megabytes_with_rekeying, eight_slow_channels_stay_bounded):
    tap.run(t.__name__, t)
gw.close()
sys.exit(1 if tap.failed else 0)
