"""Long messages made short before anybody reads them, with no more parts than a model is shown.

What has very many values takes long to be read, far longer than its size tells: such a message is
refused by a count of its marks alone. A long one that has not is read and cut in a thread.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson

from bot.ops.aside import aside
from bot.plain_json import NotPlain, mended, read

LONG = 64 * 1024
PARTS = 2_000
BRACKETS = 50_000
QUOTES = 200_000
COMMAS = 800_000
CROWDED = "The tool ran, but its answer has too many parts: ask for less."


BROKEN = "The tool ran, but its answer breaks the protocol."


class Unsound(ValueError):
    """A message that cannot be taken as it is, although the SDK takes it.

    It holds a number that nobody can hold, says that a call failed and what it came to, or answers
    another request than its own.
    """


class Crowded(ValueError):
    """A message with more values than anybody reads."""

    def __init__(self) -> None:
        super().__init__(CROWDED)


async def slimmed(raw: bytes, request: Any = None) -> bytes:
    """A message's JSON as one that is quickly read, perhaps an answer to a `request`, by its id.

    Raises Crowded, Unsound, and ValueError for what is no JSON.
    """
    if len(raw) <= LONG:
        whole = mended(raw)
        with suppress(orjson.JSONDecodeError):  # the SDK tells of it
            _read(whole, request)
        return whole
    found: bytes = await aside(lambda: slim(raw, request))
    return found


def _read(raw: bytes, request: Any) -> Any:
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            read(raw)
        except NotPlain:
            raise Unsound from None
        except ValueError:
            pass
        raise
    if isinstance(message, dict) and "method" not in message:
        ends, id = message.keys() & {"result", "error"}, message.get("id")
        foreign = None not in (id, request) and str(id) != str(request)
        if len(ends) == 2 or (ends and foreign):
            raise Unsound
    return message


def slim(raw: bytes, request: Any = None) -> bytes:
    """The same, made at once."""
    if _is_crowded(raw):
        raise Crowded
    message = _read(mended(raw), request)
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        return raw
    cut(result)
    _tell_structure(result)
    return orjson.dumps(message)


def cut(result: dict[str, Any]) -> None:
    """Take away what is beyond the first parts of a result, and say so."""
    for name in ("content", "messages", "prompts"):
        # One more may stand there: our own word on what was cut before.
        if isinstance(parts := result.get(name), list) and len(parts) > PARTS + 1:
            result[name] = parts[:PARTS]
            if name == "content":
                told = f"[{len(parts) - PARTS} more parts are left out]"
                result[name].append({"type": "text", "text": told})


def _tell_structure(result: dict[str, Any]) -> None:
    """Structured content as a text, where there is no other; nobody takes it apart after that."""
    content = result.get("content")
    if not isinstance(content, list) or result.get("structuredContent") is None:
        return
    structure = result.pop("structuredContent")
    if not any(map(_says_something, content)):
        content.append({"type": "text", "text": orjson.dumps(structure).decode()})


def _says_something(part: Any) -> bool:
    text = part.get("text") if isinstance(part, dict) else None
    return isinstance(text, str) and bool(text.strip())


def _is_crowded(raw: bytes) -> bool:
    quotes = raw.count(b'"') - raw.count(b'\\"')
    brackets = raw.count(b"[") + raw.count(b"{")
    return brackets > BRACKETS or quotes > QUOTES or raw.count(b",") > COMMAS
