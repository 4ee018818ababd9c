"""Makes logs as Postern writes them, and the changes that somebody with root can make to them."""
import datetime, json, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tlog

START = datetime.datetime(2026, 11, 23, 12, 0, 0)


def record(log, seq, prev, body, version=2):
    when = (START + datetime.timedelta(seconds=seq)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    o = {"v": version}
    if version == 2:
        o["log"] = log
    o.update(seq=seq, time=when, boot="00000000-0000-0000-0000-000000000000", mono_ns=seq * 10**9)
    o["class"] = body.pop("class", "channel.exec")
    if version == 2:
        o.update(class_uid=1007, activity_id=1, type_uid=100701)
    o.update(tenant="" if log == "host" else log, subject={}, body=body, prev=prev.hex())
    return json.dumps(o, separators=(",", ":"), ensure_ascii=False).encode()


class Maker:
    """A host's log and one tenant's, growing, sealed, in epochs."""

    def __init__(self, origin="log.example/gw", tenants=("demo",)):
        self.sealer = tlog.Sealer(origin)
        self.logs = {n: tlog.Bundle(n) for n in ("host", *tenants)}
        self.host_epochs = []

    def grow(self, log, n, /, **body):
        b = self.logs[log]
        for _ in range(n):
            seq = len(b.records) + 1
            prev = tlog.leaf(b.records[seq - 1]) if seq > 1 else bytes(32)
            b.records[seq] = record(log, seq, prev, {"command": f"command {seq}", **body})

    def seal(self, log):
        b = self.logs[log]
        note = self.sealer.seal(log, b.leaves())
        b.checkpoints = [c for c in b.checkpoints if c[0] != len(b.records)] + [(len(b.records), note)]
        if log != "host":
            self.grow("host", 1, **{"class": "log.checkpoint", "log": log, "size": len(b.records), "note": note.decode()})
        return note

    def seal_all(self):
        for log in [x for x in self.logs if x != "host"] + ["host"]:
            if self.logs[log].records:
                self.seal(log)

    def turn(self):
        """Every log is carried over; those that were never sealed have no note."""
        self.seal_all()
        for log, b in self.logs.items():
            if b.records:
                note = self.sealer.epoch_note(log, b.leaves(b.checkpoints[-1][0]))
                (self.host_epochs if log == "host" else b.epochs).append(note)
        self.sealer.turn()

    def bundle(self, log="demo"):
        b = self.logs[log].copy()
        b.host_epochs = list(self.host_epochs)
        return b

    def keys(self, log="demo"):
        return self.sealer.keys(log)


def rechain(b, first):
    """Writes the records from `first` on anew, so that each fits the one before it."""
    seqs = sorted(b.records)
    for seq in seqs:
        if seq < first:
            continue
        o = json.loads(b.records[seq])
        o["seq"] = seq
        o["prev"] = tlog.leaf(b.records[seq - 1]).hex() if seq > 1 else bytes(32).hex()
        b.records[seq] = json.dumps(o, separators=(",", ":"), ensure_ascii=False).encode()


def reseal(b, sealer, first):
    """Signs every checkpoint of `first` records and more again, as they are now."""
    b.checkpoints = [(s, sealer.seal(b.log, b.leaves(s)) if s >= first else n) for s, n in b.checkpoints if s <= len(b.records)]
