"""`edge-desk mode`: set the mode of a node or of one of its cameras, or go back to the programme (`docs/modes.md`)."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from edge_agent.clock import Clock, SystemClock
from edge_agent.desk.client import Patience
from edge_agent.desk.hold_cli import Zoned
from edge_agent.desk.options import ConfigOption, NodeArgument, PassphraseOption, SocketOption, TimeoutOption
from edge_agent.desk.output import final_json, in_language, raise_unless_done, say_json
from edge_agent.desk.settings import DEFAULT_CONFIG, load_desk, node_named
from edge_agent.desk.talk import Request, Talk, mistakes
from edge_agent.errors import UsageError
from edge_agent.modes.sections import BY_PROGRAMME
from edge_agent.terminal import JsonOption, console
from edge_agent.trust.command import ModeArgs
from edge_agent.when import parse_duration, parse_until

UntilOption = Annotated[
    str | None,
    typer.Option("--until", help='Its end: "08:00" is the next time it is so, "tomorrow 08:00", "2026-11-23 08:00".'),
]
ForOption = Annotated[str | None, typer.Option("--for", help='Its length instead: "90m", "8h".')]
ReasonOption = Annotated[str, typer.Option(help="Why; it stands in the journal and is shown with the mode.")]


def mode(
    node: NodeArgument,
    words: Annotated[
        list[str], typer.Argument(metavar="[CAMERA] MODE", help=f'A mode of the node\'s, or "{BY_PROGRAMME}".')
    ],
    until: UntilOption = None,
    length: ForOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
    passphrase_file: PassphraseOption = None,
    timeout_s: TimeoutOption = 60,
    as_json: JsonOption = False,
) -> None:
    """Set the mode of a node or of one of its cameras, until a time or for good; "programme" goes back."""
    if len(words) > 2:
        raise UsageError("say a mode, or a camera and a mode: edge-desk mode NODE [CAMERA] MODE")
    desk, clock = load_desk(config), SystemClock()
    camera = words[0] if len(words) == 2 else None
    args = mode_args(desk, clock, camera, words[-1], until, length, reason)
    request = Request.signed(desk, clock, node_named(node, desk.site), args, passphrase_file)
    talk = Talk(desk, clock, socket, Patience(first_s=timeout_s, idle_s=timeout_s), config)
    reply = talk.hear(request, as_json)
    if as_json:
        say_json(final_json(reply))
    raise_unless_done(reply, talk.texts)
    if not as_json:
        console().print(in_language(reply.words, talk.texts), markup=False, soft_wrap=True)


def mode_args(
    zoned: Zoned, clock: Clock, camera: str | None, name: str, until: str | None, length: str | None, reason: str
) -> ModeArgs:
    """What the options mean; `zoned` has the time zone that people speak in."""
    if until and length:
        raise UsageError("say --until or --for, not both")
    now_us = clock.utc_us()
    until_us = parse_until(until, zoned.zone, now_us) if until else None
    if length:
        until_us = now_us + parse_duration(length)
    try:
        return ModeArgs(mode=None if name == BY_PROGRAMME else name, camera=camera, until_us=until_us, reason=reason)
    except ValidationError as error:
        raise UsageError(mistakes(error)) from error
