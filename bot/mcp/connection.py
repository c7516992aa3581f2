"""One connection to a server: one task opens it, lists, waits until it is lost, and closes it.

It lists what the server offers page by page: its tools, and the texts of its prompts. Knows
nothing of other connections, of retries or of breakers. Importing this module imports the SDK,
which takes a second: it is done in a thread, when the first server is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any

import mcp
import structlog
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.mcp.result import (
    CallLost,
    ConnectionState,
    RequestState,
    ToolResult,
    current_request,
    error_result,
    result_from,
    unreadable_result,
)
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool, ToolFilter
from bot.mcp.transports.messages import ANSWER_REJECTED, PROTOCOL_BROKEN, too_large_text
from bot.mcp.transports.open import open_transport
from bot.ops.line_reader import LINE_LIMIT
from bot.ops.redaction import Secrets
from bot.ops.tasks import cancel_and_wait, wait_first
from bot.safety.text_safety import printable

_PAGES = 100
_PROMPTS = 20
_PROMPTS_SECONDS = 10.0
_PROMPT_CHARACTERS = 20_000
_PROMPT_READ = 2 * _PROMPT_CHARACTERS
_NOTES_LOGGED = 10


OPEN_SECONDS = 40.0
_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 5.0
_REFRESH_PAUSE = 0.2
_REFRESH_PAUSE_LIMIT = 10.0
_LISTEN_PAUSES = (1.0, 5.0, 30.0)
_ERROR_CHARACTERS = 4_000
_LONG_ANSWER = 50_000
_CLOSED = "Connection closed"
_UNREADABLE_CODES = frozenset({types.PARSE_ERROR, types.INVALID_REQUEST})
_UNREADABLE = (
    "Failed to parse",
    "Unexpected content type",
    "server answered a request with 202",
    "Redirect to ",
)
_CHANGES = (types.ToolListChangedNotification, types.PromptListChangedNotification)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server offers: tools by name, and the texts of its prompts without arguments."""

    tools: tuple[Tool, ...] = ()
    prompts: tuple[str, ...] = ()


async def list_server(client: mcp.Client, log: Any, secrets: Secrets) -> Listing:
    """The server's listing now, without secrets; prompts that cannot be read are left out.

    Raises MCPError or ValidationError where the tools cannot be read.
    """
    can = client.server_capabilities
    tools = await _tools(client, log, secrets) if can.tools is not None else ()
    prompts = await _prompts(client, log, secrets) if can.prompts is not None else ()
    return Listing(tools, prompts)


async def _tools(client: mcp.Client, log: Any, secrets: Secrets) -> tuple[Tool, ...]:
    found = ToolFilter(secrets)

    async def read_page(cursor: str | None) -> str | None:
        answer = await client.list_tools(cursor=cursor)
        await asyncio.to_thread(found.add, answer.tools)
        return None if found.is_full else answer.next_cursor

    await _each_page(read_page)
    for note in found.notes[:_NOTES_LOGGED]:
        log.warning("tool list", note=note)
    return found.tools


async def _prompts(client: mcp.Client, log: Any, secrets: Secrets) -> tuple[str, ...]:
    texts: list[str] = []
    try:
        async with asyncio.timeout(_PROMPTS_SECONDS):
            for name in await _prompt_names(client):
                # One by one: those that came before an error or the timeout are kept.
                texts.append(await _prompt(client, name, secrets))  # noqa: PERF401
    except (MCPError, ValidationError, TimeoutError) as error:
        log.warning("prompts cannot be read", why=type(error).__name__, read=len(texts))
    return tuple(text for text in texts if text)


async def _prompt_names(client: mcp.Client) -> list[str]:
    names: set[str] = set()

    async def read_page(cursor: str | None) -> str | None:
        answer = await client.list_prompts(cursor=cursor)
        names.update(
            prompt.name
            for prompt in answer.prompts
            if not any(argument.required for argument in prompt.arguments or ())
        )
        return answer.next_cursor

    await _each_page(read_page)
    return sorted(names)[:_PROMPTS]


async def _prompt(client: mcp.Client, name: str, secrets: Secrets) -> str:
    answer = await client.get_prompt(name)
    texts = (_text_of(message.content)[:_PROMPT_READ] for message in answer.messages)
    text = "\n\n".join(text for text in texts if text)[:_PROMPT_READ]
    return printable(secrets.redact(text), _PROMPT_CHARACTERS).strip()


def _text_of(block: Any) -> str:
    if isinstance(block, types.EmbeddedResource):
        block = block.resource
    text = getattr(block, "text", "")
    return text if isinstance(text, str) else ""


async def _each_page(read_page: Callable[[str | None], Awaitable[str | None]]) -> None:
    cursor: str | None = None
    for _ in range(_PAGES):
        cursor = await read_page(cursor)
        if not cursor:
            return


class Connection:
    """A connection that `run` opens and keeps; `state` tells when it is lost, and why."""

    def __init__(self, spec: ServerSpec, on_listing: Callable[[Connection], None]) -> None:
        self._spec = spec
        self._on_listing = on_listing
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._client: mcp.Client | None = None
        self._changed = asyncio.Event()
        self._refresh_failed = False
        self.listing = Listing()
        self.state = ConnectionState()

    async def run(self) -> None:
        """Connect, list, and stay until the connection is lost; raises what kept it from opening.

        `on_listing` is called with each new listing, first when the connection is ready.
        """
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(OPEN_SECONDS):
                    client = await stack.enter_async_context(
                        mcp.Client(
                            open_transport(self._spec, self.state),
                            read_timeout_seconds=_ANSWER_SECONDS,
                            message_handler=self._on_message,
                            cache=None,
                        )
                    )
                    self.listing = await list_server(client, self._log, self._spec.secrets)
                self._client = client
                self._on_listing(self)
                async with self._listening(client):
                    await self._refresh_until_lost(client)
        finally:
            self.state.lose("")

    async def call(
        self, tool: str, arguments: dict[str, Any], seconds: float, cap: int, request: RequestState
    ) -> ToolResult:
        """What the tool answered, errors of its own included; raises CallLost.

        Run it in a task of its own; `request` tells at any time whether it was sent.
        """
        if self._client is None or self.state.lost.is_set():
            raise CallLost(self.state.reason or "not connected", sent=False)
        if not _is_encodable(arguments):
            return error_result("The tool was not called: its arguments are not plain JSON.")
        current_request.set(request)
        try:
            raw = await self._client.call_tool(tool, arguments, read_timeout_seconds=seconds)
        except MCPError as error:
            return self._error_result(error, request)
        except ValidationError:
            return unreadable_result(PROTOCOL_BROKEN)
        read = partial(result_from, raw, cap, self._spec.secrets)
        return read() if _is_short(raw) else await asyncio.to_thread(read)

    async def probe(self) -> None:
        """Lose the connection if the server does not even list its tools within seconds."""
        if self._client is None or self.state.lost.is_set():
            return
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._client.list_tools()
        except ValidationError:
            return  # it answers
        except (TimeoutError, MCPError) as error:
            silent = {types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT}
            if isinstance(error, TimeoutError) or error.code in silent:
                self.state.lose("the server does not answer")

    async def _on_message(self, message: object) -> None:
        if isinstance(message, _CHANGES):
            self._changed.set()

    def _error_result(self, error: MCPError, request: RequestState) -> ToolResult:
        """What an error comes to: a result for the model, or CallLost."""
        text = printable(self._spec.redact(error.message[:_ERROR_CHARACTERS]), 1_000)
        if not request.sent:
            raise CallLost(text, sent=False)
        if error.code == types.CONNECTION_CLOSED and text.endswith("byte limit."):
            return unreadable_result(too_large_text(LINE_LIMIT))
        if error.code == ANSWER_REJECTED:
            return unreadable_result(text)
        if error.code in _UNREADABLE_CODES and error.message.startswith(_UNREADABLE):
            self._log.warning("an answer cannot be read", why=text[:200])
            return unreadable_result(PROTOCOL_BROKEN)
        if _is_session_lost(error):
            raise CallLost(text, sent=False)
        if error.code == types.CONNECTION_CLOSED:
            raise CallLost(text, sent=True, connection=text == _CLOSED)
        if _is_http_failure(error):
            raise CallLost(text, sent=True, connection=False)
        self._changed.set()  # it may have been started anew with other tools
        return error_result(f"The server refused the call: {text}")

    async def _refresh_until_lost(self, client: mcp.Client) -> None:
        pause = _REFRESH_PAUSE
        while True:
            await wait_first(self._changed, self.state.lost)
            if self.state.lost.is_set():
                return
            self._changed.clear()
            await self._refresh(client)
            await wait_first(self.state.lost, timeout=pause)
            # A server that reports changes without an end is asked less and less often.
            changing = self._changed.is_set()
            pause = min(2 * pause, _REFRESH_PAUSE_LIMIT) if changing else _REFRESH_PAUSE

    async def _refresh(self, client: mcp.Client) -> None:
        try:
            self.listing = await list_server(client, self._log, self._spec.secrets)
        except (MCPError, ValidationError) as error:
            failed_before, self._refresh_failed = self._refresh_failed, _is_http_failure(error)
            if (
                isinstance(error, MCPError)
                and (_is_session_lost(error) or error.message == _CLOSED)
            ) or (failed_before and self._refresh_failed):
                raise
            # Calls that run must not end for this: what was known stays until the next try.
            self._log.warning("tools cannot be listed again", why=type(error).__name__)
            self._changed.set()
        else:
            self._refresh_failed = False
            self._on_listing(self)

    @asynccontextmanager
    async def _listening(self, client: mcp.Client) -> AsyncIterator[None]:
        # Servers of the newest protocol report changes only to clients that listen.
        tools = client.server_capabilities.tools
        if client.protocol_version < "2026" or tools is None or not tools.list_changed:
            yield
            return
        listener = asyncio.create_task(self._listen(client))
        try:
            yield
        finally:
            await cancel_and_wait([listener])

    async def _listen(self, client: mcp.Client) -> None:
        for pause in chain(_LISTEN_PAUSES, repeat(_LISTEN_PAUSES[-1])):
            with suppress(MCPError, RuntimeError, TimeoutError):
                async with client.listen(
                    tools_list_changed=True, prompts_list_changed=True
                ) as changes:
                    async for _ in changes:
                        self._changed.set()
            await asyncio.sleep(pause)
            self._changed.set()


def _is_short(raw: types.CallToolResult) -> bool:
    """Whether an answer is read in no time: a long one would hold up all others."""
    texts = (getattr(getattr(block, "resource", block), "text", "") for block in raw.content)
    return raw.structured_content is None and sum(map(len, texts)) < _LONG_ANSWER


def _is_encodable(arguments: dict[str, Any]) -> bool:
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_session_lost(error: MCPError) -> bool:
    return error.code == types.INVALID_REQUEST and "session" in error.message.lower()


def _is_http_failure(error: Exception) -> bool:
    return isinstance(error, MCPError) and error.message == "Server returned an error response"
