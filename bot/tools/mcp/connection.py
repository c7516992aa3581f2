"""One life of one connection: one task enters it, lists, waits until it is lost, and leaves.

Knows nothing of other connections, of retries or of breakers. Importing this module imports the
SDK, which takes a second: it is done in a thread, when the first server is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import chain, repeat
from typing import Any

import mcp
import structlog
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.tools.mcp.bodies import UNREADABLE, too_large
from bot.tools.mcp.fate import Departure, Lost, departure_of_call
from bot.tools.mcp.lines import LINE_LIMIT
from bot.tools.mcp.listing import Listing, listing_of
from bot.tools.mcp.results import ToolResult, error_result, result_from, unread_result
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.slim import BROKEN
from bot.tools.mcp.tool import printable
from bot.tools.mcp.transports import open_transport

OPEN_SECONDS = 40.0

_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 5.0
_REFRESH_PAUSE = 0.2
_REFRESH_PAUSE_LIMIT = 10.0
_LISTEN_PAUSES = (1.0, 5.0, 30.0)
_WORDS = 4_000
_LONG = 50_000
_CLOSED = "Connection closed"
_UNREAD_CODES = frozenset({types.PARSE_ERROR, types.INVALID_REQUEST})
_UNREAD = (
    "Failed to parse",
    "Unexpected content type",
    "server answered a request with 202",
    "Redirect to ",
)
_CHANGES = (types.ToolListChangedNotification, types.PromptListChangedNotification)


class Connection:
    """A connection that `run` keeps; others only call."""

    def __init__(self, spec: ServerSpec, on_listing: Callable[[Connection], None]) -> None:
        self._spec = spec
        self._on_listing = on_listing
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._client: mcp.Client | None = None
        self._wake = asyncio.Event()
        self._is_stale = False
        self._was_away = False
        self.listing = Listing()
        self.lost = asyncio.Event()
        self.reason = ""
        self.trouble = ""

    async def run(self) -> None:
        """Connect, list, and stay until the connection is lost; raises what kept it from opening.

        `on_listing` is called with each new listing, first when the connection is ready.
        """
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(OPEN_SECONDS):
                    client = await stack.enter_async_context(self._new_client())
                    self.listing = await listing_of(client, self._log, self._spec.without_secrets)
                self._client = client
                self._on_listing(self)
                async with self._hearing(client):
                    await self._stay(client)
        finally:
            self.lose("")

    def lose(self, reason: str) -> None:
        """Give the connection up: whoever waits for it is told, and `run` leaves."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
            self._wake.set()

    def note(self, trouble: str) -> None:
        """Remember what may explain an error that follows."""
        self.trouble = trouble

    async def call(
        self, tool: str, arguments: dict[str, Any], seconds: float, cap: int, departure: Departure
    ) -> ToolResult:
        """What the tool answered, errors of its own included; raises Lost.

        Run it in a task of its own; `departure` tells at any time whether the call has left.
        """
        if self._client is None or self.lost.is_set():
            raise Lost(self.reason or "not connected", left=False)
        if not _is_encodable(arguments):
            return error_result("The tool was not called: its arguments are no plain JSON.")
        departure_of_call.set(departure)
        try:
            raw = await self._client.call_tool(tool, arguments, read_timeout_seconds=seconds)
        except MCPError as error:
            return self._refused(error, departure)
        except ValidationError:
            return unread_result(BROKEN)
        read = partial(result_from, raw, cap, self._spec.without_secrets)
        return read() if _is_short(raw) else await asyncio.to_thread(read)

    async def probe(self) -> None:
        """Lose the connection if the server does not even list its tools within seconds."""
        if self._client is None or self.lost.is_set():
            return
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._client.list_tools()
        except (TimeoutError, MCPError, ValidationError) as error:
            if not _is_an_answer(error):
                self.lose("the server does not answer")

    def _new_client(self) -> mcp.Client:
        return mcp.Client(
            open_transport(self._spec, self),
            read_timeout_seconds=_ANSWER_SECONDS,
            message_handler=self._heard,
            cache=None,
        )

    def _refused(self, error: MCPError, departure: Departure) -> ToolResult:
        words = printable(self._spec.redact(error.message[:_WORDS]), 1_000)
        if not departure.left:
            raise Lost(words, left=False)
        if error.code == types.CONNECTION_CLOSED and words.endswith("byte limit."):
            return unread_result(too_large(LINE_LIMIT))
        if error.code == UNREADABLE:
            return unread_result(words)
        if _is_unread(error):
            self._log.warning("an answer cannot be read", why=words[:200])
            return unread_result(BROKEN)
        if _is_forgotten(error):
            raise Lost(words, left=False)
        if error.code == types.CONNECTION_CLOSED:
            raise Lost(words, left=True, connection=words == _CLOSED)
        if _is_away(error):
            raise Lost(words, left=True, connection=False)
        self._changed()  # it may have been started anew with other tools
        return error_result(f"The server refused the call: {words}")

    async def _heard(self, message: object) -> None:
        if isinstance(message, _CHANGES):
            self._changed()

    def _changed(self) -> None:
        self._is_stale = True
        self._wake.set()

    async def _stay(self, client: mcp.Client) -> None:
        pause = _REFRESH_PAUSE
        while not self.lost.is_set():
            await self._wake.wait()
            self._wake.clear()
            if self._is_stale and not self.lost.is_set():
                self._is_stale = False
                await self._refresh(client)
                await self._rest(pause)
                # Whoever tells of changes without an end is asked ever more seldom.
                pause = min(2 * pause, _REFRESH_PAUSE_LIMIT) if self._is_stale else _REFRESH_PAUSE

    async def _refresh(self, client: mcp.Client) -> None:
        try:
            self.listing = await listing_of(client, self._log, self._spec.without_secrets)
        except (MCPError, ValidationError) as error:
            if _is_gone(error) or (_is_away(error) and self._was_away):
                raise
            # Calls that run must not end for this: what was known stays until the next try.
            self._was_away = _is_away(error)
            self._log.warning("tools cannot be listed again", why=type(error).__name__)
            self._changed()
        else:
            self._was_away = False
            self._on_listing(self)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.lost.wait()

    @asynccontextmanager
    async def _hearing(self, client: mcp.Client) -> AsyncIterator[None]:
        # Servers of the newest protocol tell of changes only to those who listen.
        tools = client.server_capabilities.tools
        if client.protocol_version < "2026" or tools is None or not tools.list_changed:
            yield
            return
        listener = asyncio.create_task(self._listen(client))
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.wait({listener})

    async def _listen(self, client: mcp.Client) -> None:
        for pause in chain(_LISTEN_PAUSES, repeat(_LISTEN_PAUSES[-1])):
            with suppress(MCPError, RuntimeError, TimeoutError):
                async with client.listen(
                    tools_list_changed=True, prompts_list_changed=True
                ) as changes:
                    async for _ in changes:
                        self._changed()
            await asyncio.sleep(pause)
            self._changed()


def _is_short(raw: types.CallToolResult) -> bool:
    """Whether an answer is read in no time: a long one would hold up all others."""
    texts = (getattr(getattr(block, "resource", block), "text", "") for block in raw.content)
    return raw.structured_content is None and sum(map(len, texts)) < _LONG


def _is_encodable(arguments: dict[str, Any]) -> bool:
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_an_answer(error: Exception) -> bool:
    if isinstance(error, MCPError):
        return error.code not in {types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT}
    return isinstance(error, ValidationError)


def _is_unread(error: MCPError) -> bool:
    """Whether this is the SDK's own word for an answer that is no message of the protocol."""
    return error.code in _UNREAD_CODES and error.message.startswith(_UNREAD)


def _is_forgotten(error: MCPError) -> bool:
    return error.code == types.INVALID_REQUEST and "session" in error.message.lower()


def _is_gone(error: Exception) -> bool:
    return isinstance(error, MCPError) and (_is_forgotten(error) or error.message == _CLOSED)


def _is_away(error: Exception) -> bool:
    return isinstance(error, MCPError) and error.message == "Server returned an error response"
