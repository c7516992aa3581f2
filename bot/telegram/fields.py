"""The fields of an update's objects, each checked for what the Bot API promises."""

from __future__ import annotations

from typing import Any, Final

_ID_BITS: Final = 53
"""Ids have 52 bits at most, the Bot API says; what has more would be rounded by other programs."""
_LAST_MOMENT: Final = 2**32 - 1
"""The end of Unix time in 32 bits, in the year 2106: any calendar can show it."""


class OddError(ValueError):
    """The update is not what the Bot API promises."""


def object_of(source: dict[str, Any], key: str) -> dict[str, Any]:
    """A field that is an object; raises OddError."""
    value = source.get(key)
    if not isinstance(value, dict):
        raise OddError(key)
    return value


def int_of(source: dict[str, Any], key: str) -> int:
    """A field that is a whole number; raises OddError."""
    value = source.get(key)
    if type(value) is not int:
        raise OddError(key)
    return value


def id_of(source: dict[str, Any], key: str) -> int:
    """A field that can be the id of something; raises OddError."""
    value = int_of(source, key)
    if value.bit_length() > _ID_BITS:
        raise OddError(key)
    return value


def moment_of(source: dict[str, Any], key: str) -> int:
    """A field that is a moment, in seconds since 1970; an absurd one is moved into 1970 to 2106.

    Raises OddError.
    """
    value: Any = source.get(key)
    if type(value) not in (int, float) or value != value:  # no number is no time
        raise OddError(key)
    return int(min(max(value, 0), _LAST_MOMENT))


def str_of(source: dict[str, Any], key: str) -> str:
    """A field that is a string; raises OddError."""
    value = source.get(key)
    if not isinstance(value, str):
        raise OddError(key)
    return value
