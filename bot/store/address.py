"""The address of a store, checked, so that it means what it says.

The client reads addresses leniently: a raw `/` in a password ends the host, a database that is not
a number counts as 0, and an option that it does not know fails at the first connection.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry.errors import InvalidValue
from registry.fields import nearest
from registry.secrets import shown

_FORMS = "write redis://:password@host:6379/0, rediss://… for TLS, or unix:///path/to/socket"
_IN_PASSWORDS = "write / as %2F, # as %23, @ as %40, ? as %3F and [ as %5B"
_DATABASE = "write a whole number, as a rule 0 to 15: redis://host:6379/0"

LEAST_CONNECTIONS = 3
"""Two stay open, to hear of other hosts' work and of changed agents; one is for everything else."""

LEAST_SECONDS = 0.05
"""A healthy store may take this long to answer."""

_VISIBLE = re.compile("[!-~]+")
_END = re.compile("[/?#]")
_BRACKET = re.compile(r"[\[\]]")


def _one_of(*words: str) -> Callable[[str], object]:
    return words.index


def _seconds(text: str) -> None:
    """A time limit: with a shorter one, calls to a healthy store fail."""
    if not LEAST_SECONDS <= float(text) < math.inf:
        raise ValueError(text)


def _client_name(text: str) -> None:
    """What servers take for the name of a connection."""
    if not _VISIBLE.fullmatch(text):
        raise ValueError(text)


def _at_least(least: int) -> Callable[[str], object]:
    def check(text: str) -> None:
        if _whole(text) < least:
            raise ValueError(text)

    return check


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _tls_version(text: str) -> object:
    return ssl.TLSVersion(int(text))


def _verify_flags(text: str) -> object:
    names = [name.strip() for name in text.strip("[]").split(",")]
    if unknown := {*names} - {*ssl.VerifyFlags.__members__}:
        raise ValueError(unknown)
    return names


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("username", "password", "lib_name", "lib_version"), str),
    "client_name": _client_name,
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), _seconds),
    "max_connections": _at_least(LEAST_CONNECTIONS),
    "socket_read_size": _at_least(1),
    "health_check_interval": _whole,
    "retry_on_timeout": str,
    "db": _whole,
    "protocol": _one_of("2", "3"),
}
_OF_TCP: Mapping[str, Callable[[str], Any]] = {**_OPTIONS, "socket_keepalive": str}
_OF_TLS: Mapping[str, Callable[[str], Any]] = {
    **_OF_TCP,
    **dict.fromkeys(("ssl_keyfile", "ssl_certfile", "ssl_password", "ssl_ciphers"), str),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_check_hostname"), str),
    **dict.fromkeys(("ssl_include_verify_flags", "ssl_exclude_verify_flags"), _verify_flags),
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_min_version": _tls_version,
}
_BY_SCHEME = {"redis": _OF_TCP, "rediss": _OF_TLS, "unix": _OPTIONS}
"""What may follow the `?`: each option, with what raises ValueError for a wrong value."""
_LEAST = f"seconds, at least {LEAST_SECONDS}"
_VALUES: Mapping[str, str] = {
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), _LEAST),
    "client_name": "a name of ASCII letters, digits and signs, without spaces",
    "max_connections": f"a whole number, at least {LEAST_CONNECTIONS}",
    "socket_read_size": "a whole number of bytes, at least 1",
    "health_check_interval": "a whole number of seconds, 0 or more",
    "protocol": "2 or 3",
    "ssl_cert_reqs": "none, optional or required",
}
"""What the value of an option must be."""


def check_address(url: str) -> None:
    """Raise InvalidValue if this is not an address, or would not mean what it seems to say.

    Only the name of an option is repeated: any other part might belong to a password.
    """
    scheme = url.partition("://")[0].lower()
    options = _BY_SCHEME.get(scheme)
    if options is not None and _ends_early(url, scheme, options):
        message = "has a raw / ? # or [ before the @ of its host, where the host would end"
        raise InvalidValue(message, f"{_IN_PASSWORDS} in the password")
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only when it is asked for
    except ValueError:
        raise InvalidValue("is not a valid store address", _FORMS) from None
    if options is None or not (parts.path if scheme == "unix" else parts.hostname):
        raise InvalidValue("is not a valid store address", _FORMS)
    if scheme != "unix" and not _is_database(parts.path):
        raise InvalidValue("has a database that is not a number", _DATABASE)
    for name, values in parse_qs(parts.query).items():
        _check_option(name, values[0], options, scheme)


def _ends_early(url: str, scheme: str, options: Mapping[str, Any]) -> bool:
    """Whether the host ends before an @ that people would take for its beginning."""
    rest = url.partition("://")[2]
    authority = _END.split(rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    if "@" not in after:
        return bool(_BRACKET.search(authority.rpartition("@")[0]))
    if scheme == "unix":  # its path may have one
        return bool(authority) and "@" not in authority
    path, _, query = after.partition("?")
    names = parse_qs(query)
    return "@" in path or "#" in after or not names or not set(names) <= set(options)


def _is_database(path: str) -> bool:
    number = path.strip("/")
    return not number or (number.isascii() and number.isdigit())


def _check_option(name: str, value: str, options: Mapping[str, Any], scheme: str) -> None:
    if name not in options:
        near = nearest(name, options, 0.8)
        cure = f"did you mean {near}?" if near else "remove it"
        if scheme != "rediss" and name in _OF_TLS:
            cure = "remove it" if scheme == "unix" else "write rediss:// for TLS, or remove it"
        raise InvalidValue(f"has an option {shown(name)} that cannot be used here", cure)
    try:
        options[name](value)
    except ValueError:
        if name == "db":
            raise InvalidValue("has a database that is not a number", _DATABASE) from None
        message = f"has an option '{name}' with a wrong value"
        form = f"write {_VALUES[name]}, or " if name in _VALUES else ""
        raise InvalidValue(message, f"{form}remove the option") from None
