"""What a camera tells of itself on the way to its picture, for whoever wants to know (`edge-agent probe`).  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.capture.rtsp_login import Challenge


@dataclass(frozen=True, slots=True)
class Told:
    """Empty and None where it has not told, or was not asked."""

    server: str = ""
    """The name that its software gives itself, fit to be shown."""
    logins: tuple[str, ...] = ()
    """The kinds of login that it offers, in its own order: `Basic`, `Digest MD5`, `Digest SHA-256` …"""
    login: str = ""
    """The one that was used."""
    keep_alive: str = ""
    """The request that keeps its session alive."""
    session_s: float | None = None
    """After how long without one it ends the session."""
    picture: str = ""
    """The encoding of the track that was or would be taken, or the type of the answer, as it calls it."""
    sound: str = ""
    sound_kept: bool = False
    """Whether this sound can be recorded."""
    parameter_sets: bool = False
    """They stand in the description of the stream, where nobody must wait for them."""


def fit(text: str | None, length: int = 80) -> str:
    """A stranger's words, fit to be shown on a terminal."""
    return "".join(letter for letter in text or "" if letter.isprintable())[:length].strip()


def kinds(offered: Iterable[Challenge]) -> tuple[str, ...]:
    """The words of some challenges, each once."""
    return tuple(dict.fromkeys(fit(challenge.kind, 40) for challenge in offered))
