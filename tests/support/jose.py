"""Checks a JWT of ES256 against a JWK set, independently of our own code: by python3-cryptography, or by openssl."""
import base64, json, os, subprocess, tempfile


def _b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _der_int(b):
    b = b.lstrip(b"\0") or b"\0"
    b = b"\0" + b if b[0] & 0x80 else b
    return b"\2" + bytes([len(b)]) + b


def _der_seq(*parts):
    body = b"".join(parts)
    return b"\x30" + bytes([len(body)]) + body


def _by_cryptography(x, y, signed, r, s):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    n = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    try:
        n.public_key().verify(encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")), signed,
                              ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def _by_openssl(x, y, signed, r, s):
    # SubjectPublicKeyInfo of a P-256 point: a fixed head (RFC 5480)
    head = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
    with tempfile.TemporaryDirectory() as d:
        for name, data in (("key", head + b"\4" + x + y), ("sig", _der_seq(_der_int(r), _der_int(s))), ("data", signed)):
            with open(os.path.join(d, name), "wb") as f:
                f.write(data)
        return subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", "key", "-signature", "sig", "data"],
                              cwd=d, capture_output=True).returncode == 0


def verify(token, jwks):
    """The claims, or an AssertionError. Both verifiers must agree when both are there."""
    head, body, sig = token.split(".")
    header, claims, raw = json.loads(_b64(head)), json.loads(_b64(body)), _b64(sig)
    assert header["alg"] == "ES256" and header["typ"] == "JWT", header
    keys = [k for k in jwks["keys"] if k["kid"] == header["kid"]]
    assert len(keys) == 1, (header, jwks)
    k = keys[0]
    assert k["kty"] == "EC" and k["crv"] == "P-256" and "d" not in k, k
    x, y = _b64(k["x"]), _b64(k["y"])
    assert len(x) == len(y) == 32 and len(raw) == 64, (len(x), len(raw))
    args = (x, y, f"{head}.{body}".encode(), raw[:32], raw[32:])
    verdicts = {}
    verdicts["openssl"] = _by_openssl(*args)
    try:
        verdicts["cryptography"] = _by_cryptography(*args)
    except ImportError:
        pass
    assert all(verdicts.values()), f"the signature is wrong: {verdicts}"
    return claims
