"""One connection to a server: one task opens it, lists, waits until it is lost, and closes it.

It lists what the server offers page by page: its tools, and the texts of its prompts. Knows
nothing of other connections, of retries or of breakers. Importing this module imports the SDK,
which takes a second: it is done in a thread, when the first server is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
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
from bot.mcp.transports.messages import ANSWER_REJECTED, PROTOCOL_BROKEN, TOO_LARGE
from bot.mcp.transports.open import open_transport
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


async def _pages(read_page: Callable[..., Awaitable[Any]]) -> AsyncIterator[Any]:
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await read_page(cursor=cursor)
        yield page
        cursor = page.next_cursor
        if not cursor:
            return


def _text_of(block: Any) -> str:
    text = getattr(getattr(block, "resource", block), "text", "")
    return text if isinstance(text, str) else ""


class Connection:
    """A connection that `run` opens and keeps; `state` tells when it is lost, and why.

    `tools` and `prompts` are what the server offers: the texts of prompts without arguments.
    """

    def __init__(self, spec: ServerSpec, on_listing: Callable[[Connection], None]) -> None:
        self._spec = spec
        self._on_listing = on_listing
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._client: mcp.Client | None = None
        self._changed = asyncio.Event()
        self.tools: tuple[Tool, ...] = ()
        self.prompts: tuple[str, ...] = ()
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
                    await self._list(client)
                self._client = client
                self._on_listing(self)
                listener = asyncio.create_task(self._listen(client))
                stack.push_async_callback(cancel_and_wait, [listener])
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

    async def _list(self, client: mcp.Client) -> None:
        """Read what the server offers now, without secrets; leaves out prompts that it cannot read.

        Raises MCPError or ValidationError where the tools cannot be read.
        """
        can, found, texts = client.server_capabilities, ToolFilter(self._spec.secrets), list[str]()
        if can.tools is not None:
            async for page in _pages(client.list_tools):
                await asyncio.to_thread(found.add, page.tools)
                if found.is_full:
                    break
            for note in found.notes[:_NOTES_LOGGED]:
                self._log.warning("tool list", note=note)
        if can.prompts is not None:
            try:
                async with asyncio.timeout(_PROMPTS_SECONDS):
                    await self._read_prompts(client, texts)
            except (MCPError, ValidationError, TimeoutError) as error:
                why = type(error).__name__
                self._log.warning("prompts cannot be read", why=why, read=len(texts))
        self.tools, self.prompts = found.tools, tuple(filter(None, texts))

    async def _read_prompts(self, client: mcp.Client, read: list[str]) -> None:
        """Add the texts one by one: those that came before an error or a timeout are kept."""
        names = {
            prompt.name
            async for page in _pages(client.list_prompts)
            for prompt in page.prompts
            if not any(argument.required for argument in prompt.arguments or ())
        }
        for name in sorted(names)[:_PROMPTS]:
            answer = await client.get_prompt(name)
            texts = (_text_of(message.content)[:_PROMPT_READ] for message in answer.messages)
            text = "\n\n".join(filter(None, texts))[:_PROMPT_READ]
            read.append(printable(self._spec.secrets.redact(text), _PROMPT_CHARACTERS).strip())

    async def _on_message(self, message: object) -> None:
        if isinstance(message, _CHANGES):
            self._changed.set()

    def _error_result(self, error: MCPError, request: RequestState) -> ToolResult:
        """What an error comes to: a result for the model, or CallLost."""
        text = printable(self._spec.redact(error.message[:_ERROR_CHARACTERS]), 1_000)
        if not request.sent:
            raise CallLost(text, sent=False)
        if error.code == types.CONNECTION_CLOSED and text.endswith("byte limit."):
            return unreadable_result(TOO_LARGE)
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
        pause, has_failed = _REFRESH_PAUSE, False
        while True:
            await wait_first(self._changed, self.state.lost)
            if self.state.lost.is_set():
                return
            self._changed.clear()
            has_failed = await self._refresh(client, has_failed)
            await wait_first(self.state.lost, timeout=pause)
            # A server that reports changes without an end is asked less and less often.
            changing = self._changed.is_set()
            pause = min(2 * pause, _REFRESH_PAUSE_LIMIT) if changing else _REFRESH_PAUSE

    async def _refresh(self, client: mcp.Client, has_failed: bool) -> bool:
        """List again; whether HTTP failed, which raises where it `has_failed` the last time."""
        try:
            await self._list(client)
        except (MCPError, ValidationError) as error:
            if has_failed and _is_http_failure(error):
                raise
            if isinstance(error, MCPError) and (
                _is_session_lost(error) or error.message == _CLOSED
            ):
                raise
            # Calls that run must not end for this: what was known stays until the next try.
            self._log.warning("tools cannot be listed again", why=type(error).__name__)
            self._changed.set()
            return _is_http_failure(error)
        self._on_listing(self)
        return False

    async def _listen(self, client: mcp.Client) -> None:
        """Hear of changes: servers of the newest protocol report them only to who listens."""
        tools = client.server_capabilities.tools
        if client.protocol_version < "2026" or tools is None or not tools.list_changed:
            return
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
    size = sum(len(_text_of(block)) for block in raw.content)
    return raw.structured_content is None and size < _LONG_ANSWER


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
