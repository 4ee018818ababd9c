"""Transparency logs once more, in Python, sharing no code with Postern: RFC 6962 trees and proofs, C2SP signed notes and
checkpoints, epochs, bundles, and a verifier that is as slow as it is simple.

Written from the specifications: RFC 6962 section 2.1, c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-witness, tlog-proof,
and the comments of creds/sealer.h and broker/audit/export_file.h. Ed25519 is python3-cryptography's, or openssl's.
"""
import base64, hashlib, hmac, json, os, struct, subprocess, tempfile

from tlog_tree import leaf, path, root, root_from_path, roots_from_subproof, sha, subproof

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    HAVE = True
except ImportError:
    HAVE = False

MAGIC = b"postern log bundle 1\n"
DASH = "\u2014"


# ---- Ed25519 ----

def _openssl(args, data, **files):
    with tempfile.TemporaryDirectory() as d:
        for name, content in files.items():
            with open(os.path.join(d, name), "wb") as f:
                f.write(content)
        with open(os.path.join(d, "data"), "wb") as f:
            f.write(data)
        return subprocess.run(["openssl", *args], cwd=d, capture_output=True)


def _pem(kind, der):
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind} KEY-----\n{body}-----END {kind} KEY-----\n".encode()


def _private(seed):
    return _pem("PRIVATE", bytes.fromhex("302e020100300506032b657004220420") + seed)


def public(seed):
    if HAVE:
        return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _openssl(["pkey", "-in", "k", "-pubout", "-outform", "DER"], b"", k=_private(seed)).stdout[-32:]


def sign(seed, data):
    if HAVE:
        return Ed25519PrivateKey.from_private_bytes(seed).sign(data)
    return _openssl(["pkeyutl", "-sign", "-inkey", "k", "-rawin", "-in", "data"], data, k=_private(seed)).stdout


def verify(key, sig, data):
    if HAVE:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(sig, data)
            return True
        except (InvalidSignature, ValueError):
            return False
    der = bytes.fromhex("302a300506032b6570032100") + key
    r = _openssl(["pkeyutl", "-verify", "-pubin", "-inkey", "k", "-rawin", "-in", "data", "-sigfile", "s"], data,
                 k=_pem("PUBLIC", der), s=sig)
    return r.returncode == 0


# ---- signed notes ----

def key_id(name, kind, key):
    return sha(name.encode() + b"\n" + bytes([kind]) + key)[:4]


def vkey(name, key, kind=1):
    return f"{name}+{key_id(name, kind, key).hex()}+{base64.b64encode(bytes([kind]) + key).decode()}"


def parse_vkey(text):
    name, kid, rest = text.split("+", 2)
    raw = base64.b64decode(rest, validate=True)
    assert len(raw) == 33 and kid == key_id(name, raw[0], raw[1:]).hex(), text
    return name, raw[0], raw[1:]


def signature(name, seed, text):
    raw = key_id(name, 1, public(seed)) + sign(seed, text.encode())
    return f"{DASH} {name} {base64.b64encode(raw).decode()}\n"


def cosignature(name, seed, text, when):
    body = f"cosignature/v1\ntime {when}\n{text}".encode()
    raw = key_id(name, 4, public(seed)) + struct.pack(">Q", when) + sign(seed, body)
    return f"{DASH} {name} {base64.b64encode(raw).decode()}\n"


def parse_note(data):
    """(text, [(name, id, signature)])"""
    text = data.decode() if isinstance(data, bytes) else data
    body, sigs = text.rsplit("\n\n", 1)
    out = []
    assert sigs.endswith("\n")
    for line in sigs[:-1].split("\n"):
        dash, name, b64 = line.split(" ")
        assert dash == DASH
        raw = base64.b64decode(b64, validate=True)
        out.append((name, raw[:4], raw[4:]))
    return body + "\n", out


def signed_by(data, name, key, kind=1):
    text, sigs = parse_note(data)
    ok = False
    for n, kid, sig in sigs:
        if n != name or kid != key_id(name, kind, key):
            continue
        if kind == 4:
            when, = struct.unpack(">Q", sig[:8])
            good = verify(key, sig[8:], f"cosignature/v1\ntime {when}\n{text}".encode())
        else:
            good = verify(key, sig, text.encode())
        if not good:
            raise ValueError("a signature by this key does not hold")
        ok = True
    return ok


def cosigned(text, lines, key):
    """The time of the cosignature by this verifier key in a witness's answer (tlog-witness), whose lines all are such."""
    name, kind, point = parse_vkey(key)
    assert kind == 4, key
    note = (text + "\n").encode() + lines
    body, sigs = parse_note(note)
    assert body == text and len(sigs) == 1, lines
    n, kid, sig = sigs[0]
    assert n == name and kid == key_id(name, 4, point) and len(sig) == 72, lines
    assert signed_by(note, name, point, 4), lines
    return struct.unpack(">Q", sig[:8])[0]


def add_checkpoint(old, proof, note):
    """The body of a request to a witness (tlog-witness)."""
    return f"old {old}\n" + "".join(base64.b64encode(h).decode() + "\n" for h in proof) + "\n" + note


def checkpoint_text(origin, size, r):
    return f"{origin}\n{size}\n{base64.b64encode(r).decode()}\n"


def parse_checkpoint(text):
    origin, size, r, end = text.split("\n")
    assert end == "" and str(int(size)) == size
    return origin, int(size), base64.b64decode(r, validate=True)


# ---- keys that ratchet: creds/sealer.h ----

def hkdf(seed, info):
    prk = hmac.new(b"\0" * 32, seed, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


class Sealer:
    """What the signer's sealer does, without its refusals: a thief has one like this."""

    def __init__(self, origin, log_seed=None, epoch_seed=None, epoch=0, first=None):
        self.origin, self.log_seed, self.seed, self.epoch = origin, log_seed or os.urandom(32), epoch_seed or os.urandom(32), epoch
        self.first = first or public(self.sign_seed())

    @classmethod
    def steal(cls, state_file):
        """From seal.state, as the thief of a running host would have it."""
        with open(state_file, "rb") as f:
            image = f.read()
        best = None
        for at in range(0, len(image), len(image) // 2):
            slot = image[at:at + len(image) // 2]
            if slot[:8] != b"POSTSEAL" or sha(slot[:-32]) != slot[-32:]:
                continue
            version, counter, epoch = struct.unpack(">IQQ", slot[8:28])
            n, = struct.unpack(">I", slot[124:128])
            if best is None or counter > best[0]:
                best = counter, cls(slot[128:128 + n].decode(), slot[28:60], slot[60:92], epoch, slot[92:124])
        return best[1]

    def sign_seed(self):
        return hkdf(self.seed, b"postern sign")

    def log_origin(self, log):
        return self.origin if log == "host" else f"{self.origin}/t/{log}"

    def both(self, log, text):
        return (text + "\n" + signature(self.log_origin(log), self.log_seed, text) +
                signature(f"{self.origin}/epoch/{self.epoch}", self.sign_seed(), text)).encode()

    def seal(self, log, leaves):
        return self.both(log, checkpoint_text(self.log_origin(log), len(leaves), root(leaves)))

    def next_key(self):
        return public(hkdf(hkdf(self.seed, b"postern ratchet"), b"postern sign"))

    def epoch_note(self, log, leaves):
        e = self.epoch + 1
        return self.both(log, f"postern.log/epoch/v1\n{self.log_origin(log)}\n{e}\n" +
                         vkey(f"{self.origin}/epoch/{e}", self.next_key()) +
                         f"\n{len(leaves)}\n{base64.b64encode(root(leaves)).decode()}\n")

    def break_note(self, log, number, old, leaves, when=1795000000):
        return self.both(log, f"postern.log/break/v1\n{self.log_origin(log)}\n{number}\n{len(old)}\n"
                         f"{base64.b64encode(root(old)).decode()}\n{len(leaves)}\n{base64.b64encode(root(leaves)).decode()}\n"
                         f"{self.epoch}\n{vkey(f'{self.origin}/epoch/{self.epoch}', public(self.sign_seed()))}\n{when}\n")

    def turn(self):
        self.seed = hkdf(self.seed, b"postern ratchet")
        self.epoch += 1

    def copy(self):
        return Sealer(self.origin, self.log_seed, self.seed, self.epoch, self.first)

    def keys(self, log):
        return [vkey(self.log_origin(log), public(self.log_seed)), vkey(f"{self.origin}/epoch/0", self.first)]


# ---- bundles ----

def unpack_range(data):
    size, = struct.unpack(">Q", data[:8])
    hashes = [data[at:at + 32] for at in range(8, len(data), 32)]
    assert len(hashes) == bin(size).count("1") and all(len(h) == 32 for h in hashes)
    return size, hashes


def range_of(leaves):
    """The full subtrees that a tree consists of, as its size has bits."""
    out, at = [], 0
    for bit in range(len(leaves).bit_length() - 1, -1, -1):
        if len(leaves) >> bit & 1:
            out.append(root(leaves[at:at + (1 << bit)]))
            at += 1 << bit
    return len(leaves), out


def load_segment(path):
    """A segment of the archive: zstd around a bundle."""
    r = subprocess.run(["zstd", "-dc", path], capture_output=True)
    if r.returncode != 0:
        raise ValueError(r.stderr.decode())
    return Bundle.load(r.stdout)


def join(parts):
    """One bundle of segments and what comes behind them. Each begins where the one before ended, or before that."""
    b = parts[-1].copy()
    b.records, b.checkpoints, b.edge = {}, [], None
    for p in parts:
        if p.edge:
            number, last, compact = p.edge
            leaves = [leaf(b.records[s]) for s in range(1, number + 1)]
            assert leaves[-1] == last and range_of(leaves) == compact, f"{number} is not where it goes on"
        b.records.update({s: d for s, d in p.records.items() if s not in b.records})
        b.checkpoints += [c for c in p.checkpoints if not b.checkpoints or c[0] > b.checkpoints[-1][0]]
    return b

class Bundle:
    """One log with its seals: host_epochs and epochs are notes in order; records {seq: bytes}; checkpoints [(size, note)]."""

    def __init__(self, log="demo", head=None):
        self.log, self.head = log, head
        self.host_epochs, self.epochs, self.records, self.checkpoints = [], [], {}, []
        self.edge = None  # (number, leaf hash, (size, [hash of each full subtree, the largest first]))
        self.host_breaks, self.breaks = [], []
        self.bodies = {}  # {seq: bytes}, of records that name one

    def copy(self):
        b = Bundle(self.log, self.head)
        b.host_epochs, b.epochs = list(self.host_epochs), list(self.epochs)
        b.host_breaks, b.breaks = list(self.host_breaks), list(self.breaks)
        b.records, b.checkpoints, b.bodies = dict(self.records), list(self.checkpoints), dict(self.bodies)
        b.edge = self.edge
        return b

    def behind(self, n):
        """The log as it is when its first n records are elsewhere."""
        b, leaves = self.copy(), self.leaves(n)
        b.edge = n, leaves[-1], range_of(leaves)
        b.records = {s: d for s, d in self.records.items() if s > n}
        b.checkpoints = [c for c in self.checkpoints if c[0] >= n]
        return b

    def leaves(self, n=None):
        return [leaf(self.records[s]) for s in sorted(self.records)][:n]

    def dump(self):
        out = bytearray(MAGIC)

        def item(kind, data):
            out.extend(kind + struct.pack(">I", len(data)) + data)
        name = self.log.encode()
        head = max(self.records, default=0) if self.head is None else self.head
        item(b"H", struct.pack(">I", len(name)) + name + struct.pack(">Q", head))
        for kind, notes in ((b"B", self.host_breaks), (b"E", self.host_epochs), (b"b", self.breaks), (b"e", self.epochs)):
            for n in notes:
                item(kind, n)
        if self.edge:
            number, last, (size, hashes) = self.edge
            item(b"P", struct.pack(">Q", number) + last + struct.pack(">Q", size) + b"".join(hashes))
        parts = [(s, 0, s, d) for s, d in self.records.items()] + [(s, 1, i, n) for i, (s, n) in enumerate(self.checkpoints)]
        for number, kind, _, data in sorted(parts, key=lambda p: p[:3]):
            item(b"C" if kind else b"R", struct.pack(">Q", number) + data)
            if not kind and number in self.bodies:
                item(b"D", struct.pack(">Q", number) + self.bodies[number])
        end = struct.pack(">QQQ", len(self.records), len(self.checkpoints), len(self.host_epochs) + len(self.epochs) +
                          len(self.host_breaks) + len(self.breaks))
        item(b"Z", end + sha(bytes(out)))
        return bytes(out)

    @classmethod
    def load(cls, data):
        assert data.startswith(MAGIC)
        at, b, end = len(MAGIC), cls(), False
        while at < len(data):
            assert not end
            kind, (n,) = data[at:at + 1], struct.unpack(">I", data[at + 1:at + 5])
            body = data[at + 5:at + 5 + n]
            assert len(body) == n
            if kind == b"H":
                ln, = struct.unpack(">I", body[:4])
                b.log, b.head = body[4:4 + ln].decode(), struct.unpack(">Q", body[4 + ln:])[0]
            elif kind == b"E":
                b.host_epochs.append(body)
            elif kind == b"e":
                b.epochs.append(body)
            elif kind == b"B":
                b.host_breaks.append(body)
            elif kind == b"b":
                b.breaks.append(body)
            elif kind == b"D":
                number, = struct.unpack(">Q", body[:8])
                assert number == last == max(b.records)
                b.bodies[number] = body[8:]
            elif kind == b"P":
                assert not b.records and not b.checkpoints
                b.edge = struct.unpack(">Q", body[:8])[0], body[8:40], unpack_range(body[40:])
                assert b.edge[0] == b.edge[2][0]
            elif kind in b"RC":
                number, = struct.unpack(">Q", body[:8])
                if kind == b"R":
                    b.records[number] = body[8:]
                else:
                    b.checkpoints.append((number, body[8:]))
            else:
                assert kind == b"Z" and body[24:] == sha(data[:at])
                end = True
            at, last = at + 5 + n, number if kind == b"R" else None
        assert end
        return b


def check(b, keys, anchor=None, restored=False):
    """Raises unless every record is sealed: the definition, without any attempt to say what is wrong where. restored: a log
    may have been set back where a note says so; answers [(number, from, to)] of what was lost."""
    known = [parse_vkey(k) for k in keys]
    first = next(k for n, t, k in known if n.endswith("/epoch/0"))
    host = next(n for n, t, k in known if n.endswith("/epoch/0"))[:-len("/epoch/0")]
    origin = host if b.log == "host" else f"{host}/t/{b.log}"
    log_key = next(k for n, t, k in known if n in (origin, host))
    n = len(b.records)
    assert n, "nothing"
    assert sorted(b.records) == list(range(1, n + 1)), "records are missing"
    leaves = b.leaves()
    for seq, body in b.bodies.items():
        named = json.loads(b.records[seq])["body"]
        assert named["body_digest"] == sha(body).hex() and named["body_bytes"] == len(body), "a body was changed"
    epoch_keys = {0: first}

    def cuts(notes, name):
        out = []
        for note in notes:
            word, o, number, old, _, size, r, e, key, _, end = parse_note(note)[0].split("\n")
            key_name, kind, key = parse_vkey(key)
            assert word == "postern.log/break/v1" and o == name and end == "" and key_name == f"{host}/epoch/{e}"
            assert signed_by(note, name, log_key) and signed_by(note, key_name, key)
            assert epoch_keys.setdefault(int(e), key) == key, "two keys of one epoch"
            assert int(size) < int(old) and (not out or out[-1][0] < int(number) and out[-1][2] <= int(size))
            out.append((int(number), int(old), int(size), base64.b64decode(r), int(e)))
        return out

    def turns(notes, name, jumps):
        expected = None if name != host else 1
        for note in notes:
            text, _ = parse_note(note)
            _, o, e, key, size, r, _ = text.split("\n")
            e = int(e)
            assert expected in (None, e) or e > expected and e - 1 in jumps, "epochs are missing"
            assert o == name and signed_by(note, name, log_key)
            assert signed_by(note, f"{host}/epoch/{e - 1}", epoch_keys[e - 1])
            if name == host:
                assert epoch_keys.setdefault(e, parse_vkey(key)[2]) == parse_vkey(key)[2]
            assert parse_vkey(key)[2] == epoch_keys[e]
            expected = e + 1
            yield e, int(size), base64.b64decode(r)
    host_cuts = cuts(b.host_breaks, host)
    own_cuts = host_cuts if b.log == "host" else cuts(b.breaks, origin)
    assert restored or not own_cuts, "it was set back"
    host_turns = list(turns(b.host_epochs, host, {c[4] for c in host_cuts}))
    own = host_turns if b.log == "host" else list(turns(b.epochs, origin, {c[4] for c in own_cuts}))
    for size, r in [(t[1], t[2]) for t in own] + [(c[2], c[3]) for c in own_cuts]:
        assert size <= n and root(leaves[:size]) == r
    begins = {e: s for e, s, r in own}
    for _, _, size, _, e in own_cuts:
        if e > 0:
            begins.setdefault(e, size)
    newest = max(epoch_keys)
    assert not begins or max(begins) == newest, "epochs are missing"
    sealed = 0
    for size, note in b.checkpoints:
        o, s, r = parse_checkpoint(parse_note(note)[0])
        assert o == origin and s == size and signed_by(note, origin, log_key)
        by = [e for e, k in epoch_keys.items() if signed_by(note, f"{host}/epoch/{e}", k)]
        assert all(e >= min(begins, default=newest + 1) - 1 for e in by), "epochs are missing"
        assert by and all(begins.get(e, 0) <= s <= min((x for f, x in begins.items() if f > e), default=s) for e in by), \
            "out of its epoch"
        assert s <= n and root(leaves[:s]) == r
        sealed = max(sealed, s)
    said = {json.loads(d)["body"]["number"] for d in b.records.values()
            if b'"class":"log.break"' in d and json.loads(d)["class"] == "log.break" and json.loads(d)["body"]["log"] == b.log}
    assert said <= {c[0] for c in own_cuts}, "a break has no note"
    if anchor:
        o, s, r = parse_checkpoint(parse_note(anchor)[0])
        assert o == origin and s <= n and root(leaves[:s]) == r
    assert sealed == n, "a tail"
    return [(c[0], c[2] + 1, c[1]) for c in own_cuts]


# ---- proofs ----

def parse_proof(data):
    """{"index" or "old", "hashes", "note"}"""
    lines, note = data.decode().split("\n\n", 1)
    lines = lines.split("\n")
    if lines[0] == "c2sp.org/tlog-proof@v1":
        lines.pop(0)
        if lines[0].startswith("extra "):
            lines.pop(0)
    word, number = lines[0].split(" ")
    assert word in ("index", "old")
    return {word: int(number), "hashes": [base64.b64decode(x, validate=True) for x in lines[1:]], "note": note.encode()}


def format_proof(leaves, note, index=None, old=None):
    head = f"c2sp.org/tlog-proof@v1\nindex {index}\n" if old is None else f"old {old}\n"
    hashes = path(index, leaves) if old is None else subproof(old, leaves)
    return (head + "".join(base64.b64encode(h).decode() + "\n" for h in hashes) + "\n").encode() + note


def check_inclusion(data, record, key):
    p = parse_proof(data)
    o, size, r = parse_checkpoint(parse_note(p["note"])[0])
    name, kind, k = parse_vkey(key)
    return name == o and signed_by(p["note"], o, k) and root_from_path(p["index"], size, leaf(record), p["hashes"]) == r


def check_consistency(data, old_note, key):
    p = parse_proof(data)
    o, size, r = parse_checkpoint(parse_note(p["note"])[0])
    oo, osize, oroot = parse_checkpoint(parse_note(old_note)[0])
    name, kind, k = parse_vkey(key)
    return (name == o == oo and osize == p["old"] and signed_by(p["note"], o, k) and signed_by(old_note, o, k) and
            roots_from_subproof(osize, size, p["hashes"], oroot) == (oroot, r))
