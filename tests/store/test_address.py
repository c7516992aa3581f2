"""What a store's address is taken for is what the client makes of it."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from bot.store.address import check_address
from bot.store.client import connect
from registry.errors import InvalidValue

OPTIONS = {
    **dict.fromkeys(("username", "password", "client_name", "ssl_password"), "x"),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), "2.5"),
    **dict.fromkeys(("max_connections", "socket_read_size", "health_check_interval"), "9"),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout", "ssl_check_hostname"), "no"),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_keyfile", "ssl_certfile"), "/x"),
    **dict.fromkeys(("ssl_include_verify_flags", "ssl_exclude_verify_flags"), "VERIFY_X509_STRICT"),
    "db": "3",
    "protocol": "2",
    "ssl_cert_reqs": "none",
    "ssl_min_version": "771",
}


@given(
    password=st.text("aB3/?#@:[]%&=+.\\'\" !$ü", min_size=1, max_size=9),
    rest=st.sampled_from(["", "/0", "/3?socket_timeout=5", "?db=1", "#x"]),
)
@example(password="ss/w#rd", rest="/0")
@example(password="pa?ss=1", rest="")
@example(password="db?socket_timeout=@", rest="")
def test_an_address_is_refused_or_leads_where_it_was_meant_to(password: str, rest: str) -> None:
    check_address(f"redis://u:{quote(password, safe='')}@h:6379{rest}")
    url = f"redis://u:{password}@h:6379{rest}"
    with suppress(InvalidValue):
        check_address(url)
        found = parse_url(url)
        assert (found["host"], found["password"]) == ("h", unquote(password))


@pytest.mark.parametrize("option", OPTIONS)
def test_the_client_takes_each_option_that_is_taken(option: str) -> None:
    url = f"rediss://h:6379/0?{option}={OPTIONS[option]}"
    check_address(url)
    connect(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("ssl_min_version=9", "remove the option"),
        ("ssl_include_verify_flags=NONE", "remove the option"),
        *((f"max_connections={n}", "at least 3") for n in ("many", "0", "1", "2", "-1", "2.5")),
        *(
            (f"timeout={n}", "seconds, at least 0.05")
            for n in ("0", "-1", "nan", "inf", "long", "0.049")
        ),
        *(
            (f"socket_timeout={n}", "seconds, at least 0.05")
            for n in ("0", "-1", "nan", "inf", "5s", "0.001")
        ),
        *((f"socket_connect_timeout={n}", "at least 0.05") for n in ("0.0", "-0.5", "0.00001")),
        *((f"client_name={n}", "without spaces") for n in ("a%20b", "a+b", "b%C3%B6t", "a%0Ab")),
        ("socket_read_size=0", "at least 1"),
        *((f"health_check_interval={n}", "0 or more") for n in ("x", "-1", "0.5")),
        *((f"protocol={n}", "2 or 3") for n in ("9", "0", "RESP3")),
        ("ssl_cert_reqs=perhaps", "none, optional or required"),
    ],
)
def test_a_value_that_the_client_would_stumble_over_is_refused(option: str, cure: str) -> None:
    with pytest.raises(InvalidValue, match="with a wrong value") as refused:
        check_address(f"rediss://h:6379/0?{option}")
    assert option.partition("=")[0] in refused.value.message
    assert cure in refused.value.cure
