#!/usr/bin/python3
"""A template with a root of its own, and limits of its own."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, os, re, shutil, subprocess

from postern import Postern, close_all, run
from tap import main, rule


def small_root(path):
    """A shell, a few programs and what they need: a system without sftp-server."""
    for d in ("bin", "etc", "usr/bin", "usr/lib", "tmp", "home"):
        os.makedirs(os.path.join(path, d), exist_ok=True)
    programs = ["/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/id", "/bin/hostname", "/usr/bin/touch"]
    libs = set()
    for f in programs:
        shutil.copy(os.path.realpath(f), path + "/bin/" + os.path.basename(f))
        out = subprocess.run(["ldd", os.path.realpath(f)], capture_output=True, text=True).stdout
        libs.update(re.findall(r"(/\S+)\s+\(0x", out))
    for l in libs:
        os.makedirs(path + os.path.dirname(l), exist_ok=True)
        shutil.copy(os.path.realpath(l), path + l)
    with open(path + "/etc/its-own", "w") as f:
        f.write("of this root\n")
    for d, _, files in os.walk(path):
        os.chmod(d, 0o755)


def rooted():
    p = Postern(start=False)
    p.root = os.path.join(p.state, "small-root")
    small_root(p.root)
    p.start()
    p.stop()
    with open(f"{p.state}/etc/templates/small.yaml", "w") as f:
        f.write(f"root: {p.root}\nshell: /bin/sh\nlimits: {{memory: 64M, pids: 16, disk: 8M}}\nenv: {{COLOUR: blue}}\n")
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  small:\n    template: small\n    allow: [exec, shell, pty, sftp]\n"
                "  brief:\n    template: default\n    allow: [exec]\n    lifetime: 2s\n    channels: 2\n")
        f.write("  walled:\n    template: walled\n    allow: [exec, shell, pty, forward]\n"
                "  own:\n    template: own\n    allow: [exec]\n")
    with open(f"{p.state}/etc/templates/walled.yaml", "w") as f:
        f.write("extends: default\nlimits: {wall: 2s}\nentry: [/bin/echo, the, entry]\n")
    os.makedirs(f"{p.state}/etc/tenants/demo/templates")
    with open(f"{p.state}/etc/tenants/demo/templates/own.yaml", "w") as f:
        f.write("limits: {memory: 64M}\nenv: {WHOSE: tenants}\n")
    p.start()
    p.small = p.cert("small", principals="small,brief,walled,own")
    return p


@rule
def the_root_is_the_templates(p):
    r = p.ssh("cat /etc/its-own; ls /usr/bin | wc -l; id -u; hostname; echo $COLOUR", key=p.small, user="small")
    assert r.code == 0, r
    assert r.text.splitlines()[0] == "of this root" and "1000" in r.text and "small" in r.text and "blue" in r.text, r
    assert not os.path.exists(p.root + "/home/agent")


@rule
def it_stays_as_it_was(p):
    r = p.ssh("touch /etc/x /bin/y /z; touch ~/ok /tmp/ok && echo fine", key=p.small, user="small")
    assert r.out == b"fine\n", r
    for f in ("etc/x", "bin/y", "z", "home/agent/ok", "tmp/ok"):
        assert not os.path.exists(f"{p.root}/{f}"), f


@rule
def without_sftp_server_sftp_is_refused_with_that_reason(p):
    r = p.ssh("sftp", key=p.small, user="small", flags=("-s",), input=b"")
    assert r.code == 254 and b"sftp-server" in r.err, r


@rule
def a_missing_shell_is_said(p):
    with open(f"{p.state}/etc/templates/small.yaml") as f:
        text = f.read()
    with open(f"{p.state}/etc/templates/small.yaml", "w") as f:
        f.write(text.replace("/bin/sh", "/bin/fish"))
    p.postern("reload")
    r = p.ssh("echo in", key=p.small, user="small")
    assert r.code in (127, 254) and r.err and not r.out, r
    with open(f"{p.state}/etc/templates/small.yaml", "w") as f:
        f.write(text)
    assert p.postern("reload").code == 0
    assert p.ssh("echo in", key=p.small, user="small").out == b"in\n"


@rule
def its_limits_hold(p):
    s = p.ssh_open("exec 3<&0; i=0; while [ $i -lt 40 ]; do cat <&3 >/dev/null 2>&1 & i=$((i+1)); done; echo over",
                   key=p.small, user="small")
    try:
        assert b"fork" in s.stderr.readline()
        assert b"over" not in s.stdout.read()
    finally:
        close_all(s)
    r = p.ssh("cat /dev/zero >/tmp/x; ls -l /tmp/x", key=p.small, user="small")
    size = [int(x) for x in r.text.split() if x.isdigit() and int(x) > 4096]
    assert size and size[0] <= 8 << 20, r


@rule
def its_lifetime_ends_a_session(p):
    r = p.ssh("echo up; exec sleep 30", key=p.small, user="brief", timeout=15)
    assert r.out == b"up\n" and r.code != 0, r


@rule
def a_root_that_goes_away_refuses_new_sessions_only(p):
    os.rename(p.root, p.root + "-away")
    try:
        r = p.ssh("echo in", key=p.small, user="small")
        assert r.code == 254 and r.err.startswith(b"postern: denied: ") and not r.out, r
        assert b"(record " in r.err, r
        assert p.ssh("echo in").out == b"in\n"
    finally:
        os.rename(p.root + "-away", p.root)
    assert p.ssh("echo in", key=p.small, user="small").out == b"in\n"


@rule
def roots_that_cannot_be_are_refused_by_check(p):
    path = f"{p.state}/etc/templates/odd.yaml"
    for root in ("relative/path", "/", "/a/../b", "/proc", '""', "hosts", "[1]"):
        with open(path, "w") as f:
            f.write(f"root: {root}\n")
        r = p.postern("check")
        os.unlink(path)
        if root == "/proc":
            continue  # known only when it is used
        assert r.code == 5 and b"odd.yaml" in r.err + r.out, (root, r)
    assert p.postern("check").code == 0


@rule
def a_root_that_is_not_there_is_a_warning(p):
    path = f"{p.state}/etc/templates/gone.yaml"
    with open(path, "w") as f:
        f.write("root: /nonexistent/root\n")
    r = p.postern("check")
    os.unlink(path)
    assert r.code == 0 and b"warning  template gone" in r.out, r


@rule
def its_wall_time_ends_a_session_whatever_the_role_says(p):
    r = p.ssh("echo up; exec sleep 30", key=p.small, user="walled", timeout=15)
    assert r.out == b"up\n" and r.code != 0, r


@rule
def its_entry_runs_instead_of_the_login_shell(p):
    r = p.ssh(key=p.small, user="walled", input=b"echo shell\n", flags=("-T",))
    assert r.out.endswith(b"the entry\n") and b"shell" not in r.out, r
    assert p.ssh("echo exec", key=p.small, user="walled").out == b"exec\n"


@rule
def a_tenants_own_narrows_the_hosts(p):
    assert p.ssh("echo $WHOSE", key=p.small, user="own").out == b"tenants\n"
    path = f"{p.state}/etc/tenants/demo/templates/own.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write("\nlimits: {memory: 1G}\n")
    try:
        for r in (p.postern("check"), p.postern("template", "check")):
            assert r.code == 5 and b"own.yaml:2: limits.memory: 1G is more" in r.err + r.out, r
        assert p.postern("reload").code != 0
        assert p.ssh("echo $WHOSE", key=p.small, user="own").out == b"tenants\n"
    finally:
        with open(path, "w") as f:
            f.write(text)
    assert p.postern("reload").code == 0


@rule
def what_is_promised_has_to_be_there(p):
    path = f"{p.state}/etc/postern.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text + "reserve: {memory: 15000G}\n")
    try:
        r = p.postern("check")
        assert r.code == 5 and b"less reserve.memory of 15360000M" in r.err + r.out, r
        assert p.postern("reload").code != 0
    finally:
        with open(path, "w") as f:
            f.write(text)
    assert p.postern("reload").code == 0


@rule
def the_templates_that_are_delivered_are_good(p):
    etc = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "etc", "templates")
    shown = os.path.join(p.state, "data")
    os.mkdir(shown, 0o755)
    with open(shown + "/note", "w") as f:
        f.write("of the host\n")
    samples = [f for f in sorted(os.listdir(etc)) if f.endswith(".sample")]
    assert len(samples) == 3, samples
    with open(f"{p.state}/etc/tenants/demo/templates/own.yaml") as f:
        before = f.read()
    for sample in samples:
        with open(f"{etc}/{sample}") as f, open(f"{p.state}/etc/templates/{sample[:-7]}", "w") as to:
            to.write(f.read().replace("/srv/data", shown))
        assert p.postern("template", "show", sample[:-12]).code == 0, sample
    with open(f"{p.state}/etc/tenants/demo/templates/own.yaml", "w") as f:
        f.write("extends: tools\n")
    try:
        assert p.postern("reload").code == 0
        r = p.ssh("cat /data/note; git --version; ls", key=p.small, user="own")
        assert r.out.startswith(b"of the host\ngit version") and b"ls:" in r.err and r.code in (126, 127), r
    finally:
        for sample in samples:
            os.unlink(f"{p.state}/etc/templates/{sample[:-7]}")
        with open(f"{p.state}/etc/tenants/demo/templates/own.yaml", "w") as f:
            f.write(before)
    assert p.postern("reload").code == 0


@rule
def templates_are_listed_shown_and_checked(p):
    r = p.postern("template", "list", "--json")
    names = [(t["name"], t.get("tenant"), t.get("extends")) for t in json.loads(r.out)]
    assert r.code == 0 and ("walled", None, "default") in names and ("own", "demo", "default") in names, r
    r = p.postern("template", "show", "own", "--tenant", "demo", "--json")
    keys = json.loads(r.out)["keys"]
    assert keys["limits.memory"] == {"value": "64M", "from": "tenants/demo/templates/own.yaml:1"}, r
    assert keys["tier"] == {"value": "namespaces", "from": "default"}, r
    assert p.postern("template", "show", "own").code == 6
    assert p.postern("template", "show", "own", "--tenant", "nobody").code == 6
    file = os.path.join(p.work, "new.yaml")
    for text, code, said in (
            ("extends: walled\nprograms: [/bin/cat]\n", 0, b"strength kernel"),
            ("programs: [/bin/sh]\n", 0, b"strength interpreter"),
            ("base: /nonexistent/root\n", 1, b"/nonexistent/root"),
            ("limits: {memmory: 1G}\n", 5, b'new.yaml:1: unknown key "memmory" (did you mean "memory"?)'),
            ("extends: nobody\n", 5, b"new.yaml:1")):
        with open(file, "w") as f:
            f.write(text)
        r = p.postern("template", "check", file)
        assert r.code == code and said in r.out + r.err, (text, r)


@rule
def strict_and_credentials_do_not_go_together(p):
    file = os.path.join(p.work, "tight.yaml")
    for text, code, said in (
            ("seccomp: strict\n", 0, True),
            ("seccomp: strict\ncredentials: false\n", 0, False)):
        with open(file, "w") as f:
            f.write(text)
        r = p.postern("template", "check", file)
        assert r.code == code and (b"strict leaves no socket" in r.out) == said, (text, r)
    path, tenant = f"{p.state}/etc/templates/tight.yaml", f"{p.state}/etc/tenants/demo.yaml"
    with open(tenant) as f:
        roles = f.read()
    try:
        for text, allow, code in (("seccomp: strict\n", "[exec, credential]", 1), ("seccomp: strict\n", "[exec]", 0),
                                  ("seccomp: strict\ncredentials: false\n", "[exec, credential]", 0),
                                  ("seccomp: default\n", "[exec, credential]", 0)):
            with open(path, "w") as f:
                f.write(text)
            with open(tenant, "w") as f:
                f.write(roles + f"  tight:\n    template: tight\n    allow: {allow}\n    credentials: [\"jwt:https://api.example.com\"]\n"
                        if "credential" in allow else roles + f"  tight:\n    template: tight\n    allow: {allow}\n")
            r = p.postern("template", "check", "tight")
            assert r.code == code, (text, allow, r)
            assert (b"the role tight of tenant demo allows: say credentials: false" in r.out) == (code == 1), (text, allow, r)
    finally:
        os.unlink(path)
        with open(tenant, "w") as f:
            f.write(roles)


@rule
def without_its_image_a_template_is_refused_with_that_reason(p):
    path = f"{p.state}/etc/templates/small.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write("base: {image: /srv/none.tar}\n")
    try:
        assert p.postern("reload").code == 0
        r = p.ssh("echo in", key=p.small, user="small")
        assert r.code == 254 and b"image of template small is not built" in r.err and not r.out, r
    finally:
        with open(path, "w") as f:
            f.write(text)
    assert p.postern("reload").code == 0


if __name__ == "__main__":
    main(rooted)
