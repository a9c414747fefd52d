"""A network of the test's own: what is started inside is alone with itself, however it binds; packets can be lost."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_network() -> Iterator[None]:
    """This thread, and the threads and processes that it starts, live in a new network namespace with a loopback and
    the address 192.0.2.1 of its own; needs root.  The namespace goes with the last process in it.
    """
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
            yield
        finally:
            _checked(_libc.setns(outside, _CLONE_NEWNET))
    finally:
        os.close(outside)


def lose_packets(percent: int) -> None:
    """From now on this namespace loses so many of all its packets, at random."""
    _filter("lossy", f"numgen random mod 100 < {percent} drop;")


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Meanwhile every TCP packet to and from a port of this namespace vanishes without a word."""
    _filter("hole", f"tcp dport {port} drop; tcp sport {port} drop;")
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "hole"], check=True)


def _filter(table: str, rules: str) -> None:
    chain = f"chain input {{ type filter hook input priority 0; {rules} }};"
    subprocess.run(["nft", "-f", "-"], input=f"table inet {table} {{ {chain} }}".encode(), check=True)


def segments_sent_again() -> int:
    """TCP segments that had to be sent again in this namespace so far."""
    lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
