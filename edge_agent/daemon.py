"""`edge-agent run`: from a configuration file to a running agent, and to an ordered stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from edge_agent import __version__
from edge_agent.archive_disks import disks_of
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import ConfigError
from edge_agent.lock import DataLock
from edge_agent.ticker import live_in_utc
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.node_keys import key_text
from edge_agent.watchdog import Watchdog
from edge_agent.when import iso_utc

_log = logging.getLogger(__name__)


def run(path: Path) -> None:
    """Run until SIGTERM or SIGINT; an EdgeError says why it could not."""
    config = load(path)
    live_in_utc()
    start_logging()
    clock = SystemClock()
    with DataLock(config.data_dir, clock) as lock:
        # Only now, for it imports what the command line never needs.
        from edge_agent.agent import Agent

        identities = node_identities(config, clock)
        stop = threading.Event()
        agent = Agent(config, identities, clock, stop, Watchdog(clock), lock.fd)

        def end(number: int, _frame: object) -> None:
            _log.info("%s: stopping", signal.Signals(number).name)
            stop.set()
            agent.wake()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        _log.info("edge-agent %s runs as %s with %d cameras", __version__, config.audience, len(config.camera))
        agent.run()
    _log.info("stopped")


def node_identities(config: Config, clock: Clock) -> Sequence[Identity]:
    """The node's age key, made at the first start; none when only the city's key opens the archive."""
    if not config.archive.node_reads:
        return ()
    path = config.identity_path
    if not path.exists():
        if config.identity_file is None and any(
            file for disk in disks_of(config) for file in disk.folder.glob("*/*/*.mp4.age")
        ):
            raise ConfigError(f"the node's key {path} is gone but recordings sealed to it are there: bring it back")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = Identity.generate()
        write_secret_file(path, key_text(identity, f"{iso_utc(clock.utc_us())} for {config.audience}").encode())
        _log.info("made the node's age key %s, public key %s", path, identity.recipient)
    return load_identities(path)


def start_logging() -> None:
    """One line an event on standard error; under systemd with its priority, which also dates it."""
    journal = "JOURNAL_STREAM" in os.environ
    form = "%(levelname)s %(message)s" if journal else "%(asctime)sZ %(levelname)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SystemdFormatter(form) if journal else logging.Formatter(form, "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _SystemdFormatter(logging.Formatter):
    """Puts the priority before the line, as sd-daemon(3) says."""

    _PRIORITY: ClassVar = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

    def format(self, record: logging.LogRecord) -> str:
        return f"<{self._PRIORITY.get(record.levelno, 5)}>{super().format(record)}"
