#!/usr/bin/python3
"""What an agent sees and can do: its own sandbox and nothing else. The probes run inside a sandbox only."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, socket, textwrap

import proc
from postern import Postern, close_all, until
from tap import main, rule


def inside(p, code, key="alice", **kw):
    """Runs Python in a sandbox; what it assigns to `out` comes back."""
    program = "import json, os, sys\nout = None\n" + textwrap.dedent(code) + "\nprint(json.dumps(out))\n"
    r = p.ssh("python3 -", input=program.encode(), key=key, **kw)
    assert r.code == 0, r
    return json.loads(r.text.splitlines()[-1])


@rule
def it_is_uid_1000_named_agent_in_its_home(p):
    got = inside(p, """
        import pwd, grp
        out = [os.getresuid(), os.getresgid(), os.getgroups(), pwd.getpwuid(os.getuid())[0], os.getcwd(),
               grp.getgrgid(os.getgid())[0]]
    """)
    assert got[0] == [1000] * 3 and got[1] == [1000] * 3 and got[2] in ([], [1000]), got
    assert got[3] == "agent" and got[4] == "/home/agent", got


@rule
def it_has_no_capability_in_any_set(p):
    got = inside(p, "out = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())")
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(got[field], 16) == 0, (field, got[field])
    assert got["NoNewPrivs"].strip() == "1" and got["Seccomp"].strip() == "2", got


@rule
def its_descriptors_are_three_pipes(p):
    got = inside(p, "out = {n: os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') "
                    "if os.path.lexists(f'/proc/self/fd/{n}')}")
    assert set(got) == {"0", "1", "2"}, got
    assert all(v.startswith("pipe:") for v in got.values()), got


@rule
def with_a_terminal_they_are_the_terminal(p):
    r = p.ssh("ls -l /proc/self/fd | grep -c socket; for i in 0 1 2; do readlink /proc/self/fd/$i; done", flags=("-tt",))
    lines = r.text.replace("\r", "").split("\n")
    assert lines[0] == "0" and all(l.startswith("/dev/pts/") for l in lines[1:4]), lines


@rule
def host_processes_do_not_exist(p):
    got = inside(p, """
        out = {}
        for d in os.listdir('/proc'):
            if d.isdigit():
                try:
                    out[d] = open(f'/proc/{d}/cmdline').read().replace('\\0', ' ')
                except OSError as e:
                    out[d] = '?'
    """)
    assert "1" in got and len(got) <= 5, got
    assert not any("postern-core" in v or "sshd" in v or "supervisor" in v for v in got.values()), got


@rule
def init_cannot_be_looked_into_or_signalled(p):
    got = inside(p, r"""
        out = {}
        for name in ('mem', 'environ', 'fd', 'maps', 'root', 'cwd', 'exe'):
            try:
                f = f'/proc/1/{name}'
                if name in ('root', 'cwd', 'exe'): os.readlink(f)
                elif name == 'fd': os.listdir(f)
                else: open(f, 'rb').read(1)
                out[name] = 'open'
            except OSError as e:
                out[name] = e.errno
        for s in (9, 15, 19):
            try:
                os.kill(1, s)
                out[f'kill {s}'] = 'sent'
            except OSError as e:
                out[f'kill {s}'] = e.errno
    """)
    assert all(v in (1, 2, 13) for v in got.values()), got


@rule
def host_files_do_not_exist(p):
    marker = os.path.join(p.work, "secret-of-the-host")
    with open(marker, "w") as f:
        f.write("secret")
    os.chmod(p.work, 0o755)
    os.chmod(marker, 0o644)
    got = inside(p, f"""
        out = [x for x in ({marker!r}, {p.state!r}, '/proc/1/root' + {marker!r}, '/etc/shadow', '/etc/ssh/sshd_config',
                           '/var/lib/dpkg/status', '/boot', '/run/dbus', '/var/run/docker.sock', '/sys/fs/cgroup/memory',
                           '/sys/fs/cgroup/cgroup.procs', '/dev/sda', '/dev/vda', '/dev/kvm', '/dev/mem', '/dev/fuse',
                           '/dev/net/tun', '/dev/kmsg') if os.path.exists(x)]
        out += ['/root: ' + str(os.listdir('/root'))] if os.access('/root', os.R_OK) and os.listdir('/root') else []
        out += ['/home: ' + str(os.listdir('/home'))] if os.listdir('/home') != ['agent'] else []
    """)
    assert got == [], got


@rule
def the_system_is_read_only_and_belongs_to_root(p):
    got = inside(p, """
        out = {}
        for f in ('/usr/x', '/usr/bin/x', '/etc/x', '/x', '/proc/x', '/bin/sh', '/etc/passwd', '/usr/bin/env'):
            try:
                open(f, 'a').close()
                out[f] = 'written'
            except OSError as e:
                out[f] = e.errno
        s = os.stat('/usr/bin/env')
        out['owner'] = [s.st_uid, s.st_gid]
    """)
    assert got.pop("owner") == [0, 0], got
    assert all(v in (1, 13, 30, 2) for v in got.values()), got


@rule
def nothing_written_outlives_the_session(p):
    r = p.ssh("echo 1 >/tmp/a; echo 1 >~/b; echo 1 >/dev/shm/c; cat /tmp/a ~/b /dev/shm/c")
    assert r.out == b"1\n1\n1\n", r
    assert p.ssh("ls -A /tmp ~ /dev/shm | grep -x '[abc]'").code == 1


@rule
def proc_hides_what_is_the_hosts(p):
    got = inside(p, """
        out = {}
        for f in ('/proc/kcore', '/proc/kmsg', '/proc/sysrq-trigger', '/proc/keys', '/proc/timer_list',
                  '/proc/sched_debug', '/proc/latency_stats', '/proc/scsi', '/proc/acpi', '/sys/firmware', '/sys/kernel/debug'):
            try:
                n = len(os.listdir(f)) if os.path.isdir(f) else len(open(f, 'rb').read(100))
                if n: out[f] = n
            except OSError:
                pass
        for f in ('/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger',
                  '/proc/sys/kernel/hostname', '/proc/sys/net/ipv4/ip_forward', '/proc/self/oom_score_adj_x'):
            try:
                open(f, 'w').write('1')
                out['w ' + f] = 'written'
            except OSError:
                pass
    """)
    assert got == {}, got
    # addresses of the kernel are zeros
    assert inside(p, "out = sorted({l.split()[0] for l in open('/proc/kallsyms')}) if os.access('/proc/kallsyms', 4) else []") in ([], ["0" * 16])


@rule
def the_network_is_a_loopback_of_its_own(p):
    with socket.socket() as s, socket.socket(socket.AF_INET6) as s6, \
            socket.socket(socket.AF_UNIX) as un:
        s.bind(("0.0.0.0", 0))
        s.listen()
        s6.bind(("::1", 0))
        s6.listen()
        un.bind("\0postern-test-" + str(os.getpid()))
        un.listen()
        got = inside(p, f"""
            import socket
            out = {{'if': sorted(n for _, n in socket.if_nameindex())}}
            def go(name, fam, to):
                try:
                    c = socket.socket(fam)
                    c.settimeout(2)
                    c.connect(to)
                    out[name] = 'connected'
                except OSError as e:
                    out[name] = e.errno or str(e)
            go('v4', socket.AF_INET, ('127.0.0.1', {s.getsockname()[1]}))
            go('v6', socket.AF_INET6, ('::1', {s6.getsockname()[1]}))
            go('gateway', socket.AF_INET, ('127.0.0.1', {p.port}))
            go('metadata', socket.AF_INET, ('169.254.169.254', 80))
            go('world', socket.AF_INET, ('192.0.2.1', 80))
            go('abstract', socket.AF_UNIX, '\\0postern-test-{os.getpid()}')
            try:
                socket.getaddrinfo('example.org', 80)
                out['dns'] = 'resolved'
            except OSError:
                pass
        """)
    assert got.pop("if") == ["lo"], got
    assert not any(v == "connected" for v in got.values()) and "dns" not in got, got


@rule
def loopback_inside_works(p):
    got = inside(p, """
        import socket, threading
        s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
        t = threading.Thread(target=lambda: s.accept()[0].sendall(b'hi')); t.start()
        c = socket.create_connection(s.getsockname()); out = c.recv(10).decode(); t.join()
        low = socket.socket(); low.bind(('127.0.0.1', 80))
    """)
    assert got == "hi", got


@rule
def kinds_of_sockets_that_exploits_want_are_refused(p):
    got = inside(p, """
        import socket
        out = []
        for fam, kind, prot in ((16, 3, 9), (16, 3, 12), (17, 3, 0), (38, 5, 0), (40, 1, 0), (2, 1, 132), (2, 1, 262), (2, 3, 1),
                                (21, 5, 0), (33, 2, 2), (15, 3, 2), (31, 5, 0), (29, 3, 1), (16, 3, 6)):
            try:
                socket.socket(fam, kind, prot).close()
                out.append([fam, kind, prot])
            except OSError:
                pass
        try:
            s = socket.socket(); s2 = socket.socket(); s2.bind(('127.0.0.1', 0)); s2.listen(); s.connect(s2.getsockname())
            s.setsockopt(6, 31, b'tls')
            out.append('TCP_ULP')
        except OSError:
            pass
    """)
    assert got == [], got


@rule
def system_calls_that_exploits_want_are_refused(p):
    got = inside(p, r"""
        import ctypes, errno, platform
        libc = ctypes.CDLL(None, use_errno=True)
        calls = {'unshare user': (272, 0x10000000), 'unshare mnt': (272, 0x20000), 'unshare net': (272, 0x40000000),
                 'setns': (308, 0, 0), 'mount': (165, b'none', b'/tmp', b'tmpfs', 0, 0), 'umount': (166, b'/tmp', 0),
                 'pivot_root': (155, b'/tmp', b'/tmp'), 'chroot': (161, b'/tmp'), 'bpf': (321, 0, 0, 0),
                 'perf_event_open': (298, 0, 0, -1, -1, 0), 'keyctl': (250, 0, -3, 0), 'add_key': (248, b'user', b'a', b'b', 1, -3),
                 'io_uring_setup': (425, 1, 0), 'userfaultfd': (323, 0), 'ptrace': (101, 0, 0, 0, 0),
                 'open_by_handle_at': (304, -100, 0, 0), 'kexec_load': (246, 0, 0, 0, 0), 'init_module': (175, 0, 0, b''),
                 'swapon': (167, b'/x', 0), 'reboot': (169, 0, 0, 0, 0), 'settimeofday': (164, 0, 0), 'fsopen': (430, b'tmpfs', 0),
                 'move_mount': (429, -1, b'', -1, b'', 0), 'open_tree': (428, -100, b'/', 0), 'acct': (163, 0), 'quotactl': (179, 0, 0, 0, 0),
                 'name_to_handle_at': (303, -100, b'/', 0, 0, 0), 'syslog': (103, 3, 0, 0), 'ioperm': (173, 0, 1, 1), 'sethostname': (170, b'x', 1),
                 'process_vm_readv': (310, 1, 0, 0, 0, 0, 0), 'kcmp': (312, 1, 1, 0, 0, 0), 'clone3 ': (435, 0, 0),
                 'personality': (135, 0x0040000), 'seccomp listener': (317, 1, 8, 0), 'vmsplice-like lookup_dcookie': (212, 0, 0, 0),
                 'mount_setattr': (442, -1, b'', 0, 0, 0), 'memfd_secret': (447, 0), 'pidfd_getfd': (438, 0, 0, 0)}
        out = {}
        if platform.machine() == 'x86_64':
            for name, a in calls.items():
                ctypes.set_errno(0)
                r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
                e = ctypes.get_errno()
                if r >= 0 or e not in (errno.EPERM, errno.ENOSYS, errno.EACCES):
                    out[name] = [r, e]
    """)
    assert got == {}, got


@rule
def typing_into_the_terminal_is_refused(p):
    r = p.ssh("python3 -c \"\nimport fcntl\nfor op in (0x5412, 0x541c, 0x100005412):\n"
              " try:\n  fcntl.ioctl(0, op & 0xffffffff, b'x'); print('typed')\n except OSError as e:\n  print('no')\n\"",
              flags=("-tt",))
    assert "typed" not in r.text and r.text.count("no") >= 3, r


@rule
def setuid_programs_gain_nothing(p):
    got = inside(p, """
        import subprocess
        out = {}
        for c in (['su', '-c', 'id -u'], ['mount', '-t', 'tmpfs', 'x', '/tmp'], ['passwd', '-d', 'agent'], ['newgrp', 'root']):
            try:
                r = subprocess.run(c, stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
                if r.returncode == 0 and (c[0] != 'newgrp'): out[c[0]] = r.stdout.decode()
            except (OSError, subprocess.TimeoutExpired):
                pass
        mounts = [l.split() for l in open('/proc/self/mountinfo')]
        out['suid'] = [m[4] for m in mounts if 'nosuid' not in m[5].split(',')]
    """)
    assert got == {"suid": []}, got


@rule
def the_mount_table_shows_nothing_of_the_host(p):
    r = p.ssh("cat /proc/self/mountinfo")
    assert p.state not in r.text and "/root" not in r.text.split(" - ")[0], r
    writable = [l.split() for l in r.text.splitlines() if l.split()[5].startswith("rw")]
    assert all(m[4].split("/")[1] in ("", "tmp", "home", "dev", "proc", "run", "var") for m in writable), writable


@rule
def two_sessions_share_no_id_namespace_or_file(p):
    a, b = p.ssh_open("echo $$ >/tmp/mine; echo up; cat"), \
        p.ssh_open("ls -A /tmp; ls -A /dev/shm; echo up; cat", key=p.cert("bob", ca="other"))
    try:
        assert a.stdout.readline() == b"up\n"
        assert b.stdout.readline() == b"up\n"
        pids = sorted(p.sandbox_pids())
        blocks, spaces = {}, {}
        for pid in pids:
            block = (proc.uids(pid)[0] - p.ids) // 65536
            ns = proc.namespaces(pid)
            for kind in ("mnt", "net", "pid", "ipc", "uts", "user", "cgroup", "time"):
                spaces.setdefault((block, kind), set()).add(ns.get(kind))
            blocks.setdefault(block, []).append(pid)
        assert len(blocks) == 2, blocks
        one, two = blocks
        for kind in ("mnt", "net", "pid", "ipc", "uts", "user", "cgroup", "time"):
            assert len(spaces[one, kind]) == 1 and len(spaces[two, kind]) == 1, (kind, spaces)
            assert not spaces[one, kind] & spaces[two, kind], kind
            assert os.readlink(f"/proc/self/ns/{kind}") not in spaces[one, kind] | spaces[two, kind], kind
    finally:
        close_all(a)
        close_all(b)


@rule
def an_id_range_is_not_reused_while_it_lives(p):
    live = [p.ssh_open("echo up; cat") for _ in range(6)]
    try:
        for s in live:
            assert s.stdout.readline() == b"up\n"
        blocks = [(proc.uids(pid)[0] - p.ids) // 65536 for pid in p.sandbox_pids() if (proc.uids(pid)[0] - p.ids) % 65536 == 1000]
        assert len(set(blocks)) == 6, blocks
    finally:
        for s in live:
            close_all(s)


@rule
def init_is_another_user_with_four_capabilities(p):
    s = p.ssh_open("echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n"
        inits = [pid for pid in p.sandbox_pids() if (proc.uids(pid)[0] - p.ids) % 65536 == 65534]
        assert len(inits) == 1, [proc.status(x) for x in p.sandbox_pids()]
        st = proc.status(inits[0])
        want = 1 << 7 | 1 << 6 | 1 << 5 | 1 << 8  # SETUID, SETGID, KILL, SETPCAP
        assert int(st["CapEff"], 16) & ~want == 0, st["CapEff"]
        assert st["NoNewPrivs"] == "1" and st["Seccomp"] == "2", st
    finally:
        close_all(s)


@rule
def the_sandbox_is_named_after_its_role_and_knows_no_host_name(p):
    r = p.ssh("hostname; cat /etc/hostname /etc/machine-id 2>/dev/null; cat /proc/sys/kernel/hostname")
    assert r.text.splitlines()[0] == "agent" and os.uname().nodename not in r.text.split(), r


@rule
def descriptors_of_the_agent_are_never_sockets(p):
    s = p.ssh_open("sleep 5 & echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n"
        agents = [pid for pid in p.sandbox_pids() if (proc.uids(pid)[0] - p.ids) % 65536 == 1000]
        assert len(agents) >= 2, agents
        for pid in agents:
            got = proc.fds(pid)
            assert set(got) <= {0, 1, 2} and not any("socket" in v for v in got.values()), got
    finally:
        close_all(s)


@rule
def nobody_but_the_core_holds_the_store(p):
    s = p.ssh_open("sleep 5 & echo up; cat")
    try:
        assert s.stdout.readline() == b"up\n"
        for again in range(2):  # before and after the core opened it anew
            core = p.daemon("core")
            holds = {pid for pid in p.pids() | p.sandbox_pids()
                     if any(v.endswith((".mdb", "/data.new")) for v in proc.fds(pid).values())}
            assert len(p.sandbox_pids()) >= 3 and holds == {core}, (core, holds)
            if not again:
                proc.kill(core)
                until("a new core", lambda: [x for x in p.daemons("core") if x != core], 10)
                until("service again", lambda: p.ssh("echo back").out == b"back\n", 10)
    finally:
        close_all(s)


@rule
def usual_tools_work_without_complaint(p):
    r = p.ssh("set -e; git init -q r; cd r; echo a >a; git add a; git -c user.name=x -c user.email=x@y commit -qm a; git log --oneline | wc -l; "
              "python3 -c 'import ssl, json, sqlite3, subprocess; print(subprocess.check_output([\"echo\", \"py\"]).decode().strip())'; "
              "ssh-keygen -q -t ed25519 -N '' -f k; ssh -V 2>&1 | cut -c1-7; perl -e 'print 6*7, qq(\\n)'; awk 'BEGIN{print 1}'; tar cf - a | tar tf -")
    assert r.code == 0 and r.err == b"", r
    assert r.text.split() == ["1", "py", "OpenSSH", "42", "1", "a"], r


if __name__ == "__main__":
    main(Postern)
