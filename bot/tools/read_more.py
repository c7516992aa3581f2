"""What was cut off the results of tools, to be read on."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bot.messages import Fence, TurnRef
from bot.store import keys
from bot.store.client import StoreClient


@dataclass(frozen=True, slots=True)
class Remainder:
    """What was cut off a tool's result: whose it was (its key), and the text.

    `whole` is False where not even the rest was kept to its end.
    """

    key: str
    text: str
    whole: bool = True


KEPT_FOR_EACH = 8
SECONDS = 24 * 3600


class TruncatedResults:
    """Implements `ports.Rests`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def keep(self, fence: Fence, ref: TurnRef, handle: str, rest: Remainder) -> None:
        """Keep a rest under its handle; done again, it replaces itself."""
        names = [
            keys.fence(fence.line),
            keys.truncated_results(fence.line, ref.conversation, ref.agent),
        ]
        body = zlib.compress(orjson.dumps([rest.key, rest.text, rest.whole]), 1)
        await self._client.run_idempotent(
            "save_remainder", names, [fence.token, handle, body, KEPT_FOR_EACH, SECONDS]
        )

    async def rest(self, line: str, ref: TurnRef, handle: str) -> Remainder | None:
        """A rest by its handle, or None where it is not kept any more."""
        name = keys.truncated_results(line, ref.conversation, ref.agent)
        found = await self._client.retry_while_down(
            lambda: self._client.command("HGET", name, handle)
        )
        return Remainder(*orjson.loads(zlib.decompress(found))) if found else None


HOST = ":"
"""Stands for the server where a tool is the host's own; no server's name has a colon."""
READ_MORE = "read_more"
KEY = f"host:{READ_MORE}"

TOOL: dict[str, Any] = {
    "name": READ_MORE,
    "description": "Reads on in a tool result that was cut. The cut result names the handle.",
    "input_schema": {
        "type": "object",
        "properties": {
            "handle": {"type": "string"},
            "offset": {"type": "integer", "minimum": 0, "description": "0 where it was cut."},
        },
        "required": ["handle"],
    },
}

BAD_INPUT = "Give a handle that a cut result names, and an offset of 0 or more."
LOST = (
    "There is nothing to read on under this handle any more: rests are kept for a day, and only "
    "the newest few. Call the tool again, and ask it for less."
)
BEYOND = "There is nothing at this offset: the rest has {} characters."
NOT_ALL = "what follows was too long to be kept; ask the tool for less"


_HANDLE = re.compile(r"[0-9a-f]{10}\Z")


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a rest, and the key of the tool it came from; or what is wrong with the asking."""

    text: str
    key: str = ""
    error: bool = False


class ReadMore:
    """The rests of one transcript; `shown` is how many characters the model reads at once."""

    def __init__(self, rests: TruncatedResults, fence: Fence, ref: TurnRef, shown: int) -> None:
        self._rests = rests
        self._fence = fence
        self._ref = ref
        self.shown = shown

    async def keep(self, call: str, rest: Remainder) -> str:
        """Keep what was cut off the result of a call; how to read on, in a sentence."""
        handle = hashlib.sha256(f"{self._ref.entry} {call}".encode()).hexdigest()[:10]
        await self._rests.keep(self._fence, self._ref, handle, rest)
        return f'[read on with {READ_MORE}: {{"handle": "{handle}", "offset": 0}}]'

    async def page(self, arguments: Mapping[str, Any]) -> Page:
        """The piece of a rest that a call asks for."""
        handle, offset = arguments.get("handle"), arguments.get("offset", 0)
        if not isinstance(handle, str) or not _is_offset(offset):
            return Page(BAD_INPUT, error=True)
        rest = None
        if _HANDLE.match(handle):
            rest = await self._rests.rest(self._fence.line, self._ref, handle)
        if rest is None:
            return Page(LOST, error=True)
        if offset >= len(rest.text):
            return Page(BEYOND.format(len(rest.text)), rest.key, error=True)
        return Page(_piece(rest, offset, self.shown), rest.key)


def truncate(text: str, shown: int) -> tuple[list[dict[str, Any]], str]:
    """The first characters of a text as a result's blocks, and what was cut off."""
    told = f"[cut: the first {shown} of {len(text)} characters are shown]"
    blocks = [{"type": "text", "text": part} for part in (text[:shown], told)]
    return blocks, text[shown:]


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _piece(rest: Remainder, offset: int, shown: int) -> str:
    end = min(offset + shown, len(rest.text))
    where = f"characters {offset} to {end} of the {len(rest.text)} that were cut off"
    then = f"read on at offset {end}" if end < len(rest.text) else "this is the end"
    if end == len(rest.text) and not rest.whole:
        then = NOT_ALL
    return f"{rest.text[offset:end]}\n[{where}; {then}]"
