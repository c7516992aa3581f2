"""JSON that others wrote, read for what it says: half a surrogate pair spoils no text, no number.

Half of a pair is no character, and whoever cuts texts in UTF-16 writes one now and then; it is read
as U+FFFD. Whole numbers are exact however long they are; what is no number that anybody can hold,
such as NaN or 1e400, makes the text unreadable.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

LEVELS = 100
LARGEST = 2**64 - 1
SMALLEST = -(2**63)
"""The whole numbers that every reader takes; beyond them many make something else of a number."""

_HALVES = (b"\\ud", b"\\uD")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_MOST_DIGITS = 4_000
_LONG_NUMBER = re.compile(rb"\d{19}")


def read(raw: bytes) -> Any:
    """The value in some bytes; raises ValueError where there is none, or none that can be held."""
    if _LONG_NUMBER.search(raw) is None:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    try:
        text = mended(raw).decode("utf-8-sig")
        return json.loads(
            text, parse_constant=_constant, parse_float=_finite, parse_int=_whole_number
        )
    except RecursionError:
        raise NotPlain("more levels than anybody can walk down") from None


class NotPlain(ValueError):
    """JSON by its letters, with a number or a nesting that nobody can hold."""


def values_in(raw: bytes, most: int) -> int:
    """About how many values a JSON text holds, told by its marks; exact where beyond `most`."""
    count = _marks(raw)
    return count if count <= most else _marks(_TEXT.sub(b"", raw))


def _marks(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def is_deep(value: Any, levels: int = LEVELS) -> bool:
    """Whether there are more levels than whoever reads it later can be sure to walk down."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [x for one in inner for x in one if isinstance(x, dict | list)]
    return bool(level)


def with_long_numbers_as_texts(value: Any) -> Any:
    """A value that is not deep, with the digits of whole numbers that not every reader takes."""
    if isinstance(value, dict):
        return {name: with_long_numbers_as_texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [with_long_numbers_as_texts(one) for one in value]
    return str(value) if has_long_number(value) else value


def has_long_number(value: Any) -> bool:
    """Whether there is a whole number in a value that not every reader takes."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int) and not SMALLEST <= one <= LARGEST:
            return True
    return False


def mended(raw: bytes) -> bytes:
    """A JSON text in which each half of a pair that stands alone is U+FFFD."""
    if not any(half in raw for half in _HALVES):
        return raw
    return _ESCAPE.sub(_whole, raw)


def _whole(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match[1] else match[0]


def _constant(name: str) -> NoReturn:
    raise NotPlain(f"{name}, which is no number")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise NotPlain("a number that is too large to be held")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotPlain("a number that is too large to be held")
    return number
