"""Whether a stream must be decoded with its deblocking filter.

The filter is a quarter of the work.  Left out, what it would have smoothed stays in the pictures that build on each
other until a keyframe undoes it: next to nothing where pictures are coded finely, patches that come and grow like
things where they are coded coarsely, above all by night.  So it is tried: a few pictures are decoded both ways, now
and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_agent.capture.motion import Luma, drift
from edge_agent.capture.source import Packet

TRIED_S = 600.0
"""It is tried so often: a night comes in its own time."""
TRIED_PICTURES = 20
"""With so many pictures from a keyframe on, or its whole group."""
MOST = 0.025
"""It is needed where it matters in more than this part of the picture: 0.04 and more in noisy nights, below 0.01 on
calm days."""
LONG_GROUP = 100
"""And where keyframes come more rarely than every so many pictures: what is left out adds up until then."""


class Deblocking:
    """One stream's.

    shown: decodes packets from a keyframe on, with the filter or without; the last picture, uint8[h, w], or None.
    """

    def __init__(self, shown: Callable[[Sequence[Packet], bool], Luma | None]) -> None:
        self.needed = True
        """To be asked at keyframes: a decoder can't change it in between."""
        self._shown = shown
        self._tried_s = float("-inf")
        self._group: list[Packet] | None = None
        """What is to be tried; None: not now, or not before the next keyframe."""
        self._pictures = 0
        self._long = False

    def see(self, packet: Packet) -> None:
        """Each packet of the stream in its order, before it is decoded; after some that are left out, `lose`."""
        if packet.keyframe:
            self._try()
            due = packet.arrival_monotonic - self._tried_s >= TRIED_S
            self._pictures, self._group = 0, [] if due and not self._long else None
        self._pictures += 1
        if self._pictures > LONG_GROUP:
            self._long = self.needed = True
        if self._group is not None:
            self._group.append(packet)
            if len(self._group) >= TRIED_PICTURES:
                self._try()

    def lose(self) -> None:
        """What comes before the next keyframe does not follow what came."""
        self._group = None

    def _try(self) -> None:
        group, self._group = self._group, None
        if not group:
            return
        self._tried_s = group[0].arrival_monotonic
        filtered, plain = self._shown(group, True), self._shown(group, False)
        self.needed = filtered is None or plain is None or drift(filtered, plain) > MOST
