"""Sealed files: age v1 (C2SP age.md) to X25519 recipients, written as the bytes come, read at any place.

The product seals with `cryptography` itself rather than with `pyrage`, because pyrage pulls a whole file through one
call: it can't be pushed into by a muxer, gives nothing of a file that a power cut has torn, and can't seek, so that
one second of a long recording would cost the whole file.  The files are plain age files: the standard `age` tool opens
them and the product opens its (`docs/sealing.md`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge_agent.errors import ArchiveError, UsageError
from edge_agent.files import fsync_folder
from edge_agent.trust.age_header import NoIdentityError, derive, seal_header
from edge_agent.trust.age_keys import BadKeyError, Identity, Recipient, load_identities
from edge_agent.trust.age_reader import CHUNK_BYTES, NONCE_BYTES, AgeReader, chunk_nonce, header_for

__all__ = [
    "AgeReader",
    "AgeWriter",
    "BadKeyError",
    "Identity",
    "NoIdentityError",
    "Recipient",
    "header_for",
    "load_identities",
    "open_file",
]


class SupportsWrite(Protocol):
    def write(self, data: bytes, /) -> int | None:
        """Bytes taken, which may be fewer than given; None means all."""
        ...


class AgeWriter:
    """Seals what is written to it, as it comes; a file object that muxers can write to, owned by one thread.

    The header goes to `sink` at once.  Up to 64 KiB are held back until more bytes follow or `finish()` is called, for
    the last chunk of an age file is sealed differently and must not be empty.  The sink stays the caller's to close.
    """

    def __init__(self, sink: SupportsWrite, recipients: Sequence[Recipient]) -> None:
        header, file_key = seal_header(recipients)
        nonce = os.urandom(NONCE_BYTES)
        self._cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
        self._sink = sink
        self._held = memoryview(bytearray(CHUNK_BYTES))
        self._held_bytes = 0
        self._chunk = 0
        self._position = 0
        self._finished = False
        self._broken = False
        self._put(header + nonce)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take all of `data`.

        The sink's OSError passes through; the file then ends there, torn, and later writes raise ArchiveError.
        """
        view = memoryview(data).cast("B")
        self.writelines((view,))
        return len(view)

    def writelines(self, pieces: Iterable[bytes | memoryview], /) -> None:
        """As `write`, of all of these bytes; that they lie apart costs nothing."""
        self._check()
        for piece in pieces:
            held, rest = self._held_bytes, piece
            # a chunk is sealed only once it is known that it is not the last one
            while held + len(rest) > CHUNK_BYTES:
                rest = memoryview(rest)
                chunk, rest = rest[: CHUNK_BYTES - held], rest[CHUNK_BYTES - held :]
                if held:
                    self._held[held:] = chunk
                    held, chunk = 0, self._held
                self._seal(chunk, final=False)
            self._held_bytes = held + len(rest)
            self._held[held : self._held_bytes] = rest
            self._position += len(piece)

    def finish(self) -> None:
        """Seal what is held as the last chunk; again does nothing."""
        if self._finished:
            return
        self._check()
        self._seal(self._held[: self._held_bytes], final=True)
        self._finished = True

    def flush(self) -> None:
        """Pass on what is sealed; the chunk being filled stays here, for age has no shorter ones."""
        flush = getattr(self._sink, "flush", None)
        if flush is not None:
            flush()

    def tell(self) -> int:
        """Bytes of plain text taken so far."""
        return self._position

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def _check(self) -> None:
        if self._broken:
            raise ArchiveError("the sealed file ends at an earlier write that failed: begin a new one")
        if self._finished:
            raise ArchiveError("the sealed file is finished: nothing can be added to it")

    def _seal(self, plain: memoryview, *, final: bool) -> None:
        sealed = self._cipher.encrypt(chunk_nonce(self._chunk, final=final), plain, None)
        self._chunk += 1
        self._put(sealed)

    def _put(self, sealed: bytes) -> None:
        self._broken = True  # until the sink has taken it all: after half a chunk nothing may follow
        taken = self._sink.write(sealed)
        rest = memoryview(sealed)
        while taken is not None and taken < len(rest):
            rest = rest[taken:]
            taken = self._sink.write(bytes(rest))
        self._broken = False


def open_file(path_in: Path, path_out: Path, identities: Sequence[Identity]) -> int:
    """Open a sealed file into a new file, whole or not at all; gives the bytes of plain text.

    UsageError when `path_out` exists, ArchiveError when the file is torn, damaged, sealed to somebody else or a disk
    fails; nothing is left behind then.
    """
    if path_out.exists():
        raise UsageError(f"{path_out} exists already: choose another name")
    partial = path_out.with_name(f".{path_out.name}.{secrets.token_hex(4)}.partial")
    try:
        with path_in.open("rb") as source:
            size = _copy_out(AgeReader(source, identities), partial)
        partial.rename(path_out)
        fsync_folder(path_out.parent)
    except ArchiveError as error:
        raise type(error)(f"{path_in} can't be opened: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{path_in} can't be opened into {path_out}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return size


def _copy_out(reader: AgeReader, path: Path) -> int:
    """Everything to a new file, fsynced; ArchiveError when it is torn."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        size = 0
        while block := reader.read(CHUNK_BYTES):
            size += out.write(block)
        if reader.torn:
            raise ArchiveError(f"it is torn: only its first {size} bytes are there, ask for it again")
        out.flush()
        os.fsync(out.fileno())
    return size
