"""One connection's packets into files: where each picture belongs in time, and where a file is cut.

Owned by the camera's writer thread.
"""

from __future__ import annotations

from fractions import Fraction

from edge_agent.capture import pictures
from edge_agent.capture.camera_times import CameraTimes, Damage
from edge_agent.capture.fmp4 import TrackFormat, aac_format, header, picture_format
from edge_agent.capture.fragments import Fragments
from edge_agent.capture.segment_writer import Loss, SegmentWriter
from edge_agent.capture.source import AUDIO, VIDEO, Packet, StreamInfo
from edge_agent.capture.timeline import JUMP_US, Placement, Timeline
from edge_agent.clock import US
from edge_agent.model import ClockTrust, GapCause


class Segmenter:
    """Cuts at the first keyframe after `segment_s`, where parameters change, where time jumps, after lost pictures."""

    def __init__(
        self,
        info: StreamInfo,
        writer: SegmentWriter,
        segment_s: float,
        times: CameraTimes,
        floor_us: int,
        early_us: int,
    ) -> None:
        self._info = info
        self._writer = writer
        self._segment_us = int(segment_s * US)
        self._times = times
        times.camera.connected(info.video.time_base)
        self._timeline = Timeline(info.video.time_base, times.node, floor_us, early_us)
        self._damage = Damage()
        self._timescale, self._tick = _timescale(info.video.time_base)
        self._sets = pictures.first_sets(info.video)
        self._sets_of_file = self._sets
        self._fragments: Fragments | None = None
        self._started = False
        self._start_us = 0
        self._first = Placement(0, 0, 0)
        self._sound = _Sound(info) if info.audio else None
        self.floor_us = floor_us
        """Where the recorded time of the camera ends."""

    def put(self, packet: Packet, lost_before: int = 0) -> None:
        """Take the next packet; `lost_before` pictures did not fit the queue, which lets keyframes only follow."""
        if packet.track == VIDEO:
            self._picture(packet, lost_before)
        elif packet.track == AUDIO and self._sound and self._fragments and packet.pts is not None:
            self._hear(packet, packet.pts)

    def rest(self) -> None:
        """All that has come is put: write it."""
        done = self._fragments.rest() if self._fragments else None
        if done:
            self._writer.append(done)

    def end(self) -> None:
        """The connection is over: close the file where its last picture ends."""
        if self._started:
            self._close(self._timeline.end_us, self._timeline.trust)

    def _picture(self, packet: Packet, lost_before: int) -> None:
        if packet.keyframe:
            self._sets = pictures.updated(self._sets, pictures.units(self._info.video.codec, packet.data))
        if not packet.data or not (self._started or (packet.keyframe and self._sets.complete)):
            return
        if packet.report is not None:
            self._timeline.tick_ppm = self._times.hear(packet.report)
        ended_us = self._timeline.end_us if lost_before and self._started else None
        step = self._timeline.step
        placed = self._timeline.place(
            packet.pts, packet.dts, packet.keyframe, packet.arrival_us, packet.arrival_monotonic
        )
        if packet.keyframe and self._cut_here(placed, lost_before):
            self._cut(placed, ended_us, lost_before)
        self._damage.see(placed.dts, step, packet)
        if self._fragments is not None:
            done = self._fragments.add(
                VIDEO,
                packet.data,
                (placed.dts - self._first.dts) * self._tick,
                (placed.pts - self._first.pts) * self._tick,
                packet.keyframe,
            )
            if done:
                self._writer.append(done)
        self._started = True

    def _cut_here(self, placed: Placement, lost_before: int) -> bool:
        if self._fragments is None or not self._writer.is_open:
            return self._writer.may_begin
        return (
            # half a picture of grace: a camera's ticks round up and down
            (placed.utc_us - self._start_us) + self._step_us // 2 >= self._segment_us
            or self._timeline.pending is not None
            or self._sets != self._sets_of_file
            or lost_before > 0
            or self._writer.must_end
        )

    @property
    def _step_us(self) -> int:
        return int(self._timeline.step * self._info.video.time_base * US)

    def _cut(self, placed: Placement, ended_us: int | None, lost_before: int) -> None:
        start = self._timeline.begin(placed)
        if start.previous_end_us is not None:
            end_us = start.previous_end_us if ended_us is None else min(start.previous_end_us, ended_us)
            self._close(end_us, start.previous_trust)
        if start.jump is not None:
            self._writer.lost(Loss(start.jump.gap_cause, start.jump.words))
        if lost_before:
            self._writer.lost(Loss(GapCause.DISK, f"the disk was too slow: {lost_before} pictures were lost"))
        self._start_us, self._first, self._sets_of_file = start.start_us, placed, self._sets
        tracks = self._tracks()
        self._fragments = Fragments(tracks, start.start_us)
        if self._sound:
            self._sound.restart()
        self._writer.begin(start.start_us, header(tracks, start.start_us))

    def _close(self, end_us: int, trust: ClockTrust) -> None:
        fragments, self._fragments = self._fragments, None
        last = fragments.finish(self._timeline.step * self._tick) if fragments else None
        if last:
            self._writer.append(last)
        self._writer.end(end_us, trust, self._damage.taken())
        self.floor_us = end_us

    def _tracks(self) -> list[TrackFormat]:
        video, audio = self._info.video, self._info.audio
        tracks = [picture_format(self._sets, self._timescale, video.width, video.height)]
        if audio:
            tracks.append(aac_format(audio.extradata, audio.sample_rate, audio.channels))
        return tracks

    def _hear(self, packet: Packet, pts: int) -> None:
        assert self._sound is not None
        assert self._fragments is not None
        video_pts = int(pts * self._sound.time_base / self._info.video.time_base)
        at = self._sound.place(pts, self._timeline.utc(video_pts), packet.arrival_us, self._start_us)
        if at is not None:
            self._fragments.add(AUDIO, packet.data, at, at, True)


class _Sound:
    """Where sound belongs: by the picture's clock, which sound mostly shares, or else by its arrival."""

    def __init__(self, info: StreamInfo) -> None:
        assert info.audio is not None
        self.time_base = info.audio.time_base
        self._rate = info.audio.sample_rate
        self._base: int | None = None
        self._last = -1

    def restart(self) -> None:
        self._base = None
        self._last = -1

    def place(self, pts: int, utc_us: int, arrival_us: int, start_us: int) -> int | None:
        """Ticks from the start of the file; None for sound of before it, or that goes back."""
        ticks = int(pts * self.time_base * self._rate)
        if self._base is None:
            at_us = utc_us if abs(utc_us - arrival_us) < JUMP_US else arrival_us
            if at_us < start_us:
                return None
            self._base = (at_us - start_us) * self._rate // US - ticks
        at = ticks + self._base
        if at <= self._last or at < 0:
            return None
        self._last = at
        return at


def _timescale(time_base: Fraction) -> tuple[int, int]:
    """Ticks a second of the file, and how many of them a tick of the camera is."""
    return time_base.denominator, time_base.numerator
