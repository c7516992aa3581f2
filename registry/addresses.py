"""Hosts that a document from a chat or from Redis must not name: internal ones, however written."""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_OTHER_EMBEDDED = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
_ISATAP = (0x5EFE, 0x0200_5EFE)
_NEVER_PUBLIC = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("fec0::/10"))
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")


def is_internal(host: str) -> bool:
    """Whether a host is internal by its writing alone; names are judged again when they resolve."""
    plain = unicodedata.normalize("NFKC", host).replace("\u3002", ".")  # as clients read it
    bare = plain.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(_LOCAL_NAMES):
        return True
    address = _address(bare)
    return address is not None and not _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and any(address in net for net in _NEVER_PUBLIC):
        return False
    inner = _unwrapped(address)
    return inner.is_global and not inner.is_multicast


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:  # decimal, octal, hexadecimal and short forms are addresses, too
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    in_isatap = (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
    if in_isatap or any(address in net for net in (_NAT64, *_OTHER_EMBEDDED)):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
