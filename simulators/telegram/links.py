"""Which links the service takes, and how it writes them."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_OWN = re.compile(r"^(tg|ton|tonsite):(?://)?([A-Za-z0-9_.-]*)(.*)$", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r"^[^/?#]+:\d+(?:[/?#]|$)")


class WrongLinkError(ValueError):
    """The link is none; the text says why, in the service's words."""


def mentioned_user(url: str) -> int | None:
    """The person's id of a `tg://user?id=…` link, None for any other link."""
    match = _OWN.match(url)
    if match is None or match[1].lower() != "tg" or match[2].lower() != "user":
        return None
    values = parse_qs(urlsplit(match[3].lower()).query).get("id", [])
    return int(values[0]) if values and values[0].isdecimal() else None


def checked(url: str) -> str:
    """The link as the service stores it: with a scheme and a path; raises WrongLinkError."""
    url = url.strip()
    own = _OWN.match(url)
    if own is not None:
        return f"{own[1].lower()}://{own[2]}{own[3]}"
    if not _SCHEME.match(url) or _PORT.match(url):
        url = f"http://{url}"
    return _http(url)


def _http(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise WrongLinkError("Wrong HTTP URL") from None
    if parts.scheme.lower() not in {"http", "https"}:
        raise WrongLinkError("Unsupported URL protocol")
    if not host or any(c.isspace() for c in url.strip()) or ("." not in host and ":" not in host):
        raise WrongLinkError("Wrong HTTP URL")
    rest = url[len(parts.scheme) + 3 + len(parts.netloc) :]
    slash = "" if rest.startswith("/") else "/"
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{slash}{rest}"


def emoji(url: str) -> str | None:
    """The id of a `tg://emoji?id=…` link, None for any other link."""
    match = _OWN.match(url)
    if match is None or match[1].lower() != "tg" or match[2].lower() != "emoji":
        return None
    values = parse_qs(urlsplit(match[3]).query).get("id", [])
    return values[0] if values and values[0].isdecimal() and int(values[0]) else None


def moment(url: str) -> tuple[int, str] | None:
    """Time and format of a `tg://time?unix=…&format=…` link, None for any other link."""
    match = _OWN.match(url)
    if match is None or match[1].lower() != "tg" or match[2].lower() != "time":
        return None
    values = parse_qs(urlsplit(match[3]).query)
    unix = values.get("unix", [""])[0]
    return (int(unix), values.get("format", [""])[0]) if unix.isdecimal() else None
