#!/usr/bin/python3
"""One command over SSH behaves as over any sshd: bytes, statuses, signals, ends of streams."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import hashlib, random, subprocess, threading, time

from postern import Postern, close_all, until
from tap import main, rule


@rule
def the_exit_status_is_the_commands(p):
    for code in (0, 1, 7, 42, 254, 255):
        r = p.ssh(f"exit {code}")
        assert r.code == code and r.out == b"" and r.err == b"", r


@rule
def death_by_a_signal_is_told_as_such(p):
    r = p.ssh("kill -TERM $$", opts=["LogLevel=VERBOSE"])
    assert r.code == 255, r  # OpenSSH's client says 255 for an exit-signal
    r = p.ssh("sh -c 'kill -9 $$'; echo $?")
    assert r.out == b"137\n", r


@rule
def an_unknown_command_is_127_with_a_message(p):
    r = p.ssh("no-such-command-anywhere")
    assert r.code == 127 and b"not found" in r.err and r.out == b"", r


@rule
def a_file_that_is_no_program_is_126(p):
    assert p.ssh("/etc/passwd").code == 126


@rule
def a_script_on_stdin_runs_in_a_shell(p):
    r = p.ssh(input=b"echo one\nread x\nthe input\necho got $x\nexit 5\n")
    assert r.code == 5 and r.out == b"one\ngot the input\n", r
    r = p.ssh("sh -s -- a b", input=b'echo "$# $2"\n')
    assert r.code == 0 and r.out == b"2 b\n", r
    r = p.ssh("python3 -", input=b"import sys\nprint(6 * 7)\nsys.exit(9)\n")
    assert r.code == 9 and r.out == b"42\n", r


@rule
def stdout_and_stderr_stay_apart(p):
    r = p.ssh("for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    assert r.out == b"out1\nout2\nout3\n" and r.err == b"err1\nerr2\nerr3\n", r


@rule
def every_byte_value_goes_through_unchanged(p):
    data = bytes(range(256)) * 64
    r = p.ssh("cat", input=data)
    assert r.code == 0 and r.out == data, (r.code, len(r.out))
    r = p.ssh("cat >&2", input=data)
    assert r.code == 0 and r.err == data and r.out == b"", (r.code, len(r.err))


@rule
def sixty_four_megabytes_go_both_ways_at_once(p):
    data = random.Random(1).randbytes(64 << 20)
    r = p.ssh("cat", input=data, timeout=50)
    assert r.code == 0 and hashlib.sha256(r.out).digest() == hashlib.sha256(data).digest(), (r.code, len(r.out))


@rule
def output_to_both_streams_at_once_is_complete(p):
    r = p.ssh("head -c 8000000 /dev/zero >&2 & head -c 9000000 /dev/zero; wait")
    assert r.code == 0 and len(r.out) == 9000000 and len(r.err) == 8000000, (r.code, len(r.out), len(r.err))


@rule
def the_client_can_close_its_side_first(p):
    r = p.ssh("cat >/dev/null; echo the end", input=b"x" * 100000)
    assert r.code == 0 and r.out == b"the end\n", r


@rule
def the_command_can_close_its_side_first(p):
    s = p.ssh_open("exec >&- 2>&-; cat >/tmp/got; test $(wc -c </tmp/got) = 6 && exit 3; exit 4")
    time.sleep(0.5)  # its output is closed by now; what comes in must still arrive
    assert s.poll() is None
    s.stdin.write(b"later\n")
    s.stdin.close()
    assert s.wait(10) == 3, s.returncode
    close_all(s)


@rule
def a_command_that_reads_nothing_ends_all_the_same(p):
    r = p.ssh("exit 6", input=b"y" * (8 << 20))
    assert r.code == 6, r


@rule
def output_after_a_long_silence_arrives_whole(p):
    r = p.ssh("head -c 300000 /dev/zero; exec 2>&-; read -t 1 x </dev/zero; printf end", input=b"")
    assert r.out == b"\0" * 300000 + b"end", len(r.out)


@rule
def a_reader_that_waits_blocks_only_itself(p):
    s = p.ssh_open("head -c 50000000 /dev/zero")
    r = p.ssh("echo quick")
    assert r.out == b"quick\n", r
    assert len(s.stdout.read()) == 50000000
    assert s.wait(10) == 0
    close_all(s)


@rule
def the_environment_is_the_sandboxs(p):
    r = p.ssh("echo $HOME $USER $LOGNAME; pwd; id -un; id -u; test -w $HOME && echo writable")
    assert r.text.splitlines() == ["/home/agent", "agent agent", "/home/agent", "agent", "1000", "writable"] \
        or r.text.split() == ["/home/agent", "agent", "agent", "/home/agent", "agent", "1000", "writable"], r


@rule
def environment_passes_by_allowlist(p):
    r = p.ssh("echo $LC_ALL; echo $LANG; echo =$LD_PRELOAD=$EVIL=",
              opts=["SetEnv=LC_ALL=C.UTF-8 LANG=C LD_PRELOAD=/tmp/x.so EVIL=1"])
    assert r.code == 0 and r.out == b"C.UTF-8\nC\n===\n", r


@rule
def a_long_command_line_is_kept_whole(p):
    r = p.ssh("echo " + "a" * 60000 + " | wc -c")
    assert r.out.strip() == b"60001", r


@rule
def a_command_line_that_is_too_long_is_refused(p):
    r = p.ssh("echo " + "a" * 120000, opts=["LogLevel=ERROR"])
    assert r.code not in (0, None) and not r.out, r
    assert p.ssh("true").code == 0


@rule
def a_command_line_is_bytes_and_the_shells_business(p):
    r = p.ssh("printf '%s' 'tab\there; \xe9 \"q\" $(echo sub)\n'")
    assert r.code == 0 and "$(echo sub)" in r.text, r


@rule
def twenty_clients_at_once_all_get_their_own(p):
    got = {}

    def one(i):
        got[i] = p.ssh(f"echo client {i}; cat", input=str(i).encode() * 1000, timeout=50)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(20):
        assert got[i].out == f"client {i}\n".encode() + str(i).encode() * 1000, (i, got[i])


@rule
def a_background_process_dies_with_the_session(p):
    r = p.ssh("(sleep 1000 >/dev/null 2>&1 </dev/null &) ; echo started")
    assert r.out == b"started\n", r
    until(lambda: f"still there: {p.sandbox_pids()}", lambda: not p.sandbox_pids(), 3)
    assert subprocess.run(["true"]).returncode == 0


@rule
def a_forced_command_runs_instead(p):
    key = p.cert("forced", options=["force-command=echo forced; echo $SSH_ORIGINAL_COMMAND"])
    r = p.ssh("echo mine", key=key)
    assert r.text.splitlines()[:1] == ["forced"] and "echo mine" in r.text, r


if __name__ == "__main__":
    main(Postern)
