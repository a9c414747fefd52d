"""Gathers the frames of one file into fragments of about a second (`docs/archive.md`).  Pure; owned by one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.capture.fmp4 import Run, Sample, TrackFormat, fragment
from edge_agent.capture.source import VIDEO
from edge_agent.clock import US

FRAGMENT_S = 0.9
"""Longer it never gets, however much comes at once."""
REST_S = 0.25
"""What one round of reading brought is a fragment if it is as long as this.  With a round (0.75 s) before it, a kill
costs a second."""
KEYFRAME_S = 0.5
"""A keyframe begins a fragment of its own, so that reading can begin there, unless they come too thick."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What to append to the file."""

    pieces: Sequence[bytes]
    """Its bytes, in order."""
    frames: int
    """Pictures in it."""
    end_us: int
    """UTC at which its last picture ends."""


class Fragments:
    """The fragments of a file that begins at `start_us`; times are given in ticks from there."""

    def __init__(self, tracks: Sequence[TrackFormat], start_us: int) -> None:
        self._tracks = tuple(tracks)
        self._start_us = start_us
        self._runs: list[list[Sample]] = [[] for _ in tracks]
        """Samples of the coming fragment."""
        self._sequence = 0

    def add(self, track: int, data: bytes, dts: int, pts: int, sync: bool) -> Fragment | None:
        """Take the next frame of a track; gives the fragment that it completes."""
        done = None
        if track == VIDEO:
            seconds = self._seconds(dts)
            if seconds >= FRAGMENT_S or (sync and seconds >= KEYFRAME_S):
                done = self._flush(dts)
        self._runs[track].append(Sample(data, dts, pts, sync))
        return done

    def rest(self) -> Fragment | None:
        """All that has come is added: what is gathered, less the last picture, for its end is not known yet."""
        pictures = self._runs[VIDEO]
        if not pictures or self._seconds(pictures[-1].dts) < REST_S:
            return None
        last = pictures.pop()
        done = self._flush(last.dts)
        self._runs[VIDEO].append(last)
        return done

    def finish(self, last_duration: int) -> Fragment | None:
        """What is left; the last picture lasts `last_duration` ticks."""
        pictures = self._runs[VIDEO]
        return self._flush(pictures[-1].dts + last_duration) if pictures else None

    def _seconds(self, until: int) -> float:
        """How much is gathered."""
        pictures = self._runs[VIDEO]
        return (until - pictures[0].dts) / self._tracks[VIDEO].timescale if pictures else 0.0

    def _flush(self, end: int) -> Fragment:
        """`end` is the decode time at which the last picture ends; the last sound lasts till the next one comes."""
        self._sequence += 1
        pictures = self._runs[VIDEO]
        runs = [
            Run(number, samples, end if samples is pictures else samples[-1].dts)
            for number, samples in enumerate(self._runs, 1)
            if samples
        ]
        scale = self._tracks[VIDEO].timescale
        reference_us = self._start_us + pictures[0].pts * US // scale
        end_us = self._start_us + runs[VIDEO].shown_until * US // scale
        self._runs = [[] for _ in self._tracks]
        return Fragment(fragment(self._sequence, runs, reference_us), len(pictures), end_us)
