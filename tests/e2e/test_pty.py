#!/usr/bin/python3
"""A terminal over SSH: size, resizing, signals from keys, an interactive shell, and nothing of the host's.
(libssh 0.10 does not tell a server the client's terminal modes: the sandbox's terminal starts with the usual ones.)"""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import fcntl, os, pty, re, select, signal, struct, termios, time

from postern import Postern
from tap import main, rule


class Terminal:
    """ssh -tt on a terminal of our own."""

    def __init__(self, p, *command, rows=33, cols=101, term="xterm-256color", key="alice", flags=("-tt",)):
        argv = p.ssh_argv(*command, key=key, flags=flags)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = term
            # the size is there before ssh looks at it
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.execvp(argv[0], argv)
        self.seen = b""

    def expect(self, pattern, timeout=10):
        end = time.monotonic() + timeout
        while True:
            m = re.search(pattern, self.seen)
            if m:
                self.seen = self.seen[m.end():]
                return m
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen[-500:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    got = os.read(self.fd, 65536)
                except OSError:
                    got = b""
                assert got, f"ended before {pattern!r}: {self.seen[-500:]!r}"
                self.seen += got

    def send(self, data):
        os.write(self.fd, data)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def end(self, timeout=10):
        """Reads to the end; returns ssh's exit status."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    got = os.read(self.fd, 65536)
                except OSError:
                    got = b""
                if not got:
                    break
                self.seen += got
        while time.monotonic() < end:
            pid, st = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(st)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        raise AssertionError(f"ssh did not end: {self.seen[-500:]!r}")


@rule
def a_terminal_is_asked_for_and_given(p):
    t = Terminal(p, "tty; stty size; echo TERM=$TERM; test -t 0 && test -t 1 && test -t 2 && echo all")
    t.expect(rb"/dev/pts/\d+\r\n")
    t.expect(rb"33 101\r\n")
    t.expect(rb"TERM=xterm-256color\r\n")
    t.expect(rb"all\r\n")
    assert t.end() == 0


@rule
def without_being_asked_for_there_is_none(p):
    r = p.ssh("tty; test -t 0 || echo none")
    assert b"not a tty" in r.out and b"none" in r.out, r


@rule
def the_terminal_is_the_controlling_one(p):
    t = Terminal(p, "echo yes >/dev/tty; ps -o tty= -p $$ 2>/dev/null; exec 9<>/dev/tty && echo open")
    t.expect(rb"yes\r\n")
    t.expect(rb"open\r\n")
    assert t.end() == 0


@rule
def a_new_size_arrives_with_its_signal(p):
    t = Terminal(p, "trap 'stty size; exit 0' WINCH; echo ready; while :; do read -t 1 x; done", flags=("-tt",))
    t.expect(rb"ready\r\n")
    t.resize(44, 132)
    t.expect(rb"44 132\r\n")
    t.send(b"\n")
    t.end()


@rule
def an_interactive_shell_talks(p):
    t = Terminal(p)
    t.send(b"echo $((6 * 7)) is-it\n")
    t.expect(rb"[\r\n]42 is-it\r\n")
    t.send(b"exit 3\n")
    assert t.end() == 3


@rule
def the_interrupt_key_ends_the_command_not_the_shell(p):
    t = Terminal(p)
    t.send(b"echo before; sleep 100\n")
    t.expect(rb"[\r\n]before\r\n")
    time.sleep(0.3)
    t.send(b"\x03")
    t.send(b"echo still $((1 + 1)) here\n")
    t.expect(rb"still 2 here\r\n")
    t.send(b"exit\n")
    t.end()


@rule
def the_end_of_file_key_ends_the_shell(p):
    t = Terminal(p)
    t.send(b"echo up-$((1 + 2))\n")
    t.expect(rb"[\r\n]up-3\r\n")
    t.expect(rb"\$ ")  # before its prompt the shell would not see the key
    t.send(b"\x04")
    assert t.end() == 0


@rule
def a_raw_terminal_passes_every_byte(p):
    t = Terminal(p, "stty raw -echo; echo go; head -c 256 | od -An -v -tu1 | tr -s ' \\n' '  '; echo END")
    t.expect(rb"go")
    # what ssh itself would eat: ~ after a newline; so none of the first column's newlines come before ~
    t.send(bytes(range(256)))
    m = t.expect(rb"((?: *\d+ *){256})")
    assert [int(x) for x in m.group(1).split()] == list(range(256)), m.group(1)
    t.end()


@rule
def jobs_are_controlled(p):
    t = Terminal(p)
    t.send(b"set -m; sleep 100 & jobs; kill %1; wait; echo done-$((2 + 2))\n")
    t.expect(rb"done-4")
    t.send(b"exit 0\n")
    t.end()


@rule
def a_hangup_reaches_the_command(p):
    key = p.keys.setdefault("alice", p.keys.get("alice") or p.cert("alice"))
    t = Terminal(p, "trap '' HUP; echo armed; sleep 1000", key=key)
    t.expect(rb"armed")
    os.kill(t.pid, signal.SIGKILL)
    os.waitpid(t.pid, 0)
    os.close(t.fd)
    end = time.monotonic() + 5
    while p.sandbox_pids():
        assert time.monotonic() < end, p.sandbox_pids()
        time.sleep(0.05)


@rule
def the_pts_is_the_sandboxs_own(p):
    t = Terminal(p, "ls /dev/pts | tr '\\n' ' '; echo; ls -ln $(tty)")
    t.expect(rb"\d")
    t.expect(rb"1000")
    assert t.end() == 0


@rule
def a_certificate_without_permit_pty_gets_none(p):
    key = p.cert("nopty", options=["no-pty"])
    r = p.ssh("tty", key=key, flags=("-tt",))
    assert b"/dev/pts" not in r.out, r
    assert p.ssh("echo fine", key=key).out == b"fine\n"


if __name__ == "__main__":
    main(Postern)
