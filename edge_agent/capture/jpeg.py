"""The little a recorder must know of JPEG pictures: their size (ITU-T T.81 §B.2).  Pure; garbage raises ValueError."""

from __future__ import annotations

from dataclasses import dataclass

START = b"\xff\xd8"
MAX_HEADER_SEGMENTS = 64
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _FILL = 0xDA, 0xD9, 0xFF


@dataclass(frozen=True, slots=True)
class JpegSize:
    """In pixels; 0 x 0 before the first picture."""

    width: int = 0
    height: int = 0

    @property
    def complete(self) -> bool:
        """Whether a file can begin with it."""
        return self.width > 0 and self.height > 0


def size(picture: bytes) -> JpegSize:
    """Of one whole picture; ValueError when it is not one."""
    if not picture.startswith(START):
        raise ValueError("not a JPEG picture")
    at = len(START)
    for _ in range(MAX_HEADER_SEGMENTS):
        while picture[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 9 > len(picture) or picture[at] != _FILL:
            break
        marker = picture[at + 1]
        if marker in _FRAME_HEADERS:
            found = JpegSize(
                int.from_bytes(picture[at + 7 : at + 9], "big"), int.from_bytes(picture[at + 5 : at + 7], "big")
            )
            if found.complete:
                return found
            break
        if marker in (_SCAN, _END):
            break
        at += 2 + max(2, int.from_bytes(picture[at + 2 : at + 4], "big"))
    raise ValueError("a JPEG picture that does not tell its size")
