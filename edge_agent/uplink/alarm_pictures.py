"""An alarm's picture on its way: marked with what it shows, sealed where the city wants it (`docs/incidents.md`)."""

from __future__ import annotations

import io
from collections.abc import Sequence

from edge_agent.errors import ArchiveError
from edge_agent.model import Moment
from edge_agent.trust.age import AgeReader, AgeWriter, Identity, Recipient

SEALED = b"age-encryption.org/v1\n"
"""An age file begins so."""
_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"
_NOTE = b"edge-alarm "


def marked(jpeg: bytes, alarm_id: str, moment: Moment) -> bytes:
    """With a comment (ITU-T T.81 §B.2.4.5) that says whose picture it is and of when, wherever it goes."""
    if not jpeg.startswith(_START):
        return jpeg
    note = _NOTE + f"{alarm_id} {moment}".encode()
    return _START + _COMMENT + (len(note) + 2).to_bytes(2, "big") + note + jpeg[len(_START) :]


def moment_of(jpeg: bytes, alarm_id: str) -> str:
    """What the picture of this alarm shows, as `marked` wrote it; "" where it does not say."""
    head = jpeg[:200]
    if head[2:4] != _COMMENT:
        return ""
    note = head[6 : 4 + int.from_bytes(head[4:6], "big")]
    found = note.removeprefix(_NOTE).decode("ascii", "replace").split(" ")
    known = note.startswith(_NOTE) and len(found) == 2 and found[0] == alarm_id and found[1] in set(Moment)
    return found[1] if known else ""


def seal(picture: bytes, recipients: Sequence[Recipient]) -> bytes:
    """An age file that any of them opens; the picture as it is where there are none."""
    if not recipients:
        return picture
    sink = io.BytesIO()
    writer = AgeWriter(sink, recipients)
    writer.write(picture)
    writer.finish()
    return sink.getvalue()


def open_sealed(sealed: bytes, identities: Sequence[Identity]) -> bytes:
    """NoIdentityError when none of them opens it, ArchiveError when it is damaged or torn."""
    reader = AgeReader(io.BytesIO(sealed), identities)
    picture = reader.readall() or b""
    if reader.torn:
        raise ArchiveError("a sealed picture that is torn")
    return picture
