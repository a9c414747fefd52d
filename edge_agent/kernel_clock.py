"""What the kernel knows of its clock: whether a time server is followed (adjtimex(2)), and which boot this is.

Reading needs no privilege, whatever program follows the server (chrony, ntpd, systemd-timesyncd, PTP): all of them tell
the kernel.  The kernel counts the largest possible error up by 0.5 ms a second; at 16 s, which it begins with and goes
back to whenever somebody sets the clock, nothing is known any more: about 9 hours after the last word of a server.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UNKNOWN_ERROR_US = 16_000_000
"""NTP_PHASE_LIMIT of the kernel (include/linux/timex.h)."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Timex(ctypes.Structure):
    """The beginning of struct timex (<sys/timex.h>), which is all that is read; the kernel fills what follows too."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """One reading; `max_error_us` counts the way to the time server and the time since its last word."""

    max_error_us: int
    status: int
    """STA_… bits of adjtimex(2)."""

    @property
    def synchronised(self) -> bool:
        """By the error alone, for chrony leaves STA_UNSYNC set unless it is told `rtcsync`; where any other program or
        the kernel sets that bit, the error is at its limit too."""
        return 0 <= self.max_error_us < UNKNOWN_ERROR_US


def read() -> KernelClock | None:
    """None where the kernel does not tell: in a container or a sandbox that refuses the call, or no Linux."""
    adjtimex = _adjtimex()
    timex = _Timex()
    if adjtimex is None or adjtimex(ctypes.byref(timex)) < 0:
        return None
    return KernelClock(int(timex.maxerror), int(timex.status))


@cache
def _adjtimex() -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    return found


def boot_id() -> str:
    """Another one after each start of the machine; monotonic times of one boot can be compared with one another.
    Empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
