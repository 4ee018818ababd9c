"""What a virtual disk was asked to do, in order: QEMU's blklogwrites, the format of dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst), and the disks that a power cut could have left.

A superblock of one sector (magic, version, entries, sector size), then entries: a sector of four u64 (sector,
sectors, flags, bytes of a mark's text) and the data, none for a discard.
"""
import struct

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class Entry:
    __slots__ = ("off", "data", "flags")

    def __init__(self, off, data, flags):
        self.off, self.data, self.flags = off, data, flags

    @property
    def flush(self):
        return bool(self.flags & (FLUSH | FUA))


def read(path):
    """The entries. The number in the superblock is old when QEMU was killed; a torn last one is left out."""
    with open(path, "rb") as f:
        blob = f.read()
    magic, version, _, size = struct.unpack_from("<QQQI", blob)
    if magic != MAGIC or version != 1:
        raise ValueError("not a log of writes")
    out, at = [], size
    while at + size <= len(blob):
        sector, sectors, flags, length = struct.unpack_from("<QQQQ", blob, at)
        if sectors == 0 and flags == 0:
            break
        at += size
        wrote = length if flags & MARK else 0 if flags & DISCARD else sectors * size
        if at + wrote > len(blob):
            break
        data = b"\0" * (sectors * size) if flags & DISCARD else blob[at:at + wrote]
        out.append(Entry(sector * size, data, flags))
        at += (wrote + size - 1) // size * size
    return out


class Disk:
    """The image as it is once every flushed write has landed; what was written since may be there or not."""

    def __init__(self, base):
        with open(base, "rb") as f:
            self.safe = bytearray(f.read())
        self.late = []

    def feed(self, e):
        if e.flags & FUA:
            self._land(self.safe, e.off, e.data)
            return
        if e.flush:  # what came before it is safe
            for w in self.late:
                self._land(self.safe, w.off, w.data)
            self.late = []
        if e.data:
            self.late.append(e)

    @staticmethod
    def _land(image, off, data):
        image[off:off + len(data)] = data

    def cut(self, rnd, how):
        """how: "none" of what is not flushed, "all", "some" writes, or some "sectors"."""
        image = bytearray(self.safe)
        for e in self.late:
            if how == "all" or how == "some" and rnd.random() < 0.5:
                self._land(image, e.off, e.data)
            elif how == "sectors":
                for i in range(0, len(e.data), 512):
                    if rnd.random() < 0.5:
                        self._land(image, e.off + i, e.data[i:i + 512])
        return image
