"""Web addresses, and which hosts are internal: documents of guests must not name those.

A host is checked here as it is written, and again by each address it resolves to
(`bot.ops.network`).
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from registry.errors import InvalidValue
from registry.normalizing import normal_form

_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")

# Our own tables: the library's idea of what is global changes from one Python to the next.
_V4_SPECIAL = (
    IPv4Network("0.0.0.0/8"),  # this network
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # shared by carriers, and inside many clouds
    IPv4Network("127.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),  # what Azure's machines ask their own host
    IPv4Network("169.254.0.0/16"),  # link-local, with the metadata services of most clouds
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata service
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("192.168.0.0/16"),
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)
_V6_PUBLIC = IPv6Network("2000::/3")
"""All that is public lies here: no loopback, local, mapped, multicast, reserved or SRv6 address."""
_V6_SPECIAL = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarks, relays
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3ffe::/16"),  # the 6bone, given back
    IPv6Network("3fff::/20"),  # documentation
)
_OWN: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    *map(IPv4Network, ("100.64.0.0/10", "169.254.0.0/16")),
    *map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_INSIDE = (_MAPPED, _NAT64)
"""Prefixes that lead only to the IPv4 address inside: as public as that one is."""
_ISATAP = 0x5EFE
_ISATAP_BITS = 0xFCFF_FFFF  # all but "universal" and "group", which may be set or not


def is_internal(host: str) -> bool:
    """Whether a host is internal as it is written; names are checked again when they resolve.

    An address that embeds another is internal if one of them is.
    """
    is_local, address = _as_clients_read_it(host)
    return is_local or (address is not None and not _is_public(address))


def is_own_network(host: str) -> bool:
    """Whether a host is this machine or on a network of its own: no stranger can come from there.

    Of an address that embeds another only the outer one counts, which nobody can choose freely.
    """
    is_local, address = _as_clients_read_it(host)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return is_local or (address is not None and any(address in net for net in _OWN))


def _as_clients_read_it(host: str) -> tuple[bool, IPv4Address | IPv6Address | None]:
    """Whether a host is a local name, and the address that it is, if it is one."""
    plain = normal_form("NFKC", host).replace("\u3002", ".")
    bare = plain.strip("[]").rstrip(".").lower()
    return bare == "localhost" or bare.endswith(_LOCAL_NAMES), _address(bare)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _V4_SPECIAL)
    has_v4 = any(address in net for net in _V4_INSIDE)
    is_special = address not in _V6_PUBLIC or any(address in net for net in _V6_SPECIAL)
    if address.scope_id is not None or (is_special and not has_v4):
        return False
    # What else may be read as an IPv4 address; 6to4 and Teredo are special as a whole.
    number = int(address)
    has_v4 = has_v4 or (number >> 32) & _ISATAP_BITS == _ISATAP
    return not has_v4 or _is_public(IPv4Address(number & 0xFFFF_FFFF))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    with suppress(OSError, UnicodeError):  # decimal, octal, hexadecimal and short forms, too
        return IPv4Address(socket.inet_aton(host.partition("%")[0]))
    return None


def web_parts(
    text: str, cure: str = "write https://host/path", *, printable: bool = True
) -> SplitResult:
    """The parts of an http or https address; raises InvalidValue for anything else.

    With `printable` false it may hold hidden characters, such as a soft hyphen.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidValue("is not a valid address", cure) from None
    is_plain = " " not in text and (text.isprintable() or not printable)
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise InvalidValue("is not an http or https address", cure)
    return parts
