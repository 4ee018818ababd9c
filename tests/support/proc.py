"""What /proc and the cgroup trees say. Everything here copes with processes that end meanwhile."""
import os, signal


def _read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def all_pids():
    return [int(d) for d in os.listdir("/proc") if d.isdigit()]


def argv(pid):
    return [a.decode("utf-8", "replace") for a in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]]


def status(pid):
    """/proc/PID/status as a dictionary of stripped texts."""
    out = {}
    for line in _read(f"/proc/{pid}/status").decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        out[name] = value.strip()
    return out


def stat(pid):
    """/proc/PID/stat after the program's name: state is [0], parent [1], start time [19]."""
    text = _read(f"/proc/{pid}/stat").decode("utf-8", "replace")
    return text.rpartition(")")[2].split()


def began(pid):
    s = stat(pid)
    return s[19] if s else None


def alive(pid, start=None):
    """There, not a zombie, and the same process that began at `start`."""
    s = stat(pid)
    return bool(s) and s[0] not in "ZX" and (start is None or s[19] == start)


def parents():
    out = {}
    for pid in all_pids():
        s = stat(pid)
        if s:
            out[pid] = int(s[1])
    return out


def tree(root):
    """root and everything below it."""
    up = parents()
    found, grown = {root}, True
    while grown:
        more = {pid for pid, parent in up.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def child_named(pid, name):
    for p in tree(pid):
        a = argv(p)
        if a and os.path.basename(a[0]) == name:
            return p
    return None


def uids(pid):
    """Real, effective, saved and file system uid."""
    return [int(x) for x in status(pid).get("Uid", "").split()]


def by_uid(first, end):
    """Live processes with a uid in [first, end)."""
    return {p for p in all_pids() if alive(p) and any(first <= u < end for u in uids(p))}


def kill(pid, signo=signal.SIGKILL):
    try:
        os.kill(pid, signo)
    except ProcessLookupError:
        pass


def fds(pid):
    """Descriptor number -> what it is (the link's text)."""
    out = {}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return out
    for n in names:
        try:
            out[int(n)] = os.readlink(f"/proc/{pid}/fd/{n}")
        except OSError:
            pass
    return out


def namespaces(pid):
    """Kind -> identity."""
    out = {}
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"):
        try:
            out[kind] = os.readlink(f"/proc/{pid}/ns/{kind}")
        except OSError:
            pass
    return out


def memory_kb(pid, field="Pss"):
    for line in _read(f"/proc/{pid}/smaps_rollup").decode().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def mounts(pid="self"):
    return _read(f"/proc/{pid}/mountinfo").decode("utf-8", "replace").splitlines()


def cgroups(part):
    """Directories of every cgroup tree whose path holds `part`."""
    found = []
    for base, dirs, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(base, d) for d in dirs if part in d]
    return found


def listeners():
    """Listening TCP sockets of this network namespace: {(address, port)}."""
    out = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(path).decode().splitlines()[1:]:
            f = line.split()
            if f[3] == "0A":
                a, p = f[1].split(":")
                out.add((a, int(p, 16)))
    return out
