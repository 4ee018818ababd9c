#!/usr/bin/python3
"""An agent that is root inside installs what it needs: with dpkg, apt-get and pip, into a layer of its own session."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import base64, hashlib, io, zipfile

from postern import Postern, close_all, until
from tap import Skip, main, rule

LIMITS = "limits: {memory: 512M, disk: 64M}\n"
# A package with a file of another owner, a maintainer's script, and what it needs of the host's database.
BUILD_DEB = """set -e; umask 022; mkdir -p /tmp/d/DEBIAN /tmp/d/usr/bin /tmp/d/var/lib/greet /tmp/d/etc/greet /tmp/d/opt/greet /tmp/repo; cd /tmp
printf 'Package: greet\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: A <a@example.com>\\nDepends: libc6, dpkg\\nDescription: greets\\n' >d/DEBIAN/control
printf '#!/bin/sh\\nset -e\\nif [ "$1" = configure ]; then chown www-data:www-data /var/lib/greet; chmod 2750 /var/lib/greet; fi\\n' >d/DEBIAN/postinst
printf '/etc/greet/conf\\n' >d/DEBIAN/conffiles; echo conf >d/etc/greet/conf; echo data >d/opt/greet/data
printf '#!/bin/sh\\necho greetings from a package\\n' >d/usr/bin/greet; chmod 755 d/usr/bin/greet d/DEBIAN/postinst
dpkg-deb -b d repo/greet.deb >/dev/null
"""
INDEX = """cd /tmp/repo; (cat ../d/DEBIAN/control; echo Filename: ./greet.deb; echo Size: $(stat -c %s greet.deb)
echo SHA256: $(sha256sum greet.deb | cut -d' ' -f1)) >Packages; mkdir -p /etc/apt
echo 'deb [trusted=yes] file:/tmp/repo ./' >/etc/apt/sources.list
"""


def wheel():
    """A wheel with one module and one program."""
    info = "greetlib-1.0.dist-info"
    files = {"greetlib.py": "def main():\n    print('greetings from a wheel')\n",
             f"{info}/METADATA": "Metadata-Version: 2.1\nName: greetlib\nVersion: 1.0\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
             f"{info}/entry_points.txt": "[console_scripts]\ngreetlib = greetlib:main\n"}
    digest = lambda t: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b"=").decode()
    files[f"{info}/RECORD"] = "".join(f"{n},sha256={digest(t)},{len(t)}\n" for n, t in files.items()) + f"{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for n, t in files.items():
            z.writestr(n, t)
    return out.getvalue()


def rooted():
    p = Postern(start=False)
    p.start()
    p.stop()
    for name, text in (("rooted", "root: true\n" + LIMITS), ("warmroot", "root: true\nwarm: 1\n" + LIMITS),
                       ("listed", "root: true\nprograms: [/usr/bin/bash, /usr/bin/touch, /usr/bin/id]\n" + LIMITS)):
        with open(f"{p.state}/etc/templates/{name}.yaml", "w") as f:
            f.write(text)
        with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
            f.write(f"  {name}:\n    template: {name}\n    allow: [exec]\n")
    p.start()
    p.rooter = p.cert("rooted", principals="rooted,warmroot,listed")
    if not enforced(p, in_root(p, "true"))["usr_mapped"]:
        p.unmapped = "this file system cannot map ids, so /usr stays as it is"
    else:
        p.unmapped = None
    return p


def in_root(p, script, user="rooted", **kw):
    kw.setdefault("timeout", 90)
    return p.ssh(script, key=p.rooter, user=user, **kw)


def enforced(p, _):
    return [r for r in p.records() if r["class"] == "session.enforced"][-1]["body"]["enforced"]


def writable(p):
    if p.unmapped:
        raise Skip(p.unmapped)


@rule
def dpkg_installs_and_removes_a_package(p):
    writable(p)
    r = in_root(p, BUILD_DEB + "dpkg -i repo/greet.deb >&2; greet; stat -c '%U %a' /var/lib/greet; cat /opt/greet/data\n"
                "dpkg -s greet | grep ^Status; dpkg -V greet; dpkg -P greet >&2; greet || echo gone; ls /etc/greet || echo gone; dpkg -i repo/greet.deb >&2; greet")
    assert r.code == 0 and r.text.splitlines() == ["greetings from a package", "www-data 2750", "data",
                                                   "Status: install ok installed", "gone", "gone", "greetings from a package"], r


@rule
def apt_get_installs_from_a_repository(p):
    writable(p)
    r = in_root(p, BUILD_DEB + INDEX + "apt-get -q update >&2; apt-get -q install -y greet >&2; greet; apt-cache policy greet | sed -n 2p\n"
                "apt-get -q purge -y greet >&2; greet || echo gone")
    assert r.code == 0 and r.text.splitlines() == ["greetings from a package", "  Installed: 1.0", "gone"], r
    assert b"Permission denied" not in r.err and b"unsandboxed" not in r.err, r


@rule
def apts_own_sandbox_user_works(p):
    """apt fetches as _apt, for which nothing is switched off: its methods change to it and look that they cannot go back."""
    writable(p)
    r = in_root(p, BUILD_DEB + INDEX + "apt-config dump | grep -i sandbox::user; getent passwd _apt | cut -d: -f1,3\n"
                "mkdir -p /tmp/own; chown _apt /tmp/own; chmod 700 /tmp/own; mv /tmp/repo/* /tmp/own; rmdir /tmp/repo; ln -s own /tmp/repo\n"
                "apt-get -q update >&2 && echo updated")
    assert r.code == 0 and r.text.splitlines() == ["APT::Sandbox::User \"_apt\";", "_apt:42", "updated"], r


@rule
def pip_installs_a_wheel(p):
    writable(p)
    if not os.path.exists("/usr/lib/python3/dist-packages/pip"):
        raise Skip("python3-pip is missing: make deps")
    r = in_root(p, "set -e; cd /tmp; cat >greetlib-1.0-py3-none-any.whl; "
                "/usr/bin/python3 -m pip install -q --no-index --break-system-packages ./greetlib-1.0-py3-none-any.whl >&2; "
                "greetlib; /usr/bin/python3 -c 'import greetlib; print(greetlib.__file__.split(\"/\")[1])'", input=wheel())
    assert r.code == 0 and r.text.splitlines() == ["greetings from a wheel", "usr"], r


@rule
def a_sandbox_from_the_pool_installs_as_well(p):
    writable(p)
    until("a start from the pool", lambda: enforced(p, in_root(p, "true", user="warmroot"))["start"] != "cold", timeout=30)
    until("the pool to be filled again", lambda: enforced(p, in_root(
        p, BUILD_DEB + "dpkg -i repo/greet.deb >&2; greet | grep -q package && echo fine >&2", user="warmroot"))["start"] != "cold")
    r = in_root(p, BUILD_DEB + "dpkg -i repo/greet.deb >&2; greet", user="warmroot")
    assert r.code == 0 and r.out == b"greetings from a package\n", r


@rule
def nothing_of_it_reaches_the_host_or_another_session(p):
    writable(p)
    one = p.ssh_open(BUILD_DEB + "dpkg -i repo/greet.deb >&2; rm /usr/bin/yes; echo x >>/usr/bin/env; echo done; exec cat",
                     key=p.rooter, user="rooted")
    try:
        while (line := one.stdout.readline()) not in (b"done\n", b""):
            pass
        assert line, one.stderr.read()
        r = in_root(p, "ls /usr/bin/greet /opt/greet; test -x /usr/bin/yes && tail -c2 /usr/bin/env | grep -c x; dpkg -s greet")
        assert r.code != 0 and r.out == b"0\n", r
        assert not os.path.exists("/usr/bin/greet") and os.path.exists("/usr/bin/yes") and not os.path.exists("/opt/greet")
        assert not os.path.exists("/var/lib/dpkg/info/greet.list")
    finally:
        close_all(one)


@rule
def what_it_installs_counts_as_what_it_writes(p):
    """/usr is a part of the session's own layer: limited with it, no setuid there, and charged to its memory."""
    writable(p)
    r = in_root(p, "head -c 80M /dev/zero >/usr/local/big; stat -c %s /usr/local/big; rm /usr/local/big\n"
                "cp /usr/bin/id /usr/local/bin/id; chown nobody /usr/local/bin/id; chmod 4755 /usr/local/bin/id; /usr/local/bin/id -u\n"
                "grep ' /usr ' /proc/self/mountinfo | cut -d' ' -f6; grep ' /var/lib/dpkg ' /proc/self/mountinfo | cut -d' ' -f6")
    lines = r.text.splitlines()
    assert r.code == 0 and int(lines[0]) <= 64 << 20, r
    assert lines[1] == "0" and all("nosuid" in l and "nodev" in l for l in lines[2:]) and len(lines) == 4, r
    assert b"No space left" in r.err, r


@rule
def every_file_that_was_installed_is_on_record(p):
    writable(p)
    r = in_root(p, BUILD_DEB + "dpkg -i repo/greet.deb >&2; rm -rf /tmp/d /tmp/repo")
    assert r.code == 0, r
    sid = [x for x in p.records() if x["class"] == "channel.exec"][-1]["subject"]["session"]
    mine = lambda c: [x for x in p.records() if x["class"] == c and x["subject"].get("session") == sid]
    until("its end", lambda: mine("session.end"))
    by = {f["path"]: f for x in mine("session.files") for f in x["body"]["files"]}
    assert by["usr/bin/greet"]["sha256"] == hashlib.sha256(b"#!/bin/sh\necho greetings from a package\n").hexdigest(), sorted(by)
    assert by["usr/bin/greet"]["change"] == "added" and "var/lib/dpkg/info/greet.list" in by and "opt/greet/data" in by, sorted(by)
    assert by["var/lib/greet"]["uid"] == 33, by["var/lib/greet"]
    # what Postern makes itself is no change of the session's
    assert not {"usr", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/statoverride", "etc/machine-id"} & set(by), sorted(by)


@rule
def a_session_that_installs_nothing_has_nothing_on_record(p):
    writable(p)
    r = in_root(p, "dpkg -l libc6 >/dev/null && ls /usr/bin >/dev/null")
    assert r.code == 0, r
    sid = [x for x in p.records() if x["class"] == "channel.exec"][-1]["subject"]["session"]
    mine = lambda c: [x for x in p.records() if x["class"] == c and x["subject"].get("session") == sid]
    until("its end", lambda: mine("session.end"))
    assert not mine("session.files"), mine("session.files")


@rule
def users_are_those_that_every_debian_has(p):
    r = in_root(p, "getent passwd root www-data _apt rooted | cut -d: -f1,3; wc -l </etc/passwd; stat -c %s /var/lib/dpkg/statoverride")
    lines = r.text.splitlines()
    assert r.code == 0 and lines[:4] == ["root:0", "www-data:33", "_apt:42", "rooted:1000"], r
    with open("/usr/share/base-passwd/passwd.master") as f:
        assert int(lines[4]) == len(f.readlines()) + 1, r
    assert lines[5] == "0", r


@rule
def with_a_list_of_programs_usr_stays_as_it_is(p):
    r = in_root(p, "id -u; touch /usr/x || echo no", user="listed")
    assert r.out == b"0\nno\n", r


if __name__ == "__main__":
    main(rooted)
