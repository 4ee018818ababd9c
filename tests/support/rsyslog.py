"""A real rsyslogd that takes syslog over TLS (RFC 5425) and writes every message as it came to a file."""
import re, shutil, signal, socket, subprocess, tempfile

from pki import read
from postern import until

LINE = re.compile(rb'^<(\d+)>1 (\S+) (\S+) postern - (record|checkpoint) '
                  rb'\[postern@32473 origin="([^"]*)" log="([^"]*)" seq="(\d+)" (?:leaf|root)="([0-9a-f]{64})"\] '
                  rb'(?:\xef\xbb\xbf)?(\{.*\})$')


class Rsyslogd:
    def __init__(self, pki):
        self.dir = tempfile.mkdtemp(prefix="postern-rsyslog-")
        self.out = self.dir + "/out"
        cert, key = pki.cert("server")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(self.dir + "/conf", "w", encoding="ascii") as f:
            f.write(f'''global(workDirectory="{self.dir}" maxMessageSize="256k" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{pki.ca}" defaultNetstreamDriverCertFile="{cert}"
  defaultNetstreamDriverKeyFile="{key}" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="r" queue.type="Direct") {{
  action(type="omfile" file="{self.out}" template="raw" asyncWriting="off" flushOnTXEnd="on")
}}
input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="r")
''')
        self.p = None
        self.start()

    def start(self):
        self.p = subprocess.Popen(["rsyslogd", "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=open(self.dir + "/err", "ab"))

        def listens():
            assert self.p.poll() is None, read(self.dir + "/err")
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        until("rsyslogd listens", listens)

    def kill(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        self.p.wait(30)

    def lines(self):
        """Those that are whole; a killed rsyslogd may have left one that is not."""
        try:
            found = read(self.out).split(b"\n")
        except FileNotFoundError:
            return []
        return [m for m in map(LINE.match, found) if m]

    def seqs(self, log=b"demo"):
        return [int(m[7]) for m in self.lines() if m[4] == b"record" and m[6] == log]

    def close(self):
        if self.p.poll() is None:
            self.kill()
        shutil.rmtree(self.dir)
