"""Debian's own sshd with Postern's settings, in a mount namespace of its own.

The files under test are the delivered ones at their real places: /etc, /usr/libexec, the PAM modules' directory and
/var/log are overlays there, /run is empty but for what sshd and Postern need. The host sees none of it.
"""
import os, re, shutil, signal, socket, subprocess, tempfile, time

import proc
from postern import BUILD, run, until

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
GROUP, GID = "postern-agents", 61500
PASSWORD = "correct horse"

# As Debian 12 ships it, without the comments.
SSHD_CONFIG = """\
Include /etc/ssh/sshd_config.d/*.conf
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""

SCRIPT = r"""
set -e
security=$(dirname "$(find /lib/*/security /usr/lib/*/security -name pam_unix.so | head -n 1)")
mount -t tmpfs -o mode=755 tmpfs "$WORK/over"
over() {
	mkdir -p "$WORK/over/up$1" "$WORK/over/work$1"
	mount -t overlay -o "lowerdir=$1,upperdir=$WORK/over/up$1,workdir=$WORK/over/work$1" overlay "$1"
}
over /etc
over /usr/libexec
over "$security"
over /var/log
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd /run/postern
mount --bind "$SOCKETS" /run/postern
cat "$WORK/passwd" >>/etc/passwd
cat "$WORK/shadow" >>/etc/shadow
cat "$WORK/group" >>/etc/group
rm -rf /etc/ssh/sshd_config.d /etc/ssh/sshd_config /etc/postern /etc/nologin
mkdir -p /etc/ssh/sshd_config.d /etc/postern /usr/libexec/postern
cp "$WORK/sshd_config" /etc/ssh/sshd_config
cp "$WORK/postern.conf" /etc/ssh/sshd_config.d/postern.conf
cp -r "$WORK/sshd" /etc/postern/sshd
chmod -R go-w /etc/postern /etc/ssh
cp "$WORK/pam" /etc/pam.d/postern-sshd
{ echo "@include postern-sshd"; cat /etc/pam.d/sshd; } >/etc/pam.d/sshd.new
mv /etc/pam.d/sshd.new /etc/pam.d/sshd
cp "$LIB/lib/security/pam_postern.so" "$security/"
cp "$LIB/libexec/postern/postern-run" /usr/libexec/postern/
exec /usr/sbin/sshd -D -e -o "Port=$PORT" -o ListenAddress=127.0.0.1 -o PidFile=none -o "HostKey=$WORK/hostkey" \
	-o LogLevel=VERBOSE
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def delivered(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


class Sshd:
    """accounts: {Unix account: role}. conf, pam: change the delivered drop-in and PAM lines. sockets: what
    /run/postern is, by default the running system's. keys: lines of /etc/postern/sshd/keys. outside: accounts that
    are not in the group."""

    def __init__(self, p, accounts, conf=lambda text: text, pam=lambda text: text, sockets=None, keys=(),
                 outside=()):
        self.p, self.port = p, free_port()
        self.work = tempfile.mkdtemp(prefix="postern-test-sshd-")
        os.chmod(self.work, 0o755)
        self.uids = {name: GID + 1 + i for i, name in enumerate(accounts)}
        self._files(accounts, conf, pam, keys, outside)
        env = dict(os.environ, WORK=self.work, SOCKETS=sockets or p.state + "/run", LIB=BUILD, PORT=str(self.port))
        env.pop("CMOCKA_MESSAGE_OUTPUT", None)
        self.log_path = self.work + "/log"
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        until(self.log_tail, self.listening, 10)
        self.mnt = proc.namespaces(self.proc.pid)["mnt"]

    def _files(self, accounts, conf, pam, keys, outside):
        w = self.work
        os.makedirs(w + "/sshd/principals")
        os.mkdir(w + "/over")
        hashed = run(["openssl", "passwd", "-6", PASSWORD]).text.strip()
        write(w + "/passwd", "".join(f"{n}:x:{u}:{u}::/:/bin/sh\n" for n, u in self.uids.items()))
        write(w + "/shadow", "".join(f"{n}:{hashed}:19000:0:99999:7:::\n" for n in self.uids), 0o600)
        write(w + "/group", f"{GROUP}:x:{GID}:{','.join(n for n in self.uids if n not in outside)}\n"
              + "".join(f"{n}:x:{u}:\n" for n, u in self.uids.items()))
        for name, role in accounts.items():
            write(f"{w}/sshd/principals/{name}", role + "\n")
        cas = [open(f"{self.p.state}/ca/{t}.pub").read() for t in ("demo", "other")]
        write(w + "/sshd/ca.pub", "".join(cas))
        write(w + "/sshd/keys", "".join(keys))
        write(w + "/sshd_config", SSHD_CONFIG)
        write(w + "/postern.conf", conf(delivered("etc/sshd/postern.conf")))
        write(w + "/pam", pam(delivered("etc/pam.d/postern-sshd")))
        r = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w + "/hostkey"])
        assert r.code == 0, r
        write(w + "/known_hosts", f"[127.0.0.1]:{self.port} " + open(w + "/hostkey.pub").read())
        write(w + "/askpass", f"#!/bin/sh\necho '{PASSWORD}'\n", 0o755)

    def listening(self):
        assert self.proc.poll() is None, self.log_tail()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def log_tail(self, n=30):
        with open(self.log_path, "rb") as f:
            return "\n".join(f.read().decode("utf-8", "replace").splitlines()[-n:])

    def log_size(self):
        return os.path.getsize(self.log_path)

    def log_since(self, at):
        with open(self.log_path, "rb") as f:
            f.seek(at)
            return f.read().decode("utf-8", "replace")

    def pids(self):
        """Its processes: those of its mount namespace."""
        return [q for q in proc.all_pids() if proc.namespaces(q).get("mnt") == self.mnt]

    def titled(self, pattern):
        return [q for q in self.pids() if re.search(pattern, " ".join(proc.argv(q)))]

    def monitors(self, user):
        """The privileged processes of a user's connections."""
        return self.titled(rf"^sshd: {user} \[priv\]")

    def close(self):
        end = time.monotonic() + 10
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        while self.pids() and time.monotonic() < end:
            for q in self.pids():
                if q != self.proc.pid or time.monotonic() > end - 5:
                    proc.kill(q)
            self.proc.poll()
            time.sleep(0.02)
        self.proc.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- clients ----

    def options(self, key="alice", opts=()):
        return [f"UserKnownHostsFile={self.work}/known_hosts" if o.startswith("UserKnownHostsFile=") else o
                for o in self.p.ssh_options(key, opts)]

    def argv(self, *command, user="demo-agent", key="alice", opts=(), flags=()):
        return ["ssh", *self.options(key, opts), "-p", str(self.port), *flags, "-l", user, "127.0.0.1", *command]

    def ssh(self, *command, input=None, timeout=30, env=None, **kw):
        return run(self.argv(*command, **kw), input, timeout, env=env)

    def ssh_open(self, *command, **kw):
        return subprocess.Popen(self.argv(*command, **kw), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def ssh_password(self, *command, user="demo-agent", opts=(), key=None):
        """BatchMode off; the password comes from a program."""
        argv = self.argv(*command, user=user, key=key, opts=opts)
        argv[argv.index("BatchMode=yes")] = "BatchMode=no"
        env = dict(os.environ, SSH_ASKPASS=self.work + "/askpass", SSH_ASKPASS_REQUIRE="force")
        return run(argv, None, 30, env=env)
