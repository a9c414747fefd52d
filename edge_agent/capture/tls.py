"""How a camera's certificate is judged, and what went wrong with a connection in words without secrets."""

from __future__ import annotations

import ssl


def judge(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities; a `ca_file` is believed in their stead, under whatever name the camera has."""
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def reason(error: Exception) -> str:
    """The reason in the system's own words, which hold no URL."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "TLS failed").lower().replace("_", " ")
    return str(getattr(error, "strerror", None) or "unknown error").lower()
