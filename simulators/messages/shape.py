"""Checks of one JSON value each; a wrong one is refused with its place, as the API words it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from simulators.messages.refusals import invalid

Obj = dict[str, Any]


def mapping(value: object, place: str) -> Obj:
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    return value


def array(value: object, place: str) -> list[Any]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise invalid(f"{place}: Input should be a valid list")
    return value


def text(value: object, place: str) -> str:
    """The value, if it is a string."""
    if not isinstance(value, str):
        raise invalid(f"{place}: Input should be a valid string")
    return value


def integer(value: object, place: str, least: int | None = None) -> int:
    """The value, if it is a whole number, not below `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{place}: Input should be a valid integer")
    if least is not None and value < least:
        raise invalid(f"{place}: Input should be greater than or equal to {least}")
    return value


def number(value: object, place: str, low: float, high: float) -> float:
    """The value, if it is a number from `low` to `high`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"{place}: Input should be a valid number")
    if value < low:
        raise invalid(f"{place}: Input should be greater than or equal to {low:g}")
    if value > high:
        raise invalid(f"{place}: Input should be less than or equal to {high:g}")
    return float(value)


def boolean(value: object, place: str) -> bool:
    """The value, if it is true or false."""
    if not isinstance(value, bool):
        raise invalid(f"{place}: Input should be a valid boolean")
    return value


def one_of(value: object, options: Sequence[str], place: str) -> str:
    """The value, if it is one of `options`."""
    if not isinstance(value, str) or value not in options:
        raise invalid(f"{place}: Input should be {listed(options)}")
    return value


def present(obj: Obj, field: str, place: str) -> Any:
    """`obj[field]`, which must be there; `place` is the path of `obj` (empty: the top)."""
    if field not in obj:
        raise invalid(f"{joined(place, field)}: Field required")
    return obj[field]


def only(obj: Obj, allowed: Collection[str], place: str) -> None:
    """Refuse every field that is not in `allowed`."""
    for field in obj:
        if field not in allowed:
            raise invalid(f"{joined(place, field)}: Extra inputs are not permitted")


def joined(place: str, field: str) -> str:
    """A place one step deeper."""
    return f"{place}.{field}" if place else field


def listed(options: Sequence[str]) -> str:
    """Options in quotes with an "or" before the last."""
    quoted = [f"'{option}'" for option in options]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
