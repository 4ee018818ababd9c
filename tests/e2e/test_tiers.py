#!/usr/bin/python3
"""The tiers oci and microvm through ssh: the same session, its limits, its record and its end, with crun, runc and QEMU."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import fcntl, json, os, pty, shutil, struct, subprocess, termios, warnings

import jose, proc
from postern import BUILD, Postern, close_all, until
from tap import Skip, main, rule

AUDIENCE = "https://api.example.com"
OCI = {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}
SCHEMA = "/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema"
BOOT_S = 50  # emulated, on a loaded machine
SMALL = "limits: {memory: 256M, pids: 24, disk: 32M, open_files: 64}\n"


def templates(p):
    yield "crun", f"tier: oci\nruntime: {OCI['crun']}\n" + SMALL
    yield "runc", f"tier: oci\nruntime: {OCI['runc']}\n" + SMALL
    yield "warmed", f"tier: oci\nruntime: {OCI['crun']}\nwarm: 1\n" + SMALL
    yield "lost", "tier: oci\nruntime: /usr/bin/no-such-runtime\n" + SMALL
    yield "lax", f"tier: oci\nruntime: {p.lax}\n" + SMALL
    yield "broken", "tier: oci\nruntime: /usr/bin/false\n" + SMALL
    yield "watched", f"tier: oci\nruntime: {OCI['crun']}\nwatch: true\n" + SMALL
    yield "vm", f"base: {p.root}\ntier: microvm\nemulate: true\nshell: /bin/sh\n" + SMALL
    yield "kvm", f"base: {p.root}\ntier: microvm\nshell: /bin/sh\n" + SMALL
    yield "vmwatched", f"base: {p.root}\ntier: microvm\nemulate: true\nwatch: true\nshell: /bin/sh\n" + SMALL


def boot_files(p):
    """What microvm-image makes; or why it cannot be had here."""
    tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "microvm_images.py")
    made = subprocess.run(["python3", tool, BUILD], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        return made.stderr.strip().splitlines()[-1] if made.stderr.strip() else f"status {made.returncode}"
    shutil.copytree(f"{BUILD}/microvm/kernel", f"{p.state}/spawn/microvm", dirs_exist_ok=True)
    shutil.copytree(f"{BUILD}/microvm/root", p.root, symlinks=True)
    shutil.copy(f"{BUILD}/microvm/root.img", p.root + ".img")
    return None


def tiered():
    p = Postern()
    p.stop()
    p.root, p.lax = f"{p.state}/vm-root", f"{p.state}/lax-runtime"
    p.no_vm = boot_files(p)
    os.makedirs(p.root, exist_ok=True)
    shutil.copy("/usr/bin/true", p.lax)
    os.chmod(p.lax, 0o777)
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        for name, text in templates(p):
            f.write(f"  {name}:\n    template: {name}\n    allow: [exec, shell, pty, sftp, credential]\n"
                    f"    credentials: [\"jwt:{AUDIENCE}\"]\n")
            with open(f"{p.state}/etc/templates/{name}.yaml", "w") as t:
                t.write(text)
    p.start()
    p.names = [n for n, _ in templates(p)]
    p.all = p.cert("all", principals=",".join(p.names))
    return p


def on(p, name, *command, **kw):
    kw.setdefault("timeout", BOOT_S)
    return p.ssh(*command, key=p.all, user=name, **kw)


def ended(p):
    until("sessions to end", lambda: not p.sessions(), timeout=30)
    until(lambda: f"the sandboxes' processes to go: {[proc.argv(x) for x in p.sandbox_pids()]}",
          lambda: not p.sandbox_pids(), timeout=30)
    until(lambda: f"their cgroups to go: {sandbox_cgroups(p)}", lambda: not sandbox_cgroups(p), timeout=30)


def sandbox_cgroups(p):
    return [c for c in proc.cgroups(p.instance) if os.path.basename(c).startswith("s_") or "/sandbox" in c]


def enforced(p):
    """The newest session.enforced."""
    return [r for r in p.records() if r["class"] == "session.enforced"][-1]


def runtimes():
    for name, path in OCI.items():
        if not os.path.exists(path):
            raise Skip(f"{path} is missing: make deps")
    return OCI


def guest(p):
    if p.no_vm:
        if os.environ.get("POSTERN_MUST_WORK"):
            raise AssertionError(p.no_vm)
        raise Skip(p.no_vm)


@rule
def a_runtimes_sandbox_runs_commands(p):
    for name in runtimes():
        r = on(p, name, "cat; echo err >&2; exit 7", input=b"hello")
        assert (r.code, r.out, r.err) == (7, b"hello", b"err\n"), (name, r)
        r = on(p, name, "id -u; hostname; pwd; cat /proc/1/comm; echo x >f && cat f")
        assert r.out == f"1000\n{name}\n/home/agent\npostern-init\nx\n".encode(), (name, r)
    ended(p)


@rule
def a_pool_is_only_the_namespaces(p):
    runtimes()
    for _ in range(2):
        r = on(p, "warmed", "id -u; hostname; cat f 2>/dev/null || echo new; echo x >f")
        assert r.out == b"1000\nwarmed\nnew\n", (r, enforced(p))
        assert enforced(p)["body"]["enforced"]["start"] == "cold", enforced(p)
    ended(p)


@rule
def it_is_sealed_as_the_namespaces_are(p):
    look = "grep -E '^(Cap(Eff|Bnd)|NoNew|Seccomp:)' /proc/self/status | tr -d '\\t'"
    want = p.ssh(look)
    assert want.code == 0 and "Seccomp:2" in want.text, want
    for name in runtimes():
        r = on(p, name, look)
        assert r.out == want.out, (name, r, want)
        r = on(p, name, "touch /etc/x 2>/dev/null || echo no; unshare -U true 2>/dev/null || echo no;"
                        " kill -0 1 2>/dev/null || echo no; grep -c : /proc/net/dev")
        assert r.out == b"no\nno\nno\n1\n", (name, r)
    ended(p)


@rule
def its_limits_hold(p):
    for name in runtimes():
        r = on(p, name, "ulimit -n; for i in $(seq 60); do sleep 5 & done; echo over")
        assert r.out.startswith(b"64\n") and b"over" not in r.out and b"fork" in r.err, (name, r)
        ended(p)
        r = on(p, name, "head -c 64000000 /dev/zero >big 2>/dev/null || echo full")
        assert r.out == b"full\n", (name, r)
    ended(p)


def terminal(p, name):
    """What a command sees of a terminal of 33 lines, and ssh's status."""
    argv = p.ssh_argv("stty size; tty; exit 3", key=p.all, user=name, flags=("-tt",))
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        os.execvp(argv[0], argv)
    seen = b""
    try:
        while True:
            got = os.read(fd, 4096)
            if not got:
                break
            seen += got
    except OSError:
        pass
    _, st = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(st), seen


@rule
def it_has_terminals(p):
    for name in runtimes():
        code, seen = terminal(p, name)
        assert code == 3 and b"33 101\r\n" in seen and b"/dev/pts/0\r\n" in seen, (name, code, seen)
    ended(p)


@rule
def credentials_are_lent_into_it(p):
    for name in runtimes():
        r = on(p, name, f"postern-cred get jwt {AUDIENCE}")
        assert r.code == 0, (name, r)
        assert jose.verify(r.text.strip(), p.json("jwks", "demo"))["aud"] == AUDIENCE
    ended(p)


@rule
def the_record_says_tier_and_runtime(p):
    for name, path in runtimes().items():
        assert on(p, name, "true").code == 0
        text = str(enforced(p))
        assert "'oci'" in text and path in text and "seccomp" in text, text
    ended(p)


def faults(config):
    """What the schema of the OCI says of a config.json."""
    try:
        import jsonschema
    except ImportError:
        raise Skip("python3-jsonschema is missing: make deps")
    if not os.path.isdir(SCHEMA):
        raise Skip("golang-github-opencontainers-specs-dev is missing: make deps")
    with open(SCHEMA + "/config-schema.json") as f:
        schema = json.load(f)
    # by their files, not by the address in "id"
    schema.pop("id", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones than Debian's would like another name
        resolver = jsonschema.RefResolver(f"file://{SCHEMA}/config-schema.json", schema)
    return [e.message for e in jsonschema.Draft4Validator(schema, resolver=resolver).iter_errors(config)]


def runtime_of(p, path):
    here, = [x for x in proc.tree(p.daemon("spawn")) if proc.argv(x) and proc.argv(x)[0] == path]
    return here


@rule
def the_bundle_fits_the_schema_of_the_oci(p):
    for name, path in runtimes().items():
        with p.ssh_open("echo in; exec cat", key=p.all, user=name) as s:
            assert s.stdout.readline() == b"in\n", s.stderr.read()
            with open(f"/proc/{runtime_of(p, path)}/root/tmp/bundle/config.json") as f:
                config = json.load(f)
            close_all(s)
        assert faults(config) == [], faults(config)
        assert not [m for m in config["mounts"] if m["type"] == "bind"]
        for broken in ({**config, "ociVersion": 1}, {**config, "mounts": [{"source": "/x"}]},
                       {**config, "linux": {"namespaces": [{"type": "time travel"}]}}):
            assert faults(broken), broken
    ended(p)


@rule
def a_runtime_that_is_killed_ends_its_session_alone(p):
    for name in runtimes():
        with p.ssh_open("echo in; exec sleep 100", key=p.all, user=name) as s, \
                p.ssh_open("echo in; exec cat") as other:
            assert s.stdout.readline() == b"in\n" and other.stdout.readline() == b"in\n"
            os.kill(runtime_of(p, OCI[name]), 9)
            assert s.wait(20) in (254, 255), s.stderr.read()
            other.stdin.write(b"still\n")
            other.stdin.flush()
            assert other.stdout.readline() == b"still\n"
            close_all(other)
    ended(p)


@rule
def a_session_that_is_killed_leaves_nothing(p):
    for name in runtimes():
        with p.ssh_open("echo in; sleep 100 & exec sleep 100", key=p.all, user=name) as s:
            assert s.stdout.readline() == b"in\n"
            one, = p.sessions()
            assert p.postern("session", "kill", one["id"]).code == 0
            s.wait(20)
        ended(p)
        assert not [x for x in proc.tree(p.daemon("spawn")) if proc.argv(x) and proc.argv(x)[0] == OCI[name]]


@rule
def a_runtime_that_is_not_there_refuses_the_session(p):
    r = on(p, "lost", "true")
    assert r.code == 254 and "no-such-runtime" in r.error and "No such file" in r.error, r
    ended(p)


@rule
def a_runtime_that_others_can_write_is_refused(p):
    r = on(p, "lax", "true")
    assert r.code == 254 and "only root can write" in r.error, r
    ended(p)


@rule
def a_runtime_that_fails_ends_the_session(p):
    r = on(p, "broken", "true")
    assert r.code == 254, r
    ended(p)


@rule
def what_a_tier_cannot_do_is_refused_by_name(p):
    r = on(p, "watched", "true")
    assert r.code == 254 and "a watch of programs" in r.error, r
    r = on(p, "vmwatched", "true")
    assert r.code == 254 and "watch" in r.error, r
    ended(p)


@rule
def a_virtual_machine_runs_commands(p):
    guest(p)
    r = on(p, "vm", "cat; echo err >&2; exit 7", input=b"hello")
    assert (r.code, r.out, r.err) == (7, b"hello", b"err\n"), (r, p.log_tail())
    text = str(enforced(p))
    assert "'microvm'" in text and "tcg" in text, text
    ended(p)


@rule
def its_guest_has_limits_and_no_host(p):
    guest(p)
    r = on(p, "vm", "id -u; hostname; ulimit -n; head -c 64000000 /dev/zero >/tmp/big 2>/dev/null || echo full;"
                    " ls /usr 2>/dev/null | head -n 1")
    assert r.text.splitlines()[:4] == ["1000", "vm", "64", "full"], r
    ended(p)


@rule
def a_virtual_machine_has_terminals(p):
    guest(p)
    code, seen = terminal(p, "vm")
    assert code == 3 and b"33 101\r\n" in seen, (code, seen)
    ended(p)


@rule
def credentials_are_lent_into_a_virtual_machine(p):
    guest(p)
    r = on(p, "vm", f"postern-cred get jwt {AUDIENCE}")
    assert r.code == 0, r
    assert jose.verify(r.text.strip(), p.json("jwks", "demo"))["aud"] == AUDIENCE
    ended(p)


@rule
def a_virtual_machine_that_is_killed_ends_its_session(p):
    guest(p)
    with p.ssh_open("echo in; exec cat", key=p.all, user="vm") as s:
        assert s.stdout.readline() == b"in\n", s.stderr.read()
        qemu, = [x for x in p.sandbox_pids() if "qemu" in proc.argv(x)[0]]
        os.kill(qemu, 9)
        assert s.wait(20) in (254, 255)
    ended(p)


@rule
def a_host_without_kvm_refuses_what_does_not_say_emulate(p):
    guest(p)
    refused = lambda: on(p, "kvm", "true")
    r = refused()
    if r.code == 0:
        raise Skip("KVM works here")
    until("the answer about KVM", lambda: "does not say emulate" in refused().error, timeout=BOOT_S, every=0.5)
    assert refused().code == 254
    ended(p)


main(tiered)
