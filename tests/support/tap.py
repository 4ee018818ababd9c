"""Test functions whose names state a rule, reported as TAP.

    @rule
    def refuses_an_expired_certificate(p): ...

    main(Postern)

main() makes one fixture, hands it to every rule in the order of the file, and ends with the rule that nothing
is left behind. A rule fails by an exception, skips by Skip, and is given RULE_SECONDS.
"""
import os, signal, sys, time, traceback

RULE_SECONDS = 60
SLOW = int(os.environ.get("POSTERN_SLOW", "1"))  # as in postern.py

# a shell's background job has the first two ignored, nohup's the third, and so would have the commands under test
for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(sig, signal.SIG_DFL)

_rules = []


class Skip(Exception):
    pass


class _Late(Exception):
    pass


def rule(f):
    _rules.append(f)
    return f


def _say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _note(text):
    for line in text.splitlines():
        _say("# " + line)


def _alarm(*_):
    raise _Late(f"not done in {RULE_SECONDS * SLOW} s")


def _run(f, args):
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(RULE_SECONDS * SLOW)
    try:
        f(*args)
        return "ok", ""
    except Skip as s:
        return "skip", str(s)
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt):
            raise
        return "not ok", traceback.format_exc()
    finally:
        signal.alarm(0)


def main(fixture=None, leaves_nothing=True):
    if os.geteuid() != 0:
        _say("1..0 # SKIP these tests need root")
        sys.exit(1)
    only = sys.argv[1:]
    # those of the file that was started, not of what it imports
    rules = [f for f in _rules if f.__module__ == "__main__" and (not only or f.__name__ in only)]
    checks_left = fixture is not None and leaves_nothing
    _say(f"1..{len(rules) + checks_left}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed, n, fix = 0, 0, None
    try:
        if fixture is not None:
            try:
                fix = fixture()
            except BaseException:
                _note(traceback.format_exc())
                for n, f in enumerate(rules, 1):
                    _say(f"not ok {n} - {f.__name__}")
                if checks_left:
                    _say(f"not ok {n + 1} - leaves_nothing_behind")
                sys.exit(1)
        for n, f in enumerate(rules, 1):
            start = time.monotonic()
            what, why = _run(f, (fix,) if fix is not None else ())
            name = f.__name__
            if what == "skip":
                _say(f"ok {n} - {name} # SKIP {why}")
            else:
                _say(f"{what} {n} - {name}")
            if what == "not ok":
                failed += 1
                _note(why)
                if fix is not None and hasattr(fix, "log_tail"):
                    _note("the log ends with:\n" + fix.log_tail(15))
            if os.environ.get("TIMES"):
                _note(f"{time.monotonic() - start:.2f} s")
        if checks_left:
            what, why = _run(leaves_nothing_behind, (fix,))
            _say(f"{what} {n + 1} - leaves_nothing_behind")
            failed += what != "ok"
            _note(why)
    finally:
        if fix is not None:
            fix.close()
    sys.exit(1 if failed else 0)


def leaves_nothing_behind(p):
    """Stops it: status 0, and no process, mount or cgroup remains."""
    code = p.stop()
    assert code in (0, None), f"`postern up` ended with {code} after SIGTERM: {p.log_tail()}"
    end = time.monotonic() + 5 * SLOW
    while p.leftovers():
        assert time.monotonic() < end, "left behind: " + "; ".join(p.leftovers())
        time.sleep(0.05)
