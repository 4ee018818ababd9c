"""A virtual machine for tests: Debian's kernel under QEMU's own emulation, with version 2 of cgroups alone.

    m = Machine(build)                       # fetches the kernel at first (etc/vm-packages.txt), else CannotRun
    m.add_program("/path/to/program")        # with its libraries, into the initramfs
    r = m.run("program --flag", disks=[...]) # a script for /bin/sh, as root; r.lines, r.done
    r = m.run(script, host=True)             # the same with this machine's / below it, read only

With host, /run and SCRATCH are empty and in memory, /tmp is as well or (tmp="/dev/vda") an ext4; what m.keep names is
seen although it lies below one of them.

The script's output comes over the serial line. A line `@done STATUS` ends the run; a guest that dies, or says
nothing within the deadline, is done=None. disks: options of QEMU for each, the guest has them as /dev/vda, vdb, ...
stop(line) -> True ends the machine at once with SIGKILL, which is what a power cut is to the guest.
"""
import glob, os, re, selectors, shutil, signal, stat, subprocess, sys, tempfile, time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
QEMU = "qemu-system-x86_64"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# in the order in which they need each other; what is built in has no file
MODULES = ("crc16 mbcache crc32c_generic crc32c-intel libcrc32c jbd2 ext4 fuse virtio_ring virtio virtiofs "
           "virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci overlay virtio_blk").split()

SCRATCH = ("var/log", "var/tmp", "root", "home")  # what a test may write to, beside /tmp and /run

INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/sbin:/usr/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in %(modules)s; do [ -f /m/$m.ko ] && insmod /m/$m.ko; done
echo 0 >/proc/sys/fs/suid_dumpable
%(enter)s
"""
RUN = """#!/bin/sh
cd /
(
%(script)s
)
echo "@done $?"
"""
ENTER_SELF = """mkdir -p /tmp /mnt; mount -t cgroup2 cg /sys/fs/cgroup
sh /run.sh
sync; echo o >/proc/sysrq-trigger; while :; do sleep 1; done
"""
ENTER_HOST = """mkdir /host; mount -t virtiofs -o ro machine /host && mount --bind /host /newroot || exit 1
mount %(tmp)s /newroot/tmp || exit 1
chmod 1777 /newroot/tmp
for d in run %(scratch)s; do [ ! -d /newroot/$d ] || mount -t tmpfs -o mode=755 tmpfs /newroot/$d; done
for d in %(keep)s; do
	[ -d /newroot$d ] && continue
	mkdir -p /newroot$d; mount --bind /host$d /newroot$d; mount -o remount,bind,ro /newroot$d
done
mount -t devtmpfs dev /newroot/dev; mkdir -p /newroot/dev/pts /newroot/dev/shm
mount -t devpts devpts /newroot/dev/pts; mount -t tmpfs shm /newroot/dev/shm
mount -t proc proc /newroot/proc; mount -t sysfs sys /newroot/sys; mount -t cgroup2 cg /newroot/sys/fs/cgroup
cp /run.sh /newroot/run/run.sh; cp /end.sh /newroot/run/end.sh
umount /proc /sys /host
exec switch_root /newroot /bin/sh /run/end.sh
"""
END_HOST = """export PATH=/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up
sh /run/run.sh
sync; echo o >/proc/sysrq-trigger; read never
"""


class CannotRun(Exception):
    """Something that is not the test's fault is missing."""


class Result:
    def __init__(self):
        self.lines, self.done, self.killed = [], None, False

    @property
    def text(self):
        return "\n".join(self.lines)


def call(*argv, **kw):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **kw)
    return r.returncode, r.stdout.decode("utf-8", "replace")


def packages():
    with open(os.path.join(ROOT, "etc/vm-packages.txt"), encoding="utf-8") as f:
        return [w for w in (line.split("#")[0].strip() for line in f) if w]


def fetch_kernel(cache):
    """The kernel's file and its directory of modules, below cache."""
    root = os.path.join(cache, "root")
    found = sorted(glob.glob(root + "/boot/vmlinuz-*"))
    if not found:
        os.makedirs(cache, exist_ok=True)
        names = []
        for p in packages():
            code, out = call("apt-cache", "depends", p)
            names += re.findall(r"Depends: (linux-image-[0-9]\S*)", out) or [p]
        work = tempfile.mkdtemp(prefix="fetch-", dir=cache)
        try:
            code, out = call("apt-get", "download", *names, cwd=work)
            if code != 0:
                code, more = call("apt-get", "-qq", "update")
                code, out = call("apt-get", "download", *names, cwd=work)
            debs = glob.glob(work + "/*.deb")
            if code != 0 or not debs:
                raise CannotRun(f"the kernel cannot be fetched: apt-get download {' '.join(names)}: {out[-400:]}")
            for deb in debs:
                code, out = call("dpkg-deb", "-x", deb, work + "/root")
                if code != 0:
                    raise CannotRun(f"{deb}: {out[-400:]}")
            shutil.rmtree(root, ignore_errors=True)
            os.rename(work + "/root", root)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        found = sorted(glob.glob(root + "/boot/vmlinuz-*"))
        if not found:
            raise CannotRun(f"no kernel in {names}")
    version = os.path.basename(found[-1])[len("vmlinuz-"):]
    return found[-1], f"{root}/lib/modules/{version}"


class Initramfs:
    """The newc format of cpio (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.out, self.seen, self.ino = [], set(), 0

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.ino += 1
        n = name.encode() + b"\0"
        head = "070701" + "".join(f"{v:08x}" for v in (
            self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(n), 0))
        pad = lambda b: b + b"\0" * (-len(b) % 4)
        self.out.append(pad(head.encode() + n) + pad(data))

    def dirs(self, path):
        parts = path.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            d = "/".join(parts[:i])
            if d and d not in self.seen:
                self.seen.add(d)
                self._entry(d, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o755):
        path = path.strip("/")
        if path not in self.seen:
            self.dirs(os.path.dirname(path))
            self.seen.add(path)
            self._entry(path, stat.S_IFREG | mode, data)

    def copy(self, path, where=None):
        with open(path, "rb") as f:
            self.file(where or path, f.read())

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        return b"".join(self.out)


class Machine:
    def __init__(self, build, memory=512):
        for p in (QEMU, "busybox", "mke2fs"):
            if not shutil.which(p):
                raise CannotRun(f"{p} is missing: make deps")
        self.build, self.memory = os.path.abspath(build), memory
        self.kernel, self.modules = fetch_kernel(os.path.join(self.build, "vm"))
        self.programs, self.files, self.keep = [], {}, []

    def add_program(self, path):
        self.programs.append(os.path.abspath(path))

    def add_file(self, name, data):
        self.files[name] = data

    def _initramfs(self, script, host, tmp):
        r = Initramfs()
        for d in ("bin", "dev", "proc", "sys", "newroot", "m", "tmp", "mnt"):
            r.dirs(d)
        r._entry("dev/console", stat.S_IFCHR | 0o600, rdev=(5, 1))
        r.copy(os.path.realpath(shutil.which("busybox")), "bin/busybox")
        for m in MODULES:
            for f in glob.glob(f"{self.modules}/kernel/**/{m}.ko", recursive=True)[:1]:
                r.copy(f, f"m/{m}.ko")
        for p in self.programs:
            r.copy(p, "bin/" + os.path.basename(p))
            for lib in re.findall(r"(/\S+) \(0x", call("ldd", p)[1]):
                r.copy(os.path.realpath(lib), lib)
        for name, data in self.files.items():
            r.file(name, data)
        enter = ENTER_SELF
        if host:
            enter = ENTER_HOST % {"tmp": f"-t ext4 {tmp}" if tmp else "-t tmpfs tmpfs", "scratch": " ".join(SCRATCH),
                                  "keep": " ".join(self.keep)}
        r.file("init", (INIT % {"modules": " ".join(MODULES), "enter": enter}).encode())
        r.file("run.sh", (RUN % {"script": script}).encode())
        r.file("end.sh", END_HOST.encode())
        return r.bytes()

    def run(self, script, disks=(), host=False, timeout=120, stop=None, tmp=None):
        work = tempfile.mkdtemp(prefix="vm-")
        fsd = None
        try:
            with open(work + "/initramfs", "wb") as f:
                f.write(self._initramfs(script, host, tmp))
            argv = [QEMU, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", f"{self.memory}M", "-smp", "2",
                    "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
                    "-kernel", self.kernel, "-initrd", work + "/initramfs", "-append",
                    "console=ttyS0 quiet panic=-1 reboot=t no_timer_check cgroup_no_v1=all"]
            for d in disks:
                argv += d
            if host:
                fsd = self._virtiofsd(work + "/fs.sock")
                argv += ["-object", f"memory-backend-memfd,id=mem,size={self.memory}M,share=on",
                         "-numa", "node,memdev=mem", "-chardev", f"socket,id=c0,path={work}/fs.sock",
                         "-device", "vhost-user-fs-pci,chardev=c0,tag=machine"]
            return self._talk(argv, timeout, stop)
        finally:
            if fsd:
                fsd.kill()
                fsd.wait()
            shutil.rmtree(work, ignore_errors=True)

    def _virtiofsd(self, path):
        if not os.path.exists(VIRTIOFSD):
            raise CannotRun(f"{VIRTIOFSD} is missing: make deps")
        p = subprocess.Popen([VIRTIOFSD, f"--socket-path={path}", "-o", "source=/", "-o", "sandbox=chroot", "-o",
                              "cache=always", "--rlimit-nofile=0"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not os.path.exists(path):
            if p.poll() is not None or time.monotonic() > end:
                p.kill()
                raise CannotRun("virtiofsd does not start")
            time.sleep(0.02)
        return p

    def _talk(self, argv, timeout, stop):
        r = Result()
        q = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        sel = selectors.DefaultSelector()
        sel.register(q.stdout, selectors.EVENT_READ)
        end, rest = time.monotonic() + timeout, b""
        try:
            while time.monotonic() < end and not r.killed and r.done is None:
                if not sel.select(max(0, min(1, end - time.monotonic()))):
                    continue
                data = os.read(q.stdout.fileno(), 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._line(r, line.decode("utf-8", "replace").rstrip("\r"), stop)
            return r
        finally:
            if r.killed or r.done is None:
                q.send_signal(signal.SIGKILL)
            try:
                q.wait(20)
            except subprocess.TimeoutExpired:
                q.kill()
                q.wait()
            q.stdout.close()

    def _line(self, r, line, stop):
        if r.killed:
            return
        m = re.search(r"@done (\d+)$", line)
        if m:
            r.done = int(m.group(1))
        else:
            r.lines.append(line)
        if stop and stop(line):
            r.killed = True


def make_disk(path, size, tree=None, fs_size=None):
    """A raw image with ext4, of the files below tree; the file system may be smaller than the image."""
    with open(path, "wb") as f:
        f.truncate(size)
    argv = ["mke2fs", "-q", "-t", "ext4", "-F"] + (["-d", tree] if tree else []) + [path]
    code, out = call(*argv, *([f"{fs_size // 1024}k"] if fs_size else []))
    if code != 0:
        raise CannotRun(f"mke2fs: {out}")


def disk(path, n=0):
    return ["-drive", f"file={path},if=none,id=disk{n},format=raw,cache=unsafe", "-device", f"virtio-blk-pci,drive=disk{n}"]


def logged_disk(path, log, n=0):
    """Every write and flush that reaches the device is kept in the file log, in order (blklog.py)."""
    with open(log, "wb"):
        pass
    return ["-blockdev", f"driver=file,node-name=file{n},filename={path}",
            "-blockdev", f"driver=file,node-name=log{n},filename={log}",
            "-blockdev", f"driver=blklogwrites,node-name=disk{n},file=file{n},log=log{n},log-sector-size=512",
            "-device", f"virtio-blk-pci,drive=disk{n}"]
