"""GPAC's MP4Box (`debian_setup.sh` unpacks it)."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2] / ".cache" / "gpac" / "usr"
_COMPLAINTS = ("error", "warning", "invalid", "corrupt", "truncat")


def mp4box(home: Path, *arguments: str | Path) -> str:
    """What it says (its settings go to `home`); AssertionError when it refuses or complains of anything."""
    command: list[str | Path] = [_ROOT / "bin/MP4Box", "-logs=all@warning:ncl", *arguments]
    libraries = {"LD_LIBRARY_PATH": f"{_ROOT}/lib/x86_64-linux-gnu", "HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=libraries)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not any(word in said.lower() for word in _COMPLAINTS), said
    return said
