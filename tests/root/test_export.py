#!/usr/bin/env python3
"""The exporter: files of lines, its cursors, its confinement."""
import hashlib, json, os, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))

import tap
from export_rig import Rig, UID, until
from tap import rule

JSONL = "export:\n  - {name: lake, kind: jsonl, file: lake}\n"


def lines(rig, name="lake"):
    try:
        with open(f"{rig.dir}/export/{name}.jsonl", "rb") as f:
            return f.read().split(b"\n")
    except FileNotFoundError:
        return [b""]


def events(rig, name="lake"):
    got = lines(rig, name)
    assert got[-1] == b"", "the last line is whole"
    return [json.loads(l) for l in got[:-1]]


def records_of(found, log="demo"):
    return [e for e in found if e["metadata"]["log_name"] == log and e["message"] != "checkpoint"]


def with_rig(*args, **kw):
    def wrap(f):
        def run():
            rig = Rig(*args, **kw)
            try:
                f(rig)
            finally:
                rig.close()
        run.__name__ = f.__name__
        return rule(run)
    return wrap


@with_rig(JSONL)
def writes_each_record_once_in_order_with_its_leaf_hash(rig):
    rig.grow("demo", 300)
    rig.delivered("lake")
    found = records_of(events(rig))
    assert [e["metadata"]["sequence"] for e in found] == list(range(1, 301))
    for e, record in zip(found, rig.records("demo")):
        assert e["raw_data"].encode() == record
        assert e["attestation"]["fingerprint"]["value"] == hashlib.sha256(b"\0" + record).hexdigest()
        assert e["metadata"]["uid"] == f"log.example/gw/t/demo/demo/{e['metadata']['sequence']}", e["metadata"]["uid"]


@with_rig(JSONL)
def sends_a_checkpoint_behind_the_records_it_covers(rig):
    for n in (3, 4, 5):
        rig.grow("demo", n)
        rig.delivered("lake")
    found = [e for e in events(rig) if e["metadata"]["log_name"] == "demo"]
    sizes = [(e["unmapped"]["size"], i) for i, e in enumerate(found) if e["message"] == "checkpoint"]
    assert [s for s, _ in sizes] == [3, 7, 12], sizes
    for size, place in sizes:
        assert size in [e["metadata"]["sequence"] for e in found[:place] if e["message"] != "checkpoint"]
        assert found[place]["raw_data"].encode() == dict(rig.bundle("demo").checkpoints)[size]


@with_rig(JSONL)
def goes_on_where_its_cursor_was_when_killed(rig):
    for _ in range(5):
        rig.grow("demo", 200)
        until("some of it", lambda: rig.cursor("lake")[0] > 0)
        rig.kill()
        rig.start()
    rig.delivered("lake")
    seqs = [e["metadata"]["sequence"] for e in records_of(events(rig))]
    first = list(dict.fromkeys(seqs))
    assert first == list(range(1, 1001)), "at least once, and in order at first sight"


@with_rig(JSONL, start=False)
def cuts_off_a_line_that_a_crash_tore(rig):
    path = f"{rig.dir}/export/lake.jsonl"
    with open(path, "wb") as f:
        f.write(b'{"whole":1}\n{"metadata":{"torn')
    os.chown(path, UID, UID)
    rig.start()
    rig.grow("demo", 2)
    rig.delivered("lake")
    assert events(rig)[0] == {"whole": 1}
    assert len(records_of(events(rig)[1:])) == 2


@with_rig(JSONL)
def opens_its_file_anew_after_a_reload(rig):
    rig.grow("demo", 2)
    rig.delivered("lake")
    os.rename(f"{rig.dir}/export/lake.jsonl", f"{rig.dir}/export/lake.jsonl.1")
    rig.reload()
    until("the reload", lambda: "lake" in rig.states)
    time.sleep(0.3)
    rig.grow("demo", 3)
    rig.delivered("lake")
    assert [e["metadata"]["sequence"] for e in records_of(events(rig))] == [3, 4, 5]


@with_rig("export:\n  - {name: lake, kind: jsonl, file: lake, logs: [other]}\n", tenants=("demo", "other"))
def asks_for_the_logs_of_its_sink_alone(rig):
    rig.grow("demo", 3)
    rig.grow("other", 3)
    rig.delivered("lake", "other")
    assert {e["metadata"]["log_name"] for e in events(rig)} == {"other"}
    assert not [o for t, o in rig.asked if t in ("export.open", "export.pull", "export.notes") and o["log"] != "other"]


def commitment(value):
    salt = b"0123456789abcdef"
    return "c:" + hashlib.sha256(b"\2" + salt + value).hexdigest(), salt + value


@with_rig("export:\n  - {name: open, kind: jsonl, personal: true}\n  - {name: closed, kind: jsonl}\n")
def tells_personal_values_only_to_the_sink_that_may_have_them(rig):
    text, entry = commitment(b"alice@example.com")
    rig.private["demo", 1] = [entry]
    rig.grow("demo", 1, person=text)
    for sink in ("open", "closed"):
        rig.delivered(sink)
    assert b"alice" in b"\n".join(lines(rig, "open")) and b"alice" not in b"\n".join(lines(rig, "closed"))
    assert text.encode() in b"\n".join(lines(rig, "closed"))


def with_body(rig, body, said=None):
    """A record beside which this body lies, or is said to."""
    digest = hashlib.sha256(said or body).hexdigest()
    seq = rig.put("demo", (f'{{"v":2,"class":"channel.exec","subject":{{}},"body":{{"kind":"exec","body_digest":"{digest}",'
                           f'"body_bytes":{len(said or body)}}},"prev":"{"0" * 64}"}}').encode())
    return seq


@with_rig("export:\n  - {name: lake, kind: jsonl, file: lake}\n  - {name: all, kind: jsonl, personal: true}\n")
def takes_the_body_that_lies_beside_a_record(rig):
    text, entry = commitment(b"alice@example.com")
    good = ('{"command":"' + "x" * 100000 + '","person":"' + text + '"}').encode()
    bodies = [good, b'{"command":"' + b"y" * 70000 + b'"}', b'{"command":"' + b"z" * 70000 + b'"}']
    rig.bodies["demo", 1] = good
    rig.bodies["demo", 2] = bodies[1].replace(b"yy", b"Yy", 1)  # another one than the record names
    rig.private["demo", 1, "body"] = [entry]
    for b in bodies:  # of the third there is none
        with_body(rig, b)
    rig.grow("demo", 1)
    for sink in ("lake", "all"):
        rig.delivered(sink)
        found = {e["metadata"]["sequence"]: e["unmapped"] for e in records_of(events(rig, sink))}
        assert found[1]["body_data"].encode() == good and found[1]["body"]["body_digest"], sink
        assert "body_data" not in found[2] and "body_data" not in found[3] and len(found) == 4, sink
        assert found[2]["body"]["body_digest"] == hashlib.sha256(bodies[1]).hexdigest()
        assert (found[1].get("body_personal") == {text: "alice@example.com"}) == (sink == "all"), sink
    assert "body of record 3" in rig.stderr()
    asked = [o for k, o in rig.asked if k == "export.body"]
    assert {(o["seq"], o["at"]) for o in asked if o["sink"] == "lake"} == {(1, 0), (1, 61440), (2, 0), (2, 61440), (3, 0)}


@with_rig(JSONL)
def is_not_held_up_by_a_record_that_is_no_json_or_very_long(rig):
    rig.put("demo", b"\xff\xfe not a record \x00")
    rig.put("demo", b'{"v":2,"class":"x","body":{"big":"' + b"\\u0001" * 5000 + b'"}}')
    rig.put("demo", b"[1,2]")
    rig.grow("demo", 1)
    rig.delivered("lake")
    found = records_of(events(rig))
    assert [e["metadata"]["sequence"] for e in found] == [1, 2, 3, 4]
    assert found[0]["message"] == "not a record" and found[0]["unmapped"]["raw_base64"]


@with_rig(JSONL)
def goes_on_when_the_core_comes_back(rig):
    rig.grow("demo", 50)
    rig.delivered("lake")
    rig.core.sock.shutdown(2)
    rig.core.sock.close()
    rig.core = None
    rig.grow("demo", 50)
    rig.link()
    rig.delivered("lake")
    assert [e["metadata"]["sequence"] for e in records_of(events(rig))] == list(range(1, 101))


@with_rig(JSONL)
def keeps_its_configuration_when_the_new_one_is_wrong(rig):
    rig.grow("demo", 1)
    rig.delivered("lake")
    rig.configure("export:\n  - {name: lake, kind: nonsense}\n")
    rig.reload()
    until("the refusal", lambda: "not taken" in rig.stderr())
    rig.grow("demo", 1)
    rig.delivered("lake")


@with_rig(JSONL)
def says_that_it_cannot_write_and_goes_on_when_it_can(rig):
    os.mkdir(f"{rig.dir}/export/lake.jsonl")
    rig.grow("demo", 2)
    rig.state("lake", "failing", "directory")
    os.rmdir(f"{rig.dir}/export/lake.jsonl")
    rig.delivered("lake")
    rig.state("lake", "ok")


@with_rig("archive: {}\n")
def cuts_one_segment_at_a_time(rig):
    """Two would write one file, and the first to end would name what is half written."""
    said = []
    rig.archive_written = lambda o: said.append(("written", o["to"]))
    rig.archive_failed = lambda o: said.append(("failed", o["reason"]))
    rig.grow("demo", 400)
    with rig.lock:
        for n in (7, 8):
            rig.core.send("archive.cut", {"log": "demo", "from": 1, "to": 400}, id_=n)
    until("two answers", lambda: len(said) == 2)
    assert said == [("failed", "another segment is being cut"), ("written", 400)], said
    rig.core.send("archive.cut", {"log": "demo", "from": 1, "to": 400}, id_=9)
    until("a third answer", lambda: len(said) == 3)
    assert said[2] == ("written", 400), said


@with_rig("")
def is_idle_and_small_without_sinks(rig):
    rig.grow("demo", 10)

    def cpu():
        with open(f"/proc/{rig.pid}/stat", encoding="ascii") as f:
            return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
    before = cpu()
    for _ in range(10):
        rig.grow("demo", 1)
        time.sleep(0.1)
    assert cpu() - before <= 5, "50 ms"
    assert not [t for t, _ in rig.asked if t not in ("export.state",)], rig.asked
    with open("/proc/%d/status" % rig.pid, encoding="ascii") as f:
        status = f.read()
    if b"__asan_init" not in open(f"/proc/{rig.pid}/exe", "rb").read():
        rss = int(status.split("VmRSS:")[1].split()[0])
        assert rss < 24 * 1024, f"{rss} KiB"


@with_rig("")
def confines_itself(rig):
    with open("/proc/%d/status" % rig.pid, encoding="ascii") as f:
        status = dict(l.split(":", 1) for l in f.read().splitlines())
    assert status["Uid"].split() == [str(UID)] * 4 and status["Gid"].split() == [str(UID)] * 4
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    for s in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[s], 16) == 0, s
    assert not status["Groups"].strip()


@with_rig("")
def ends_with_status_0_when_told(rig):
    assert rig.shutdown() == 0


tap.main()
