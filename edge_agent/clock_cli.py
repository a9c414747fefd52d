"""`edge-agent clock`: what the node's clock shows, whether it is trusted, and vouching for it (`docs/time.md`)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from edge_agent import kernel_clock
from edge_agent.at_node import KeyOption, PassphraseOption, PersonOption, order, said
from edge_agent.buffer.documents import Documents
from edge_agent.clock import US, Clock, SystemClock
from edge_agent.clock_trust import ClockStep
from edge_agent.clock_watch import ClockState, ClockWatch, known_state, look_only
from edge_agent.config import Config, Language, load
from edge_agent.errors import UsageError
from edge_agent.kernel_clock import KernelClock
from edge_agent.lock import is_held
from edge_agent.notes import note_clock_step
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, app_of, console, print_json
from edge_agent.trust.command import ClockConfirmArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal
from edge_agent.uplink.clock_orders import ClockOrders
from edge_agent.uplink.hold_orders import Done
from edge_agent.when import from_us, iso_utc

clock_app = app_of("clock", "The node's clock: what it shows, whether it is trusted, and vouching for it.")
_WORDS: Mapping[Language, Mapping[str, str]] = {
    "uk": {
        "shows": "Годинник вузла: {local} ({zone}), {utc} UTC",
        "follows": "Сервер часу: так, похибка до {error:.3f} с",
        "alone": "Сервер часу: ні",
        "trusted": "Підтверджено: {reason}",
        "distrusted": "Не підтверджено, записи не знищуються за строком: {reason}",
        "hours": "Так уже {hours:.1f} год роботи вузла",
        "remedy": "Налаштуйте сервер часу (chrony, systemd-timesyncd, NTP у мережі камер) або підтвердьте час:"
        " edge-agent clock confirm",
        "question": "Звірте з надійним годинником і прочитайте вголос. Зараз {local} ({zone})?",
        "unsaid": "час не підтверджено",
    },
    "en": {
        "shows": "The node's clock: {local} ({zone}), {utc} UTC",
        "follows": "Time server: yes, at most {error:.3f} s off",
        "alone": "Time server: none is followed",
        "trusted": "Trusted: {reason}",
        "distrusted": "Not trusted, no recording goes by age: {reason}",
        "hours": "So for {hours:.1f} h of the node's running",
        "remedy": "Set up a time server (chrony, systemd-timesyncd, NTP in the camera network), or vouch for the time:"
        " edge-agent clock confirm",
        "question": "Compare it with a clock you trust and read it aloud. Is it {local} in {zone} now?",
        "unsaid": "the time was not confirmed",
    },
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is told of the clock."""

    utc_us: int
    kernel: KernelClock | None
    state: ClockState
    running: bool

    @property
    def follows(self) -> bool:
        return self.kernel is not None and self.kernel.synchronised


@clock_app.command("show")
def _show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """What the clock shows, whether a time server sets it, and whether recordings may be deleted by it."""
    node = load(config)
    shown = _look(node, SystemClock())
    if as_json:
        error_s = shown.kernel.max_error_us / US if shown.kernel is not None and shown.follows else None
        print_json(
            {
                "utc": iso_utc(shown.utc_us),
                "local": _local(node, shown.utc_us, seconds=True),
                "zone": node.timezone,
                "follows_server": shown.follows,
                "max_error_s": error_s,
                "trusted": shown.state.trusted,
                "reason": shown.state.reason,
                "distrusted_s": round(shown.state.distrusted_s),
                "agent_running": shown.running,
            }
        )
        return
    _print(node, shown)


@clock_app.command("confirm")
def _confirm(
    person: PersonOption,
    key: KeyOption,
    config: ConfigOption = DEFAULT_CONFIG,
    passphrase_file: PassphraseOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="The time was compared already: do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Vouch for the clock where no time server does: recordings older than the promise go from then on."""
    node, clock = load(config), SystemClock()
    words = _WORDS[node.language]
    read_us = clock.utc_us()
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is at the terminal to read the time: compare it, then say --yes")
        local = _local(node, read_us, seconds=False)
        if not typer.confirm(words["question"].format(local=local, zone=node.timezone), err=True):
            raise UsageError(words["unsaid"])

    def without_agent(admitted: Admitted, documents: Documents, journal: Journal) -> Done:
        def stepped(step: ClockStep) -> None:
            note_clock_step(journal, step)

        watch = ClockWatch(documents, clock, kernel_clock.boot_id(), stepped)
        return ClockOrders(watch, clock).carry_out(admitted, ClockConfirmArgs(read_us=read_us))

    done = order(node, clock, ClockConfirmArgs(read_us=read_us), person, key, passphrase_file, without_agent)
    if as_json:
        print_json({"ok": True, "words": done.said.model_dump(), **done.result})
    else:
        console().print(said(done.said, node), markup=False, soft_wrap=True)


def _look(config: Config, clock: Clock) -> _Shown:
    """By the running agent's own word; without one, what it would think at its start."""
    documents = Documents(config.data_dir / "documents.json", clock, read_only=True)
    running = is_held(config.data_dir)
    state = known_state(documents) if running else None
    if state is None:
        state = look_only(documents, clock, kernel_clock.boot_id())
    return _Shown(clock.utc_us(), kernel_clock.read(), state, running)


def _print(config: Config, shown: _Shown) -> None:
    words, state, out = _WORDS[config.language], shown.state, console()
    local, utc = _local(config, shown.utc_us, seconds=True), f"{from_us(shown.utc_us):%Y-%m-%d %H:%M:%S}"
    lines = [words["shows"].format(local=local, zone=config.timezone, utc=utc)]
    if shown.kernel is not None and shown.follows:
        lines.append(words["follows"].format(error=shown.kernel.max_error_us / US))
    else:
        lines.append(words["alone"])
    lines.append(words["trusted" if state.trusted else "distrusted"].format(reason=state.reason))
    if not state.trusted:
        if state.distrusted_s:
            lines.append(words["hours"].format(hours=state.distrusted_s / 3600))
        lines.append(words["remedy"])
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _local(config: Config, us: int, *, seconds: bool) -> str:
    return f"{from_us(us).astimezone(config.zone):%d.%m.%Y %H:%M{':%S' if seconds else ''}}"
