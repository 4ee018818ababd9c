#!/usr/bin/python3
"""A template that lists programs, through ssh: the kernel runs those and nothing else, by none of the known ways round."""
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import json

from postern import Postern
from tap import main, rule

# bash is what runs a command line at all, so the list has it; what else a shell can do is a rule of its own
LIST = "[/usr/bin/bash, /usr/bin/cat, /usr/bin/cp, /usr/bin/chmod, /usr/bin/ln, /usr/bin/id]"


def listed():
    p = Postern(start=False)
    p.start()
    p.stop()
    for name, text in (("listed", f"programs: {LIST}\n"), ("bare", "programs: [/usr/bin/cat]\nentry: [/usr/bin/cat, /etc/hostname]\n"),
                       ("lost", "programs: [/usr/bin/no-such-program]\n"), ("own", "programs: [/usr/bin/bash, /usr/bin/id]\n")):
        with open(f"{p.state}/etc/templates/{name}.yaml", "w") as f:
            f.write(text)
        with open(f"{p.state}/etc/tenants/demo.yaml", "a") as f:
            f.write(f"  {name}:\n    template: {name}\n    allow: [exec, shell, pty, sftp]\n")
    p.start()
    p.lister = p.cert("listed", principals="listed,bare,lost,own")
    return p


def on(p, command, user="listed", **kw):
    return p.ssh(command, key=p.lister, user=user, **kw)


def enforced(p):
    return [x for x in p.records() if x["class"] == "session.enforced"][-1]["body"]["enforced"]


@rule
def what_is_listed_runs(p):
    r = on(p, "id -u; echo hello | cat; for i in 1 2 3; do cat /etc/hostname; done")
    assert (r.code, r.text) == (0, "1000\nhello\n" + "listed\n" * 3), r


@rule
def what_is_not_listed_does_not(p):
    for program in ("ls", "/usr/bin/python3 -c 1", "/usr/bin/env id", "/bin/dash -c id", "perl -e 1"):
        r = on(p, f"{program}; echo status $?")
        assert r.out == b"status 126\n" and b"ermission denied" in r.err, (program, r)


@rule
def none_of_the_ways_round_works(p):
    r = on(p, "ld=$(echo /lib64/ld-linux-*.so.2); $ld /usr/bin/ls / && echo ran; /lib64/ld-linux-x86-64.so.2 /usr/bin/ls / && echo ran")
    assert b"ran" not in r.out and r.err, r
    r = on(p, "cp /usr/bin/ls ~/ls && echo copied; cat /usr/bin/ls >/dev/null && echo read; ln -s /usr/bin/ls ~/l; ~/l && echo ran")
    assert not r.out, r
    for where in ("~", "/tmp", "/dev/shm", "/var/tmp"):
        r = on(p, f"cp /usr/bin/id {where}/mine && chmod 755 {where}/mine && echo copied; {where}/mine && echo ran; "
                  f"/lib64/ld-linux-x86-64.so.2 {where}/mine && echo ran")
        assert r.out == b"copied\n", (where, r)
        r = on(p, f"echo 'echo ran' >{where}/s; chmod 755 {where}/s; cp /usr/bin/id {where}/i.so; {where}/s; LD_PRELOAD={where}/i.so id -u")
        assert r.out == b"1000\n", (where, r)


@rule
def a_program_from_the_client_does_not_run(p):
    with open("/usr/bin/true", "rb") as f:
        r = on(p, "cat >~/t && chmod 755 ~/t && ~/t && echo ran", input=f.read())
    assert not r.out and b"ermission denied" in r.err, r


@rule
def sftp_is_refused_unless_it_is_listed(p):
    r = p.ssh("sftp", key=p.lister, user="listed", flags=("-s",), input=b"")
    assert r.code != 0 and not r.out and r.err, r


@rule
def without_a_shell_the_entry_alone_runs(p):
    r = p.ssh(key=p.lister, user="bare", input=b"", flags=("-T",))
    assert r.out.endswith(b"bare\n"), r
    r = on(p, "cat /etc/hostname", user="bare")
    assert r.code == 126 and not r.out and b"ermission denied" in r.err, r


@rule
def the_record_says_what_the_list_is_worth(p):
    assert on(p, "id -u").code == 0
    e = enforced(p)
    assert e["programs"] == 6 and e.get("programs_strength", e.get("strength", "interpreter")) == "interpreter", e


@rule
def a_list_that_names_what_is_not_there_is_refused(p):
    r = on(p, "id", user="lost")
    assert r.code == 254 and b"no-such-program" in r.err and not r.out, r


@rule
def check_says_so_before(p):
    r = p.postern("template", "check", "--json")
    told = r.out + r.err
    assert b"no-such-program" in told or r.code != 0, r
    r = p.postern("template", "show", "listed", "--json")
    assert json.loads(r.out)["keys"]["programs"]["value"], r


@rule
def other_sessions_are_not_limited_by_it(p):
    r = p.ssh("ls /usr/bin | head -1; cp /usr/bin/id ~/mine && ~/mine -u")
    assert r.code == 0 and r.text.splitlines()[-1] == "1000", r


if __name__ == "__main__":
    main(listed)
