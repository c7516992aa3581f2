"""Addresses as the operator writes them: what cannot be one is refused before anything starts."""

from __future__ import annotations

from urllib.parse import urlsplit


def web_address(url: str) -> str:
    """The address of a web server; ValueError with the cure for what is none."""
    if not _is_address(url, "http", "https"):
        raise ValueError("is no web address; write https://host or http://host:port")
    return url


def store_address(url: str) -> str:
    """The address of a Redis or Valkey; ValueError with the cure for what is none."""
    if not _is_address(url, "redis", "rediss") and not url.startswith("unix://"):
        raise ValueError(
            "is no address of a store; write redis://:password@host:6379/0, "
            "rediss://… for TLS, or unix:///path/to/socket"
        )
    return url


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only when it is asked for
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname)
