"""Long results: the model reads the beginning, and the rest with the host's tool `read_more`."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bot.messages import Fence, TurnRef
from bot.store import keys
from bot.store.client import StoreClient
from bot.tools.calls import HOST, Call, FoundTool, Remainder, Result, WrappedTools, failed

KEPT_FOR_EACH = 8
"""Remainders of one conversation with one agent; the oldest goes first."""
SECONDS = 24 * 3600

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
WIRE_NAME = (HOST, READ_MORE)
READ_MORE_TOOL = FoundTool(None, READ_MORE, repeatable=True)

LOST = (
    "There is nothing left to read under this handle: what was cut off is kept for a day, and only "
    "for the newest few results. Call the tool again, and ask it for less."
)

_HANDLE = re.compile(r"[0-9a-f]{10}\Z")


@dataclass(slots=True, repr=False)
class TruncatedResults:
    """What was cut off results, in the store: for a day, the newest few of each transcript."""

    client: StoreClient

    async def save(self, fence: Fence, ref: TurnRef, handle: str, rest: Remainder) -> None:
        """Keep a remainder under its handle; saved again, it replaces itself."""
        names = [keys.truncated_results(fence.line, ref.conversation, ref.agent)]
        body = zlib.compress(orjson.dumps([rest.key, rest.text, rest.whole]), 1)
        await self.client.as_owner(
            "save_remainder", fence, names, handle, body, KEPT_FOR_EACH, SECONDS
        )

    async def load(self, line: str, ref: TurnRef, handle: str) -> Remainder | None:
        """A remainder by its handle, None if it is no longer kept."""
        name = keys.truncated_results(line, ref.conversation, ref.agent)
        found = await self.client.read("HGET", name, handle)
        return Remainder(*orjson.loads(zlib.decompress(found))) if found else None


@dataclass(frozen=True, slots=True)
class TruncatedTools(WrappedTools):
    """Keeps what was cut off results, so that the model can read on with the tool `read_more`.

    `result_chars` is how much of a result the model reads at once, 0 where it may not read on:
    then nothing is kept.
    """

    results: TruncatedResults
    fence: Fence
    ref: TurnRef
    result_chars: int

    def find(self, call: Call) -> FoundTool | None:
        """The tool that a call means; `read_more` is one of them."""
        return READ_MORE_TOOL if call.server == HOST else self.tools.find(call)

    async def call(self, call: Call, seconds: float) -> Result:
        """The result, with a sentence that says how to read on where it was cut."""
        if call.server == HOST:
            return await self._read_more(call)
        result = await self.tools.call(call, seconds)
        if result.rest is None or not self.result_chars:
            return result
        handle = hashlib.sha256(f"{self.ref.entry} {call.id}".encode()).hexdigest()[:10]
        await self.results.save(self.fence, self.ref, handle, result.rest)
        how = f'[read on with {READ_MORE}: {{"handle": "{handle}", "offset": 0}}]'
        return replace(result, content=[*result.content, {"type": "text", "text": how}])

    async def _read_more(self, call: Call) -> Result:
        handle, offset = call.arguments.get("handle"), call.arguments.get("offset", 0)
        is_offset = isinstance(offset, int) and not isinstance(offset, bool) and offset >= 0
        if not isinstance(handle, str) or not is_offset:
            text = "Give a handle that a cut result names, and an offset of 0 or more."
            return failed(text)
        rest = None
        if _HANDLE.match(handle):
            rest = await self.results.load(self.fence.line, self.ref, handle)
        if rest is None:
            return failed(LOST)
        if offset >= len(rest.text):
            text = f"There is nothing at this offset: {len(rest.text)} characters were cut off."
            return replace(failed(text), read_from=rest.key)
        return Result(_piece(rest, offset, self.result_chars), read_from=rest.key)


def _piece(rest: Remainder, offset: int, result_chars: int) -> str:
    end = min(offset + result_chars, len(rest.text))
    where = f"characters {offset} to {end} of the {len(rest.text)} that were cut off"
    then = f"read on at offset {end}" if end < len(rest.text) else "this is the end"
    if end == len(rest.text) and not rest.whole:
        then = "what follows was too long to be kept; ask the tool for less"
    return f"{rest.text[offset:end]}\n[{where}; {then}]"
