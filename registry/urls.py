"""Addresses of the web, as the documents of agents write them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from registry.fields import Wrong

_CURE = "write https://host/path"


def web_parts(text: str) -> SplitResult:
    """The parts of an http or https address; raises Wrong for all else."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Wrong("is no address", _CURE) from None
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise Wrong("is no http or https address", _CURE)
    return parts
