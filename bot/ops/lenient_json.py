"""JSON that others wrote, read for what it says: one odd value does not spoil the rest.

`loads` is exact: integers of any length, but no number that cannot be held, such as NaN or 1e400.
`loads_object` is for Telegram's updates, where no value may stop the intake: numbers are clamped.
`loads_readable` is for what a model reads: such numbers stay as the text that they are written in.
All read half of a surrogate pair, which some clients cut off in UTF-16, as U+FFFD.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 100
MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)
"""The integers that every reader takes; many read one beyond them as another number."""

_HALVES = (b"\\ud", b"\\uD")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_MAX_DIGITS = 4_000
_LONG_NUMBER = re.compile(rb"\d{19}")
_CLAMP_DIGITS = 18
_CLAMP = 2**63 - 1


class UnsupportedJson(ValueError):
    """Valid JSON with a number or a nesting that cannot be held."""


class JsonTooDeep(ValueError):
    """JSON that is nested too deep to be read at all."""


def loads(raw: bytes) -> Any:
    """The value in some bytes; raises ValueError where there is none, UnsupportedJson is a kind."""
    if _LONG_NUMBER.search(raw) is None:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(
            replace_half_surrogates(raw).decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=_exact_float,
            parse_int=_exact_integer,
        )
    except RecursionError:
        raise UnsupportedJson("too many levels of nesting") from None


def count_values(raw: bytes, most: int) -> int:
    """About how many values a JSON text holds, by its punctuation; exact where beyond `most`."""
    count = _punctuation(raw)
    return count if count <= most else _punctuation(_TEXT.sub(b"", raw))


def _punctuation(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _refuse_constant(name: str) -> NoReturn:
    raise UnsupportedJson(f"{name}, which is not a number")


def _exact_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise UnsupportedJson("a number that is too large")
    return int(digits)


def _exact_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise UnsupportedJson("a number that is too large")
    return number


def loads_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in some bytes, or None where there is none; raises JsonTooDeep.

    Numbers out of range become the nearest one that can be held, NaN becomes null.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise JsonTooDeep from None
        document = _loads_clamped(body)
    return document if isinstance(document, dict) else None


def _loads_clamped(body: bytes) -> Any:
    try:
        found = json.loads(
            body.decode("utf-8-sig", "replace"),
            strict=False,
            parse_int=_clamped_integer,
            parse_float=_clamped_float,
            parse_constant=lambda _: None,
        )
        return orjson.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise JsonTooDeep from None
    except ValueError:
        return None


def loads_readable(raw: bytes) -> Any:
    """The value in some bytes, also where they have a BOM, raw control characters or no UTF-8.

    A number that cannot be held, such as NaN, is text. Raises ValueError where there is no value,
    UnsupportedJson where it is nested too deep.
    """
    try:
        return json.loads(
            replace_half_surrogates(raw).strip().decode("utf-8-sig", "replace"),
            strict=False,
            parse_int=lambda digits: int(digits) if len(digits) <= _CLAMP_DIGITS else digits,
            parse_float=lambda digits: digits if math.isinf(float(digits)) else float(digits),
            parse_constant=str,
        )
    except RecursionError:
        raise UnsupportedJson("too many levels of nesting") from None


def _clamped_integer(digits: str) -> int:
    if len(digits) <= _CLAMP_DIGITS:
        return int(digits)
    return -_CLAMP if digits.startswith("-") else _CLAMP


def _clamped_float(digits: str) -> float:
    return max(-sys.float_info.max, min(float(digits), sys.float_info.max))


def dumps(document: Any) -> bytes:
    """A document as JSON; what is nested too deep to be written becomes null."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_pruned(document, MAX_DEPTH))


def _pruned(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item, levels - 1) for key, item in value.items()} if levels else None
    if isinstance(value, list):
        return [_pruned(item, levels - 1) for item in value] if levels else None
    return value


def is_too_deep(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Whether a value has more levels than every later reader is sure to take."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for one in inner for item in one if isinstance(item, dict | list)]
    return bool(level)


def has_long_integer(value: Any) -> bool:
    """Whether a value holds an integer that not every reader takes."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending += one.values()
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, int) and not MIN_INTEGER <= one <= MAX_INTEGER:
            return True
    return False


def long_integers_as_text(value: Any) -> Any:
    """The same value, not too deep, with the integers that not every reader takes as text."""
    if isinstance(value, dict):
        return {name: long_integers_as_text(one) for name, one in value.items()}
    if isinstance(value, list):
        return [long_integers_as_text(one) for one in value]
    return str(value) if has_long_integer(value) else value


def replace_half_surrogates(raw: bytes) -> bytes:
    """A JSON text in which each lone half of a surrogate pair is U+FFFD."""
    if not any(half in raw for half in _HALVES):
        return raw
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], raw)
