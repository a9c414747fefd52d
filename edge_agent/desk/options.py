"""What several of the desk's commands are told by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="EDGE_DESK_CONFIG", help="The desk's configuration.", show_default=True),
]
IncidentOption = Annotated[
    str | None,
    typer.Option("--incident", help="The alarm that it is about, or its id's beginning: tied in the register."),
]
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="SITE/NODE, or NODE of the configured site.")]
SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="At the node itself: its local socket instead of the broker.")
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="The key's passphrase; asked for on the terminal without it."),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the first answer.")]
IdleOption = Annotated[float, typer.Option("--idle", min=1, help="Seconds to wait for each further answer.")]
