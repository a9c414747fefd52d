"""Which packets of a stream to decode now: all of them while something goes on, else as few as will do.

What is left out is kept until the next keyframe, so that it can be decoded and looked at when something stirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from edge_agent.capture import nal
from edge_agent.capture.analysis import Analysis
from edge_agent.capture.decoder import Decoder, Picture
from edge_agent.capture.motion import Luma, coarse, difference
from edge_agent.capture.renumber import FrameNumbers, begins_anew, is_referred_to
from edge_agent.capture.skim import GROUP_BYTES, GROUP_S, SKIM_S, Skim
from edge_agent.capture.source import VIDEO, Packet, VideoTrack
from edge_agent.capture.thrift import Thrift

HELD_S = 1.2
"""Of the pictures that were not decoded at first, those of so long are looked at when something stirs."""


class Choice(Protocol):
    """One connection's; one thread."""

    decoder: Decoder

    @property
    def saves(self) -> bool:
        """Whether only a part of the pictures is wanted now: there are few enough to look at each."""
        ...

    def pictures(self, packet: Packet, newest: bool, wanted: bool = True) -> Iterable[Picture]:
        """Whole pictures to look at, to be asked for one by one.

        newest: no other packet has come yet; wanted: whether a picture of its time would be looked at.
        """
        ...

    def seen(self, at_s: float, analysis: Analysis) -> None:
        """A picture was looked at."""
        ...

    def reset(self) -> None:
        """Packets are missing: nothing before the next keyframe can be decoded."""
        ...


def choice_for(video: VideoTrack, keyframes_only: bool) -> Choice:
    decoder = Decoder(video.codec, video.extradata, keyframes_only=keyframes_only)
    if keyframes_only or video.codec == "mjpeg":
        return Everything(decoder)
    return Skimming(decoder, video.extradata) if video.codec == "h264" else Thrifty(decoder)


class Everything:
    """Pictures of which each stands for itself."""

    saves = False

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def pictures(self, packet: Packet, newest: bool, wanted: bool = True) -> Iterable[Picture]:  # noqa: ARG002
        return self.decoder.decode(packet) if wanted else ()

    def seen(self, at_s: float, analysis: Analysis) -> None:
        pass

    def reset(self) -> None:
        self.decoder.reset()


class Thrifty:
    """As the sizes of the pictures tell (`thrift`)."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._thrift = Thrift()
        self._held: list[Packet] = []

    @property
    def saves(self) -> bool:
        return self._thrift.saves

    def reset(self) -> None:
        self.decoder.reset()
        self._held.clear()

    def pictures(self, packet: Packet, newest: bool, wanted: bool = True) -> Iterator[Picture]:  # noqa: ARG002
        if packet.track != VIDEO:
            return
        if packet.keyframe:
            self._held.clear()
        if not self._thrift.wants(packet.arrival_monotonic, len(packet.data), packet.keyframe):
            self._held.append(packet)
            return
        held, self._held = self._held, []
        for one in held:
            # what is too old to be looked at is decoded for the sake of its successors only
            since = packet.arrival_monotonic - HELD_S
            yield from (picture for picture in self.decoder.decode(one) if picture.arrival_monotonic >= since)
        yield from self.decoder.decode(packet, wanted=wanted)

    def seen(self, at_s: float, analysis: Analysis) -> None:
        self._thrift.seen(at_s, analysis.stirs, analysis.moving)


class Skimming:
    """H.264: of a group of pictures the keyframe, and every now and then one skimmed, until one of them differs."""

    def __init__(self, decoder: Decoder, sets: bytes) -> None:
        self.decoder = decoder
        self._numbers = FrameNumbers.of(nal.split(sets))
        self._skim = Skim()
        self._calm = False
        self._stirred = False
        self._skims = False
        """Whether this group of pictures is skimmed."""
        self._held: list[Packet] = []
        """The group that is skimmed, from its keyframe on."""
        self._held_bytes = 0
        self._next = 0
        """Place in it behind the picture skimmed last."""
        self._number = 0
        self._reference: Luma | None = None
        """The last keyframe, coarsely."""
        self._skimmed_s = 0.0
        self._given_s = float("-inf")
        self._began_s = float("-inf")

    @property
    def saves(self) -> bool:
        return self._skims

    def reset(self) -> None:
        self.decoder.reset()
        self._drop()
        self._reference = None

    def pictures(self, packet: Packet, newest: bool, wanted: bool = True) -> Iterator[Picture]:
        if packet.track != VIDEO:
            return
        if packet.keyframe:
            yield from self._given(self._begun(packet))
        elif not self._skims:
            yield from self._given(self.decoder.decode(packet, wanted=wanted))
        else:
            self._held.append(packet)
            self._held_bytes += len(packet.data)
            at_s = packet.arrival_monotonic
            much = at_s - self._began_s > GROUP_S or self._held_bytes > GROUP_BYTES
            due = newest and at_s - self._skimmed_s >= 0.75 * SKIM_S
            if self._stirred or much or (due and self._differs()):
                yield from self._given(self._caught_up())

    def seen(self, at_s: float, analysis: Analysis) -> None:
        self._calm = analysis.idle and not analysis.stirs
        self._stirred = not self._calm
        self._skim.seen(at_s, analysis.stirs)

    def _begun(self, packet: Packet) -> Iterator[Picture]:
        """A group of pictures begins: that of its keyframe, after what it asks for of the group before."""
        at_s, units = packet.arrival_monotonic, _units(packet)
        pictures = self.decoder.decode(packet)
        before, now = self._reference, coarse(pictures[-1].luma()) if pictures and self._calm else None
        alike, rare = False, at_s - self._began_s > GROUP_S
        self._began_s = at_s
        if before is not None and now is not None:
            apart = difference(now, before)
            alike = not self._skims or not self._skim.stirs(at_s, apart)
            if not alike:
                yield from self._caught_up()
                pictures = self.decoder.decode(packet)
            elif not self._skims:
                self._skim.learn(at_s, apart)
        self._numbers = FrameNumbers.of(units) or self._numbers
        self._drop()
        self._reference, self._skimmed_s, self._number = now, at_s, 0
        if alike and not rare and self._numbers and begins_anew(units):
            self._skims = self._skim.worth(at_s)
        self._held, self._next = [packet] if self._skims else [], 1
        yield from pictures

    def _differs(self) -> bool:
        """Skim the newest picture that can be."""
        assert self._numbers is not None
        assert self._reference is not None
        for place in range(len(self._held) - 1, self._next - 1, -1):
            packet = self._held[place]
            if is_referred_to(_units(packet)):
                self._number += 1
                self._next, self._skimmed_s = place + 1, self._held[-1].arrival_monotonic
                picture = self.decoder.skim(packet, self._numbers, self._number)
                if picture is None:
                    self._skim.failed()
                    return True
                return self._skim.stirs(packet.arrival_monotonic, difference(coarse(picture.luma()), self._reference))
        return False

    def _caught_up(self) -> Iterator[Picture]:
        """All of the group that is skimmed, as it was meant; it is skimmed no more."""
        held = self._held
        since_s = max(self._given_s, held[-1].arrival_monotonic - HELD_S) if held else 0.0
        self._drop()
        for one in held:
            yield from (picture for picture in self.decoder.decode(one) if picture.arrival_monotonic > since_s)

    def _given(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            self._given_s = picture.arrival_monotonic
            yield picture

    def _drop(self) -> None:
        self._skims = self._stirred = False
        self._held, self._held_bytes = [], 0


def _units(packet: Packet) -> list[bytes]:
    try:
        return nal.units(packet.data)
    except ValueError:
        return []
