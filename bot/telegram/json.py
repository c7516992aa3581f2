"""Telegram's JSON, read and written however odd it is: one odd value must not stop an intake."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

import orjson

_DEEPEST: Final = 100
"""No update of the Bot API comes near; the library writes no deeper than 254."""
_MOST: Final = 2**63 - 1
_DIGITS: Final = 18
_FIRST_UPDATE: Final = re.compile(
    rb'\s*\{\s*"ok"\s*:\s*true\s*,\s*"result"\s*:\s*\[\s*\{\s*"update_id"\s*:\s*(\d{1,15})\b'
)


class TooDeep(ValueError):
    """JSON that is nested so deep that nothing here can read it."""


def document_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object in some bytes, or None where there is none; raises TooDeep."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise TooDeep from None
        document = _lenient(body)
    return document if isinstance(document, dict) else None


def dumped(document: Any) -> bytes:
    """A document as JSON; what is nested too deep to be written becomes null."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_pruned(document, _DEEPEST))


def first_update(body: bytes) -> int | None:
    """The first update's id in an answer to getUpdates that cannot be read, where it can be seen.

    Only what stands at the very beginning counts: no text in an update can pass for it.
    """
    found = _FIRST_UPDATE.match(body)
    return int(found[1]) if found else None


def _lenient(body: bytes) -> Any:
    """JSON that orjson refuses: half a surrogate pair, broken UTF-8, a number beyond all bounds."""
    try:
        text = body.decode("utf-8-sig", "replace")
        found = json.loads(
            text,
            strict=False,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=lambda _: None,
        )
        return orjson.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise TooDeep from None
    except ValueError:
        return None


def _whole(digits: str) -> int:
    if len(digits) <= _DIGITS:
        return int(digits)
    return -_MOST if digits.startswith("-") else _MOST


def _finite(digits: str) -> float:
    return max(-sys.float_info.max, min(float(digits), sys.float_info.max))


def _pruned(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item, levels - 1) for key, item in value.items()} if levels else None
    if isinstance(value, list):
        return [_pruned(item, levels - 1) for item in value] if levels else None
    return value
