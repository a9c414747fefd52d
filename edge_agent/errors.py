"""The errors of the product, divided by what the caller should do about them.

A message says what, where and what to do, in one line of plain words; foreign exceptions are translated in the one
module that imports the library.  Exit codes are those of sysexits.h.
"""

from __future__ import annotations


class EdgeError(Exception):
    """Anything the product reports in plain words; `exit_code` is what a command line ends with."""

    exit_code = 1


class UsageError(EdgeError):
    """The request makes no sense as asked (bad time, empty interval, unknown name): ask differently."""

    exit_code = 64


class NotFoundError(EdgeError):
    """The thing asked for does not exist here."""

    exit_code = 66


class CameraError(EdgeError):
    """A camera cannot be had now: report the state, retry with backoff."""

    exit_code = 69


class UplinkError(EdgeError):
    """The broker, the cloud or the daemon cannot be reached: keep what must be sent, retry."""

    exit_code = 69


class ArchiveError(EdgeError):
    """A disk or a file of the archive fails: degrade, raise an alarm, go on with the rest."""

    exit_code = 74


class BusyError(EdgeError):
    """Somebody else holds the resource (a second agent on the same folder): stop, change nothing."""

    exit_code = 75


class RefusedError(EdgeError):
    """Not permitted, not authentic or not fresh: answer, journal, do nothing."""

    exit_code = 77


class ConfigError(EdgeError):
    """The configuration or a key file is wrong: stop with a clear line for each mistake."""

    exit_code = 78
