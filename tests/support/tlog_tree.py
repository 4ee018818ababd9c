"""RFC 6962 trees and proofs in Python: section 2.1 as it is written there. Of tests/support/tlog.py."""
import hashlib


def sha(b):
    return hashlib.sha256(b).digest()


# ---- trees: RFC 6962 section 2.1 as it is written there ----

def leaf(data):
    return sha(b"\x00" + data)


def _k(n):
    return 1 << (n - 1).bit_length() - 1


def root(leaves):
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = _k(len(leaves))
    return sha(b"\x01" + root(leaves[:k]) + root(leaves[k:]))


def path(m, leaves):
    n = len(leaves)
    if n == 1:
        return []
    k = _k(n)
    return path(m, leaves[:k]) + [root(leaves[k:])] if m < k else path(m - k, leaves[k:]) + [root(leaves[:k])]


def subproof(m, leaves, whole=True):
    n = len(leaves)
    if m == n:
        return [] if whole else [root(leaves)]
    k = _k(n)
    if m <= k:
        return subproof(m, leaves[:k], whole) + [root(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [root(leaves[:k])]


def root_from_path(m, n, h, proof):
    """The root that an inclusion proof leads to, or None if it has not the right length."""
    if n == 1:
        return h if not proof else None
    if not proof:
        return None
    k = _k(n)
    if m < k:
        below = root_from_path(m, k, h, proof[:-1])
        return below and sha(b"\x01" + below + proof[-1])
    below = root_from_path(m - k, n - k, h, proof[:-1])
    return below and sha(b"\x01" + proof[-1] + below)


def roots_from_subproof(m, n, proof, old, whole=True):
    """(old root, new root) that a consistency proof leads to, or None."""
    if m == n:
        if whole:
            return (old, old) if not proof else None
        return (proof[0], proof[0]) if len(proof) == 1 else None
    if not proof:
        return None
    k = _k(n)
    if m <= k:
        below = roots_from_subproof(m, k, proof[:-1], old, whole)
        return below and (below[0], sha(b"\x01" + below[1] + proof[-1]))
    below = roots_from_subproof(m - k, n - k, proof[:-1], old, False)
    return below and (sha(b"\x01" + proof[-1] + below[0]), sha(b"\x01" + proof[-1] + below[1]))
