"""Shortens long MCP messages before they are parsed, to the parts that a model is shown.

Parsing very many values takes far longer than the size of a message suggests: such a message is
refused by counting its punctuation. Any other long message is parsed and cut in a thread.
"""

from __future__ import annotations

from typing import Any

import orjson

from bot.ops.plain_json import mended
from bot.ops.tasks import run_in_daemon_thread

LONG = 64 * 1024
PARTS = 2_000
BRACKETS = 50_000
QUOTES = 200_000
COMMAS = 800_000
TOO_MANY_PARTS = "The tool ran, but its answer has too many parts: ask for less."


class TooManyParts(ValueError):
    """The message has too many values to be parsed."""

    def __init__(self) -> None:
        super().__init__(TOO_MANY_PARTS)


async def shortened(raw: bytes) -> bytes:
    """Shorten the JSON of a message; raises TooManyParts, or ValueError if it is not JSON."""
    if len(raw) <= LONG:
        return mended(raw)
    found: bytes = await run_in_daemon_thread(lambda: shorten(raw))
    return found


def shorten(raw: bytes) -> bytes:
    """The same without a thread."""
    if _has_too_many_parts(raw):
        raise TooManyParts
    message = orjson.loads(mended(raw))
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        return raw
    cut(result)
    _structure_as_text(result)
    return orjson.dumps(message)


def cut(result: dict[str, Any]) -> None:
    """Drop all but the first parts of a result, and say how many were dropped."""
    for name in ("content", "messages", "prompts"):
        # One more is our own note on an earlier cut.
        if isinstance(parts := result.get(name), list) and len(parts) > PARTS + 1:
            result[name] = parts[:PARTS]
            if name == "content":
                note = f"[{len(parts) - PARTS} more parts are left out]"
                result[name].append({"type": "text", "text": note})


def _structure_as_text(result: dict[str, Any]) -> None:
    """Turn structured content into a text part where there is no other text."""
    content = result.get("content")
    if not isinstance(content, list) or result.get("structuredContent") is None:
        return
    structure = result.pop("structuredContent")
    if not any(map(_has_text, content)):
        content.append({"type": "text", "text": orjson.dumps(structure).decode()})


def _has_text(part: Any) -> bool:
    text = part.get("text") if isinstance(part, dict) else None
    return isinstance(text, str) and bool(text.strip())


def _has_too_many_parts(raw: bytes) -> bool:
    quotes = raw.count(b'"') - raw.count(b'\\"')
    brackets = raw.count(b"[") + raw.count(b"{")
    return brackets > BRACKETS or quotes > QUOTES or raw.count(b",") > COMMAS
