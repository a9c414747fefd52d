"""Decode times for pictures of which only the presentation time is known, as RTP gives it.  Pure.

With reordered pictures the n-th decode time is the (n - depth)-th presentation time in growing order: never later than
the picture's own, and growing.  The first `depth` pictures have none yet.
"""

from __future__ import annotations

from bisect import insort

MAX_DEPTH = 16


class DecodeTimes:
    """`depth` is how many pictures a decoder may have to hold back (`nal.reorder_depth`); it grows when a stream shows
    that it needs more.  `jump` is the number of ticks that no reordering reaches."""

    def __init__(self, depth: int, jump: int) -> None:
        self._depth = min(depth, MAX_DEPTH)
        self._jump = jump
        self._waiting: list[int] = []
        self._last: int | None = None

    def set_depth(self, depth: int) -> None:
        """The stream's parameters changed."""
        self._depth = min(depth, MAX_DEPTH)
        del self._waiting[: max(0, len(self._waiting) - self._depth)]

    def next(self, pts: int) -> int | None:
        """The decode time of the next picture in decode order."""
        if not self._depth and self._last is not None and 0 < pts - self._last <= self._jump and not self._waiting:
            self._last = pts  # as nearly all cameras send
            return pts
        if self._waiting or self._last is not None:
            newest = self._waiting[-1] if self._waiting else self._last
            assert newest is not None
            if abs(pts - newest) > self._jump:
                self._waiting, self._last = [], None
        if self._last is not None and pts <= self._last and self._depth < MAX_DEPTH:
            self._depth += 1
        insort(self._waiting, pts)
        if len(self._waiting) <= self._depth:
            if self._last is not None:
                self._last += 1
            return self._last
        due = self._waiting.pop(0)
        self._last = due if self._last is None else max(self._last + 1, due)
        return self._last
