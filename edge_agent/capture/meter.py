"""What a stream shows of itself while it is looked at for a while: pace, keyframes, bitrate, parameter sets.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from edge_agent.capture import pictures
from edge_agent.capture.nal import ParameterSets, unescaped
from edge_agent.capture.source import VIDEO, Packet, StreamInfo

_H264_PROFILES = {
    44: "CAVLC 4:4:4",
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4",
}
_HEVC_PROFILES = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions"}
_NAMES = {"h264": "H.264", "hevc": "H.265", "mjpeg": "MJPEG"}


@dataclass(frozen=True, slots=True)
class Measured:
    """The picture as it came; None and "" where that can't be told."""

    codec: str
    profile: str
    level: str
    width: int
    height: int
    pictures: int
    damaged: int
    """Pictures of which something was lost on their way."""
    seconds: float
    """How long the pictures last."""
    fps: float | None
    bitrate_bps: int | None
    keyframes: int
    keyframe_interval_s: float | None
    """The middle one of those seen; None when fewer than two keyframes came."""
    keyframe_interval_frames: int | None
    keyframe_interval_longest_s: float | None
    b_frames: bool
    """Pictures come in another order than they are shown."""
    sets_in_band: bool
    """Keyframes bring their parameter sets along."""
    sets_known: bool
    """There is all that a file needs before its first picture."""


class Meter:
    """Counts one stream's pictures; keeps a few numbers of each."""

    def __init__(self, info: StreamInfo) -> None:
        self._video = info.video
        self._sets = pictures.first_sets(info.video)
        self._times: list[float] = []
        """Seconds, in the order of decoding."""
        self._decode: list[float] = []
        """Seconds at which the pictures are decoded, as far as they tell."""
        self._keys: list[int] = []
        """Places of the keyframes among `_times`."""
        self._bytes = 0
        self._damaged = 0
        self._in_band = False

    @property
    def pictures(self) -> int:
        return len(self._times)

    def put(self, packet: Packet) -> None:
        if packet.track != VIDEO:
            return
        if packet.keyframe:
            self._keys.append(len(self._times))
            parts = pictures.units(self._video.codec, packet.data)
            self._in_band = self._in_band or pictures.bring_sets(self._video.codec, parts)
            self._sets = pictures.updated(self._sets, parts)
        if packet.dts is not None:
            self._decode.append(float(packet.dts * self._video.time_base))
        shown = packet.pts if packet.pts is not None else packet.dts
        self._times.append(float(shown * self._video.time_base) if shown is not None else packet.arrival_monotonic)
        self._bytes += len(packet.data)
        self._damaged += packet.damaged

    def measured(self) -> Measured:
        times = self._times
        # the last pictures in order of showing may not have come yet
        paced = self._decode if len(self._decode) > 1 else times
        span = max(paced) - min(paced) if len(paced) > 1 else 0.0
        fps = (len(paced) - 1) / span if span > 0 else None
        seconds = len(times) / fps if fps else 0.0
        frames = [after - before for before, after in pairwise(self._keys)]
        between = [times[after] - times[before] for before, after in pairwise(self._keys)]
        profile, level = _profile(self._sets) if isinstance(self._sets, ParameterSets) else ("", "")
        return Measured(
            codec=_NAMES[self._video.codec],
            profile=profile,
            level=level,
            width=self._video.width,
            height=self._video.height,
            pictures=len(times),
            damaged=self._damaged,
            seconds=round(seconds, 3),
            fps=round(fps, 2) if fps else None,
            bitrate_bps=round(self._bytes * 8 / seconds) if seconds else None,
            keyframes=len(self._keys),
            keyframe_interval_s=round(median(between), 3) if between else None,
            keyframe_interval_frames=round(median(frames)) if frames else None,
            keyframe_interval_longest_s=round(max(between), 3) if between else None,
            b_frames=any(after < before for before, after in pairwise(times)),
            sets_in_band=self._in_band,
            sets_known=self._sets.complete,
        )


def _profile(sets: ParameterSets) -> tuple[str, str]:
    """(profile, level) as people write them (H.264 §7.4.2.1.1, annex A; H.265 §7.3.3, annex A)."""
    if not sets.sps:
        return "", ""
    head = unescaped(sets.sps[0][:64])
    if sets.codec == "h264":
        if len(head) < 4:
            return "", ""
        number, constraints, level = head[1:4]
        name = _H264_PROFILES.get(number, f"profile {number}")
        if number == 66 and constraints & 0x40:
            name = "Constrained Baseline"
        if level == 9 or (level == 11 and number in (66, 77, 88) and constraints & 0x10):
            return name, "1b"
        return name, f"{level / 10:.1f}"
    if len(head) < 15:
        return "", ""
    name = _HEVC_PROFILES.get(head[3] & 0x1F, f"profile {head[3] & 0x1F}")
    return name + (", high tier" if head[3] & 0x20 else ""), f"{head[14] / 30:.1f}"
