"""The judge of addresses against another reading of them: the library's flags and a table."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.urls import is_internal, is_own_network

V4_BESIDES = [
    ipaddress.IPv4Network(net) for net in ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")
]
V6_BESIDES = [
    ipaddress.IPv6Network(net)
    for net in (
        *("2001:10::/28", "2001:20::/28", "2001:2::/48", "2001::/32", "2002::/16", "2001::/23"),
        *("5f00::/16", "100::/64", "3fff::/20", "2001:db8::/32", "64:ff9b:1::/48", "3ffe::/16"),
    )
]
FORMS = {
    "mapped": "::ffff:0:0/96",
    "compatible": "::/96",
    "translated": "::ffff:0:0:0/96",
    "nat64": "64:ff9b::/96",
    "nat64 of our own": "64:ff9b:1::/96",
}
OUTER = ["2600::", "fd00:1:2:3::", "fe80::", "fec0::", "2001:db8::", "2002:808:808::", "ff02::"]
ISATAP = [0x5EFE, 0x0200_5EFE, 0x0100_5EFE, 0x0300_5EFE]
EDGES = [
    *("0.0.0.0", "0.255.255.255", "1.0.0.0", "8.8.8.8", "9.255.255.255", "10.0.0.1", "11.0.0.0"),
    *("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", "127.0.0.1"),
    *("169.254.169.254", "172.15.255.255", "172.16.0.1", "172.31.255.255", "172.32.0.0"),
    *("192.0.0.192", "192.0.1.0", "192.0.2.2", "192.88.99.1", "192.168.1.1", "192.169.0.0"),
    *("198.17.255.255", "198.18.0.1", "198.20.0.0", "198.51.100.7", "203.0.113.9", "223.255.255.9"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
]

v4 = st.sampled_from(EDGES).map(IPv4Address) | st.ip_addresses(v=4)


def v4_is_internal(address: IPv4Address) -> bool:
    flags = not address.is_global or address.is_multicast or address.is_reserved
    return flags or any(address in net for net in V4_BESIDES)


def outer_is_internal(address: IPv6Address) -> bool:
    flags = (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_site_local
    )
    return flags or any(address in net for net in V6_BESIDES)


def v6_is_internal(address: IPv6Address) -> bool:
    if address.ipv4_mapped is not None:
        return v4_is_internal(address.ipv4_mapped)
    low = IPv4Address(address.packed[12:])
    if address.packed[:12] == IPv6Address("64:ff9b::").packed[:12]:
        return v4_is_internal(low)
    isatap = (
        address.packed[10:12] == b"\x5e\xfe" and address.packed[8] & 0xFC == address.packed[9] == 0
    )
    return outer_is_internal(address) or (isatap and v4_is_internal(low))


@given(v4)
def test_an_ipv4_address_is_judged_by_what_it_is_reserved_for(address: IPv4Address) -> None:
    assert is_internal(str(address)) == v4_is_internal(address)
    assert is_internal(str(int(address))) == v4_is_internal(address)
    assert is_internal(hex(int(address))) == v4_is_internal(address)


@given(v4, st.sampled_from(sorted(FORMS)))
def test_an_address_in_a_form_that_embeds_it_is_internal_if_it_or_the_form_is(
    inner: IPv4Address, form: str
) -> None:
    prefix = int(IPv6Address(FORMS[form].partition("/")[0]))
    address = IPv6Address(prefix | int(inner))
    assert is_internal(str(address)) == v6_is_internal(address)
    if v4_is_internal(inner):
        assert is_internal(str(address))


@given(v4, st.sampled_from(OUTER), st.sampled_from(ISATAP))
@example(IPv4Address("8.8.8.8"), "fd00:1:2:3::", 0x5EFE)
@example(IPv4Address("8.8.8.8"), "fe80::", 0x0200_5EFE)
def test_isatap_is_internal_if_the_outer_or_the_inner_address_is(
    inner: IPv4Address, outer: str, mark: int
) -> None:
    address = IPv6Address(int(IPv6Address(outer)) | mark << 32 | int(inner))
    wanted = outer_is_internal(IPv6Address(outer)) or v4_is_internal(inner)
    assert is_internal(str(address)) == wanted
    assert is_internal(f"[{address.exploded}]") == wanted


@given(v4, v4, st.integers(0, 2**80 - 1))
def test_6to4_and_teredo_are_internal_whatever_they_carry(
    server: IPv4Address, client: IPv4Address, rest: int
) -> None:
    sixtofour = IPv6Address(0x2002 << 112 | int(server) << 80 | rest)
    assert sixtofour.sixtofour == server
    assert is_internal(str(sixtofour))
    hidden = int(client) ^ 0xFFFF_FFFF
    teredo = IPv6Address(0x2001_0000 << 96 | int(server) << 64 | (rest >> 48) << 32 | hidden)
    assert teredo.teredo == (server, client)
    assert is_internal(str(teredo))


@given(
    st.ip_addresses(v=6)
    | st.sampled_from(V6_BESIDES).flatmap(lambda net: st.ip_addresses(network=net))
)
def test_an_ipv6_address_is_public_only_where_everything_about_it_is(address: IPv6Address) -> None:
    assert is_internal(str(address)) == v6_is_internal(address)


@given(st.ip_addresses(v=6), st.sampled_from(["1", "eth0", "25eth0"]))
def test_an_address_with_a_scope_is_internal(address: IPv6Address, scope: str) -> None:
    assert is_internal(f"{address}%{scope}")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *((one, True) for one in ("127.0.0.1", "::1", "10.1.2.3", "fd00::2", "fe80::1%eth0")),
        *((one, True) for one in ("::ffff:192.168.0.9", "localhost", "x.internal", "100.64.1.1")),
        # A stranger on the internet can have each of these:
        *((one, False) for one in ("2600::5efe:7f00:1", "2600::200:5efe:a00:1", "2002:a00:1::1")),
        *((one, False) for one in ("2001:0:7f00:1::1", "64:ff9b::7f00:1", "::ffff:8.8.8.8")),
        *((one, False) for one in ("8.8.8.8", "2600::1", "example.org", "")),
    ],
)
def test_only_an_address_that_no_stranger_can_have_is_on_our_own_network(
    host: str, ours: bool
) -> None:
    assert is_own_network(host) is ours
