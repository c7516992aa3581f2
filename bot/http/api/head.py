"""What the gate reads of a request before anything else does: its header, its address, its body."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.types import Receive, Scope

from bot.http.api.problems import ApiError
from bot.http.server import BODY_LIMIT

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MOST_WORDS = 500
_READ = frozenset(
    {
        *(b"host", b"origin", b"authorization", b"content-length", b"content-type"),
        *(b"idempotency-key", b"change-reason", b"change-ticket", b"transfer-encoding"),
        *(b"if-none-match", b"cookie", b"sec-fetch-site"),
    }
)


@dataclass(frozen=True, slots=True)
class GateRules:
    """Under which names the API is called, and how many requests a minute it takes.

    `requests` are those of one key, `failures` those of one address that show no valid key. Pages
    at the name `secure` are ours only over https. `faces` are the forms of other APIs in which the
    host answers as well.
    """

    hosts: frozenset[str] = frozenset()
    requests: int = 600
    failures: int = 60
    secure: str | None = None
    faces: frozenset[str] = frozenset()


@dataclass(slots=True)
class Head:
    """What the gate reads of a request's headers; each may be there once, or it is refused."""

    host: str = ""
    origin: str | None = None
    fetch_site: str | None = None
    authorization: str | None = None
    cookie: str = ""
    length: str = "0"
    is_json: bool = False
    key: str | None = None
    reason: str = ""
    ticket: str = ""
    is_only_new: bool = False

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Head:
        """The headers of a request; raises ApiError where one of them is there twice."""
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _READ:
                if name in found:
                    raise ApiError(400, "bad-request", "A header is there twice.", name.decode())
                found[name] = value
        text = {name: value.decode("latin-1").strip() for name, value in found.items()}
        kind = text.get(b"content-type", "").partition(";")[0].strip().lower()
        return cls(
            host=text.get(b"host", ""),
            is_only_new=b"if-none-match" in text,
            origin=text.get(b"origin"),
            fetch_site=text.get(b"sec-fetch-site"),
            authorization=text.get(b"authorization"),
            cookie=text.get(b"cookie", ""),
            length=text.get(b"content-length", "0"),
            is_json=kind == "application/json" or kind.endswith("+json"),
            key=text.get(b"idempotency-key"),
            reason=_words(found.get(b"change-reason", b"")),
            ticket=_words(found.get(b"change-ticket", b"")),
        )


def _words(value: bytes) -> str:
    """A text of a header in UTF-8, or else Latin-1."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip()[:_MOST_WORDS]


def check_host(head: Head, scope: Scope, rules: GateRules) -> None:
    """Refuse a name that is not ours (a page that was rebound to us), and others' pages."""
    name = name_of(head.host)
    here = (scope.get("server") or ("", 0))[0]
    if name is None or (name not in rules.hosts and name != here and not _is_loopback(name)):
        detail = (
            "This host is not called by the name in the Host header. Its operator can add the "
            "name to API_ALLOWED_HOSTS."
        )
        raise ApiError(421, "foreign-host", detail)
    if head.origin is not None:
        with suppress(ValueError):
            parts = urlsplit(head.origin)
            default = {"http": 80, "https": 443}.get(parts.scheme)
            if default == 80 and name == rules.secure:  # anybody on the way could have written it
                raise foreign_page()
            ours = urlsplit(f"//{head.host}")
            if default and (parts.hostname, parts.port or default) == (name, ours.port or default):
                return
        raise foreign_page()


def foreign_page() -> ApiError:
    """The refusal of what a page of another site sends."""
    return ApiError(403, "foreign-origin", "Pages of other sites may not call this API.")


def name_of(host: str) -> str | None:
    """The name in a Host header, in small letters; None where it is not one."""
    with suppress(ValueError):
        parts = urlsplit(f"//{host}")
        if parts.hostname and parts.netloc == host and "@" not in host and parts.port != 0:
            return parts.hostname.rstrip(".")
    return None


def _is_loopback(name: str) -> bool:
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def address_of(scope: Scope) -> str:
    """Where a request comes from; of IPv6 the network, of which one client has a whole one."""
    client = scope.get("client")
    if not client:
        return "unknown"
    address = str(client[0])
    with suppress(ValueError):
        if ":" in address:
            own = IPv6Address(address)
            mapped = own.ipv4_mapped
            return str(mapped) if mapped else f"{IPv6Address(int(own) >> 64 << 64)}/64"
    return address


async def body_of(receive: Receive, limit: int = BODY_LIMIT) -> bytes:
    """The whole body; raises ApiError where it is too large, or does not come to its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(408, "cut-off", "The request was cut off.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)


def too_large(limit: int = BODY_LIMIT) -> ApiError:
    """The refusal of a body with more bytes than that."""
    return ApiError(413, "too-large", f"A request may have {limit} bytes.")
