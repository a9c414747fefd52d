"""What an audit says when something is not as it should be, in Ukrainian and English: what, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.config import Language
from edge_agent.desk.board import printable
from edge_agent.trust.checkpoint import Verdict


class TroubleKind(StrEnum):
    SILENT = "silent"
    """No answer; nothing is known of the journal."""
    REFUSED = "refused"
    FAILED = "failed"
    UNPROVEN = "unproven"
    """An answer that the node's key has not signed, or that is malformed."""
    TOO_MANY = "too_many"
    BROKEN = "broken"
    """The node says itself that its journal is not the one that it signed."""
    CHANGED = "changed"
    """An entry is not the one that was signed."""
    LEFT_OUT = "left_out"
    SHORTENED = "shortened"
    REWRITTEN = "rewritten"
    FORKED = "forked"
    CONTRADICTED = "contradicted"
    """Another journal than a witness has cosigned: the node's key alone can't hide that."""

    @property
    def tampering(self) -> bool:
        """Somebody changed a journal, or a disk did; evidence is to be kept."""
        return self in _TAMPERING


_TAMPERING = frozenset(
    {
        TroubleKind.BROKEN,
        TroubleKind.CHANGED,
        TroubleKind.LEFT_OUT,
        TroubleKind.SHORTENED,
        TroubleKind.REWRITTEN,
        TroubleKind.FORKED,
        TroubleKind.CONTRADICTED,
    }
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with a node's answer, in whole sentences without line breaks."""

    kind: TroubleKind
    uk: str
    en: str

    def said(self, language: Language) -> str:
        return self.uk if language == "uk" else self.en


_WHAT: Mapping[TroubleKind, tuple[str, str]] = {
    TroubleKind.SILENT: ("вузол не відповів: {why}", "the node did not answer: {why}"),
    TroubleKind.REFUSED: ("вузол відмовив: {why}", "the node refused: {why}"),
    TroubleKind.FAILED: ("вузол не зміг відповісти: {why}", "the node could not answer: {why}"),
    TroubleKind.UNPROVEN: ("відповідь не доведено: {why}", "the answer is not proved: {why}"),
    TroubleKind.TOO_MANY: (
        "записів понад {size}: показано перші, звузьте період",
        "more than {size} entries: the first are shown, ask for a shorter period",
    ),
    TroubleKind.BROKEN: (
        "ЖУРНАЛ ПІДРОБЛЕНО АБО ПОШКОДЖЕНО, вузол сам про це каже: {why}",
        "THE JOURNAL WAS CHANGED OR DAMAGED, the node itself says so: {why}",
    ),
    TroubleKind.CHANGED: (
        "ЗАПИС {size} ЗМІНЕНО: це не той, що його підписав вузол",
        "ENTRY {size} WAS CHANGED: it is not the one that the node signed",
    ),
    TroubleKind.LEFT_OUT: (
        "ЗАПИСИ ПРОПУЩЕНО: вузол не показав запису {size}",
        "ENTRIES ARE LEFT OUT: the node did not show entry {size}",
    ),
    TroubleKind.SHORTENED: (
        "ЖУРНАЛ УКОРОЧЕНО: було підписано {kept} записів, тепер їх {size}. Його обрізано, або замість нього покладено"
        " давнішу копію",
        "THE JOURNAL WAS SHORTENED: {kept} entries were signed, now there are {size}. It was cut off, or an older copy"
        " was put in its place",
    ),
    TroubleKind.REWRITTEN: (
        "ЖУРНАЛ ПЕРЕПИСАНО: його перші {kept} записів – не ті, що були підписані",
        "THE JOURNAL WAS REWRITTEN: its first {kept} entries are not those that were signed",
    ),
    TroubleKind.FORKED: (
        "ЖУРНАЛ РОЗДВОЄНО: ключем вузла підписано дві різні історії з {kept} записів",
        "THE JOURNAL WAS FORKED: the node's key has signed two different histories of {kept} entries",
    ),
    TroubleKind.CONTRADICTED: (
        "ЖУРНАЛ НЕ ТОЙ, ЩО ЙОГО БАЧИВ СВІДОК: {why} засвідчив {kept} записів, тепер їх {size}, і вони не продовжують"
        " засвідчених. Ключ вузла вкрадено, або журнал підмінено",
        "THE JOURNAL IS NOT THE ONE THAT A WITNESS SAW: {why} cosigned {kept} entries, now there are {size} that do"
        " not continue them. The node's key was stolen, or the journal replaced",
    ),
}
_NEXT = (
    "Що робити: збережіть як доказ {evidence}; не перезапускайте вузол, вилучіть його диск (docs/journal.md). Коли"
    " з'ясують, що сталося, відкладіть {checkpoint} убік: наступна перевірка почне наново",
    "What to do: keep {evidence} as evidence; do not restart the node, secure its disk (docs/journal.md). Once people"
    " know what happened, move {checkpoint} aside: the next audit begins anew",
)
_OF_VERDICT = {
    Verdict.SHORTENED: TroubleKind.SHORTENED,
    Verdict.REWRITTEN: TroubleKind.REWRITTEN,
    Verdict.FORKED: TroubleKind.FORKED,
}


def trouble(kind: TroubleKind, *, why: str = "", size: int = 0, kept: int = 0) -> Trouble:
    """What is wrong; `why` in words of others, from which nothing can steer a terminal."""
    uk, en = (text.format(why=printable(why, 1200), size=size, kept=kept) for text in _WHAT[kind])
    return Trouble(kind, uk, en)


def tampered(kind: TroubleKind, checkpoint: Path, evidence: Path | None = None, **facts: int | str) -> Trouble:
    """The same with what to do next; `evidence`: what contradicts the kept `checkpoint`."""
    told = trouble(kind, **facts)  # type: ignore[arg-type]
    keep = f"{checkpoint}" if evidence is None else f"{checkpoint}, {evidence}"
    uk, en = (text.format(evidence=keep, checkpoint=checkpoint) for text in _NEXT)
    return Trouble(kind, f"{told.uk}. {uk}.", f"{told.en}. {en}.")


def kind_of(verdict: Verdict) -> TroubleKind | None:
    """None for an honest one."""
    return _OF_VERDICT.get(verdict)


_SOUND: Mapping[Verdict | None, tuple[str, str]] = {
    None: (
        "вперше запитано, {size} записів; відтепер їх не можна непомітно змінити",
        "asked for the first time, {size} entries; from now on they can't be changed unnoticed",
    ),
    Verdict.SAME: ("журнал той самий, {size} записів", "the journal is the same, {size} entries"),
    Verdict.GROWN: (
        "усе підписане раніше на місці; тепер {size} записів",
        "all that was signed before is there; {size} entries now",
    ),
}
_WHOLE = ("; кожен запис перевірено, жодного не пропущено", "; each entry was checked, none is left out")


def sound(verdict: Verdict | None, size: int, language: Language, *, whole: bool) -> str:
    """That nothing is wrong."""
    at = 0 if language == "uk" else 1
    return _SOUND[verdict][at].format(size=size) + (_WHOLE[at] if whole else "")
