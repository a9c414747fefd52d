"""Where each target stands; nothing is imported here, for what is measured must be imported under measurement."""

from __future__ import annotations

_TARGETS = {
    "fuzz.camera": ("rtsp-wire", "rtsp-talk", "rtsp-login", "sdp", "rtp", "h264", "h265", "aac", "nal", "client"),
    "fuzz.archive": ("mp4", "clip", "age-header", "age", "segment-names"),
    "fuzz.commands": ("commands",),
    "fuzz.papers": ("roster", "order"),
    "fuzz.proofs": ("notes", "page"),
    "fuzz.words": ("config", "messages", "payloads", "topics", "when"),
}
MODULES = {name: module for module, names in _TARGETS.items() for name in names}
"""Module by the target's name."""
