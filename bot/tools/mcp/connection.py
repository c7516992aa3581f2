"""One life of one connection: one task enters it, lists, waits until it is lost, and leaves.

Knows nothing of other connections, of retries or of breakers. Importing this module imports the
SDK, which takes a second: it is done in a thread, when the first server is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mcp
import structlog
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.tools.mcp.fate import Departure, Lost, departure_of_call
from bot.tools.mcp.results import ToolResult, error_result, result_from
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.stdio import TOO_LARGE
from bot.tools.mcp.tool import TOOLS_LIMIT, Tool, printable, tools_from
from bot.tools.mcp.transports import open_transport

OPEN_SECONDS = 40.0

_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 5.0
_PAGES = 100
_PROMPTS = 20
_PROMPT_CHARACTERS = 20_000
_REFRESH_PAUSE = 0.2
_LISTEN_PAUSES = (1.0, 5.0, 30.0)
_CHANGES = (types.ToolListChangedNotification, types.PromptListChangedNotification)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server offers: tools by name, and the texts of its prompts without arguments."""

    tools: tuple[Tool, ...] = ()
    prompts: tuple[str, ...] = ()


class Connection:
    """A connection that `run` keeps; others only call."""

    def __init__(self, spec: ServerSpec, on_listing: Callable[[Connection], None]) -> None:
        self._spec = spec
        self._on_listing = on_listing
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._client: mcp.Client | None = None
        self._wake = asyncio.Event()
        self._is_stale = False
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
                    await self._list(client)
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
            return error_result("The tool ran, but its answer breaks the protocol.")
        return result_from(raw, cap)

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
        words = self._spec.redact(printable(error.message, 1_000))
        if not departure.left:
            raise Lost(words, left=False)
        if error.code == types.INVALID_REQUEST and "session" in words.lower():
            raise Lost(words, left=False)
        if error.code == types.CONNECTION_CLOSED:
            raise Lost(words, left=True, connection=words == "Connection closed")
        if words == "Server returned an error response":
            raise Lost(words, left=True, connection=False)
        if error.code == TOO_LARGE:
            return error_result(words)
        return error_result(f"The server refused the call: {words}")

    async def _heard(self, message: object) -> None:
        if isinstance(message, _CHANGES):
            self._is_stale = True
            self._wake.set()

    async def _stay(self, client: mcp.Client) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.lost.is_set():
                return
            if self._is_stale:
                self._is_stale = False
                await self._list(client)
                self._on_listing(self)
                await asyncio.sleep(_REFRESH_PAUSE)

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
        for pause in (*_LISTEN_PAUSES, *[_LISTEN_PAUSES[-1]] * 1_000):
            with suppress(MCPError, RuntimeError, TimeoutError):
                async with client.listen(
                    tools_list_changed=True, prompts_list_changed=True
                ) as changes:
                    async for _ in changes:
                        self._is_stale = True
                        self._wake.set()
            await asyncio.sleep(pause)
            self._is_stale = True
            self._wake.set()

    async def _list(self, client: mcp.Client) -> None:
        can = client.server_capabilities
        tools = await self._tools(client) if can.tools is not None else ()
        prompts = await self._prompts(client) if can.prompts is not None else ()
        self.listing = Listing(tools, prompts)

    async def _tools(self, client: mcp.Client) -> tuple[Tool, ...]:
        raw: list[types.Tool] = []

        async def page(cursor: str | None) -> str | None:
            answer = await client.list_tools(cursor=cursor)
            raw.extend(answer.tools)
            return answer.next_cursor if len(raw) <= TOOLS_LIMIT else None

        await _each_page(page)
        tools, notes = await asyncio.to_thread(tools_from, raw)
        for note in notes[:10]:
            self._log.warning("tool list", note=note)
        return tools

    async def _prompts(self, client: mcp.Client) -> tuple[str, ...]:
        names: list[str] = []

        async def page(cursor: str | None) -> str | None:
            answer = await client.list_prompts(cursor=cursor)
            names.extend(prompt.name for prompt in answer.prompts if not _needs(prompt))
            return answer.next_cursor

        try:
            await _each_page(page)
            texts = [await self._prompt(client, name) for name in sorted(set(names))[:_PROMPTS]]
        except (MCPError, ValidationError) as error:
            self._log.warning("prompts cannot be read", why=type(error).__name__)
            return ()
        return tuple(text for text in texts if text)

    async def _prompt(self, client: mcp.Client, name: str) -> str:
        answer = await client.get_prompt(name)
        texts = [_text_of(message.content) for message in answer.messages]
        return printable("\n\n".join(text for text in texts if text), _PROMPT_CHARACTERS).strip()


async def _each_page(page: Callable[[str | None], Awaitable[str | None]]) -> None:
    cursor: str | None = None
    for _ in range(_PAGES):
        cursor = await page(cursor)
        if not cursor:
            return


def _needs(prompt: types.Prompt) -> bool:
    return any(argument.required for argument in prompt.arguments or ())


def _text_of(block: Any) -> str:
    if isinstance(block, types.EmbeddedResource):
        block = block.resource
    text = getattr(block, "text", "")
    return text if isinstance(text, str) else ""


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
