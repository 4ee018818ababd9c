"""A stopped Postern's store, opened as root on the host can: LMDB by ctypes. Knows the keys of broker/audit/logs.h."""
import ctypes, json, os, re, struct, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tlog
from lmdb_edit import Val, _val

NEXT, FIRST = 8, 0  # MDB_NEXT, MDB_FIRST


class Store:
    def __init__(self, core_dir):
        self.dir, self.lib, self.dbi = core_dir, ctypes.CDLL("liblmdb.so.0"), {}

    def ok(self, rc):
        assert rc == 0, f"lmdb: {rc}"

    def __enter__(self):
        self.env, self.txn = ctypes.c_void_p(), ctypes.c_void_p()
        self.ok(self.lib.mdb_env_create(ctypes.byref(self.env)))
        self.ok(self.lib.mdb_env_set_maxdbs(self.env, 32))
        self.ok(self.lib.mdb_env_set_mapsize(self.env, ctypes.c_size_t(1 << 30)))
        self.ok(self.lib.mdb_env_open(self.env, self.dir.encode(), 0, 0o600))
        self.ok(self.lib.mdb_txn_begin(self.env, None, 0, ctypes.byref(self.txn)))
        self.numbers = {json.loads(v)["name"]: struct.unpack(">I", k)[0] for k, v in self.all("logs").items()}
        self.numbers.setdefault("host", 0)
        return self

    def __exit__(self, *_):
        self.ok(self.lib.mdb_txn_commit(self.txn))
        self.lib.mdb_env_close(self.env)

    def db(self, name):
        if name not in self.dbi:
            d = ctypes.c_uint()
            # the heads are beside the names of the others
            self.ok(self.lib.mdb_dbi_open(self.txn, None if name == "heads" else name.encode(), 0, ctypes.byref(d)))
            self.dbi[name] = d
        return self.dbi[name]

    def all(self, db):
        cursor, k, v, out, op = ctypes.c_void_p(), Val(), Val(), {}, FIRST
        self.ok(self.lib.mdb_cursor_open(self.txn, self.db(db), ctypes.byref(cursor)))
        while self.lib.mdb_cursor_get(cursor, ctypes.byref(k), ctypes.byref(v), op) == 0:
            out[ctypes.string_at(k.data, k.size)] = ctypes.string_at(v.data, v.size)
            op = NEXT
        self.lib.mdb_cursor_close(cursor)
        return out

    def put(self, db, key, value):
        self.ok(self.lib.mdb_put(self.txn, self.db(db), ctypes.byref(_val(key)), ctypes.byref(_val(value)), 0))

    def delete(self, db, key):
        self.ok(self.lib.mdb_del(self.txn, self.db(db), ctypes.byref(_val(key)), None))

    # ---- logs ----

    def key(self, log, n):
        return struct.pack(">IQ", self.numbers[log], n)

    def of(self, db, log):
        head = struct.pack(">I", self.numbers[log])
        return {k: v for k, v in self.all(db).items() if k[:4] == head}

    def numbered(self, db, log):
        return {struct.unpack(">Q", k[4:])[0]: v for k, v in self.of(db, log).items()}

    def records(self, log):
        return self.numbered("logrecords", log)

    def checkpoints(self, log):
        return sorted(self.numbered("checkpoints", log).items())

    def put_record(self, log, seq, data):
        self.put("logrecords", self.key(log, seq), data)

    def del_record(self, log, seq):
        self.delete("logrecords", self.key(log, seq))

    def put_checkpoint(self, log, size, note):
        self.put("checkpoints", self.key(log, size), note)

    def bundle(self, log):
        b = tlog.Bundle(log)
        b.records, b.checkpoints = self.records(log), self.checkpoints(log)
        return b

    def rechain(self, log, first):
        records = self.records(log)
        for seq in sorted(records):
            if seq >= first:
                prev = tlog.leaf(records[seq - 1]).hex().encode()
                records[seq] = re.sub(rb'"prev":"[0-9a-f]{64}"}$', b'"prev":"' + prev + b'"}', records[seq])
                self.put_record(log, seq, records[seq])

    def drop_notes(self, log):
        for db in ("checkpoints", "epochs"):
            for k in self.of(db, log):
                self.delete(db, k)

    def drop(self, log):
        """The whole log, as if it had never been."""
        for db in ("logrecords", "checkpoints", "epochs", "heads", "tiles", "logs"):
            for k in self.of(db, log):
                self.delete(db, k)

    def cut(self, log, size):
        """Back to `size` records, with its head and seals."""
        for db in ("logrecords", "checkpoints"):
            for k in self.of(db, log):
                if struct.unpack(">Q", k[4:])[0] > size:
                    self.delete(db, k)
        for k in self.of("heads", log):
            self.delete("heads", k)
