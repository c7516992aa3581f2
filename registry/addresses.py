"""Hosts that a document from a chat or from Redis must not name: internal ones, however written."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")


def is_internal(host: str) -> bool:
    """Whether a host is internal by its writing alone; names are judged again when they resolve."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(_LOCAL_NAMES):
        return True
    address = _address(bare)
    return address is not None and not _unwrapped(address).is_global


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
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
