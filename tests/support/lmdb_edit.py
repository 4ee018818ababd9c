"""Appends a well-formed record to the host's log of a stopped Postern's log, as if the clock had been elsewhere. LMDB by ctypes."""
import ctypes, datetime, hashlib, json, re, struct


class Val(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]


def _val(b):
    buf = ctypes.create_string_buffer(b, len(b))
    v = Val(len(b), ctypes.cast(buf, ctypes.c_void_p))
    v.keep = buf
    return v


def _leaf(data):
    return hashlib.sha256(b"\0" + data).digest()


def _range(leaves):
    """The roots of the full subtrees, largest first."""
    out = []
    while leaves:
        n = 1 << (len(leaves).bit_length() - 1)
        part, leaves = leaves[:n], leaves[n:]
        while len(part) > 1:
            part = [hashlib.sha256(b"\1" + part[i] + part[i + 1]).digest() for i in range(0, len(part), 2)]
        out += part
    return out


def append_record(core_dir, seconds_ahead):
    """A copy of the newest record's form, stamped this far in the future, chained and made the head."""
    lib = ctypes.CDLL("liblmdb.so.0")
    env, txn, records, heads = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()

    def ok(rc):
        assert rc == 0, f"lmdb: {rc}"
    ok(lib.mdb_env_create(ctypes.byref(env)))
    ok(lib.mdb_env_set_maxdbs(env, 32))
    ok(lib.mdb_env_set_mapsize(env, ctypes.c_size_t(1 << 30)))
    ok(lib.mdb_env_open(env, core_dir.encode(), 0, 0o600))
    ok(lib.mdb_txn_begin(env, None, 0, ctypes.byref(txn)))
    ok(lib.mdb_dbi_open(txn, b"logrecords", 0, ctypes.byref(records)))
    ok(lib.mdb_dbi_open(txn, None, 0, ctypes.byref(heads)))
    got = Val()

    def get(dbi, key):
        ok(lib.mdb_get(txn, dbi, ctypes.byref(_val(key)), ctypes.byref(got)))
        return ctypes.string_at(got.data, got.size)
    host = struct.pack(">I", 0)
    seq, time_ns, size = struct.unpack(">QQQ", get(heads, host)[:24])
    assert seq < 255, "only the head is written here, not tiles"
    stored = [get(records, host + struct.pack(">Q", i)) for i in range(1, seq + 1)]
    last = stored[-1]
    new_ns = time_ns + seconds_ahead * 10**9
    t = datetime.datetime.fromtimestamp(new_ns // 10**9, datetime.timezone.utc)
    text = last.decode()
    for name, value in (("seq", str(seq + 1)), ("prev", f'"{_leaf(last).hex()}"'),
                        ("time", '"' + t.strftime("%Y-%m-%dT%H:%M:%S") + f'.{new_ns % 10**9 // 1000:06d}Z"')):
        text = re.sub(rf'"{name}":("[^"]*"|[0-9]+)', lambda _: f'"{name}":{value}', text, count=1)
    text = re.sub(r'"body":.*,"prev":', '"body":{"test":"the clock was elsewhere"},"prev":', text, count=1)
    assert json.loads(text)["seq"] == seq + 1
    text = text.encode()
    ok(lib.mdb_put(txn, records, ctypes.byref(_val(host + struct.pack(">Q", seq + 1))), ctypes.byref(_val(text)), 0))
    head = struct.pack(">QQQ", seq + 1, new_ns, size + len(text)) + _leaf(text)
    head += struct.pack(">Q", seq + 1) + b"".join(_range([_leaf(x) for x in stored + [text]]))
    ok(lib.mdb_put(txn, heads, ctypes.byref(_val(host)), ctypes.byref(_val(head)), 0))
    ok(lib.mdb_txn_commit(txn))
    lib.mdb_env_close(env)
