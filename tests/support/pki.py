"""A CA, servers' and clients' certificates for a test, made by openssl."""
import os, subprocess


class Pki:
    def __init__(self, directory, name="test CA"):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        self.ca = f"{directory}/ca.pem"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                  "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN={name}",
                  "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def _run(self, *args):
        r = subprocess.run(["openssl", *args], cwd=self.dir, capture_output=True)
        assert r.returncode == 0, r.stderr

    def cert(self, name, san="DNS:localhost,IP:127.0.0.1"):
        """(certificate, key): paths."""
        with open(f"{self.dir}/{name}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                  "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                  "-days", "2", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
        return f"{self.dir}/{name}.pem", f"{self.dir}/{name}.key"


def read(path):
    with open(path, "rb") as f:
        return f.read()
