"""What the agent enters into the journal of its own accord: how it started, and the gaps that ended.  Pure."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.config import Config
from edge_agent.model import CameraId, Gap
from edge_agent.trust.journal import JournalEntry, JournalKind, Outcome


def configuration_hash(config: Config) -> str:
    """SHA-256 of what a configuration says; comments, blanks and order make no difference.  It holds no secret.

    A detector's model is a part of it: another file under the same name makes another configuration.
    """
    said = json.dumps(config.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass"))
    if config.detector is not None:
        with contextlib.suppress(OSError), Path(config.detector.model).open("rb") as model:
            digest.update(hashlib.file_digest(model, "sha256").digest())
    return digest.hexdigest()


def start_entries(before: JournalEntry | None, version: str, configuration: str) -> list[JournalEntry]:
    """The start, and what is not as it was at the start `before`."""
    now = {"version": version, "configuration": configuration}
    entries = [JournalEntry(JournalKind.START, Outcome.DONE, reason=f"edge-agent {version}", args=dict(now))]
    for name, kind in (("version", JournalKind.UPDATE), ("configuration", JournalKind.CONFIGURATION)):
        old = before.args.get(name) if before else None
        if old is not None and old != now[name]:
            reason = f"another {name} than at the start before"
            entries.append(JournalEntry(kind, Outcome.DONE, reason=reason, args={"old": old, "new": now[name]}))
    return entries


@dataclass(slots=True)
class _Gaps:
    start_us: int
    end_us: int
    seconds: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)


class GapNotes:
    """Gaps gathered for one entry a camera: one that comes and goes all day must not fill the journal."""

    def __init__(self) -> None:
        self._gathered: dict[CameraId, _Gaps] = {}

    def add(self, gap: Gap) -> None:
        gaps = self._gathered.setdefault(gap.camera, _Gaps(gap.start_us, gap.end_us))
        gaps.start_us, gaps.end_us = min(gaps.start_us, gap.start_us), max(gaps.end_us, gap.end_us)
        gaps.seconds += gap.interval.seconds
        gaps.causes[str(gap.cause)] += 1

    def take(self) -> Iterator[JournalEntry]:
        """What was gathered since the last time."""
        gathered, self._gathered = self._gathered, {}
        for camera, gaps in gathered.items():
            count = gaps.causes.total()
            yield JournalEntry(
                JournalKind.GAPS,
                Outcome.DONE,
                reason=f"{gaps.seconds:.1f} s of {camera} are missing, in {count} gaps",
                args={
                    "camera": camera,
                    "count": count,
                    "seconds": round(gaps.seconds, 3),
                    "start_us": gaps.start_us,
                    "end_us": gaps.end_us,
                    "causes": dict(sorted(gaps.causes.items())),
                },
            )
