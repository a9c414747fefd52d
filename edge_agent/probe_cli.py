"""`edge-agent probe URL`: what a camera offers, how the agent would take it, and the lines for the configuration."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.capture import probe as judged
from edge_agent.capture.job import CameraJob
from edge_agent.capture.meter import Measured
from edge_agent.capture.probe import Report
from edge_agent.capture.tls import judge
from edge_agent.capture.told import Told
from edge_agent.clock import US, SystemClock
from edge_agent.config import camera_url
from edge_agent.errors import UsageError
from edge_agent.model import CameraId
from edge_agent.terminal import JsonOption, console, print_json, progress_console
from edge_agent.toml_file import read_secret
from edge_agent.when import iso_utc

PASSWORD_VARIABLE = "EDGE_AGENT_CAMERA_PASSWORD"
MAX_SECONDS = 600


def probe_command(
    url: Annotated[str, typer.Argument(help="rtsp(s)://, http(s)://, v4l2:/dev/videoN or file:///path.")],
    seconds: Annotated[float, typer.Option(min=1, max=MAX_SECONDS, help="How long to look at its pictures.")] = 10,
    username: Annotated[str | None, typer.Option("--username", "-u", help="The password is asked for.")] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the password on its first line; or put it into ${PASSWORD_VARIABLE}."),
    ] = None,
    basic_login: Annotated[bool, typer.Option(help="Allow a login that a listener can read.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="The camera's own certificate or its authority's, PEM.")] = None,
    save_certificate: Annotated[
        Path | None, typer.Option(help="Write the certificate that the camera shows into this new file.")
    ] = None,
    camera_id: Annotated[str, typer.Option("--id", help="The camera's name in the configuration's lines.")] = "camera",
    as_json: JsonOption = False,
) -> None:
    """Tell what a camera offers and how the agent would take it; exit code 69 when it could not be recorded."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", camera_id):
        raise UsageError("--id: a-z, 0-9, '-' and '_', at most 32, starting with a letter or digit")
    try:
        judge(str(ca_file) if ca_file else None)
    except OSError:
        raise UsageError(f"--ca-file: {ca_file} can't be had or holds no certificate in PEM") from None
    bare, name, password = _parted(url)
    if password is not None:
        _say(
            "other users of this machine can read a password on the command line: "
            "leave it out of the URL, then it is asked for"
        )
    name = username if username is not None else name
    if name is None and password_file is not None:
        raise UsageError("--password-file needs --username")
    if name is not None and (password is None or username is not None):
        password = _password(name, password_file)
    job = CameraJob(
        CameraId(camera_id), bare, name, password, basic=basic_login, ca_file=str(ca_file) if ca_file else None
    )
    report = _watched(job, seconds)
    if save_certificate is not None:
        _save(report, save_certificate)
    if as_json:
        print_json(as_dict(report, camera_id))
    else:
        show(report, camera_id, console())
    if report.failure is not None:
        # its words are told already
        raise typer.Exit(report.failure.exit_code)


def as_dict(report: Report, camera_id: str) -> dict[str, Any]:
    """The report for scripts (`docs/probe.md`); without secrets."""
    told, certificate, measured, failure = report.told, report.certificate, report.measured, report.failure
    fields = getattr(measured, "__slots__", ())
    return {
        "url": judged.shown(report.job.url),
        "client": report.client,
        "taken": report.taken,
        "fault": failure.fault.value if failure else None,
        "detail": str(failure) if failure else "",
        "remedies": judged.remedies(report),
        "notes": judged.notes(report),
        "picture": {name: getattr(measured, name) for name in fields} if measured else None,
        "offered": told.picture,
        "sets_in_description": told.parameter_sets,
        "lost_packets": report.lost_packets,
        "sound": {"codec": told.sound, "kept": told.sound_kept} if told.sound else None,
        "clock_offset_s": None if report.clock_offset_us is None else report.clock_offset_us / US,
        "login": {"offered": list(told.logins), "used": told.login or None},
        "tls": None
        if certificate is None
        else {
            "version": certificate.tls,
            "trusted": certificate.trusted,
            "problem": certificate.problem,
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "valid_until": None if certificate.valid_until_us is None else iso_utc(certificate.valid_until_us),
            "sha256": certificate.sha256,
        },
        "server": told.server,
        "keep_alive": {"method": told.keep_alive, "session_s": told.session_s} if told.keep_alive else None,
        "config": judged.toml(report, camera_id) if report.taken else "",
    }


def show(report: Report, camera_id: str, out: Console) -> None:
    """The report for people."""
    out.print(Text(judged.shown(report.job.url), "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows(report):
        table.add_row(f"  {key}", Text(value))
    out.print(table)
    if report.failure is not None:
        out.print(Text("The agent would not record it:", "red"))
        _list(out, [str(report.failure), *judged.remedies(report), *judged.notes(report)])
        return
    own = "its own client" if report.client == "rtsp" else "libav"
    out.print(Text(f"The agent records it as it comes, through {own}.", "green"))
    _list(out, judged.notes(report))
    # plainly, so that no line is wrapped where it is pasted
    print(f"\nFor the configuration:\n\n{judged.toml(report, camera_id)}")
    if commands := judged.secrets(report, camera_id):
        print("\nand for its secrets:\n\n" + "\n".join(commands))


def _list(out: Console, lines: list[str]) -> None:
    table = Table.grid(padding=(0, 1))
    for words in lines:
        table.add_row("  -", Text(words))
    if lines:
        out.print(table)


def rows(report: Report) -> list[tuple[str, str]]:
    """(what, words) line by line; what is not known says so or is left out."""
    told, measured = report.told, report.measured
    found: list[tuple[str, str]] = []
    if measured is not None:
        kind = " ".join(part for part in (measured.codec, measured.profile) if part)
        level = f", level {measured.level}" if measured.level else ""
        pace = f", {measured.fps:g} pictures a second" if measured.fps else ""
        found.append(("picture", f"{kind}{level}, {measured.width} x {measured.height}{pace}"))
        found.append(("keyframes", _keyframes(measured)))
        room = judged.disk_bytes(measured)
        if measured.bitrate_bps is not None and room is not None:
            found.append(
                (
                    "bitrate",
                    f"{measured.bitrate_bps / 1e6:.2f} Mb/s: {room / 1e9:.0f} GB in {judged.RETENTION_DAYS} days",
                )
            )
        if measured.codec != "MJPEG":
            found.append(("B-frames", "yes" if measured.b_frames else "no"))
            places = [
                *(["in the description"] if told.parameter_sets else []),
                *(["with the keyframes"] if measured.sets_in_band else []),
            ]
            found.append(("parameters", " and ".join(places) or "in the header of the stream"))
    elif told.picture:
        found.append(("offers", told.picture))
    if measured is not None or told.sound:
        kept = "" if told.sound_kept else ", can't be kept"
        found.append(("sound", f"{told.sound}{kept}" if told.sound else "none"))
    if report.client == "rtsp" and measured is not None:
        found.append(("clock", _clock(report)))
    if told.logins or (measured is not None and report.network):
        found.append(("login", _login(report)))
    found += _tls(report)
    if told.server:
        found.append(("server", told.server))
    if told.keep_alive:
        found.append(("session", f"kept alive by {told.keep_alive}, ends after {told.session_s:g} s without"))
    return found


def _keyframes(measured: Measured) -> str:
    every, longest = measured.keyframe_interval_s, measured.keyframe_interval_longest_s
    if measured.codec == "MJPEG":
        return "every picture is one"
    if every is None or longest is None:
        return f"{measured.keyframes or 'none'} in {measured.seconds:.1f} s: look longer to learn their interval"
    uneven = f", at most {longest:.2f} s" if longest > 1.2 * every else ""
    return f"every {every:.2f} s ({measured.keyframe_interval_frames} pictures){uneven}"


def _clock(report: Report) -> str:
    if report.clock_offset_us is None:
        return f"it did not tell its time within {report.seconds:g} s (no RTCP sender report)"
    seconds = report.clock_offset_us / US
    return f"{abs(seconds):.3f} s {'ahead of' if seconds > 0 else 'behind'} this node's"


def _login(report: Report) -> str:
    told = report.told
    if not told.logins:
        return "none asked for"
    offered = ", ".join(told.logins)
    return f"{told.login} (offered: {offered})" if told.login else f"wanted, offered: {offered}"


def _tls(report: Report) -> list[tuple[str, str]]:
    certificate = report.certificate
    if certificate is None:
        plain = report.network and not report.secure and report.told != Told()
        return [("TLS", "none, the way is not encrypted")] if plain else []
    if certificate.trusted:
        trust = "trusted by the file given" if report.job.ca_file else "trusted by the system's authorities"
    else:
        trust = f"not trusted: {certificate.problem}"
    until = "unknown" if certificate.valid_until_us is None else iso_utc(certificate.valid_until_us)[:10]
    return [
        ("TLS", f"{certificate.tls}, {trust}"),
        ("certificate", f"{certificate.subject or 'unreadable'}, valid until {until}"),
        ("fingerprint", f"SHA-256 {certificate.sha256[:48]}\n        {certificate.sha256[48:]}"),
    ]


def _parted(url: str) -> tuple[str, str | None, str | None]:
    """(the URL without its login, username, password); UsageError in words without the login."""
    try:
        bare, name, password = judged.without_login(url)
    except ValueError:
        raise UsageError("this is no URL: are special characters of the login written as %XX?") from None
    try:
        return camera_url(bare), name, password
    except ValueError as error:
        raise UsageError(f"the URL should be {error}") from None


def _password(name: str, file: Path | None) -> str:
    if file is not None:
        return read_secret(str(file))
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"no password for {name}: --password-file FILE or ${PASSWORD_VARIABLE}")
    answer: str = typer.prompt(f"Password of {name}", hide_input=True, err=True)
    return answer


def _watched(job: CameraJob, seconds: float) -> Report:
    """Probe with its progress on standard error, where that is a terminal."""
    # only here, for no other command needs the clients
    from edge_agent.capture.probing import probe

    err = progress_console()
    with err.status("connecting") as status:
        told = ""

        def tell(words: str) -> None:
            nonlocal told
            if words != told:
                told = words
                status.update(Text(words))

        return probe(job, SystemClock(), seconds, tell)


def _save(report: Report, path: Path) -> None:
    if report.certificate is None:
        raise UsageError("--save-certificate: the camera shows none")
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(report.certificate.pem)
    except OSError as error:
        raise UsageError(f"--save-certificate: cannot write {path}: {error.strerror}") from None
    _say(f"its certificate is in {path}: compare the fingerprint with the camera's own page before trusting it")


def _say(words: str) -> None:
    print(words, file=sys.stderr)
