#!/usr/bin/python3
# paramiko and asyncssh, as agents use them: signals, terminals that change size, many commands at once.
import asyncio, io, logging, os, socket, sys, time, warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from fake_core import Gateway, Tap, equal

warnings.filterwarnings("ignore")
import asyncssh  # noqa: E402
import paramiko  # noqa: E402

gw = Gateway(spares=3)
IDENTITY = gw.identity()


def paramiko_client():
    c = paramiko.SSHClient()
    c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    k = paramiko.Ed25519Key(filename=IDENTITY)
    k.load_certificate(IDENTITY + "-cert.pub")
    c.connect("127.0.0.1", gw.port, "agent", pkey=k, allow_agent=False, look_for_keys=False, timeout=10)
    return c


def run(coro):
    return asyncio.run(asyncio.wait_for(coro, 30))


def connect():
    return asyncssh.connect("127.0.0.1", gw.port, username="agent", known_hosts=None,
                            client_keys=[(IDENTITY, IDENTITY + "-cert.pub")], agent_path=None, config=None)


def paramiko_exec():
    c = paramiko_client()
    i, o, e = c.exec_command("read x; echo out $x; echo err >&2; exit 12")
    i.write("line\n")
    i.channel.shutdown_write()
    equal((o.read(), e.read(), o.channel.recv_exit_status()), (b"out line\n", b"err\n", 12))
    c.close()


def paramiko_many_commands_on_one_connection():
    c = paramiko_client()
    runs = [c.exec_command(f"echo {i}; exit {i}") for i in range(40)]
    for i, (_, o, _) in enumerate(runs):
        equal((o.read(), o.channel.recv_exit_status()), (b"%d\n" % i, i))
    c.close()


def paramiko_sftp():
    c = paramiko_client()
    s = c.open_sftp()
    data = os.urandom(3000000)
    with s.open(gw.dir + "/p", "wb") as f:
        f.write(data)
    with s.open(gw.dir + "/p", "rb") as f:
        f.prefetch()
        equal(f.read(), data)
    c.close()


def paramiko_renegotiates():
    c = paramiko_client()
    i, o, _ = c.exec_command("cat")
    for n in range(3):
        i.write(b"x" * 100000)
        i.flush()
        c.get_transport().renegotiate_keys()
    i.channel.shutdown_write()
    equal(len(o.read()), 300000)
    c.close()


def a_key_without_a_certificate_is_refused():
    k = paramiko.Ed25519Key(filename=IDENTITY)
    t = paramiko.Transport(("127.0.0.1", gw.port))
    t.start_client(timeout=5)
    try:
        t.auth_publickey("agent", k)
        raise AssertionError("let in")
    except paramiko.AuthenticationException:
        pass
    equal(gw.said("auth.check")[-1]["method"], "publickey")  # the core is asked, and records why not
    t.close()


def asyncssh_hundred_at_once():
    async def go():
        async with connect() as c:
            for _ in range(2):
                rs = await asyncio.gather(*[c.run(f"echo {i}; exit {i}") for i in range(50)])
                equal([(r.stdout, r.exit_status) for r in rs], [(f"{i}\n", i) for i in range(50)])
    run(go())


def asyncssh_signal():
    async def go():
        async with connect() as c:
            async with c.create_process("trap 'echo usr1; exit 3' USR1; echo up; while :; do sleep 0.05; done") as p:
                equal(await p.stdout.readline(), "up\n")
                p.send_signal("USR1")
                r = await p.wait()
                equal((r.stdout, r.exit_status), ("usr1\n", 3))
            async with c.create_process("echo up; exec sleep 60") as p:
                equal(await p.stdout.readline(), "up\n")
                p.send_signal("TERM")
                r = await p.wait()
                equal(r.exit_signal[0], "TERM")
            async with c.create_process("echo up; exec sleep 60") as p:
                equal(await p.stdout.readline(), "up\n")
                p.send_signal("KILL")
                r = await p.wait()
                equal(r.exit_signal[0], "KILL")
            async with c.create_process("kill -SYS $$") as p:
                r = await p.wait()
                assert r.exit_signal or r.exit_status, r
    run(go())


def asyncssh_terminal_and_its_size():
    async def go():
        async with connect() as c:
            script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
            async with c.create_process(script, term_type="xterm", term_size=(91, 33)) as p:
                equal((await p.stdout.readline()).strip(), "33 91")
                equal((await p.stdout.readline()).strip(), "ready")
                p.change_terminal_size(120, 50)
                equal((await p.stdout.readline()).strip(), "50 120")
                equal((await p.wait()).exit_status, 0)
    run(go())


def asyncssh_half_close():
    async def go():
        async with connect() as c:
            async with c.create_process("sort; echo done") as p:
                p.stdin.write("b\na\n")
                p.stdin.write_eof()
                equal(await p.stdout.read(), "a\nb\ndone\n")
    run(go())


def asyncssh_stderr_apart_in_bulk():
    async def go():
        async with connect() as c:
            r = await c.run("head -c 2000000 /dev/zero; head -c 1500000 /dev/zero >&2", encoding=None)
            equal((len(r.stdout), len(r.stderr), r.exit_status), (2000000, 1500000, 0))
    run(go())


def asyncssh_forwards_are_refused():
    async def go():
        async with connect() as c:
            try:
                await c.open_connection("127.0.0.1", 9)
                raise AssertionError("opened")
            except asyncssh.ChannelOpenError:
                pass
            try:
                await c.open_unix_connection("/tmp/x")
                raise AssertionError("opened")
            except asyncssh.ChannelOpenError:
                pass
            try:
                await c.forward_remote_port("", 0, "127.0.0.1", 9)
                raise AssertionError("listening")
            except asyncssh.ChannelListenError:
                pass
            equal((await c.run("echo still")).stdout, "still\n")
    run(go())


def asyncssh_env_and_long_values():
    async def go():
        async with connect() as c:
            r = await c.run("echo $LC_A ${#LC_B} ${#LC_C} $EVIL.", env={"LC_A": "1", "LC_B": "x" * 4096, "LC_C": "x" * 4097,
                                                              "EVIL": "2"})
            equal(r.stdout, "1 4096 0 .\n")
    run(go())


def a_long_command_travels_whole():
    async def go():
        async with connect() as c:
            r = await c.run("echo " + "a" * 60000 + " | wc -c")
            equal(r.stdout.strip(), "60001")
            try:
                r = await c.run("echo " + "a" * 70000)
                assert r.exit_status not in (0, None), r
            except (asyncssh.ChannelOpenError, asyncssh.Error):
                pass
            equal((await c.run("echo still")).stdout, "still\n")
    run(go())


logging.getLogger("paramiko").propagate = False
logging.getLogger("paramiko").addHandler(logging.NullHandler())
tests = [v for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == "__main__"
         and k not in ("run", "connect", "paramiko_client")]
tap = Tap(len(tests))
for t in tests:
    tap.run(t.__name__, t)
gw.close()
sys.exit(1 if tap.failed else 0)
