"""A person's age key behind a passphrase: an age file with one scrypt stanza (C2SP age.md, «scrypt»).

`age -p` writes such files and `age -d` opens them.
"""

from __future__ import annotations

import io
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge_agent.errors import ArchiveError
from edge_agent.trust.age_header import (
    FILE_KEY_BYTES,
    Stanza,
    decode_base64,
    derive,
    encode_base64,
    header_mac,
    header_of,
    parse_header,
)
from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.age_reader import CHUNK_BYTES, NONCE_BYTES, chunk_nonce

MAGIC = b"age-encryption.org/"
WORK = 17
"""log₂ of scrypt's N: 128 MiB and about half a second."""
MAX_WORK = 20
"""1 GiB: more is an attack on memory; `age` itself writes 18."""
_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16


def seal(plain: bytes, passphrase: str, *, work: int = WORK) -> bytes:
    """The age file; at most 64 KiB.  ValueError for more."""
    if not 0 < len(plain) <= CHUNK_BYTES:
        raise ValueError(f"1 to {CHUNK_BYTES} bytes")
    file_key, salt, nonce = os.urandom(FILE_KEY_BYTES), os.urandom(_SALT_BYTES), os.urandom(NONCE_BYTES)
    body = ChaCha20Poly1305(_wrap_key(passphrase, salt, work)).encrypt(bytes(12), file_key, None)
    header = header_of(file_key, [Stanza((b"scrypt", encode_base64(salt), b"%d" % work), body)])
    chunk = ChaCha20Poly1305(derive(file_key, nonce, b"payload")).encrypt(chunk_nonce(0, final=True), plain, None)
    return header + nonce + chunk


def unseal(file: bytes, passphrase: str) -> bytes:
    """What was sealed; BadKeyError when the passphrase is another one or the file is no such file."""
    try:
        header = parse_header(io.BytesIO(file))
    except ArchiveError as error:
        raise BadKeyError(str(error)) from error
    match header.stanzas:
        case (Stanza(args=(b"scrypt", salt, work), body=body),):
            pass
        case _:
            raise BadKeyError("not sealed with a passphrase")
    if not work.isdigit() or work.startswith(b"0") or len(work) > 2 or int(work) > MAX_WORK:
        raise BadKeyError(f"sealed with a work factor beyond 2^{MAX_WORK}: seal it anew")
    try:
        salted = decode_base64(salt)
        if len(salted) != _SALT_BYTES or len(body) != FILE_KEY_BYTES + 16:
            raise BadKeyError("a malformed age header: a scrypt stanza of the wrong length")
        file_key = ChaCha20Poly1305(_wrap_key(passphrase, salted, int(work))).decrypt(bytes(12), body, None)
        if not constant_time.bytes_eq(header_mac(file_key, header.authenticated), header.mac):
            raise BadKeyError("the header of the age file was altered: its MAC does not match")
        rest = file[len(header.authenticated) + 1 + len(encode_base64(header.mac)) + 1 :]
        nonce, chunk = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        return ChaCha20Poly1305(derive(file_key, nonce, b"payload")).decrypt(chunk_nonce(0, final=True), chunk, None)
    except InvalidTag as error:
        raise BadKeyError("it can't be opened with this passphrase, or is damaged") from error
    except ArchiveError as error:
        raise BadKeyError(str(error)) from error


def _wrap_key(passphrase: str, salt: bytes, work: int) -> bytes:
    return Scrypt(salt=_LABEL + salt, length=32, n=2**work, r=8, p=1).derive(passphrase.encode())
