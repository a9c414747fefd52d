"""A second opinion: RFC 6962, RFC 8032 and the C2SP notes written down plainly, sharing no code and no library with the
product."""

from __future__ import annotations

import base64
import hashlib


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree_head(entries: list[bytes]) -> bytes:
    """MTH(D[n]), RFC 6962 §2.1."""
    n = len(entries)
    if n == 0:
        return sha(b"")
    if n == 1:
        return sha(b"\0" + entries[0])
    k = largest_power_below(n)
    return sha(b"\1" + tree_head(entries[:k]) + tree_head(entries[k:]))


def root_from_path(entry: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The head that PATH(m, D[n]) implies, by the recursion of RFC 6962 §2.1.1 read backwards."""
    if size == 1:
        assert not path, "too long a path"
        return sha(b"\0" + entry)
    k = largest_power_below(size)
    if index < k:
        return sha(b"\1" + root_from_path(entry, index, k, path[:-1]) + path[-1])
    return sha(b"\1" + path[-1] + root_from_path(entry, index - k, size - k, path[:-1]))


def heads_from_consistency(m: int, n: int, proof: list[bytes], old: bytes) -> tuple[bytes, bytes]:
    """Both heads that PROOF(m, D[n]) implies, by the recursion of SUBPROOF in RFC 6962 §2.1.2 read backwards."""

    def sub(m: int, n: int, proof: list[bytes], whole: bool) -> tuple[bytes, bytes]:
        if m == n:
            if whole:
                assert not proof
                return old, old
            (only,) = proof
            return only, only
        k = largest_power_below(n)
        *below, last = proof
        if m <= k:
            left_old, left_new = sub(m, k, below, whole)
            return left_old, sha(b"\1" + left_new + last)
        right_old, right_new = sub(m - k, n - k, below, False)
        return sha(b"\1" + last + right_old), sha(b"\1" + last + right_new)

    return sub(m, n, proof, True)


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def signed_text(note: str, name: str, raw_key: bytes) -> str:
    """The text of a note that one Ed25519 key signed, by c2sp.org/signed-note; AssertionError when it did not."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    key_id = sha(name.encode() + b"\n\x01" + raw_key)[:4]
    for line in signatures.splitlines():
        dash, who, encoded = line.split(" ")
        raw = base64.b64decode(encoded)
        if dash == "—" and who == name and raw[:4] == key_id:
            assert ed25519_holds(raw_key, text.encode(), raw[4:]), "the signature does not hold"
            return text
    raise AssertionError("no signature of that key")


def proved(file: str, name: str, raw_key: bytes) -> tuple[int, bytes]:
    """Index and line of an entry, from a `.tlog-proof` whose every claim was checked (c2sp.org/tlog-proof)."""
    head, _, note = file.partition("\n\n")
    version, extra, index_line, *path = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    entry = base64.b64decode(extra.split(" ")[1])
    index = int(index_line.split(" ")[1])
    origin, size, root = signed_text(note, name, raw_key).splitlines()[:3]
    assert origin == name
    assert index < int(size)
    found = root_from_path(entry, index, int(size), [base64.b64decode(line) for line in path])
    assert base64.b64encode(found).decode() == root
    return index, entry


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def ed25519_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 §5.1.7, on affine points: slow and plain."""
    base = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    key, commitment = decoded(public), decoded(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return len(signature) == 64 and s < L and times(s, base) == plus(commitment, times(h, key))


def plus(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P,
    )


def times(n: int, point: Point) -> Point:
    found = (0, 1)
    while n:
        if n & 1:
            found = plus(found, point)
        point = plus(point, point)
        n >>= 1
    return found


def decoded(raw: bytes) -> Point:
    """RFC 8032 §5.1.3."""
    number = int.from_bytes(raw, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square, "not a point"
    return (P - x if x & 1 != sign else x), y
