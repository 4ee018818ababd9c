#!/usr/bin/python3
"""Every process of a running system, as /proc shows it, compared with the committed table tests/root/POSTURE.

The table is the promise; a difference is a failure, in either direction. After a change that is wanted,
`tests/root/test_posture.py --write` writes what is there now, for the eyes of whoever reviews it."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import re

import proc
from postern import Postern, close_all
from tap import main, rule

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "POSTURE")
SPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
HEAD = """\
# What each process is and holds, as /proc shows it: the promise that tests/root/test_posture.py checks exactly.
#
#   uid, gid    offset in our range: block+id, or a plain number outside it
#   caps        the effective set; "all" is what the system's first process may ever have
#   nnp         NoNewPrivs
#   seccomp     0 none, 2 filter
#   own         namespaces that differ from the host's
#   fds         open descriptors by kind; counts that vary with load are written "n"
#   core        the greatest size of a core file
#   oom         oom_score_adj: whom the OOM killer takes first; "least" is the supervisor's own, at most 0
#   dumpable    as the owner of /proc/PID/fd shows it; "-" for root's processes, where it cannot be seen
"""
CAPS = ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
        "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
        "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
        "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore").split()


def caps(text):
    n = int(text, 16)
    if n == 0:
        return "none"
    names = [c for i, c in enumerate(CAPS) if n >> i & 1]
    with open("/proc/self/status") as f:
        whole = next(int(l.split()[1], 16) for l in f if l.startswith("CapBnd"))
    return "all" if n == whole else ",".join(names)


def ident(p, n):
    if p.ids <= n < p.ids + (1 << 32) and n < p.ids + 64 * 65536:
        block, offset = divmod(n - p.ids, 65536)
        if block:
            return f"session+{offset}"
        return "worker" if 4096 <= offset < 8192 else "lease" if 8192 <= offset < 12288 else f"own+{offset}"
    return str(n)


def kind(p, pid, n, link):
    """What a descriptor is, without numbers that change from run to run."""
    if link.startswith("socket:"):
        return "socket:" + socket_kind(p, pid, link[8:-1])
    if link.startswith("anon_inode:"):
        return link.split(":", 1)[1].strip("[]")
    if link.startswith("pipe:"):
        return "pipe"
    if link.startswith("/root/dev/"):  # a sandbox's root, seen from above it
        link = link[len("/root"):]
    if link.startswith("/dev/null") or link.startswith("/dev/pts"):
        return link.split("/")[2]
    if link.startswith(p.state):
        rest = link[len(p.state):].lstrip("/")
        return "state/" + rest if not rest.startswith("run") else "state/run"
    if link.startswith(p.work):
        return "log"
    if link.startswith("/sys/fs/cgroup"):
        return "cgroup"
    if link.startswith(("/proc", "mnt:", "net:", "user:", "pid:", "uts:", "ipc:", "time:", "cgroup:")):
        return "proc" if link.startswith("/proc") else "namespace"
    if link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("/roots/"):  # what spawn binds; the first is STATE/workspaces
        return "bound"
    if link.endswith("libexec/postern"):
        return "programs"
    return link


def sockets(pid):
    """inode -> kind, as the process's network namespace lists them."""
    out = {}
    for path, name in (("unix", "unix"), ("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("netlink", "netlink")):
        for net in (f"/proc/{pid}/net", "/proc/self/net"):
            try:
                with open(f"{net}/{path}") as f:
                    lines = f.read().splitlines()[1:]
            except OSError:
                continue
            for line in lines:
                w = line.split()
                if path == "unix":
                    out[w[6]] = {"0001": "unix-stream", "0002": "unix-dgram", "0005": "unix-seqpacket"}.get(w[4], "unix")
                elif path == "netlink":
                    out[w[9]] = "netlink"
                else:
                    out[w[9]] = name + ("-listen" if w[3] == "0A" else "")
    return out


def socket_kind(p, pid, inode):
    if pid not in p.sockets:
        p.sockets[pid] = sockets(pid)
    return p.sockets[pid].get(inode, "elsewhere")


VARY = {"supervisor": ("unix-seqpacket", "pidfd"), "core": ("unix-seqpacket",), "listener": ("unix-seqpacket",), 
        "spawn": ("namespace", "elsewhere", "cgroup", "pidfd", "pts", "eventfd")}


def describe(p, role, pid):
    st = proc.status(pid)
    uid = sorted({ident(p, int(x)) for x in st["Uid"].split()})
    gid = sorted({ident(p, int(x)) for x in st["Gid"].split()})
    groups = [ident(p, int(x)) for x in st["Groups"].split()]
    own = [k for k, v in proc.namespaces(pid).items() if v != proc.namespaces("self").get(k)]
    count = {}
    for n, link in proc.fds(pid).items():
        k = kind(p, pid, n, link)
        count[k] = count.get(k, 0) + 1
    vary = VARY.get(role, ())
    fds = [f"{'n' if any(v in k for v in vary) else c} {k}" for k, c in sorted(count.items())]
    with open(f"/proc/{pid}/limits") as f:
        core = next(l.split()[4] for l in f if l.startswith("Max core"))
    with open(f"/proc/{pid}/oom_score_adj") as f, open(f"/proc/{p.daemon('supervisor')}/oom_score_adj") as g:
        oom, least = int(f.read()), int(g.read())
    # what may not be dumped is root's in /proc (proc(5)); of root's own processes this cannot be seen
    euid = int(st["Uid"].split()[1])
    dumpable = "-" if euid == 0 else "yes" if os.stat(f"/proc/{pid}/fd").st_uid == euid else "no"
    lines = [f"[{role}]", f"uid {' '.join(uid)}", f"gid {' '.join(gid)}", f"groups {' '.join(groups) or 'none'}",
             f"caps {caps(st['CapEff'])}", f"permitted {caps(st['CapPrm'])}", f"bound {caps(st['CapBnd'])}",
             f"inherited {caps(st['CapInh'])}", f"ambient {caps(st['CapAmb'])}",
             f"nnp {st['NoNewPrivs']}", f"seccomp {st['Seccomp']}", f"threads {st['Threads']}",
             f"own {' '.join(own) or 'none'}", f"core {core}", f"oom {'least' if oom == least <= 0 else oom}", f"dumpable {dumpable}"]
    return lines + [f"fd {x}" for x in fds]


def look(p):
    """The whole table, with one session running that has asked for a credential."""
    s = p.ssh_open("postern-cred list >/dev/null; echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n", s.stderr.read()
        p.sockets = {}
        before = {w: any(k.startswith("tcp") for k in (socket_kind(p, w, v[8:-1]) for v in proc.fds(w).values()
                                                       if v.startswith("socket:"))) for w in p.daemons("worker")}
        spare = [w for w, busy in before.items() if not busy]
        busy = [w for w, b in before.items() if b]
        assert spare and len(busy) == 1, before
        boxed = {pid: (proc.uids(pid) or [0])[0] - p.ids for pid in p.sandbox_pids()}
        who = [(r, p.daemon(r)) for r in ("supervisor", "core", "spawn", "signer", "export", "listener")]
        who += [("worker, spare", spare[0]), ("worker, with a connection", busy[0]), ("lease", p.daemon("lease"))]
        who += [("init", pid) for pid, u in boxed.items() if u % 65536 == 65534]
        who += [("agent", pid) for pid, u in sorted(boxed.items()) if u % 65536 == 1000][:1]
        out = []
        for role, pid in who:
            out += [describe(p, role, pid)]
        for w in spare[1:]:
            assert [l for l in describe(p, "worker, spare", w)] == [l for l in describe(p, "worker, spare", spare[0])]
        return "\n\n".join("\n".join(x) for x in out) + "\n"
    finally:
        close_all(s)


@rule
def every_process_is_what_the_table_says(p):
    got = look(p)
    with open(TABLE) as f:
        want = f.read()
    want = re.sub(r"(?m)^#.*\n", "", want).strip() + "\n"
    if got != want:
        import difflib
        diff = "\n".join(difflib.unified_diff(want.splitlines(), got.splitlines(), "POSTURE", "running", lineterm="", n=20))
        raise AssertionError("the processes differ from tests/root/POSTURE:\n" + diff)


@rule
def no_other_process_is_there(p):
    roles = {"supervisor", "core", "spawn", "signer", "export", "listener", "worker", "lease", "init"}
    known = {pid for r in roles for pid in p.daemons(r)}
    assert not p.sandbox_pids()
    rest = [proc.argv(x) for x in p.pids() - known if x != p.up.pid and proc.alive(x)]
    assert rest == [], rest


@rule
def no_daemon_can_be_read_by_another_of_ours(p):
    # each has its own uid, and none may be traced: /proc/PID/mem is root's
    uids = {}
    for role in ("core", "signer", "export", "listener"):
        uids[role] = proc.uids(p.daemon(role))[0]
    assert len(set(uids.values())) == 4, uids


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        with Postern() as p:
            text = HEAD + "\n" + look(p)
        with open(TABLE, "w") as f:
            f.write(text)
        sys.exit(0)
    main(Postern)
