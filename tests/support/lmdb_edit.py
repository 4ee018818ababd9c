"""Appends a well-formed record to a stopped Postern's log, as if the clock had been elsewhere. LMDB by ctypes."""
import ctypes, datetime, hashlib, json, struct


class Val(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]


def _val(b):
    buf = ctypes.create_string_buffer(b, len(b))
    v = Val(len(b), ctypes.cast(buf, ctypes.c_void_p))
    v.keep = buf
    return v


def append_record(core_dir, seconds_ahead):
    """A copy of the newest record's form, stamped this far in the future, chained and made the head."""
    lib = ctypes.CDLL("liblmdb.so.0")
    env, txn, records, heads = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()

    def ok(rc):
        assert rc == 0, f"lmdb: {rc}"
    ok(lib.mdb_env_create(ctypes.byref(env)))
    ok(lib.mdb_env_set_maxdbs(env, 16))
    ok(lib.mdb_env_set_mapsize(env, ctypes.c_size_t(1 << 30)))
    ok(lib.mdb_env_open(env, core_dir.encode(), 0, 0o600))
    ok(lib.mdb_txn_begin(env, None, 0, ctypes.byref(txn)))
    ok(lib.mdb_dbi_open(txn, b"records", 0, ctypes.byref(records)))
    ok(lib.mdb_dbi_open(txn, b"heads", 0, ctypes.byref(heads)))
    got = Val()
    ok(lib.mdb_get(txn, heads, ctypes.byref(_val(b"records")), ctypes.byref(got)))
    seq, time_ns = struct.unpack(">QQ", ctypes.string_at(got.data, got.size)[:16])
    ok(lib.mdb_get(txn, records, ctypes.byref(_val(struct.pack(">Q", seq))), ctypes.byref(got)))
    last = ctypes.string_at(got.data, got.size)
    new_ns = time_ns + seconds_ahead * 10**9
    o = json.loads(last)
    o["seq"], o["prev"] = seq + 1, hashlib.sha256(last).hexdigest()
    t = datetime.datetime.fromtimestamp(new_ns // 10**9, datetime.timezone.utc)
    o["time"] = t.strftime("%Y-%m-%dT%H:%M:%S") + f".{new_ns % 10**9 // 1000:06d}Z"
    o["body"] = {"test": "the clock was elsewhere"}
    text = json.dumps(o, separators=(",", ":"), ensure_ascii=False).encode()
    ok(lib.mdb_put(txn, records, ctypes.byref(_val(struct.pack(">Q", seq + 1))), ctypes.byref(_val(text)), 0))
    head = struct.pack(">QQ", seq + 1, new_ns) + hashlib.sha256(text).digest()
    ok(lib.mdb_put(txn, heads, ctypes.byref(_val(b"records")), ctypes.byref(_val(head)), 0))
    ok(lib.mdb_txn_commit(txn))
    lib.mdb_env_close(env)
