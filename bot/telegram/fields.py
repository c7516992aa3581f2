"""The fields of an update's objects, each checked for what the Bot API promises."""

from __future__ import annotations

from typing import Any


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


def str_of(source: dict[str, Any], key: str) -> str:
    """A field that is a string; raises OddError."""
    value = source.get(key)
    if not isinstance(value, str):
        raise OddError(key)
    return value
