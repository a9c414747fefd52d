"""What pictures are to a file, whatever their codec: NAL units and their parameter sets, or whole JPEG pictures.  Pure.

The one place that knows both kinds, and in which form `Packet.data` holds them.
"""

from __future__ import annotations

from edge_agent.capture import jpeg, nal
from edge_agent.capture.jpeg import JpegSize
from edge_agent.capture.nal import ParameterSets
from edge_agent.capture.source import PictureCodec, VideoTrack

Sets = ParameterSets | JpegSize
"""What a file says of its pictures before the first of them; a change asks for a new file."""


def units(codec: PictureCodec, data: bytes) -> list[bytes]:
    """The parts of one access unit; ValueError when it is not made of such."""
    return [data] if codec == "mjpeg" else nal.units(data)


def decodable(codec: PictureCodec, data: bytes) -> bytes:
    """An access unit as decoders take it; ValueError as of `units`."""
    return data if codec == "mjpeg" else nal.annex_b(data)


def first_sets(video: VideoTrack) -> Sets:
    """What is known before the first picture."""
    if video.codec == "mjpeg":
        return JpegSize()
    return nal.parameter_sets(video.codec, nal.split(video.extradata))


def updated(known: Sets, parts: list[bytes]) -> Sets:
    """`known`, or what a keyframe brings of its own."""
    if isinstance(known, ParameterSets):
        return nal.updated(known, parts)
    try:
        return jpeg.size(parts[0]) if parts else known
    except ValueError:
        return known


def bring_sets(codec: PictureCodec, parts: list[bytes]) -> bool:
    """Whether parameter sets stand among the parts of an access unit."""
    return codec != "mjpeg" and bool(nal.parameter_sets(codec, parts).sps)
