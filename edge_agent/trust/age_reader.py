"""Reading sealed files (C2SP age.md, «Payload»): any place of a file, and what a torn one still has."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge_agent.errors import ArchiveError
from edge_agent.trust.age_header import MAX_HEADER_BYTES, TAG_BYTES, derive, parse_header, unwrap, wrap_header
from edge_agent.trust.age_keys import Identity, Recipient

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK_BYTES = 65536
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
NONCE_BYTES = 16
BLOCK_CHUNKS = 16
"""Read from the source in one go, at most."""


class AgeReader(io.RawIOBase):
    """The plain text of an age file, authenticated chunk by chunk; owned by one thread.

    A seekable source is read at any place, as far as it reached when the reader was made; another one from its start
    on.  A file that ends before its final chunk is *torn*: its whole chunks are given, then the end, and `torn` says
    so.  A file that holds something else than was sealed raises ArchiveError where that begins.  NoIdentityError when
    none of `identities` opens it.  The source stays the caller's to close, its OSError passes through.
    """

    def __init__(self, source: BinaryIO, identities: Sequence[Identity]) -> None:
        super().__init__()
        self._source = source
        self._random = source.seekable()
        base = self._end = 0
        if self._random:
            base = source.tell()
            self._end = source.seek(0, io.SEEK_END)
            source.seek(base)
        head = _Head(source)
        file_key = unwrap(parse_header(head.lines()), identities)
        self._cipher = ChaCha20Poly1305(derive(file_key, head.take(NONCE_BYTES), b"payload"))
        self._start = base + head.taken
        self._ahead = b"" if self._random else head.rest
        """Of a source that can't seek: read, not used yet."""
        self._block: tuple[int, memoryview] = (0, memoryview(b""))
        """Of a source that can: sealed bytes read in one go, and the chunk that they begin with."""
        self._until = 0
        """Chunks before this one are about to be asked for."""
        self._failure: ArchiveError | None = None
        """Damage met in a source that can't seek: it has moved on, so nothing more can be had of it."""
        self._cached: tuple[int, bytes] | None = None
        self._position = 0
        self._torn = False
        self._over: int | None = None
        """A chunk sealed as the final one although bytes follow it."""

    @property
    def torn(self) -> bool:
        """True once the end was reached and found to be none; `payload_size()` finds out without reading all."""
        return self._torn

    def payload_size(self) -> int:
        """Bytes of plain text there are to read, the last of them authenticated; for seekable sources."""
        if not self._random:
            raise io.UnsupportedOperation("the size of a stream is known at its end only")
        index = max(0, -(-(self._end - self._start) // SEALED_CHUNK_BYTES) - 1)
        while not (plain := self._chunk(index)) and index:
            index -= 1
        if self._over is not None:
            raise self._damage(self._over + 1, "bytes were added after its end")
        return index * CHUNK_BYTES + len(plain)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer`; fewer bytes mean the end, or damage that the next call reports."""
        view = memoryview(buffer).cast("B")
        done = 0
        for piece in self._pieces(len(view)):
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def read(self, size: int = -1, /) -> bytes:
        """As `readinto`, with one copy of the bytes less; all there is without a size."""
        if size < 0:
            return self.readall() or b""
        return b"".join(self._pieces(size))

    def _pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, as they lie in their chunks; moves on by what is taken."""
        done = 0
        self._until = -(-(self._position + size) // CHUNK_BYTES)
        while done < size:
            index, within = divmod(self._position, CHUNK_BYTES)
            try:
                plain = self._chunk(index)
            except ArchiveError:
                if done:
                    break
                raise
            piece = memoryview(plain)[within : within + size - done]
            if not piece:
                break
            self._position += len(piece)
            done += len(piece)
            yield piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if not self._random:
            raise io.UnsupportedOperation("this sealed stream can only be read from its start on")
        match whence:
            case io.SEEK_SET:
                position = offset
            case io.SEEK_CUR:
                position = self._position + offset
            case io.SEEK_END:
                position = self.payload_size() + offset
            case _:
                raise ValueError(f"unknown whence: {whence}")
        if position < 0:
            raise ValueError(f"a place before the start of the file: {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._random

    def _chunk(self, index: int) -> bytes:
        """Plain text of one chunk; empty beyond the end, be it a true end or a tear."""
        if self._cached is None or self._cached[0] != index:
            if self._failure is not None:
                raise self._failure
            sealed, more = self._seek_chunk(index) if self._random else self._follow_chunk()
            try:
                self._cached = (index, self._open(index, sealed, more=more))
            except ArchiveError as error:
                self._failure = None if self._random else error
                raise
        return self._cached[1]

    def _open(self, index: int, sealed: bytes | memoryview, *, more: bool) -> bytes:
        """`more`: whether bytes follow `sealed` in the file, so that it can't be the final chunk."""
        if not sealed:
            self._torn = self._torn or index == 0
            return b""
        if self._over is not None and index > self._over:
            raise self._damage(self._over + 1, "bytes were added after its end")
        whole = len(sealed) == SEALED_CHUNK_BYTES
        for final in (False, True) if more else (True, False):
            plain = self._decrypt(index, sealed, final=final) if whole or final else None
            if plain is None:
                continue
            if index and not plain:
                raise self._damage(index, "its last chunk is empty")
            if final and more:
                self._over = index
            self._torn = self._torn or not (final or more)
            return plain
        if whole and not self._only_zeros_from(index, sealed):
            raise self._damage(index, "what stands there is not what was sealed")
        self._torn = True
        return b""

    def _decrypt(self, index: int, sealed: bytes | memoryview, *, final: bool) -> bytes | None:
        try:
            return self._cipher.decrypt(chunk_nonce(index, final=final), sealed, None)
        except InvalidTag:
            return None

    def _seek_chunk(self, index: int) -> tuple[memoryview, bool]:
        offset = self._start + index * SEALED_CHUNK_BYTES
        if offset >= self._end:
            return memoryview(b""), False
        first, block = self._block
        place = (index - first) * SEALED_CHUNK_BYTES
        if not 0 <= place < len(block):
            follows = place == len(block) > SEALED_CHUNK_BYTES
            chunks = BLOCK_CHUNKS if follows else min(max(self._until - index, 1), BLOCK_CHUNKS)
            self._source.seek(offset)
            wanted = min(chunks * SEALED_CHUNK_BYTES, self._end - offset)
            first, block = self._block = index, memoryview(_read_fully(self._source, wanted))
            place = 0
        return block[place : place + SEALED_CHUNK_BYTES], offset + SEALED_CHUNK_BYTES < self._end

    def _follow_chunk(self) -> tuple[bytes, bool]:
        wanted = SEALED_CHUNK_BYTES + 1  # the one more tells whether this chunk is the last
        data = self._ahead + _read_fully(self._source, wanted - len(self._ahead))
        self._ahead = data[SEALED_CHUNK_BYTES:]
        return data[:SEALED_CHUNK_BYTES], len(data) == wanted

    def _only_zeros_from(self, index: int, sealed: bytes | memoryview) -> bool:
        """Whether a chunk's end and everything after it are zeros.

        File systems leave such a tail where a power cut came between the growth of a file and its content.
        """
        if any(sealed[-TAG_BYTES:]) or any(self._ahead):
            return False
        if self._random:
            self._source.seek(self._start + (index + 1) * SEALED_CHUNK_BYTES)
        while block := self._source.read(CHUNK_BYTES):
            if any(block):
                return False
        return True

    def _damage(self, index: int, words: str) -> ArchiveError:
        return ArchiveError(f"the sealed file is damaged from byte {self._start + index * SEALED_CHUNK_BYTES}: {words}")


def header_for(source: BinaryIO, identities: Sequence[Identity], recipients: Sequence[Recipient]) -> tuple[bytes, int]:
    """Another header for a sealed file, of the same file key and for other recipients; and the size of the one it has.

    What follows the header stays good as it is, for it hangs on the file key alone.  NoIdentityError when none of
    `identities` opens the file.
    """
    head = _Head(source)
    return wrap_header(unwrap(parse_header(head.lines()), identities), recipients), head.taken


class _Head:
    """The first bytes of a file: the header's lines and what follows them."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.rest = b""
        self.taken = 0

    def lines(self) -> Iterator[bytes]:
        while True:
            while (end := self.rest.find(b"\n")) < 0:
                if self.taken + len(self.rest) > MAX_HEADER_BYTES:
                    raise ArchiveError(f"not an age file: its header goes on beyond {MAX_HEADER_BYTES} bytes")
                if not (more := self._source.read(4096)):
                    break
                self.rest += more
            if self.taken > MAX_HEADER_BYTES:
                raise ArchiveError(f"not an age file: its header goes on beyond {MAX_HEADER_BYTES} bytes")
            line = self._cut(end + 1 if end >= 0 else len(self.rest))
            if not line:
                return
            yield line

    def take(self, size: int) -> bytes:
        if len(self.rest) < size:
            self.rest += _read_fully(self._source, size - len(self.rest))
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        cut, self.rest = self.rest[:size], self.rest[size:]
        self.taken += len(cut)
        return cut


def chunk_nonce(index: int, *, final: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\x01" if final else b"\x00")


def _read_fully(source: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end: an unbuffered source may give less at a time."""
    data = source.read(size)
    while data and len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
