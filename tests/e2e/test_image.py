#!/usr/bin/python3
"""Images become the roots of templates: sound ones work, hostile ones are refused or defused."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json, stat, subprocess, tarfile

import image_tar as img
from postern import BUILD, Postern
from tap import main, rule


def busybox():
    with open("/bin/busybox", "rb") as f:
        return f.read()


def base():
    """A tiny system."""
    return img.layer(
        img.folder("./"), img.folder("bin"), img.entry("bin/busybox", busybox(), 0o755),
        *[img.hardlink("bin/" + n, "bin/busybox") for n in ("sh", "cat", "ls", "id", "stat", "touch")],
        img.folder("etc"), img.entry("etc/whose", b"the image's\n"), img.entry("etc/gone", b"x"),
        img.folder("srv"), img.entry("srv/old", b"x"),
        img.folder("home"), img.folder("usr"), img.folder("usr/bin"), img.folder("tmp", 0o1777))


def upper():
    return img.layer(
        img.entry("etc/.wh.gone"), img.folder("srv"), img.entry("srv/new", b"n"),
        img.entry("srv/.wh..wh..opq"), img.folder("data", 0o755, uid=1000, gid=1000),
        img.entry("bin/suid", busybox(), 0o4755), img.device("null"),
        img.entry("srv/owned", b"o", uid=33, gid=33),
        img.entry("srv/attr", b"", pax={"SCHILY.xattr.user.x": "1"}), img.symlink("out", "/etc/passwd"))


def template(p, name, tar):
    with open(f"{p.state}/etc/templates/{name}.yaml", "w") as f:
        f.write(f"base: {{image: {tar}}}\nshell: /bin/sh\nlimits: {{memory: 64M, pids: 16, disk: 8M}}\n")


def started():
    p = Postern(start=False)
    p.start()
    p.stop()
    p.tar = p.state + "/small.tar"
    img.docker(p.tar, base(), upper())
    img.oci(p.state + "/layout.tar", base(), upper(), img.layer(img.entry("third", b"by zstd\n")))
    template(p, "small", p.tar)
    template(p, "layout", p.state + "/layout.tar")
    with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
        f.write("  small:\n    template: small\n    allow: [exec]\n  layout:\n    template: layout\n    allow: [exec]\n")
    return p


def build(p, *words):
    return subprocess.run([BUILD + "/bin/postern", "--state", p.state, "template", "build", *words],
                          capture_output=True, text=True, timeout=120)


def refused(p, why, *entries, below=(), make=img.docker, **more):
    """A template of this layer is not built, for this reason, and leaves nothing."""
    tar = p.state + "/bad.tar"
    layers = [img.layer(*below)] if below else []
    make(tar, *layers, img.layer(*entries), **more)
    template(p, "bad", tar)
    r = build(p, "bad")
    os.unlink(f"{p.state}/etc/templates/bad.yaml")
    assert r.returncode == 1 and why in r.stderr, r
    left = [n for n in os.listdir(p.state + "/images") if n.startswith(".")]
    assert not left, left
    return r


def tree(p, name):
    r = build(p, name, "--json")
    assert r.returncode == 0, r
    return p.state + "/images/" + json.loads(r.stdout)[0]["image"], json.loads(r.stdout)[0]


@rule
def a_docker_archive_and_an_oci_layout_are_built(p):
    for name in ("small", "layout"):
        r = build(p, name)
        assert r.returncode == 0 and "left out: 1 devices, setuid or setgid of 1, attributes of 1" in r.stdout, r
        assert "is there already" in build(p, name).stdout
    lines = open(p.state + "/etc/images.lock").read().splitlines()
    assert len(lines) == 2 and subprocess.run(["sha256sum", "-c", "--quiet", p.state + "/etc/images.lock"]).returncode == 0


@rule
def layers_lie_over_each_other(p):
    t, _ = tree(p, "layout")
    assert sorted(os.listdir(t + "/srv")) == ["attr", "new", "owned"], os.listdir(t + "/srv")
    assert not os.path.exists(t + "/etc/gone") and open(t + "/third").read() == "by zstd\n"
    assert os.stat(t + "/bin/sh").st_ino == os.stat(t + "/bin/busybox").st_ino
    assert not [n for _, _, f in os.walk(t) for n in f if n.startswith(".wh.")]


@rule
def owners_are_kept_and_dangerous_bits_are_not(p):
    t, _ = tree(p, "small")
    assert os.stat(t).st_uid == 0 and stat.S_IMODE(os.stat(t).st_mode) == 0o755
    assert os.stat(t + "/data").st_uid == 1000 and os.stat(t + "/srv/owned").st_gid == 33
    assert os.stat(t + "/bin/busybox").st_uid == 0
    assert stat.S_IMODE(os.stat(t + "/bin/suid").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(t + "/tmp").st_mode) == 0o1777
    assert os.listxattr(t + "/srv/attr") == [] and not os.path.lexists(t + "/null")
    assert os.readlink(t + "/out") == "/etc/passwd"


@rule
def a_session_runs_in_it(p):
    p.start()
    key = p.cert("img", principals="small,layout")
    for user in ("small", "layout"):
        r = p.ssh("cat /etc/whose; id -u; stat -c %u /bin/busybox; touch /data/mine && ls /data; ls /srv", key=key, user=user)
        assert r.code == 0, r
        assert r.text.split() == ["the", "image's", "1000", "0", "mine", "attr", "new", "owned"], r
    r = p.ssh("touch /bin/x || echo no", key=key, user="small")
    assert "no" in r.text, r
    p.stop()


@rule
def an_image_that_is_gone_refuses_its_sessions(p):
    t, _ = tree(p, "layout")
    os.rename(t, t + ".away")
    os.symlink("/", t)
    p.start()
    key = p.cert("gone", principals="small,layout")
    r = p.ssh("echo in", key=key, user="layout")
    assert r.code != 0 and "in" not in r.text.split(), r
    assert p.ssh("echo in", key=key, user="small").text.strip() == "in"
    p.stop()
    os.unlink(t)
    os.rename(t + ".away", t)


@rule
def names_that_lead_out_are_refused(p):
    refused(p, "leads out", img.entry("/etc/x", b"x"))
    refused(p, "leads out", img.entry("a/../../x", b"x"))
    refused(p, "leads out", img.entry("..", b"x"))
    refused(p, "leads out", img.entry("x" * 300, b"x"))
    refused(p, "leads through", img.symlink("a", "/tmp"), img.entry("a/x", b"x"))
    refused(p, "leads through", img.entry("a/x", b"x"), below=[img.symlink("a", "../../../..")])
    refused(p, "leads through", img.entry("a/b", b"x"), below=[img.entry("a", b"x")])
    refused(p, "deep", img.entry("d/" * 65 + "x", b"x"))


@rule
def a_whiteout_reaches_nothing_outside(p):
    victim = p.state + "/victim"
    os.mkdir(victim)
    open(victim + "/kept", "w").close()
    refused(p, "leads out", img.entry(f"../../victim/.wh.kept"))
    refused(p, "whiteout of nothing", img.entry(".wh..."), below=[img.entry("x")])
    tar = p.state + "/wh.tar"
    img.docker(tar, img.layer(img.symlink("v", victim)), img.layer(img.entry("v/.wh.kept"), img.entry("v/.wh..wh..opq")))
    template(p, "wh", tar)
    assert build(p, "wh").returncode in (0, 1)
    os.unlink(f"{p.state}/etc/templates/wh.yaml")
    assert os.listdir(victim) == ["kept"]


@rule
def hard_links_stay_inside(p):
    refused(p, "hard link", img.hardlink("x", "/etc/passwd"))
    refused(p, "hard link", img.hardlink("x", "../../etc/passwd"))
    refused(p, "hard link", img.folder("d"), img.hardlink("x", "d"))
    refused(p, "leads through", img.symlink("d", "/etc"), img.hardlink("x", "d/passwd"))
    refused(p, "No such file", img.hardlink("x", "y"))


@rule
def the_same_name_twice_is_refused(p):
    refused(p, "twice", img.entry("x", b"1"), img.symlink("x", "/etc"))
    refused(p, "twice", img.symlink("x", "a"), img.symlink("x", "b"))
    refused(p, "twice", img.folder("x"), img.entry("x", b"1"))
    refused(p, "twice", img.entry("x/y", b"1"), img.entry("x", b"1"))
    tar = p.state + "/twice.tar"
    img.docker(tar, img.layer(img.entry("x", b"1"), img.entry("x", b"2"), img.entry("./x", b"3")))
    template(p, "twice", tar)
    t, _ = tree(p, "twice")
    os.unlink(f"{p.state}/etc/templates/twice.yaml")
    assert open(t + "/x").read() == "3"


@rule
def capabilities_owners_and_giants_are_refused(p):
    refused(p, "file capabilities", img.entry("ping", b"", pax={"SCHILY.xattr.security.capability": "x"}))
    refused(p, "its owner", img.entry("x", b"", uid=65536))
    big, _ = img.entry("big", b"")
    big.size = 1 << 60
    header = big.tobuf(tarfile.GNU_FORMAT)
    raw = header + b"\0" * 1024
    img.docker(p.state + "/bad.tar", raw)
    template(p, "bad", p.state + "/bad.tar")
    r = build(p, "bad")
    assert r.returncode == 1 and "bytes" in r.stderr, r
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        long, _ = img.entry("././@LongLink", type=kind)
        long.size = 1 << 33
        img.docker(p.state + "/bad.tar", long.tobuf(tarfile.GNU_FORMAT) + b"A" * 4096)
        r = build(p, "bad")
        assert r.returncode == 1, r
    os.unlink(f"{p.state}/etc/templates/bad.yaml")


@rule
def a_bomb_is_refused(p):
    img.oci(p.state + "/bad.tar", img.layer(img.entry("zeros", b"\0" * (200 << 20))), how=("zstd",))
    template(p, "bad", p.state + "/bad.tar")
    r = build(p, "bad")
    os.unlink(f"{p.state}/etc/templates/bad.yaml")
    assert r.returncode == 1 and "times what it is" in r.stderr, r


@rule
def digests_are_verified_before_anything_is_written(p):
    def spoil(files):
        return [(n, d.replace(b"the truth", b"the troth")) for n, d in files]
    refused(p, "SHA-256", img.entry("x", b"the truth"), make=img.oci, how=("",), spoil=spoil)

    def swapped(files):
        return [(n, img.layer(img.entry("y", b"2")) if n.endswith(img.digest(img.layer(img.entry("x", b"1")))) else d) for n, d in files]
    refused(p, "SHA-256", img.entry("x", b"1"), make=img.oci, how=("",), spoil=swapped)
    refused(p, "not there", img.entry("x", b"1"), make=img.oci, spoil=lambda f: f[:2])
    refused(p, "no manifest", img.entry("x", b"1"), make=img.oci, spoil=lambda f: f[:1])


@rule
def prune_removes_what_no_template_names(p):
    os.unlink(f"{p.state}/etc/templates/layout.yaml")
    text = open(f"{p.state}/etc/tenants/demo.yaml").read()
    with open(f"{p.state}/etc/tenants/demo.yaml", "w") as f:
        f.write(text.replace("  layout:\n    template: layout\n    allow: [exec]\n", ""))
    os.makedirs(p.state + "/images/.tmp-0123456789abcdef/root/a")
    small, _ = tree(p, "small")
    r = build(p, "small", "--prune")
    assert r.returncode == 0, r
    assert os.listdir(p.state + "/images") == [os.path.basename(small)], os.listdir(p.state + "/images")
    assert len(open(p.state + "/etc/images.lock").read().splitlines()) == 1


@rule
def what_is_no_image_has_its_exit_status(p):
    assert build(p, "nobody").returncode == 6
    assert build(p, "default").returncode in (1, 6)
    template(p, "small", p.state + "/missing.tar")
    r = build(p, "small")
    assert r.returncode == 1 and "No such file" in r.stderr, r


if __name__ == "__main__":
    main(started)
