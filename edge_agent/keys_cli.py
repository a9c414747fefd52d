"""`edge-agent keys` and `edge-agent archive rewrap`: who can open what was recorded, and what will be."""

from __future__ import annotations

import getpass
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from edge_agent.archive_cli import Archive, ForOption, FromOption, ToOption
from edge_agent.archive_disks import disks_of
from edge_agent.at_node import PassphraseOption
from edge_agent.at_work import MaybeKeyOption, MaybePersonOption, at_work
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.library import Library
from edge_agent.buffer.rewrap import RewrapIndex, Rewrapper
from edge_agent.buffer.segments import day_folders
from edge_agent.clock import SystemClock
from edge_agent.config import Config, load
from edge_agent.errors import ArchiveError, ConfigError, NotFoundError, UsageError
from edge_agent.lock import DataLock, only_its_user
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, JsonOption, console, print_json
from edge_agent.trust.age import Identity, Recipient, header_for, load_identities
from edge_agent.trust.command import Work
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.node_keys import drop, key_text, old_identity, put_first
from edge_agent.when import iso_utc

_MAX_FILE_BYTES = 65536


def list_keys(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show whom new recordings are sealed to, and which keys are kept to read older ones."""
    settings = load(config)
    own = [str(identity.recipient) for identity in _own(settings)]
    present = [str(recipient) for recipient in _present(settings)]
    if as_json:
        print_json({"recipients": present, "kept": [one for one in own if one not in present]})
        return
    for recipient in present:
        whose = "the node" if recipient in own else "the configuration"
        console().print(f"{recipient}  new recordings ({whose})", soft_wrap=True)
    for recipient in own:
        if recipient not in present:
            console().print(f"{recipient}  kept to read older ones", soft_wrap=True)


def rotate(
    config: ConfigOption = DEFAULT_CONFIG,
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is gone for good: what was sealed to it alone opens no more.")
    ] = False,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a new key for the node; the old ones stay to read what was sealed to them."""
    settings, clock = load(config), SystemClock()
    if not settings.archive.node_reads:
        raise UsageError("this node has no key in use (node_reads = false): recordings are sealed to the city's alone")
    if settings.identity_path.exists() == lost:
        there = (
            "is there: it is not lost" if lost else "is not there: the agent makes it when it first starts, or --lost"
        )
        raise NotFoundError(f"the key {settings.identity_path} {there}")
    only_its_user(settings.data_dir, "rotating its key")
    new = Identity.generate()
    args = {"recipient": str(new.recipient)} | ({"lost": "the old key"} if lost else {})
    with at_work(settings, clock, Work.KEYS_ROTATE, person, key, passphrase_file):
        _journal(settings, "rotate", args, outcome=Outcome.ACCEPTED)
        made = f"{iso_utc(clock.utc_us())} for {settings.audience}"
        if lost:
            write_secret_file(settings.identity_path, key_text(new, made).encode())
        else:
            put_first(settings.identity_path, new, made)
        _journal(settings, "rotate", args)
    print(f"{new.recipient}\nRestart the agent: what it records from then on is sealed to this key.")


def drop_key(
    recipient: Annotated[str, typer.Argument(help="Its public half, as `keys list` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Destroy an old key that no recording needs any more; the agent must be stopped."""
    settings, clock = load(config), SystemClock()
    only_its_user(settings.data_dir, "dropping a key")
    with (
        at_work(settings, clock, Work.KEYS_DROP, person, key, passphrase_file),
        DataLock(settings.data_dir, clock, patience_s=0),
    ):
        old = old_identity(settings.identity_path, Recipient.parse(recipient))
        others = [one for one in load_identities(settings.identity_path) if one != old]
        disks = disks_of(settings)
        for place, fault in disks.absent().items() if settings.disk else ():
            raise UsageError(f"what is on disk {place or 'the first'} may open with this key alone: {fault}")
        for path in (path for disk in disks for path in _sealed_to(disk.folder, old, others)):
            raise UsageError(f"{path}, and perhaps more, opens with this key alone: wait until it went, or rewrap it")
        _journal(settings, "drop", {"recipient": recipient}, outcome=Outcome.ACCEPTED)
        drop(settings.identity_path, old.recipient)
        _journal(settings, "drop", {"recipient": recipient})
    print(f"{recipient} is gone from {settings.identity_path}")


def rewrap(
    camera: Annotated[str | None, typer.Option("--camera", help="One camera's; all cameras' without it.")] = None,
    start: FromOption = None,
    length: ForOption = None,
    end: ToOption = None,
    hold: Annotated[str | None, typer.Option("--hold", help="What this hold keeps, instead of an interval.")] = None,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", "-r", help="age1…; again for more. The present ones without it.")
    ] = None,
    recipients_file: Annotated[
        Path | None, typer.Option("--recipients-file", "-R", help="A file with one age1… a line.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", "-i", help="The key that opens them; the node's own without it.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the journal.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    person: MaybePersonOption = None,
    key: MaybeKeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give recordings other recipients, without re-encrypting them; who is not among them can't open the new files."""
    settings, clock = load(config), SystemClock()
    if not settings.index_path.exists():
        raise NotFoundError(f"nothing was recorded yet: {settings.index_path} is not there")
    only_its_user(settings.data_dir, "rewrap")
    recipients = [*map(Recipient.parse, recipient or ()), *(_read_recipients(recipients_file))] or _present(settings)
    identities = load_identities(identity) if identity else _own(settings)
    if not identities:
        raise UsageError("the node has no key to open them: name the city's with --identity")
    with at_work(settings, clock, Work.REWRAP, person, key, passphrase_file, reason):
        index = RewrapIndex(settings.index_path, clock)
        try:
            archive = Archive(settings, clock, index, Library(disks_of(settings), index, (), clock))
            if (start is None and end is None and length is None) == (hold is None):
                raise UsageError("say which recordings: either --hold, or --from with --to or --for")
            wanted = list(_of_hold(archive, hold) if hold else _of_interval(archive, camera, start, length, end))
            done: Counter[str] = Counter()
            problems: list[str] = []

            def tell(before: Segment, after: Segment) -> None:
                args: dict[str, Any] = {"path": before.path, "sha256_before": before.sha256, "sha256": after.sha256}
                args |= {"bytes_before": before.size_bytes, "bytes": after.size_bytes}
                args |= {"recipients": [str(one) for one in recipients]}
                _journal(settings, "rewrap", args, reason, kind=JournalKind.REWRAPPED, outcome=Outcome.ACCEPTED)

            disks = disks_of(settings)
            for place in sorted({segment.disk for segment in wanted}):
                if fault := disks.fault(place):
                    count = sum(segment.disk == place for segment in wanted)
                    problems.append(f"{count} recordings on disk {place or 'the first'}: {fault}")
                    continue
                with Rewrapper(disks.get(place).folder, index, identities, recipients, tell) as work:
                    for segment in (segment for segment in wanted if segment.disk == place):
                        try:
                            work.rewrap(segment)
                            done["rewrapped"] += 1
                        except (ArchiveError, NotFoundError) as error:
                            problems.append(str(error))
        finally:
            index.close()
    if as_json:
        print_json({"rewrapped": done["rewrapped"], "problems": problems})
    else:
        print(f"{done['rewrapped']} of {len(wanted)} recordings are sealed to {', '.join(map(str, recipients))}")
        for problem in problems:
            print(f"left as it was: {problem}")
    if problems:
        raise typer.Exit(1)


def _of_interval(
    archive: Archive, camera: str | None, start: str | None, length: str | None, end: str | None
) -> Iterator[Segment]:
    interval = archive.interval(start, length, end)
    for name in [archive.camera(camera)] if camera else archive.index.cameras():
        yield from archive.index.segments(name, interval)


def _of_hold(archive: Archive, name: str) -> Iterator[Segment]:
    path = archive.config.data_dir / "documents.json"
    hold = Holds(Documents(path, archive.clock, read_only=True)).get(name)
    now_us = archive.clock.utc_us()
    interval = Interval(hold.start_us, max(hold.start_us, hold.end_us or now_us))
    for camera in hold.cameras or archive.index.cameras():
        yield from archive.index.segments(CameraId(camera), interval)


def _own(config: Config) -> list[Identity]:
    """The node's, as far as it has any; kept ones open old recordings of a node that only writes by now."""
    return load_identities(config.identity_path) if config.identity_path.exists() else []


def _present(config: Config) -> list[Recipient]:
    """Whom new recordings are sealed to."""
    own = [identity.recipient for identity in _own(config)[:1]] if config.archive.node_reads else []
    return list(dict.fromkeys([*own, *map(Recipient.parse, config.archive.recipients)]))


def _read_recipients(path: Path | None) -> list[Recipient]:
    """As `age -R` reads them: one a line, `#` comments, blank lines."""
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file.read(_MAX_FILE_BYTES).splitlines()]
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    found = [Recipient.parse(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise ConfigError(f"{path} names no recipient")
    return found


def _sealed_to(root: Path, key: Identity, others: Sequence[Identity]) -> Iterator[str]:
    """Files, open ones too, that this key opens and none of the others does."""
    for folder in day_folders(root):
        for name in folder.names(root):
            try:
                with (root / str(name)).open("rb") as file:
                    if _opens(file, [key]) and not _opens(file, others):
                        yield str(name)
            except FileNotFoundError:
                continue


def _opens(file: BinaryIO, identities: Sequence[Identity]) -> bool:
    """A file that is damaged or torn within its header opens with no key."""
    file.seek(0)
    try:
        header_for(file, identities, [one.recipient for one in identities])
    except ArchiveError:
        return False
    return True


def _journal(
    config: Config,
    action: str,
    args: dict[str, Any],
    reason: str = "",
    *,
    kind: JournalKind = JournalKind.KEYS,
    outcome: Outcome = Outcome.DONE,
) -> None:
    who = f"user {os.environ.get('SUDO_USER') or getpass.getuser()}"
    Journal(config.journal_path, SystemClock()).append(
        JournalEntry(kind, outcome, who=who, action=action, reason=reason, args=args)
    )
