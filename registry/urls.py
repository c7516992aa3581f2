"""Web addresses, and which hosts are internal: documents of guests must not name those.

A host is checked here as it is written, and again by each address that it resolves to
(`bot.ops.network`).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from registry.errors import InvalidValue
from registry.normalizing import normal_form

_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")

# Our own tables: the library's idea of what is global changes from one Python to the next.
_V4_SPECIAL = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers, and inside many clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # what Azure's machines ask their own host
        "169.254.0.0/16",  # link-local, with the metadata services of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_V6_PUBLIC = IPv6Network("2000::/3")
"""All that is public lies here: no loopback, local, mapped, multicast, reserved or SRv6 address."""
_V6_SPECIAL = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks, relays
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation
    )
)
_OWN: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    *map(IPv4Network, ("100.64.0.0/10", "169.254.0.0/16")),
    *map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_INSIDE = (_MAPPED, _NAT64)
"""What leads to the IPv4 address inside, and nowhere else: as public as that one is."""
_ISATAP = 0x5EFE
_ISATAP_BITS = 0xFCFF_FFFF  # all but "universal" and "group", which may be set or not


def is_internal(host: str) -> bool:
    """Whether a host is internal as it is written; names are checked again when they resolve.

    An address that embeds another is internal if one of them is.
    """
    bare = _as_clients_read_it(host)
    if _is_local_name(bare):
        return True
    address = _address(bare)
    return address is not None and not _is_public(address)


def is_own_network(host: str) -> bool:
    """Whether a host is this machine or on a network of its own: no stranger can come from there.

    Of an address that embeds another only the outer one counts, which nobody can choose freely.
    """
    bare = _as_clients_read_it(host)
    if _is_local_name(bare):
        return True
    address = _address(bare)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address is not None and any(address in net for net in _OWN)


def _as_clients_read_it(host: str) -> str:
    plain = normal_form("NFKC", host).replace("\u3002", ".")
    return plain.strip("[]").rstrip(".").lower()


def _is_local_name(bare: str) -> bool:
    return bare == "localhost" or bare.endswith(_LOCAL_NAMES)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _V4_SPECIAL)
    outer = any(address in net for net in _V4_INSIDE) or (
        address in _V6_PUBLIC and not any(address in net for net in _V6_SPECIAL)
    )
    return outer and address.scope_id is None and all(map(_is_public, _embedded(address)))


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address may be read as; 6to4 and Teredo are refused whole."""
    number = int(address)
    by_form = any(address in net for net in _V4_INSIDE)
    if by_form or (number >> 32) & _ISATAP_BITS == _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # decimal, octal, hexadecimal and short forms are addresses, too
        return IPv4Address(socket.inet_aton(host.partition("%")[0]))
    except (OSError, UnicodeError):
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
